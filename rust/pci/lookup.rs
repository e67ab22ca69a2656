// SPDX-License-Identifier: GPL-2.0

//! Finding a PCI device.

use kernel::{
    bindings,
    pci,
    prelude::*,
    sync::aref::ARef, //
};

use core::ptr::NonNull;

/// The PCI function with an address; `None` if there is none.
///
/// `devfn` has the number of the device in the upper five bits, and that of the function in the
/// lower three. Sleeps. C: `pci_get_domain_bus_and_slot()`.
pub fn find_device(domain: u16, bus: u8, devfn: u8) -> Option<ARef<pci::Device>> {
    // SAFETY: No requirements.
    let pdev = unsafe {
        bindings::pci_get_domain_bus_and_slot(c_int::from(domain), bus.into(), devfn.into())
    };

    // SAFETY: The C function returns a reference, and `pci::Device` is a transparent wrapper of
    // the structure.
    NonNull::new(pdev).map(|pdev| unsafe { ARef::from_raw(pdev.cast()) })
}
