// SPDX-License-Identifier: MIT OR Apache-2.0
//! Userspace ABI of the hlrs accelerator driver and of the driver of its NIC, as
//! in their headers `include/uapi/drm/hlrs_accel.h` and
//! `include/uapi/misc/hlrs_nic.h`, where every structure and every error is
//! documented.
//!
//! The types and numbers are generated from the headers by bindgen, and the
//! result is part of the crate, so that building it takes nothing but a Rust
//! compiler. `tests/generated.rs` regenerates and compares; `tests/layout.rs`
//! pins sizes and offsets and has C compilers for 32 and 64 bits check the
//! same table.
//!
//! A safe interface is in the crate `hlrs`.
#![no_std]

#[allow(missing_docs, non_camel_case_types, clippy::missing_safety_doc)]
#[allow(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]
mod bindings;

pub use bindings::*;

use core::ffi::c_char;
use core::ffi::c_int;
use core::mem::size_of;

/// Argument of [`DRM_IOCTL_VERSION`]: name and version of a DRM driver.
///
/// Written by hand, because it is the one structure here that differs between
/// 32 and 64 bits.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
#[allow(missing_docs, non_camel_case_types)]
pub struct drm_version {
    pub version_major: c_int,
    pub version_minor: c_int,
    pub version_patchlevel: c_int,
    pub name_len: usize,
    pub name: *mut c_char,
    pub date_len: usize,
    pub date: *mut c_char,
    pub desc_len: usize,
    pub desc: *mut c_char,
}

/// Number of the DRM core's ioctl that tells name and version of the driver.
pub const DRM_IOCTL_VERSION: u32 =
    (3 << 30) | ((size_of::<drm_version>() as u32) << 16) | (0x64 << 8);
/// Number of the ioctl that takes a [`drm_gem_close`].
pub const DRM_IOCTL_GEM_CLOSE: u32 = HLRS_SYS_IOCTL_GEM_CLOSE;
/// Number of the ioctl that takes a [`drm_prime_handle`] and sets its `fd`.
pub const DRM_IOCTL_PRIME_HANDLE_TO_FD: u32 = HLRS_SYS_IOCTL_PRIME_HANDLE_TO_FD;
/// Number of the ioctl that takes a [`drm_prime_handle`] and sets its `handle`.
pub const DRM_IOCTL_PRIME_FD_TO_HANDLE: u32 = HLRS_SYS_IOCTL_PRIME_FD_TO_HANDLE;
/// Number of the ioctl that takes a [`drm_syncobj_create`].
pub const DRM_IOCTL_SYNCOBJ_CREATE: u32 = HLRS_SYS_IOCTL_SYNCOBJ_CREATE;
/// Number of the ioctl that takes a [`drm_syncobj_destroy`].
pub const DRM_IOCTL_SYNCOBJ_DESTROY: u32 = HLRS_SYS_IOCTL_SYNCOBJ_DESTROY;
/// Number of the ioctl that takes a [`drm_syncobj_handle`] and sets its `fd`.
pub const DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD: u32 = HLRS_SYS_IOCTL_SYNCOBJ_HANDLE_TO_FD;
/// Number of the ioctl that takes a [`drm_syncobj_handle`] and sets its `handle`.
pub const DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE: u32 = HLRS_SYS_IOCTL_SYNCOBJ_FD_TO_HANDLE;
/// Number of the ioctl that takes a [`drm_syncobj_transfer`].
pub const DRM_IOCTL_SYNCOBJ_TRANSFER: u32 = HLRS_SYS_IOCTL_SYNCOBJ_TRANSFER;
/// Number of the ioctl that takes a [`drm_syncobj_timeline_wait`].
pub const DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT: u32 = HLRS_SYS_IOCTL_SYNCOBJ_TIMELINE_WAIT;
/// Number of the ioctl that takes a [`drm_syncobj_timeline_array`].
pub const DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL: u32 = HLRS_SYS_IOCTL_SYNCOBJ_TIMELINE_SIGNAL;
/// Number of the ioctl that takes a [`drm_syncobj_array`], and has their fences signal.
pub const DRM_IOCTL_SYNCOBJ_SIGNAL: u32 = HLRS_SYS_IOCTL_SYNCOBJ_SIGNAL;
/// Number of the ioctl that takes a [`drm_syncobj_array`], and takes their fences away.
pub const DRM_IOCTL_SYNCOBJ_RESET: u32 = HLRS_SYS_IOCTL_SYNCOBJ_RESET;
/// Number of the ioctl that takes a [`drm_syncobj_timeline_array`] and sets its points.
pub const DRM_IOCTL_SYNCOBJ_QUERY: u32 = HLRS_SYS_IOCTL_SYNCOBJ_QUERY;

