// SPDX-License-Identifier: MIT OR Apache-2.0
//! Allocations that fail, one after the other: in every call, the suite
//! `faults`, and in probe, the suite `probe`.

mod calls;
pub mod inject;
mod probe;
mod vm;

pub use calls::each;
pub use calls::each_of;
pub use inject::Injection;

use crate::harness::Test;

pub fn tests() -> Vec<Test> {
    let mut tests = calls::tests();
    tests.extend(vm::tests());
    tests
}

/// A suite of their own, after which leaks are looked for.
pub fn probe_tests() -> Vec<Test> {
    probe::tests()
}
