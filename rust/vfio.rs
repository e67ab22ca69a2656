// SPDX-License-Identifier: GPL-2.0

//! VFIO: drivers that hand PCI functions to user space.
//!
//! C headers: [`include/linux/vfio.h`](srctree/include/linux/vfio.h),
//! [`include/linux/vfio_pci_core.h`](srctree/include/linux/vfio_pci_core.h)
//!
//! Reference: <https://docs.kernel.org/driver-api/vfio.html>
//!
//! # Parts
//!
//! - [`Driver`] is implemented by a variant driver: one that does all that vfio-pci does, by the same
//!   core, and has a share in what concerns the memory of the device.
//! - [`Registration`] makes it known to the PCI core, [`vfio_pci_device_table!`] to user space, which
//!   finds the driver of a device by it.
//! - [`Device`] is a function that the driver is bound to: the core's structure and the driver's data
//!   in one allocation.
//! - [`ConfigWrite`] says what a write to the configuration space does to the memory.
//! - [`dma_buf_request`] reads the argument of `VFIO_DEVICE_FEATURE_DMA_BUF`.
//!
//! # Memory that comes and goes
//!
//! The BARs of a function are not always there: it is reset, it sleeps, or its user has switched them
//! off. The core then takes the mappings of user space away and revokes what it has exported itself,
//! but of that it tells nobody. Therefore each call that can end the access passes through here first:
//!
//! | cause | the way here |
//! |---|---|
//! | `VFIO_DEVICE_RESET`, `VFIO_DEVICE_PCI_HOT_RESET` | `ioctl` |
//! | Memory Space Enable, power state, FLR bits in configuration space | `write` |
//! | `VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY`, with a wake-up or without | `device_feature` |
//! | reset of the function by others (sysfs, its bus, its PF) | `reset_prepare`, `reset_done` |
//! | the last file is closed | `close_device` |
//!
//! Of a reset of its PF a VF hears if the driver of that tells it:
//! [`VfsInReset`](crate::pci::VfsInReset).
//!
//! For all but the last, [`Driver::quiesce`] comes before the core does anything, and
//! [`Driver::resume`] after it has finished. In between, [`Driver::memory_changed`] says what holds
//! then. Several may go on at the same time, and a reset within an `ioctl` comes by both ways, so that a
//! driver counts them. Access is right while there is none, and the last state was "enabled".
//!
//! # Locking
//!
//! In this order:
//!
//! 1. `dev_set->lock` of VFIO, or the device lock of the PCI core;
//! 2. `memory_lock` of the core;
//! 3. the reservation locks of dma-bufs;
//! 4. what the driver has of its own.
//!
//! Page faults take 2 with the mmap lock held, so that with 2 or 3 nobody may touch user memory.
//!
//! [`Driver::quiesce`] runs without 2 where the cause is a call of the user, but with it when the core
//! resets the function within such a call (`reset_prepare`): it may take 3, as the core does when it
//! revokes its own exports, and not 2. [`Driver::memory_changed`] runs with 2 held for reading, so that
//! what it is told does not change while it stores it: those who write hold 2 for writing, and tell the
//! driver afterwards, so that the last to tell tells what is. Nothing here holds a lock when it calls
//! the core, so that the order among the core's own locks is what it was.
//!
//! # Known limits
//!
//! - Migration and DMA logging have no wrappers; a driver here has neither.
//! - A hot reset of several functions is announced by `reset_prepare` to those that another function's
//!   file has started it for, when the core has locked all of them already.

mod config;
mod device;
mod dma_buf;
mod driver;
mod ops;
mod registration;

pub use config::ConfigWrite;
pub use device::{
    Device,
    OpenDevice, //
};
pub use dma_buf::{
    dma_buf_request,
    DmaBufRequest,
    RegionRange, //
};
pub use driver::{
    Cause,
    Driver, //
};
pub use registration::Registration;

#[doc(inline)]
pub use crate::vfio_pci_device_table;
