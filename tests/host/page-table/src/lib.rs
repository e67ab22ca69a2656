// SPDX-License-Identifier: GPL-2.0
//! Property tests of the page-table code in `drivers/accel/hlrs/vm`, which is compiled here as it
//! is in the kernel.
//!
//! | module | subject |
//! |---|---|
//! | [`prelude`] | what the code takes from the kernel crate |
//! | [`memory`] | device memory, simulated |
//! | [`mmu`] | the MMU, written from `docs/hardware.md` and nothing else |
//! | [`model`] | what the page tables should show, page by page |
//! | [`properties`] | random operations |
//! | [`cases`] | chosen ones |
#![cfg(test)]

// The code under test names these two crates.
extern crate self as hlrs_abi;
extern crate self as kernel;

include!(concat!(env!("OUT_DIR"), "/hw.rs"));

#[path = "../../../../drivers/accel/hlrs/vm"]
mod vm {
    pub(crate) mod page_table;
}
use vm::page_table;

#[path = "../../../e2e/src/system/random.rs"]
mod random;

pub mod prelude;

mod cases;
mod memory;
mod mmu;
mod model;
mod properties;
