package dev.unspoken.sample

import android.os.Bundle
import androidx.activity.ComponentActivity
import androidx.activity.compose.setContent
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.items
import androidx.compose.material3.Button
import androidx.compose.material3.Text
import androidx.compose.material3.TextField
import androidx.compose.runtime.Composable
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateListOf
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberCoroutineScope
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.LocalContext
import dev.unspoken.Chat
import dev.unspoken.ChatOptions
import dev.unspoken.pieces
import kotlinx.coroutines.Job
import kotlinx.coroutines.launch

class MainActivity : ComponentActivity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        Nightly.schedule(this)
        setContent { Conversation() }
    }
}

@Composable
private fun Conversation() {
    val context = LocalContext.current
    val scope = rememberCoroutineScope()
    val lines = remember { mutableStateListOf<String>() }
    var chat by remember { mutableStateOf<Chat?>(null) }
    var reply by remember { mutableStateOf<Job?>(null) }
    var text by remember { mutableStateOf("") }
    LaunchedEffect(Unit) {
        val engine = Assistant.engine(context)
        chat = engine.chat(ChatOptions(profile = engine.profile(Assistant.USER)))
    }
    Column {
        LazyColumn(Modifier.weight(1f)) { items(lines) { Text(it) } }
        Row {
            TextField(text, { text = it }, Modifier.weight(1f))
            Button(
                enabled = chat != null,
                onClick = {
                    val running = reply
                    if (running?.isActive == true) {
                        // Cancelling the collector stops the reply.
                        running.cancel()
                        return@Button
                    }
                    val said = text
                    text = ""
                    lines += "You: $said"
                    lines += ""
                    reply = scope.launch { chat!!.pieces(said).collect { lines[lines.size - 1] += it } }
                },
            ) { Text(if (reply?.isActive == true) "Stop" else "Send") }
        }
    }
}
