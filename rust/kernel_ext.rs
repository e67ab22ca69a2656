// SPDX-License-Identifier: GPL-2.0

//! Abstractions over kernel interfaces that the `kernel` crate does not have yet.
//!
//! Each module stands for itself and is written to be sent upstream as it is: the name of the
//! module is the name it would have in the `kernel` crate.

#![allow(missing_docs)]

use kernel::prelude::*;

/// Prefix of the messages of this crate, which is no module of its own.
const __LOG_PREFIX: &[u8] = b"kernel_ext\0";

pub fn physfn(p: *mut kernel::bindings::pci_dev) -> *mut kernel::bindings::pci_dev {
    pr_info!("hello\n");
    unsafe { ext_bindings::pci_physfn(p) }
}
