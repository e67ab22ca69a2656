// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual functions: enabling, their memory, their limits.

mod enable;
mod isolation;
mod quota;
mod stop;

use crate::harness::Test;

pub fn tests() -> Vec<Test> {
    let mut tests = enable::tests();
    tests.extend(quota::tests());
    tests.extend(stop::tests());
    tests.extend(isolation::tests());
    tests
}
