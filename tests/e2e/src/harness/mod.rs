// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs tests and prints KTAP; knows nothing about what is tested except how
//! to tell whether a test left memory of the devices allocated.

mod args;
mod context;
mod ktap;
mod leaks;
mod process;
mod progress;
mod run;

use std::process::ExitCode;
use std::time::Duration;

pub use context::Context;
pub use context::Outcome;
pub use context::Stop;
pub use progress::Progress;

/// One test.
pub struct Test {
    /// Name within its suite.
    pub name: &'static str,
    /// Longest time it may take.
    pub limit: Duration,
    /// What it does.
    pub run: fn(&Context) -> Outcome,
}

/// Tests about one subject.
pub struct Suite {
    /// Name on the command line.
    pub name: &'static str,
    /// The tests in the order in which they run.
    pub tests: Vec<Test>,
}

/// A list of tests from functions; a number after one is its limit in seconds.
#[macro_export]
macro_rules! tests {
    (@limit) => { 60 };
    (@limit $limit:literal) => { $limit };
    ($($function:ident $(: $limit:literal)?),* $(,)?) => {
        vec![$($crate::harness::Test {
            name: stringify!($function),
            limit: std::time::Duration::from_secs($crate::tests!(@limit $($limit)?)),
            run: $function,
        }),*]
    };
}

/// The program, given all suites.
pub fn main(suites: &[Suite]) -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args::parse(&mut args) {
        Ok(args::Command::Help) => {
            print!("{}", args::HELP);
            ExitCode::SUCCESS
        }
        Ok(args::Command::List) => {
            for suite in suites {
                for test in &suite.tests {
                    println!("{}.{}", suite.name, test.name);
                }
            }
            ExitCode::SUCCESS
        }
        Ok(args::Command::Suite { name, options }) => {
            match suites.iter().find(|suite| suite.name == name) {
                Some(suite) => run::suite(suite, &options),
                None => wrong(&format!("there is no suite {name:?}")),
            }
        }
        Ok(args::Command::One {
            suite,
            test,
            options,
        }) => {
            let tests = suites
                .iter()
                .filter(|s| s.name == suite)
                .flat_map(|s| &s.tests);
            match tests.into_iter().find(|t| t.name == test) {
                Some(test) => process::child(test, &options),
                None => wrong(&format!("there is no test {suite}.{test}")),
            }
        }
        Ok(args::Command::Role { name, arguments }) => crate::suites::role(&name, &arguments),
        Err(text) => wrong(&text),
    }
}

fn wrong(text: &str) -> ExitCode {
    eprintln!("hlrs-e2e: {text}\n\n{}", args::HELP);
    ExitCode::from(2)
}