/// [`drm_syncobj_create`]: it begins with a fence that has signalled.
pub const DRM_SYNCOBJ_CREATE_SIGNALED: u32 = HLRS_SYS_SYNCOBJ_CREATE_SIGNALED;
/// [`drm_syncobj_handle`]: the descriptor is a sync file, whose fence the syncobj gets.
pub const DRM_SYNCOBJ_IMPORT_SYNC_FILE: u32 = HLRS_SYS_SYNCOBJ_IMPORT_SYNC_FILE;
/// [`drm_syncobj_handle`]: the descriptor is to be a sync file with the syncobj's fence.
pub const DRM_SYNCOBJ_EXPORT_SYNC_FILE: u32 = HLRS_SYS_SYNCOBJ_EXPORT_SYNC_FILE;
/// [`drm_syncobj_timeline_wait`]: for all, not for one of them.
pub const DRM_SYNCOBJ_WAIT_ALL: u32 = HLRS_SYS_SYNCOBJ_WAIT_ALL;
/// [`drm_syncobj_timeline_wait`]: also for a fence that is not there yet.
pub const DRM_SYNCOBJ_WAIT_FOR_SUBMIT: u32 = HLRS_SYS_SYNCOBJ_WAIT_FOR_SUBMIT;
/// [`drm_syncobj_timeline_wait`]: only until there is a fence.
pub const DRM_SYNCOBJ_WAIT_AVAILABLE: u32 = HLRS_SYS_SYNCOBJ_WAIT_AVAILABLE;

/// [`drm_prime_handle`]: the descriptor is closed on exec.
pub const DRM_CLOEXEC: u32 = HLRS_SYS_DRM_CLOEXEC;
/// [`drm_prime_handle`]: the descriptor may be mapped for writing.
pub const DRM_RDWR: u32 = HLRS_SYS_DRM_RDWR;

/// Number of the ioctl that takes a [`drm_hlrs_device_query`].
pub const DRM_IOCTL_HLRS_DEVICE_QUERY: u32 = HLRS_SYS_IOCTL_HLRS_DEVICE_QUERY;
/// Number of the ioctl that takes a [`drm_hlrs_mem_create`].
pub const DRM_IOCTL_HLRS_MEM_CREATE: u32 = HLRS_SYS_IOCTL_HLRS_MEM_CREATE;
/// Number of the ioctl that takes a [`drm_hlrs_mem_mmap_offset`].
pub const DRM_IOCTL_HLRS_MEM_MMAP_OFFSET: u32 = HLRS_SYS_IOCTL_HLRS_MEM_MMAP_OFFSET;
/// Number of the ioctl that takes a [`drm_hlrs_mem_copy`].
pub const DRM_IOCTL_HLRS_MEM_COPY: u32 = HLRS_SYS_IOCTL_HLRS_MEM_COPY;
/// Number of the ioctl that takes a [`drm_hlrs_mem_fill`].
pub const DRM_IOCTL_HLRS_MEM_FILL: u32 = HLRS_SYS_IOCTL_HLRS_MEM_FILL;
/// Number of the ioctl that takes a [`drm_hlrs_mem_crc32c`].
pub const DRM_IOCTL_HLRS_MEM_CRC32C: u32 = HLRS_SYS_IOCTL_HLRS_MEM_CRC32C;
/// Number of the ioctl that takes a [`drm_hlrs_mem_wait`].
pub const DRM_IOCTL_HLRS_MEM_WAIT: u32 = HLRS_SYS_IOCTL_HLRS_MEM_WAIT;
/// Number of the ioctl that takes a [`drm_hlrs_mem_export`].
pub const DRM_IOCTL_HLRS_MEM_EXPORT: u32 = HLRS_SYS_IOCTL_HLRS_MEM_EXPORT;
/// Number of the ioctl that takes a [`drm_hlrs_mem_revoke`].
pub const DRM_IOCTL_HLRS_MEM_REVOKE: u32 = HLRS_SYS_IOCTL_HLRS_MEM_REVOKE;
/// Number of the ioctl that takes a [`drm_hlrs_device_own`].
pub const DRM_IOCTL_HLRS_DEVICE_OWN: u32 = HLRS_SYS_IOCTL_HLRS_DEVICE_OWN;
/// Number of the ioctl that takes a [`drm_hlrs_vm_create`].
pub const DRM_IOCTL_HLRS_VM_CREATE: u32 = HLRS_SYS_IOCTL_HLRS_VM_CREATE;
/// Number of the ioctl that takes a [`drm_hlrs_vm_destroy`].
pub const DRM_IOCTL_HLRS_VM_DESTROY: u32 = HLRS_SYS_IOCTL_HLRS_VM_DESTROY;
/// Number of the ioctl that takes a [`drm_hlrs_vm_bind`].
pub const DRM_IOCTL_HLRS_VM_BIND: u32 = HLRS_SYS_IOCTL_HLRS_VM_BIND;
/// Number of the ioctl that takes a [`drm_hlrs_vm_query`].
pub const DRM_IOCTL_HLRS_VM_QUERY: u32 = HLRS_SYS_IOCTL_HLRS_VM_QUERY;
/// Number of the ioctl that takes a [`drm_hlrs_vm_export`].
pub const DRM_IOCTL_HLRS_VM_EXPORT: u32 = HLRS_SYS_IOCTL_HLRS_VM_EXPORT;
/// Number of the ioctl that takes a [`drm_hlrs_queue_create`].
pub const DRM_IOCTL_HLRS_QUEUE_CREATE: u32 = HLRS_SYS_IOCTL_HLRS_QUEUE_CREATE;
/// Number of the ioctl that takes a [`drm_hlrs_queue_destroy`].
pub const DRM_IOCTL_HLRS_QUEUE_DESTROY: u32 = HLRS_SYS_IOCTL_HLRS_QUEUE_DESTROY;
/// Number of the ioctl that takes a [`drm_hlrs_queue_submit`].
pub const DRM_IOCTL_HLRS_QUEUE_SUBMIT: u32 = HLRS_SYS_IOCTL_HLRS_QUEUE_SUBMIT;
/// Number of the ioctl that takes a [`drm_hlrs_queue_query`].
pub const DRM_IOCTL_HLRS_QUEUE_QUERY: u32 = HLRS_SYS_IOCTL_HLRS_QUEUE_QUERY;
/// Number of the ioctl that takes a [`drm_hlrs_mem_query`].
pub const DRM_IOCTL_HLRS_MEM_QUERY: u32 = HLRS_SYS_IOCTL_HLRS_MEM_QUERY;

