//! Tasks that wait for one another, so many at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::process::root;

/// What a task does.
pub enum Action {
    /// Runs a program.
    Run(Command),
    /// Copies a file.
    Copy(PathBuf, PathBuf),
}

/// Actions one after the other.
pub struct Task {
    /// Unique; what its programs write goes into a file of this name.
    pub name: String,
    /// Tasks that must have been done before.
    pub needs: Vec<String>,
    /// Nothing is left to do where there are none.
    pub actions: Vec<Action>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Waits,
    Runs,
    Done,
    /// It, or one that it needs, has failed.
    Failed,
}

/// Runs tasks, `jobs` at a time, the first that can run first. Where one fails, those that need it are left out, and the
/// others go on. What they write goes into `logs`/NAME.log.
///
/// # Errors
/// Names of those that failed.
pub fn run(tasks: Vec<Task>, jobs: usize, logs: &Path) -> Result<()> {
    let begun = Instant::now();
    let needs: Vec<(String, Vec<String>)> = tasks.iter().map(|t| (t.name.clone(), t.needs.clone())).collect();
    let states: BTreeMap<String, State> = needs.iter().map(|(n, _)| (n.clone(), State::Waits)).collect();
    let shared = (Mutex::new((states, tasks)), Condvar::new());
    let work = || {
        while let Some(task) = next(&shared.0, &shared.1, &needs) {
            let name = task.name.clone();
            eprintln!("{:5.0} s  {name} begins", begun.elapsed().as_secs_f64());
            let done = task.actions.into_iter().try_for_each(|action| match action {
                Action::Run(command) => logged(command, &logs.join(format!("{name}.log"))),
                Action::Copy(from, to) => Ok(std::fs::copy(from, to).map(drop)?),
            });
            match &done {
                Ok(()) => eprintln!("{:5.0} s  {name} is done", begun.elapsed().as_secs_f64()),
                Err(e) => eprintln!("{:5.0} s  {name}: {e:#}", begun.elapsed().as_secs_f64()),
            }
            lock(&shared.0).0.insert(name, if done.is_ok() { State::Done } else { State::Failed });
            shared.1.notify_all();
        }
    };
    std::thread::scope(|s| (0..jobs.max(1)).for_each(|_| drop(s.spawn(work))));
    let (states, _) = &*lock(&shared.0);
    let failed: Vec<&str> = states.iter().filter(|(_, s)| **s != State::Done).map(|(n, _)| n.as_str()).collect();
    ensure!(failed.is_empty(), "not done: {}; see their logs in {}", failed.join(", "), logs.display());
    Ok(())
}

type Shared = Mutex<(BTreeMap<String, State>, Vec<Task>)>;

fn lock(shared: &Shared) -> MutexGuard<'_, (BTreeMap<String, State>, Vec<Task>)> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next task that can run, once there is one; nothing where none is left.
fn next(shared: &Shared, changed: &Condvar, needs: &[(String, Vec<String>)]) -> Option<Task> {
    let mut guard = lock(shared);
    loop {
        let (states, tasks) = &mut *guard;
        // In the order in which they were given, a task stands behind what it needs.
        for (name, needs) in needs {
            let lost = needs.iter().any(|n| states.get(n).is_none_or(|s| *s == State::Failed));
            if lost && states.get(name) == Some(&State::Waits) {
                states.insert(name.clone(), State::Failed);
                tasks.retain(|t| t.name != *name);
            }
        }
        let ready = |t: &Task| t.needs.iter().all(|n| states.get(n) == Some(&State::Done));
        if let Some(at) = tasks.iter().position(ready) {
            let task = tasks.remove(at);
            states.insert(task.name.clone(), State::Runs);
            return Some(task);
        }
        if tasks.is_empty() || !states.values().any(|s| *s == State::Runs) {
            return None;
        }
        guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
    }
}

fn logged(mut command: Command, path: &Path) -> Result<()> {
    let log = std::fs::File::options().create(true).append(true).open(path)?;
    command.current_dir(root()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let status = command.status()?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str, needs: &[&str], script: &str) -> Task {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Task {
            name: name.into(),
            needs: needs.iter().map(|n| (*n).into()).collect(),
            actions: vec![Action::Run(command)],
        }
    }

    #[test]
    fn tasks_wait_for_what_they_need_and_failures_stay_with_those_that_need_them() {
        let folder = std::env::temp_dir().join(format!("unspoken-jobs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        let (a, b) = (at("a").display().to_string(), at("b").display().to_string());
        let tasks = vec![
            task("b", &["a"], &format!("test -e {a} && touch {b}")),
            task("a", &[], &format!("sleep 0.1; touch {a}; echo said")),
            task("bad", &[], "exit 3"),
            task("after", &["bad"], &format!("touch {}", at("never").display())),
            task("last", &["b"], &format!("test -e {b}")),
        ];
        let error = run(tasks, 3, &folder).unwrap_err().to_string();
        assert!(error.starts_with("not done: after, bad;"), "{error}");
        assert!(at("b").exists() && !at("never").exists());
        assert_eq!(std::fs::read_to_string(at("a.log")).unwrap(), "said\n");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
