// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's fault injection: the n-th allocation of this thread fails.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::harness::Outcome;
use crate::harness::Stop;
use crate::system;

const FAIL_NTH: &str = "/proc/thread-self/fail-nth";

/// Kinds of failure that there may be; all are injected.
const KINDS: [&str; 4] = ["failslab", "fail_page_alloc", "fail_usercopy", "fail_futex"];

/// Allocations that may sleep are included, and nothing is logged, because
/// there would be thousands of messages.
const SETTINGS: [(&str, &str); 3] = [
    ("ignore-gfp-wait", "N"),
    ("min-order", "0"),
    ("verbose", "0"),
];

/// Fault injection for the time of a test, on the thread that has made it.
pub struct Injection {
    nth: File,
    before: Vec<(String, String)>,
}

/// What became of an injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injected {
    /// The failure happened.
    Yes,
    /// The call had fewer allocations; about this many were left to go.
    No(u64),
}

impl Injection {
    /// Skips the test if the kernel has none.
    pub fn new() -> Outcome<Injection> {
        system::need(FAIL_NTH, "fault injection")?;
        let nth = File::options().read(true).write(true).open(FAIL_NTH)?;
        let mut injection = Injection {
            nth,
            before: Vec::new(),
        };
        for kind in KINDS {
            for (name, value) in SETTINGS {
                injection.set(kind, name, value)?;
            }
        }
        Ok(injection)
    }

    /// Only what the driver asks for, directly or through others, fails, except
    /// what the kernel function `not_below` asks for. Skips the test if the
    /// kernel cannot look at who is asking.
    pub fn of_the_driver(not_below: &str) -> Outcome<Injection> {
        let mut injection = Self::new()?;
        let (start, end) = module_text("hlrs")?;
        let (reject_start, reject_end) = function(not_below)?;
        let filter = [
            ("stacktrace-depth", "32".to_owned()),
            ("require-start", format!("{start:#x}")),
            ("require-end", format!("{end:#x}")),
            ("reject-start", format!("{reject_start:#x}")),
            ("reject-end", format!("{reject_end:#x}")),
        ];
        system::need(path(KINDS[0], "require-start"), "failures by caller")?;
        for kind in KINDS {
            for (name, value) in &filter {
                injection.set(kind, name, value)?;
            }
        }
        Ok(injection)
    }

    /// Changes a setting, if the kernel has it, until this is dropped.
    fn set(&mut self, kind: &str, name: &str, value: &str) -> Outcome {
        let path = path(kind, name);
        if let Ok(old) = std::fs::read_to_string(&path) {
            self.before.push((path.clone(), old.trim().to_owned()));
            system::write(&path, value)?;
        }
        Ok(())
    }

    /// Runs `call` with its `n`-th allocation, from 1, failing.
    pub fn run<T>(&self, n: u64, call: impl FnOnce() -> T) -> Outcome<(T, Injected)> {
        self.nth.write_at(n.to_string().as_bytes(), 0)?;
        let result = call();
        let injected = self.left();
        self.disarm()?;
        Ok((result, injected))
    }

    /// Reading the count is a call, too: if that is what fails, the other had
    /// no failure.
    fn left(&self) -> Injected {
        let mut text = [0; 16];
        let Ok(len) = self.nth.read_at(&mut text, 0) else {
            return Injected::No(0);
        };
        match String::from_utf8_lossy(&text[..len]).trim().parse() {
            Ok(0) => Injected::Yes,
            Ok(left) => Injected::No(left),
            Err(_) => Injected::No(0),
        }
    }

    /// Stops injecting; what is still armed may hit this call, once.
    fn disarm(&self) -> Outcome {
        self.nth
            .write_at(b"0", 0)
            .or_else(|_| self.nth.write_at(b"0", 0))?;
        Ok(())
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        for (path, value) in self.before.iter().rev() {
            if let Err(err) = system::write(path, value) {
                println!("{path} could not be put back: {err}");
            }
        }
    }
}

fn path(kind: &str, name: &str) -> String {
    format!("/sys/kernel/debug/{kind}/{name}")
}

/// Where the code of a module lies.
fn module_text(module: &str) -> Outcome<(u64, u64)> {
    let modules = std::fs::read_to_string("/proc/modules")?;
    let parse = |line: &str| -> Option<(u64, u64)> {
        // Name, size, users, users' names, state, address.
        let words: Vec<_> = line.split_whitespace().collect();
        let (name, size, address) = (words.first()?, words.get(1)?, words.get(5)?);
        let start = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
        (*name == module).then_some((start, start + size.parse::<u64>().ok()?))
    };
    let found = modules.lines().find_map(parse);
    found.ok_or_else(|| Stop::failed(format!("{module} is not in /proc/modules")))
}

/// Where a function of the kernel lies: up to the next symbol.
fn function(name: &str) -> Outcome<(u64, u64)> {
    let symbols = std::fs::read_to_string("/proc/kallsyms")?;
    let symbol = |line: &str| -> Option<(u64, bool)> {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        Some((address, words.nth(1)? == name))
    };
    let symbols: Vec<_> = symbols.lines().filter_map(symbol).collect();
    let start = symbols
        .iter()
        .find(|(_, is)| *is)
        .map(|(address, _)| *address);
    let start = start.ok_or_else(|| Stop::skipped(format!("this kernel has no {name}()")))?;
    let end = symbols
        .iter()
        .map(|(address, _)| *address)
        .filter(|a| *a > start)
        .min();
    Ok((start, end.unwrap_or(start + 4096)))
}
