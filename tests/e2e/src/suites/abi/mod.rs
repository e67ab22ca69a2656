// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctl interface as such: what each refuses, and with which error.

mod calls;
mod export;
mod handles;
mod memory;
mod operations;
mod query;
mod queue;
mod vm;

pub use queue::ordinary;

use crate::harness::Test;

pub fn tests() -> Vec<Test> {
    let mut tests = query::tests();
    tests.extend(memory::tests());
    tests.extend(operations::tests());
    tests.extend(export::tests());
    tests.extend(handles::tests());
    tests.extend(vm::tests());
    tests.extend(queue::tests());
    tests.extend(calls::tests());
    tests
}
