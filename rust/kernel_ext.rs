// SPDX-License-Identifier: GPL-2.0

//! Abstractions over kernel interfaces that the `kernel` crate does not have yet.
//!
//! Each module stands for itself and is written to be sent upstream as it is: the name of the
//! module is the name it would have in the `kernel` crate.

pub mod anon_inode;
pub mod char_device;
pub mod deferred;
pub mod devcoredump;
pub mod dma_buf;
pub mod dma_fence;
pub mod dma_resv;
pub mod drm;
pub mod eventfd;
pub mod io;
pub mod ioctl;
pub mod mm;
pub mod module;
pub mod module_param;
pub mod p2pdma;
pub mod pci;
pub mod poll;
pub mod slab;
pub mod sync_file;
pub mod sysfs;
pub mod taint;
pub mod task;
pub mod time;
#[cfg(CONFIG_VFIO_PCI_CORE)]
pub mod vfio;
pub mod workqueue;

/// Prefix of the messages of this crate, which is no module of its own.
const __LOG_PREFIX: &[u8] = b"kernel_ext\0";
