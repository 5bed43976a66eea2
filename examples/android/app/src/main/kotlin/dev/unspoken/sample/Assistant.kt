package dev.unspoken.sample

import android.content.Context
import dev.unspoken.CriticOptions
import dev.unspoken.Engine
import dev.unspoken.EngineOptions
import dev.unspoken.loadEngine
import java.io.File
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock

/** One engine for the whole app: chat and nightly job share its weights. */
object Assistant {
    const val USER = "me"
    private val lock = Mutex()
    private var engine: Engine? = null

    suspend fun engine(context: Context): Engine = lock.withLock {
        engine ?: loadEngine(
            EngineOptions(
                policy = "/data/local/tmp/SmolLM2-135M-Instruct.Q4_1.gguf",
                critic = CriticOptions(),
                store = File(context.noBackupFilesDir, "users").path,
                storeKey = StoreKey.get(context),
            ),
        ).also { engine = it }
    }
}
