import Foundation
@_exported import UnspokenNative

/// Runs a blocking call off the caller's thread; cancelling the task runs `cancel` at once, so that the call ends
/// early.
private func cancellable<T: Sendable>(
    _ cancel: @escaping @Sendable () -> Void, _ call: @escaping @Sendable () throws -> T
) async throws -> T {
    try await withTaskCancellationHandler {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global(qos: .userInitiated).async {
                continuation.resume(with: Result { try call() })
            }
        }
    } onCancel: {
        cancel()
    }
}

extension Engine {
    /// Loads an engine off the caller's thread.
    public static func load(_ options: EngineOptions) async throws -> Engine {
        try await cancellable({}) { try Engine(options: options) }
    }
}

/// A reply as a sequence of pieces of text. Leaving the loop, or cancelling its task, stops the reply.
public struct Pieces: AsyncSequence {
    public typealias Element = String
    let begin: @Sendable () throws -> ReplyStream

    public final class Iterator: AsyncIteratorProtocol {
        private let begin: @Sendable () throws -> ReplyStream
        private var stream: ReplyStream?

        init(_ begin: @escaping @Sendable () throws -> ReplyStream) {
            self.begin = begin
        }

        public func next() async throws -> String? {
            let stream = try self.stream ?? begin()
            self.stream = stream
            return try await cancellable({ stream.cancel() }) { try stream.nextPiece() }
        }

        deinit {
            stream?.cancel()
        }
    }

    public func makeAsyncIterator() -> Iterator {
        Iterator(begin)
    }
}

extension Chat {
    /// Says `text`; the reply comes in pieces: `for try await piece in chat.pieces("…") { … }`.
    public func pieces(_ text: String, options: ReplyOptions? = nil) -> Pieces {
        Pieces { try self.stream(text: text, options: options) }
    }

    /// Says `text` and waits for the reply. Cancelling the task stops it: the reply is what was said until then.
    public func ask(_ text: String, options: ReplyOptions? = nil) async throws -> Reply {
        let stream = try self.stream(text: text, options: options)
        return try await cancellable({ stream.cancel() }) { try stream.reply() }
    }
}

extension Critic {
    /// As `critique`, without blocking.
    public func read(preference: String, query: String, response: String) async throws -> Critique {
        try await cancellable({ self.cancel() }) {
            try self.critique(preference: preference, query: query, response: response)
        }
    }
}

extension Adaptation {
    /// One step without blocking; nothing where none is left, the budget is used up, or the task was cancelled.
    public func nextStep() async throws -> StepReport? {
        try await cancellable({ self.cancel() }) { try self.step(listener: nil) }
    }
}
