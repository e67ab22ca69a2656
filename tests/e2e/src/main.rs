// SPDX-License-Identifier: MIT OR Apache-2.0
//! End-to-end tests of the hlrs driver: they run inside the guest, use the
//! device nodes, sysfs and debugfs as programs do, and print KTAP.
//!
//! `hlrs-e2e SUITE` runs a suite, each test in a process of its own, so that a
//! test that crashes, hangs or leaks does not decide the others.

mod check;
mod harness;
mod raw;
mod suites;
mod system;

fn main() -> std::process::ExitCode {
    harness::main(&suites::all())
}
