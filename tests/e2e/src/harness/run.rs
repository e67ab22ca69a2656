// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a suite.

use std::fs;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use super::args::Options;
use super::ktap::Verdict;
use super::ktap::Writer;
use super::leaks;
use super::process;
use super::Suite;

/// Tells the kernel's log which test runs, so that a splat can be attributed.
fn mark(what: &str, name: &str) {
    if let Ok(mut kmsg) = fs::File::options().write(true).open("/dev/kmsg") {
        // One write is one record. Without permission there is no record.
        let _ = kmsg.write_all(format!("<6>hlrs-test: {what} {name}\n").as_bytes());
    }
}

pub fn suite(suite: &Suite, options: &Options) -> ExitCode {
    match run(suite, options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(err) => {
            eprintln!("hlrs-e2e: printing the results: {err}");
            ExitCode::FAILURE
        }
    }
}

fn run(suite: &Suite, options: &Options) -> io::Result<usize> {
    let wanted = |name: &str| {
        options
            .filter
            .as_ref()
            .is_none_or(|text| name.contains(text))
    };
    let tests: Vec<_> = suite
        .tests
        .iter()
        .filter(|test| wanted(test.name))
        .collect();
    let mut ktap = Writer::start(io::stdout(), suite.name, tests.len())?;
    ktap.note(&format!("seed {}", options.seed))?;
    for test in tests {
        let name = format!("{}.{}", suite.name, test.name);
        let before = leaks::now();
        mark("begin", &name);
        let mut noted = Ok(());
        let mut ended = process::run(suite.name, test, options, |line| {
            if noted.is_ok() {
                noted = ktap.note(line);
            }
        });
        noted?;
        if ended.verdict == Verdict::Ok {
            if let Some(text) = leaks::since(&before) {
                ended.verdict = Verdict::Failed(text);
            }
        }
        mark("end", &name);
        ktap.result(test.name, &ended.verdict)?;
        if ended.stuck {
            ktap.bail_out("a process of the test cannot be killed")?;
            return Ok(ktap.failed().max(1));
        }
    }
    Ok(ktap.failed())
}
