// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copy, fill and checksum: results by content, alone and many at once.

mod concurrent;
mod content;

use crate::harness::Test;

pub fn tests() -> Vec<Test> {
    let mut tests = content::tests();
    tests.extend(concurrent::tests());
    tests
}
