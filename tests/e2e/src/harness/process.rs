// SPDX-License-Identifier: MIT OR Apache-2.0
//! A test in a process of its own: both ends.
//!
//! The child prints notes on its standard output, which the parent passes on,
//! and as its last line the verdict, marked so that no note can be taken for
//! it. A child that ends without one has crashed.

use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::panic;
use std::process::Child;
use std::process::Command;
use std::process::ExitCode;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::args::Options;
use super::context::Context;
use super::context::Stop;
use super::ktap::Verdict;
use super::Test;

const MARK: &str = "\u{1e}verdict ";

/// Longest time that a killed process may take to end. One that waits in the
/// kernel without reacting to signals does not.
const KILL: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// Runs a test in this process and reports to the parent.
pub fn child(test: &Test, options: &Options) -> ExitCode {
    let context = Context {
        seed: options.seed,
        rounds: options.rounds,
        soak: options.soak,
    };
    let outcome = panic::catch_unwind(|| (test.run)(&context));
    match outcome {
        Ok(Ok(())) => println!("{MARK}ok"),
        Ok(Err(Stop::Skipped(why))) => println!("{MARK}skip {}", why.replace('\n', " ")),
        Ok(Err(Stop::Failed(why))) => println!("{MARK}fail {}", why.replace('\n', " ")),
        Err(_) => println!("{MARK}fail the test panicked; see above"),
    }
    ExitCode::SUCCESS
}

/// What became of a child.
pub struct Ended {
    pub verdict: Verdict,
    /// The process could not be killed: nothing more should be started.
    pub stuck: bool,
}

/// Runs a test in a child, and passes its notes to `note`.
pub fn run(suite: &str, test: &Test, options: &Options, mut note: impl FnMut(&str)) -> Ended {
    let mut command = Command::new("/proc/self/exe");
    command.args([
        suite,
        "--one",
        test.name,
        "--seed",
        &options.seed.to_string(),
    ]);
    if let Some(rounds) = options.rounds {
        command.args(["--rounds", &rounds.to_string()]);
    }
    if options.soak {
        command.arg("--soak");
    }
    // Only what is on the command line counts.
    for name in ["HLRS_SEED", "HLRS_ROUNDS", "HLRS_SOAK"] {
        command.env_remove(name);
    }
    // A group of its own, so that processes started by the test end with it.
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(err) => {
            let verdict = Verdict::Failed(format!("the test could not be started: {err}"));
            return Ended {
                verdict,
                stuck: false,
            };
        }
    };
    let (lines, received) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            // Notes may contain anything that a file or an error contains.
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                if lines
                    .send(String::from_utf8_lossy(&line).into_owned())
                    .is_err()
                {
                    break;
                }
            }
        });
    }

    // Long versions are bounded by the limit of the whole suite, outside.
    let long = options.soak || options.rounds.is_some();
    let limit = if long { test.limit * 60 } else { test.limit };
    let start = Instant::now();
    let mut verdict = None;
    let mut take = |line: String| match line.strip_prefix(MARK) {
        Some(text) => verdict = Some(read(text)),
        None => note(&line),
    };
    let status = loop {
        while let Ok(line) = received.try_recv() {
            take(line);
        }
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            _ if start.elapsed() > limit => break None,
            _ => thread::sleep(POLL),
        }
    };
    let stuck = status.is_none() && !kill(&mut child, &mut |text: String| take(text));
    // Helpers of the test may hold the pipe open: end them, then drain it.
    signal_group(&child, libc::SIGKILL);
    let drain = Instant::now();
    while drain.elapsed() < Duration::from_secs(1) {
        match received.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => take(line),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let verdict = match (status, verdict) {
        (None, _) => Verdict::Failed(format!("the test did not end within {limit:?}")),
        (Some(status), Some(verdict)) if status.success() => verdict,
        (Some(status), _) => Verdict::Failed(crash(status)),
    };
    Ended { verdict, stuck }
}

fn read(text: &str) -> Verdict {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("ok", _) => Verdict::Ok,
        ("skip", why) => Verdict::Skipped(why.to_owned()),
        (_, why) => Verdict::Failed(why.to_owned()),
    }
}

fn crash(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("the test was ended by signal {signal}"),
        None => format!("the test ended without a verdict, {status}"),
    }
}

/// Ends a child that took too long, after noting where in the kernel it and
/// everything else is.
/// Returns whether it ended.
fn kill(child: &mut Child, note: &mut dyn FnMut(String)) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id()));
    for task in tasks.into_iter().flatten().flatten() {
        let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let name = task.file_name();
        note(format!(
            "thread {} {} waits in:",
            name.to_string_lossy(),
            read("comm").trim()
        ));
        for line in read("stack").lines().chain(read("wchan").lines()) {
            note(format!("  {line}"));
        }
    }
    // What it waits for may be elsewhere: in another thread, or in a processor
    // that does not react.
    let everything = Command::new("timeout").args(["10", "hlrs-stacks"]).output();
    for line in everything.iter().flat_map(|out| out.stdout.lines()) {
        note(line.unwrap_or_default());
    }
    signal_group(child, libc::SIGKILL);
    let start = Instant::now();
    while start.elapsed() < KILL {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return true;
        }
        thread::sleep(POLL);
    }
    false
}

fn signal_group(child: &Child, signal: i32) {
    // SAFETY: a call without pointers; the group was made for this child, and
    // its number stays taken while the child is not waited for or others live.
    unsafe { libc::kill(-(child.id() as i32), signal) };
}
