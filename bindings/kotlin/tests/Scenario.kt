import dev.unspoken.*
import java.util.Locale
import kotlin.concurrent.thread
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking

/** The scenario of tests/scenario.md. */
fun main(args: Array<String>) {
    val (model, store) = args
    val options = EngineOptions(policy = model, critic = CriticOptions(), device = DeviceKind.CPU, threads = 2u, store = store)
    val greedy = ReplyOptions(maxTokens = 12u, temperature = 0f)
    fun say(key: String, value: Any) = println("$key: $value")
    fun ids(tokens: List<UInt>) = tokens.joinToString(" ")

    val adapted = Engine(options).use { engine ->
        val chat = engine.chat()
        val base = chat.send("Name three colours.", greedy)
        say("base", ids(base.tokens))

        chat.setMessages(emptyList())
        chat.stream("Name three colours.", greedy).use { stream ->
            val text = buildString { while (true) append(stream.nextPiece() ?: break) }
            say("stream", text == base.text && stream.reply().tokens == base.tokens)
        }
        runBlocking {
            // The layer's flow: the same text; a collector that leaves stops the reply.
            val flowing = engine.chat()
            check(flowing.pieces("Name three colours.", greedy).toList().joinToString("") == base.text)
            check(flowing.pieces("Tell me a long story.", ReplyOptions(maxTokens = 1500u)).take(2).toList().size == 2)
            check(engine.chat().ask("Name three colours.", greedy).tokens == base.tokens)
        }

        val long = engine.chat()
        val canceller = thread { Thread.sleep(300); long.cancel() }
        val cancelled = long.send("Tell me a long story.", ReplyOptions(maxTokens = 1500u))
        canceller.join()
        say("cancelled", cancelled.stop == StopReason.CANCELLED && cancelled.tokens.size < 1500)

        val critique = engine.critic().critique("I avoid crowds.", "What should I do tonight?", "Step 1: Go to a big concert.")
        say("critique", String.format(Locale.ROOT, "%d %.4f", critique.steps.size, critique.score!!))

        val profile = engine.profile("sam")
        profile.state("I avoid crowds and noise.")
        say("preferences", profile.preferences().size)
        val job = profile.adaptation(
            AdaptationOptions(
                questions = listOf("What should I do tonight?", "Where could we have dinner?"),
                steps = 2u, group = 2u, maxTokens = 24u, lr = 0.01f, rank = 4u,
            ),
        )
        val steps = generateSequence { job.step() }.toList()
        say("steps", steps.size)
        val outcome = job.conclude()
        say("version", "${outcome.version} ${outcome.committed}")
        val tokens = engine.chat(ChatOptions(profile = profile)).send("What should I do tonight?", greedy).tokens
        say("adapted", ids(tokens))
        try {
            engine.chat().send("x", ReplyOptions(topP = 0f))
            say("error", "none")
        } catch (e: UnspokenException.InvalidArgument) {
            say("error", errorCode(e))
        }
        tokens
    }

    Engine(options).use { engine ->
        val again = engine.chat(ChatOptions(profile = engine.profile("sam"))).send("What should I do tonight?", greedy)
        say("reloaded", again.tokens == adapted)
        val base = engine.chat().send("Name three colours.", greedy)
        say("base_again", ids(base.tokens))
        engine.deleteUser("sam")
        say("users", engine.users().size)
    }
}
