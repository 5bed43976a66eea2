package dev.unspoken.sample

import android.content.Context
import android.os.PowerManager
import androidx.work.Constraints
import androidx.work.CoroutineWorker
import androidx.work.ExistingPeriodicWorkPolicy
import androidx.work.PeriodicWorkRequestBuilder
import androidx.work.WorkManager
import androidx.work.WorkerParameters
import dev.unspoken.AdaptationOptions
import dev.unspoken.Budget
import dev.unspoken.JobControl
import dev.unspoken.JobListener
import dev.unspoken.JobProgress
import dev.unspoken.RunEnd
import java.util.concurrent.TimeUnit
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext

/** Adapts to the user while the phone charges and nobody uses it. */
class Nightly(context: Context, params: WorkerParameters) : CoroutineWorker(context, params) {
    override suspend fun doWork(): Result = withContext(Dispatchers.IO) {
        val profile = Assistant.engine(applicationContext).profile(Assistant.USER)
        if (profile.preferences().isEmpty()) return@withContext Result.success()
        val options = AdaptationOptions(steps = 8u, budget = Budget(seconds = 600.0))
        profile.adaptation(options).use { job ->
            // A job that was paused begins anew: an encrypted store keeps no checkpoint. The user has what they had.
            when (job.run(Gates())) {
                is RunEnd.Done, is RunEnd.Budget -> job.conclude()
                else -> return@withContext Result.retry()
            }
        }
        Result.success()
    }

    private inner class Gates : JobListener {
        private val power = applicationContext.getSystemService(PowerManager::class.java)

        override fun onProgress(progress: JobProgress) = if (isStopped) JobControl.PAUSE else JobControl.CONTINUE

        override fun closedGate(): String? =
            if (power.currentThermalStatus >= PowerManager.THERMAL_STATUS_MODERATE) "the phone is hot" else null
    }

    companion object {
        fun schedule(context: Context) {
            val constraints = Constraints.Builder().setRequiresCharging(true).setRequiresDeviceIdle(true).build()
            val work = PeriodicWorkRequestBuilder<Nightly>(1, TimeUnit.DAYS).setConstraints(constraints).build()
            WorkManager.getInstance(context).enqueueUniquePeriodicWork("adapt", ExistingPeriodicWorkPolicy.KEEP, work)
        }
    }
}
