// SPDX-License-Identifier: GPL-2.0

//! PCI: SR-IOV and reset callbacks, and what `kernel::pci` does not wrap yet.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)
//!
//! [`Adapter`] registers a driver as `kernel::pci::Adapter` does and adds the callbacks of
//! [`Driver`]. [`VfsInReset`] has VFs go through the resets of their PF. [`DeviceExt`] adds methods to
//! `kernel::pci::Device`.

mod adapter;
mod device;
mod irq;
mod lookup;
mod vfs_in_reset;

pub use self::adapter::{
    Adapter,
    Driver, //
};
pub use self::device::{
    DeviceExt,
    EnabledDevice,
    Sriov, //
};
pub use self::irq::Interrupts;
pub use self::lookup::find_device;
pub use self::vfs_in_reset::VfsInReset;
