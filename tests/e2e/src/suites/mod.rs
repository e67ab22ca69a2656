// SPDX-License-Identifier: MIT OR Apache-2.0
//! The suites, one file or directory each.

mod abi;
mod mem;
mod mmap;
mod ops;
mod prime;
mod roles;

use crate::harness::Suite;

pub use roles::role;

/// All suites.
pub fn all() -> Vec<Suite> {
    vec![
        Suite {
            name: "abi",
            tests: abi::tests(),
        },
        Suite {
            name: "mem",
            tests: mem::tests(),
        },
        Suite {
            name: "ops",
            tests: ops::tests(),
        },
        Suite {
            name: "mmap",
            tests: mmap::tests(),
        },
        Suite {
            name: "prime",
            tests: prime::tests(),
        },
    ]
}
