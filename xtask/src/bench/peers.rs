//! The programs that we measure ourselves against, where the environment names them.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::json;
use crate::process::root;

/// `LLAMA_BENCH`: llama.cpp's llama-bench, with options behind it where there are any. `TORCH_PYTHON`: a Python with `benches/peers/requirements.txt`.
pub struct Peers {
    gpu: bool,
    llama: Option<String>,
    torch: Option<PathBuf>,
    versions: RefCell<Vec<String>>,
}

impl Peers {
    pub fn find(gpu: bool) -> Self {
        let of = |variable: &str, what: &str| {
            let path = std::env::var_os(variable).map(PathBuf::from);
            if path.is_none() {
                eprintln!("set {variable} to {what} for the comparison");
            }
            path
        };
        Self {
            gpu,
            llama: of("LLAMA_BENCH", "llama.cpp's llama-bench").map(|p| p.display().to_string()),
            torch: of("TORCH_PYTHON", "a Python with benches/peers/requirements.txt"),
            versions: RefCell::default(),
        }
    }

    /// Tokens a second of a prefill of so many tokens, and of decoding so many after it.
    pub fn llama(&self, model: &Path, threads: usize, prefill: usize, decode: usize) -> Result<Option<(f64, f64)>> {
        let Some(command) = &self.llama else { return Ok(None) };
        let [prefill, decode] = [prefill, decode].map(|n| n.to_string());
        let rate = |test: [&str; 6]| -> Result<f64> {
            let mut words = command.split_whitespace();
            let mut bench = Command::new(words.next().context("LLAMA_BENCH is empty")?);
            bench.args(words);
            if self.gpu {
                bench.args(["-ngl", "99"]);
            }
            bench.args(["-r", "3", "-o", "json", "-t", &threads.to_string()]).args(test);
            let tests = json(bench.arg("-m").arg(model))?;
            let test = tests.get(0).context("no test")?;
            let (number, commit) = (&test["build_number"], test["build_commit"].as_str().unwrap_or("?"));
            self.version(format!("llama.cpp build {number} ({commit})"));
            test["avg_ts"].as_f64().context("no tokens a second")
        };
        Ok(Some((
            rate(["-p", &prefill, "-n", "0", "-d", "0"])?,
            // From an empty cache, as it does by itself, it would have less to attend to than we have.
            rate(["-p", "0", "-n", &decode, "-d", &prefill])?,
        )))
    }

    /// Tokens a second of a LoRA step.
    pub fn torch(&self, threads: usize, length: usize) -> Result<Option<f64>> {
        let Some(python) = &self.torch else { return Ok(None) };
        let mut step = Command::new(python);
        step.arg(root().join("benches/peers/torch_lora_step.py"));
        step.args(["--device", if self.gpu { "cuda" } else { "cpu" }]);
        let v = json(step.args(["--threads", &threads.to_string(), "--lengths", &length.to_string()]))?;
        let of = |key: &str| v[key].as_str().unwrap_or("?").to_owned();
        self.version(format!("PyTorch {} with PEFT {}", of("torch"), of("peft")));
        Ok(v["tokens_per_s"].as_f64())
    }

    /// What was met, for the report.
    pub fn versions(&self) -> String {
        self.versions.borrow().join(", ")
    }

    fn version(&self, version: String) {
        let mut all = self.versions.borrow_mut();
        if !all.contains(&version) {
            all.push(version);
        }
    }
}
