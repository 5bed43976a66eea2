//! What the figures were measured on.

use std::process::Command;

/// Processor, threads, instructions that matter, memory and system, as far as Linux tells.
pub fn describe(threads: usize) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|l| l.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("", |(_, value)| value).trim().to_owned()
    };
    // ARM's systems name instructions and processors otherwise.
    let flags = format!("{} {}", field("flags"), field("Features"));
    let has = |flag: &&str| flags.split_whitespace().any(|f| f == *flag);
    let instructions: Vec<&str> =
        ["avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimddp", "i8mm"].into_iter().filter(has).collect();
    let processor = match field("CPU part") {
        part if part.is_empty() => {
            format!("{} (family {}, model {})", field("model name"), field("cpu family"), field("model"))
        }
        part => format!("ARM, part {part}"),
    };
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    format!(
        "{}, {threads} threads, {}, {:.0} GiB, {}",
        processor,
        instructions.join(" "),
        kilobytes as f64 / f64::from(1 << 20),
        std::env::consts::OS
    )
}

/// Today, as the system's clock has it.
pub fn today() -> String {
    let out = Command::new("date").arg("+%Y-%m-%d").output();
    out.map_or_else(|_| "an unknown day".into(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}
