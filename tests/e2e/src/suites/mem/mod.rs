// SPDX-License-Identifier: MIT OR Apache-2.0
//! Allocation: every kind of buffer, full memory, fragmentation, accounting.

mod alloc;
mod full;

pub use full::aperture_tests;
pub use full::exhaust;

use crate::harness::Test;

pub fn tests() -> Vec<Test> {
    let mut tests = alloc::tests();
    tests.extend(full::tests());
    tests
}
