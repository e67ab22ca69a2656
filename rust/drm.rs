// SPDX-License-Identifier: GPL-2.0

//! DRM compute accelerator devices (`/dev/accel/accelN`) with GEM memory management.
//!
//! C headers: [`include/drm/drm_accel.h`](srctree/include/drm/drm_accel.h),
//! [`include/drm/drm_device.h`](srctree/include/drm/drm_device.h),
//! [`include/drm/drm_gem.h`](srctree/include/drm/drm_gem.h)
//!
//! A driver implements [`Driver`] (the device), [`FileData`] (an open file, that is, a client) and
//! [`gem::DriverObject`] (a buffer). It creates an [`UnregisteredDevice`] while probing, and
//! publishes it with [`Registration::new`] when it is ready to serve userspace.
//!
//! # Lifetimes
//!
//! Who keeps what alive, from the outside to the inside:
//!
//! - An open file holds its DRM minor, the minor holds the [`Device`], and the file's operations
//!   hold the driver's module (`fops.owner`). A mapping (VMA) holds the open file and the GEM
//!   object.
//! - A GEM handle holds a [`gem::Object`]; closing the file closes its handles.
//! - A [`gem::Object`] holds the [`Device`] that it was created for. An exported dma-buf holds the
//!   object, and through its file operations the driver's module.
//! - The [`Device`] holds the parent `struct device`, but not its binding to the driver: after the
//!   driver was unbound the [`Device`], its [`Driver::Data`] and its objects live on until the last
//!   reference is gone. [`Driver::Data`] therefore must not own what ends with the binding
//!   (register mappings, interrupts, DMA mappings) other than through
//!   [`Devres`](kernel::devres::Devres).
//! - The [`Registration`] ends with the binding at the latest. Dropping it unplugs the device: the
//!   node disappears, new ioctls and opens fail with `ENODEV`, running [`DeviceGuard`] sections are
//!   waited for, and all CPU mappings of buffers are zapped; the next access to them gets SIGBUS.
//!
//! A reference must never point the other way: data of a device must not hold a reference to the
//! [`Device`] or to a [`gem::Object`], data of a GEM object must not hold a reference to the object
//! itself; such a cycle is never freed.
//!
//! Whoever keeps a reference to a [`Device`] or a [`gem::Object`] outside of what is listed here
//! (a kernel thread, a work item, another module) has to keep the driver's module loaded as well.
//!
//! # Known limits
//!
//! - There is no hook for debugfs, since the DRM core calls `drm_driver.debugfs_init` for other
//!   devices only. A driver makes its files with [`kernel::debugfs`].
//! - Objects do not take part in the DRM core's LRU lists and shrinker; pages that a
//!   [`gem::ShmemPages`] holds stay in memory.
//! - Mappings are made page by page; there are no huge entries in page tables of the CPU.

mod debug;
pub mod device;
pub mod driver;
pub mod exec;
pub mod file;
pub mod gem;
pub mod gpuvm;
pub mod ioctl;
pub mod prime;
pub mod print;
pub mod sched;
pub mod syncobj;

pub use self::device::{
    Device,
    DeviceGuard,
    UnregisteredDevice, //
};
pub use self::driver::{
    Driver,
    DriverInfo,
    Registration, //
};
pub use self::file::{
    File,
    FileData, //
};
pub use self::ioctl::IoctlDescriptor;
pub use self::print::{
    MemoryStats,
    Printer, //
};
pub use crate::dma_buf::DmaBuf;
