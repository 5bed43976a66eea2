//! Where time went, kernel by kernel, as a table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use unspoken::align::Phase;
use unspoken::device::{Device, KernelTime};

/// Kernels listed of each part.
const ROWS: usize = 16;

/// For reports.
pub fn to_json(times: &[KernelTime]) -> Value {
    let kernel =
        |t: &KernelTime| json!({"kernel": t.kernel, "dispatches": t.dispatches, "seconds": t.time.as_secs_f64()});
    times.iter().map(kernel).collect()
}

/// For people: the longest ones of a part.
pub fn table(part: &str, times: &[KernelTime]) -> String {
    let total: f64 = times.iter().map(|t| t.time.as_secs_f64()).sum();
    let dispatches: u64 = times.iter().map(|t| t.dispatches).sum();
    let mut text = format!("\n\n{part}: {:.2} ms in {dispatches} dispatches", 1e3 * total);
    for t in times.iter().take(ROWS) {
        let seconds = t.time.as_secs_f64();
        text += &format!(
            "\n{:5.1} % {:9.3} ms {:6} x {:8.1} us  {}",
            100.0 * seconds / total,
            1e3 * seconds,
            t.dispatches,
            1e6 * seconds / t.dispatches as f64,
            t.kernel
        );
    }
    text
}

/// The times of a job, phase by phase.
pub struct OfPhases {
    device: Device,
    now: Option<(&'static str, Instant)>,
    phases: BTreeMap<&'static str, OfPhase>,
}

#[derive(Default)]
struct OfPhase {
    clock: Duration,
    /// Each kernel's dispatches and time, whatever their shapes.
    kernels: BTreeMap<String, (u64, Duration)>,
}

impl OfPhases {
    /// Nothing is counted before the first phase begins.
    pub fn new(device: &Device) -> Self {
        Self { device: device.clone(), now: None, phases: BTreeMap::new() }
    }

    /// Takes note of what a job is doing.
    pub fn see(&mut self, phase: Phase) {
        let name = match phase {
            Phase::Rollouts => Some("rollouts"),
            Phase::Critiques => Some("critiques"),
            Phase::Refinement => Some("refinement"),
            Phase::Update => Some("update"),
            Phase::Validation => Some("validation"),
            Phase::StepDone => None,
        };
        if self.now.map(|n| n.0) != name {
            self.stop();
            if let Some(name) = name {
                self.device.start_profile();
                self.now = Some((name, Instant::now()));
            }
        }
    }

    fn stop(&mut self) {
        let Some((name, since)) = self.now.take() else { return };
        let phase = self.phases.entry(name).or_default();
        phase.clock += since.elapsed();
        for t in self.device.stop_profile() {
            let kernel = t.kernel.split(' ').next().unwrap_or_default().to_owned();
            let (dispatches, time) = phase.kernels.entry(kernel).or_default();
            *dispatches += t.dispatches;
            *time += t.time;
        }
    }

    /// A table of each phase.
    pub fn text(mut self) -> String {
        self.stop();
        let mut text = String::new();
        for (name, OfPhase { clock, kernels }) in self.phases.into_iter().filter(|(_, p)| !p.kernels.is_empty()) {
            let each = kernels.into_iter().map(|(kernel, (dispatches, time))| KernelTime { kernel, dispatches, time });
            let mut times: Vec<KernelTime> = each.collect();
            times.sort_by_key(|t| std::cmp::Reverse(t.time));
            text += &table(&format!("{name}, {:.2} s by the clock", clock.as_secs_f64()), &times);
        }
        text
    }
}
