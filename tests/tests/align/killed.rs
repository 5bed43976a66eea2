//! Jobs whose process is killed go on as if it had not been.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use unspoken::align::{Budget, Method, RunEnd};

use crate::common::{CRITIC_STEPS, adaptation, bits, critic_training, folder, go, log};

/// Not a test by itself: what the killed process does.
#[test]
fn child() {
    let Some(folder) = std::env::var_os("UNSPOKEN_TEST_TRAINING") else { return };
    let folder = PathBuf::from(folder);
    if std::env::var_os("UNSPOKEN_TEST_POLICY").is_some() {
        let mut job = adaptation(Method::Cdpa, Some(&folder)).unwrap();
        job.run(&Budget::default(), &mut go).unwrap();
    } else {
        critic_training(Some(&folder)).run(&Budget::default(), &mut go).unwrap();
    }
}

/// Runs [`child`] and kills it (SIGKILL) after each of the delays in turn.
fn kill_again_and_again(folder: &Path, policy: bool, delays: &[u64]) -> usize {
    let mut killed = 0;
    for ms in delays {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["killed::child", "--exact", "--test-threads", "1"]).env("UNSPOKEN_TEST_TRAINING", folder);
        if policy {
            command.env("UNSPOKEN_TEST_POLICY", "1");
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(*ms));
        let was_running = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        killed += usize::from(was_running);
    }
    killed
}

#[test]
fn a_critic_training_that_is_killed_ends_as_if_it_had_not_been() {
    let (whole, torn) = (folder("whole"), folder("torn"));
    let mut training = critic_training(Some(&whole));
    assert_eq!(training.run(&Budget::default(), &mut go).unwrap(), RunEnd::Done);
    let report = training.report();
    assert!(report.best.unwrap().1 < report.validation_before.unwrap(), "{report:?}");
    let want = bits(&training.finish().unwrap().1);

    let killed = kill_again_and_again(&torn, false, &[150, 400, 250, 333, 180]);
    assert!(killed > 0, "no process lived long enough to be killed");
    let mut training = critic_training(Some(&torn));
    println!("killed {killed} times, resumed after step {}", training.steps_done());
    assert_eq!(training.run(&Budget::default(), &mut go).unwrap(), RunEnd::Done);
    assert_eq!(bits(&training.finish().unwrap().1), want);
    let (a, b) = (log(&whole), log(&torn));
    assert_eq!(a.len(), CRITIC_STEPS);
    assert_eq!(a, b);
    std::fs::remove_dir_all(whole).unwrap();
    std::fs::remove_dir_all(torn).unwrap();
}

#[test]
fn an_adaptation_that_is_killed_ends_as_if_it_had_not_been() {
    let (whole, torn) = (folder("policy-whole"), folder("policy-torn"));
    let mut job = adaptation(Method::Cdpa, Some(&whole)).unwrap();
    job.run(&Budget::default(), &mut go).unwrap();
    let want = bits(job.adapter());
    let killed = kill_again_and_again(&torn, true, &[200, 500, 350]);
    let mut job = adaptation(Method::Cdpa, Some(&torn)).unwrap();
    println!("killed {killed} times, resumed after step {}", job.steps_done());
    assert!(killed > 0);
    job.run(&Budget::default(), &mut go).unwrap();
    assert_eq!(bits(job.adapter()), want);
    assert_eq!(log(&whole), log(&torn));
    std::fs::remove_dir_all(whole).unwrap();
    std::fs::remove_dir_all(torn).unwrap();
}
