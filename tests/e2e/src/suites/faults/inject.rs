// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's fault injection: the n-th allocation of this thread fails.

use crate::harness::Outcome;
use crate::system;

const FAIL_NTH: &str = "/proc/thread-self/fail-nth";

/// Settings of the injected kinds of failure: allocations that may sleep are
/// included, and nothing is logged, because there would be thousands.
const SETTINGS: [(&str, &str); 6] = [
    ("failslab/ignore-gfp-wait", "N"),
    ("failslab/verbose", "0"),
    ("fail_page_alloc/ignore-gfp-wait", "N"),
    ("fail_page_alloc/min-order", "0"),
    ("fail_page_alloc/verbose", "0"),
    ("fail_usercopy/verbose", "0"),
];

/// Fault injection for the time of a test.
pub struct Injection {
    before: Vec<(String, String)>,
}

/// What became of an injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injected {
    /// The failure happened.
    Yes,
    /// The call had fewer allocations; this many were left to go.
    No(u64),
}

impl Injection {
    /// Skips the test if the kernel has none.
    pub fn new() -> Outcome<Injection> {
        system::need(FAIL_NTH, "fault injection")?;
        let mut before = Vec::new();
        for (file, value) in SETTINGS {
            let path = format!("/sys/kernel/debug/{file}");
            // A kind of failure that the kernel was built without.
            let Ok(old) = std::fs::read_to_string(&path) else {
                continue;
            };
            system::write(&path, value)?;
            before.push((path, old.trim().to_owned()));
        }
        Ok(Injection { before })
    }

    /// Runs `call` with its `n`-th allocation, from 1, failing.
    pub fn run<T>(&self, n: u64, call: impl FnOnce() -> T) -> Outcome<(T, Injected)> {
        system::write(FAIL_NTH, &n.to_string())?;
        let result = call();
        let left: u64 = std::fs::read_to_string(FAIL_NTH)?
            .trim()
            .parse()
            .unwrap_or(0);
        system::write(FAIL_NTH, "0")?;
        let injected = if left == 0 {
            Injected::Yes
        } else {
            Injected::No(left)
        };
        Ok((result, injected))
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        for (path, value) in &self.before {
            if let Err(err) = system::write(path, value) {
                println!("{path} could not be put back: {err}");
            }
        }
    }
}
