// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctl interface as such: what each refuses, and with which error.

mod calls;
mod memory;
mod query;

use crate::harness::Test;

pub fn tests() -> Vec<Test> {
    let mut tests = query::tests();
    tests.extend(memory::tests());
    tests.extend(calls::tests());
    tests
}
