package dev.unspoken

import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/**
 * Runs a blocking [call] off the caller's thread; cancelling the coroutine runs [cancel] at once, so that the call
 * ends early.
 */
private suspend fun <T> cancellable(cancel: () -> Unit, call: () -> T): T = coroutineScope {
    val watch = launch(start = CoroutineStart.UNDISPATCHED) {
        try {
            awaitCancellation()
        } finally {
            cancel()
        }
    }
    // The watch is ended by its own flag, so that a call that came to its end is not cancelled after it.
    val result = withContext(Dispatchers.IO) { runCatching(call) }
    watch.cancel()
    result.getOrThrow()
}

/** Loads an engine off the caller's thread. */
suspend fun loadEngine(options: EngineOptions): Engine = withContext(Dispatchers.IO) { Engine(options) }

/** Says [text]; the reply comes as a cold flow of pieces. Cancelling its collector stops the reply. */
fun Chat.pieces(text: String, options: ReplyOptions? = null): Flow<String> =
    channelFlow {
        stream(text, options).use { stream ->
            cancellable(stream::cancel) {
                while (true) {
                    val piece = stream.nextPiece() ?: break
                    if (trySend(piece).isClosed) break
                }
            }
        }
    }.buffer(kotlinx.coroutines.channels.Channel.UNLIMITED)

/** Says [text] and suspends until the reply is there. Cancelling stops it. */
suspend fun Chat.ask(text: String, options: ReplyOptions? = null): Reply =
    stream(text, options).use { stream -> cancellable(stream::cancel) { stream.reply() } }

/** As [Critic.critique], suspending. */
suspend fun Critic.read(preference: String, query: String, response: String): Critique =
    cancellable(::cancel) { critique(preference, query, response) }

/** The steps of a job as a cold flow; it ends where none is left, the budget is used up, or the collector does. */
fun Adaptation.steps(): Flow<StepReport> =
    flow {
        while (true) emit(cancellable(::cancel) { step() } ?: break)
    }.flowOn(Dispatchers.IO)
