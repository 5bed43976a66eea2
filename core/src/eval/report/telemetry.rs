//! A training run's telemetry: JSON lines, one for each step.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::eval::EvalError;

/// What is shown of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingStep {
    /// Its number, from 1.
    pub step: f64,
    /// Mean critic score of its rollouts.
    pub reward: Option<f64>,
    /// KL to the reference, in nats a token.
    pub kl: Option<f64>,
    /// Share of groups whose outcome rewards are all equal.
    pub zero_outcome: Option<f64>,
    /// Share of groups where the scores of each step are all equal, too.
    pub zero_step: Option<f64>,
    /// Share of tokens with an advantage other than 0.
    pub active_tokens: Option<f64>,
}

/// Reads the steps of an adaptation's log: lines with `step` and, where answers were drawn, `groups` with
/// `mean_reward`, `kl` and `zero`. Steps without groups (supervised ones) are left out.
///
/// # Errors
/// A file that cannot be read, a line that is no JSON object with a `step`, no step with groups.
pub fn read_telemetry(path: &Path) -> Result<Vec<TrainingStep>, EvalError> {
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| EvalError::Io { path: name(), source })?;
    let mut steps = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let error = |message| EvalError::Json { path: name(), line: i + 1, message };
        let v: Value = serde_json::from_str(line).map_err(|e| error(e.to_string()))?;
        let number = v["step"].as_f64().ok_or_else(|| error("step: expected a number".into()))?;
        if v["groups"].is_object() {
            steps.push(step(number, &v["groups"]));
        }
    }
    if steps.is_empty() {
        let message = "no step has groups of rollouts: there is nothing to draw".into();
        return Err(EvalError::Json { path: name(), line: 1, message });
    }
    Ok(steps)
}

fn step(step: f64, groups: &Value) -> TrainingStep {
    let share = |part: &str, of: &str| {
        let (part, of) = (groups["zero"][part].as_f64()?, groups["zero"][of].as_f64()?);
        (of > 0.0).then(|| part / of)
    };
    TrainingStep {
        step,
        reward: groups["mean_reward"].as_f64(),
        kl: groups["kl"].as_f64(),
        zero_outcome: share("zero_outcome", "groups"),
        zero_step: share("zero_step", "groups"),
        active_tokens: share("active_tokens", "tokens"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_with_groups_are_read_and_errors_name_the_line() {
        let path = std::env::temp_dir().join(format!("unspoken-telemetry-{}.jsonl", std::process::id()));
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_telemetry(&path).map_err(|e| e.to_string())
        };
        let group = r#"{"step":2,"groups":{"mean_reward":0.25,"kl":null,"zero":{"groups":4,"zero_outcome":1,"zero_step":0,"tokens":10,"active_tokens":5}}}"#;
        let steps = read(&format!("{{\"step\":1,\"stage\":\"warm_start\"}}\n\n{group}\n")).unwrap();
        let expected = TrainingStep {
            step: 2.0,
            reward: Some(0.25),
            kl: None,
            zero_outcome: Some(0.25),
            zero_step: Some(0.0),
            active_tokens: Some(0.5),
        };
        assert_eq!(steps, [expected]);
        assert!(read(&format!("{group}\n{{\"step\":")).unwrap_err().contains("line 2: EOF"));
        assert!(read("{\"stage\":\"x\"}").unwrap_err().contains("line 1: step: expected a number"));
        assert!(read("{\"step\":1}").unwrap_err().contains("no step has groups"));
        std::fs::remove_file(&path).unwrap();
    }
}
