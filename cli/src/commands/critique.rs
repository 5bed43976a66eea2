//! `unspoken critique`.

use anyhow::Result;
use unspoken::align::{Assistant, Critic, CriticParams, Reader};
use unspoken::model::{Adapter, ContextParams};

use crate::args::{self, Args, Critique};
use crate::output::print;

pub fn run(args: &Args, a: &Critique) -> Result<()> {
    let device = super::device(args)?;
    let assistant = Assistant::open(&a.critic, &device, ContextParams::default())?;
    let adapter = a.critic_adapter.as_ref().map(|p| Adapter::load(&assistant.model, p)).transpose()?;
    let reader = match a.reader {
        args::Reader::Stated => Reader::Stated,
        args::Reader::Verdict => Reader::Verdict,
    };
    let mut critic = Critic::new(assistant, adapter, CriticParams { reader, ..CriticParams::default() })?;
    let critique = critic.critique(&a.preference.join(" "), &a.query, &a.response)?;
    print(args.json, &serde_json::to_value(&critique)?, || {
        let score = |s: Option<f32>| s.map_or("failed".to_owned(), |s| format!("{s:+.2}"));
        let steps = critique.steps.iter().enumerate();
        let lines = steps.map(|(i, s)| format!("Step {}: {}\n  {}  {}", i + 1, s.text, score(s.score), s.critique));
        lines.chain([format!("all: {}", score(critique.score))]).collect::<Vec<_>>().join("\n")
    })
}
