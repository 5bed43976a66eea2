import Foundation
import Unspoken

/// One engine for the whole app.
actor Assistant {
    static let shared = Assistant()
    static let user = "me"
    private var loading: Task<Engine, Error>?

    func engine() async throws -> Engine {
        let task = loading ?? Task {
            let support = try FileManager.default.url(
                for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
            let model = Bundle.main.url(forResource: "SmolLM2-135M-Instruct.Q4_1", withExtension: "gguf")!
            return try await Engine.load(
                EngineOptions(
                    policy: model.path, critic: CriticOptions(), store: support.appendingPathComponent("users").path,
                    storeKey: try StoreKey.get()))
        }
        loading = task
        return try await task.value
    }
}