/// On the NIC's node: number of the ioctl that takes a [`hlrs_nic_query`].
pub const HLRS_NIC_IOCTL_QUERY: u32 = HLRS_SYS_IOCTL_HLRS_NIC_QUERY;
/// On the NIC's node: number of the ioctl that takes a [`hlrs_nic_vm_register`].
pub const HLRS_NIC_IOCTL_VM_REGISTER: u32 = HLRS_SYS_IOCTL_HLRS_NIC_VM_REGISTER;
/// On the NIC's node: number of the ioctl that takes a [`hlrs_nic_vm_unregister`].
pub const HLRS_NIC_IOCTL_VM_UNREGISTER: u32 = HLRS_SYS_IOCTL_HLRS_NIC_VM_UNREGISTER;
/// On the NIC's node: number of the ioctl that takes a [`hlrs_nic_copy`].
pub const HLRS_NIC_IOCTL_COPY: u32 = HLRS_SYS_IOCTL_HLRS_NIC_COPY;
/// On the NIC's node: number of the ioctl that takes a [`hlrs_nic_wait`].
pub const HLRS_NIC_IOCTL_WAIT: u32 = HLRS_SYS_IOCTL_HLRS_NIC_WAIT;

/// [`drm_hlrs_mem_export`]: importers may only read.
pub const O_RDONLY: u32 = HLRS_SYS_O_RDONLY;
/// [`drm_hlrs_mem_export`]: importers may only write.
pub const O_WRONLY: u32 = HLRS_SYS_O_WRONLY;
/// [`drm_hlrs_mem_export`]: importers may read and write.
pub const O_RDWR: u32 = HLRS_SYS_O_RDWR;
/// [`drm_hlrs_mem_export`]: the descriptor is closed on exec.
pub const O_CLOEXEC: u32 = HLRS_SYS_O_CLOEXEC;

/// On a dma-buf: number of the ioctl that takes a [`dma_buf_sync`].
pub const DMA_BUF_IOCTL_SYNC: u32 = HLRS_SYS_DMA_BUF_IOCTL_SYNC;
/// On a dma-buf: number of the ioctl that takes a [`dma_buf_export_sync_file`].
pub const DMA_BUF_IOCTL_EXPORT_SYNC_FILE: u32 = HLRS_SYS_DMA_BUF_IOCTL_EXPORT_SYNC_FILE;
/// On a dma-buf: number of the ioctl that takes a [`dma_buf_import_sync_file`].
pub const DMA_BUF_IOCTL_IMPORT_SYNC_FILE: u32 = HLRS_SYS_DMA_BUF_IOCTL_IMPORT_SYNC_FILE;
/// On a sync file: number of the ioctl that takes a [`sync_file_info`].
pub const SYNC_IOC_FILE_INFO: u32 = HLRS_SYS_SYNC_IOC_FILE_INFO;
/// Accesses that read.
pub const DMA_BUF_SYNC_READ: u32 = HLRS_SYS_DMA_BUF_SYNC_READ;
/// Accesses that write.
pub const DMA_BUF_SYNC_WRITE: u32 = HLRS_SYS_DMA_BUF_SYNC_WRITE;
/// [`dma_buf_sync`]: the access ends.
pub const DMA_BUF_SYNC_END: u32 = HLRS_SYS_DMA_BUF_SYNC_END;

