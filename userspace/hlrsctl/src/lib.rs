// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the programs of this package share: sizes as people write and read
//! them, and the places of devices in the PCIe tree.

mod size;
pub mod tree;

pub use size::parse_size;
pub use size::Size;
