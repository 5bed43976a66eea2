//! A terminal conversation: `example-chat MODEL`.

use std::io::{BufRead, Write};
use std::sync::mpsc;

use unspoken::Error;
use unspoken::engine::{ChatParams, Engine, EngineParams, ReplyParams};

fn main() -> Result<(), Error> {
    let Some(model) = std::env::args_os().nth(1) else {
        return Err(Error::argument("arguments", "example-chat MODEL"));
    };
    let engine = Engine::load(&EngineParams::new(model))?;
    let chat = engine.chat(ChatParams { system: Some("You are a helpful assistant.".into()), ..Default::default() })?;
    eprintln!("{} on {}; /again begins anew, ctrl-D ends", engine.architecture(), engine.device_name());

    // Lines come from a thread, so that an empty one can stop a reply that is under way.
    let (to, lines) = mpsc::channel();
    let canceller = chat.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if line.is_empty() {
                canceller.cancel();
            } else if to.send(line).is_err() {
                return;
            }
        }
    });
    for line in lines {
        if line == "/again" {
            chat.set_messages(Vec::new());
            continue;
        }
        let reply = chat.send_with(&line, &ReplyParams::default(), |piece| {
            print!("{piece}");
            std::io::stdout().flush().is_ok()
        })?;
        let speed = reply.tokens.len() as f64 / (reply.seconds[1] - reply.seconds[0]).max(1e-9);
        println!();
        eprintln!("[{}: {} tokens, {speed:.0} a second]", reply.stop.name(), reply.tokens.len());
    }
    Ok(())
}