/// The number of every ioctl of a node here with its name in C.
pub const IOCTLS: [(&str, u32); 24] = [
    ("DRM_IOCTL_HLRS_DEVICE_QUERY", DRM_IOCTL_HLRS_DEVICE_QUERY),
    ("DRM_IOCTL_HLRS_MEM_CREATE", DRM_IOCTL_HLRS_MEM_CREATE),
    (
        "DRM_IOCTL_HLRS_MEM_MMAP_OFFSET",
        DRM_IOCTL_HLRS_MEM_MMAP_OFFSET,
    ),
    ("DRM_IOCTL_HLRS_MEM_COPY", DRM_IOCTL_HLRS_MEM_COPY),
    ("DRM_IOCTL_HLRS_MEM_FILL", DRM_IOCTL_HLRS_MEM_FILL),
    ("DRM_IOCTL_HLRS_MEM_CRC32C", DRM_IOCTL_HLRS_MEM_CRC32C),
    ("DRM_IOCTL_HLRS_MEM_WAIT", DRM_IOCTL_HLRS_MEM_WAIT),
    ("DRM_IOCTL_HLRS_MEM_EXPORT", DRM_IOCTL_HLRS_MEM_EXPORT),
    ("DRM_IOCTL_HLRS_MEM_REVOKE", DRM_IOCTL_HLRS_MEM_REVOKE),
    ("DRM_IOCTL_HLRS_DEVICE_OWN", DRM_IOCTL_HLRS_DEVICE_OWN),
    ("DRM_IOCTL_HLRS_VM_CREATE", DRM_IOCTL_HLRS_VM_CREATE),
    ("DRM_IOCTL_HLRS_VM_DESTROY", DRM_IOCTL_HLRS_VM_DESTROY),
    ("DRM_IOCTL_HLRS_VM_BIND", DRM_IOCTL_HLRS_VM_BIND),
    ("DRM_IOCTL_HLRS_VM_QUERY", DRM_IOCTL_HLRS_VM_QUERY),
    ("DRM_IOCTL_HLRS_VM_EXPORT", DRM_IOCTL_HLRS_VM_EXPORT),
    ("DRM_IOCTL_HLRS_QUEUE_CREATE", DRM_IOCTL_HLRS_QUEUE_CREATE),
    ("DRM_IOCTL_HLRS_QUEUE_DESTROY", DRM_IOCTL_HLRS_QUEUE_DESTROY),
    ("DRM_IOCTL_HLRS_QUEUE_SUBMIT", DRM_IOCTL_HLRS_QUEUE_SUBMIT),
    ("DRM_IOCTL_HLRS_QUEUE_QUERY", DRM_IOCTL_HLRS_QUEUE_QUERY),
    ("DRM_IOCTL_HLRS_MEM_QUERY", DRM_IOCTL_HLRS_MEM_QUERY),
    ("DRM_IOCTL_VERSION", DRM_IOCTL_VERSION),
    ("DRM_IOCTL_GEM_CLOSE", DRM_IOCTL_GEM_CLOSE),
    ("DRM_IOCTL_PRIME_HANDLE_TO_FD", DRM_IOCTL_PRIME_HANDLE_TO_FD),
    ("DRM_IOCTL_PRIME_FD_TO_HANDLE", DRM_IOCTL_PRIME_FD_TO_HANDLE),
];

/// The number of every ioctl of the NIC's node with its name in C.
pub const NIC_IOCTLS: [(&str, u32); 5] = [
    ("HLRS_NIC_IOCTL_QUERY", HLRS_NIC_IOCTL_QUERY),
    ("HLRS_NIC_IOCTL_VM_REGISTER", HLRS_NIC_IOCTL_VM_REGISTER),
    ("HLRS_NIC_IOCTL_VM_UNREGISTER", HLRS_NIC_IOCTL_VM_UNREGISTER),
    ("HLRS_NIC_IOCTL_COPY", HLRS_NIC_IOCTL_COPY),
    ("HLRS_NIC_IOCTL_WAIT", HLRS_NIC_IOCTL_WAIT),
];
