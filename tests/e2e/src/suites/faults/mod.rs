// SPDX-License-Identifier: MIT OR Apache-2.0
//! Allocations that fail, one after the other, in every call and in probe.

mod calls;
pub mod inject;
mod probe;
mod vm;

pub use calls::each;
pub use inject::Injection;

use crate::harness::Test;

pub fn tests() -> Vec<Test> {
    let mut tests = calls::tests();
    tests.extend(vm::tests());
    tests.extend(probe::tests());
    tests
}
