// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address spaces in file descriptors: one at a time, for as long as one of its
//! duplicates is open, and what is left of it when the device file is closed.

mod export;
mod lifetime;

pub use lifetime::keep;

use crate::harness::Test;

pub fn tests() -> Vec<Test> {
    let mut tests = export::tests();
    tests.extend(lifetime::tests());
    tests
}
