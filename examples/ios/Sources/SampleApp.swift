import BackgroundTasks
import SwiftUI
import Unspoken

@main
struct SampleApp: App {
    init() {
        BGTaskScheduler.shared.register(forTaskWithIdentifier: Nightly.identifier, using: nil) { task in
            Nightly.run(task as! BGProcessingTask)
        }
        Nightly.schedule()
    }

    var body: some Scene {
        WindowGroup { Conversation() }
    }
}

struct Conversation: View {
    @State private var lines: [String] = []
    @State private var text = ""
    @State private var chat: Chat?
    @State private var reply: Task<Void, Never>?

    var body: some View {
        VStack {
            List(Array(lines.enumerated()), id: \.offset) { Text($0.element) }
            HStack {
                TextField("Say something", text: $text)
                Button(reply == nil ? "Send" : "Stop", action: press).disabled(chat == nil)
            }.padding()
        }
        .task {
            guard let engine = try? await Assistant.shared.engine(),
                let profile = try? engine.profile(name: Assistant.user)
            else { return }
            chat = try? engine.chat(options: ChatOptions(profile: profile))
        }
    }

    private func press() {
        // Cancelling the task stops the reply.
        if let reply { return reply.cancel() }
        guard let chat else { return }
        let said = text
        text = ""
        lines += ["You: " + said, ""]
        reply = Task { @MainActor in
            do {
                for try await piece in chat.pieces(said) { lines[lines.count - 1] += piece }
            } catch {
                lines.append("\(error)")
            }
            reply = nil
        }
    }
}

/// Adapts to the user while the phone charges.
enum Nightly {
    static let identifier = "dev.unspoken.sample.adapt"

    static func schedule() {
        let request = BGProcessingTaskRequest(identifier: identifier)
        request.requiresExternalPower = true
        try? BGTaskScheduler.shared.submit(request)
    }

    static func run(_ task: BGProcessingTask) {
        let work = Task {
            let profile = try await Assistant.shared.engine().profile(name: Assistant.user)
            let job = try profile.adaptation(options: AdaptationOptions(budget: Budget(seconds: 300)))
            while ProcessInfo.processInfo.thermalState.rawValue <= ProcessInfo.ThermalState.fair.rawValue,
                try await job.nextStep() != nil
            {}
            // Out of time, the steps are lost (an encrypted store keeps no checkpoint), and the user has what they had.
            try Task.checkCancellation()
            _ = try job.conclude()
        }
        task.expirationHandler = { work.cancel() }
        Task {
            let result = await work.result
            schedule()
            if case .success = result { task.setTaskCompleted(success: true) } else { task.setTaskCompleted(success: false) }
        }
    }
}
