// SPDX-License-Identifier: GPL-2.0

//! Access of the CPU to a dma-buf.

use super::DmaBuf;
use kernel::{
    bindings,
    dma::DataDirection,
    error::to_result,
    prelude::*,
    sync::aref::ARef, //
};

use core::{
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};

/// A time during which the CPU may access a buffer; from [`DmaBuf::begin_cpu_access`].
///
/// Dropping it ends the access. C: `dma_buf_end_cpu_access()`.
#[must_use = "the access ends at once when the value is not used"]
pub struct CpuAccess {
    dma_buf: ARef<DmaBuf>,
    direction: DataDirection,
}

impl CpuAccess {
    pub(super) fn new(dma_buf: ARef<DmaBuf>, direction: DataDirection) -> Result<Self> {
        // SAFETY: The dma-buf is initialised.
        to_result(unsafe {
            bindings::dma_buf_begin_cpu_access(dma_buf.as_raw(), direction.into())
        })?;
        Ok(Self { dma_buf, direction })
    }

    /// Ends the access, and tells what the exporter says to it. Sleeps.
    ///
    /// # Errors
    ///
    /// Those of the exporter.
    pub fn end(self) -> Result {
        let this = ManuallyDrop::new(self);
        let ret = this.end_raw();

        // SAFETY: `this` is neither used again nor dropped.
        drop(unsafe { core::ptr::read(&this.dma_buf) });
        to_result(ret)
    }

    fn end_raw(&self) -> c_int {
        // SAFETY: The dma-buf is initialised, and the access was begun in `new()`.
        unsafe { bindings::dma_buf_end_cpu_access(self.dma_buf.as_raw(), self.direction.into()) }
    }
}

impl Drop for CpuAccess {
    fn drop(&mut self) {
        self.end_raw();
    }
}

/// Where a buffer is mapped in the address space of the kernel. C: `struct iosys_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelMap {
    /// System memory, for ordinary loads and stores.
    Memory(NonNull<c_void>),
    /// Memory of a device, for the functions for I/O memory.
    Io(NonNull<c_void>),
}

// SAFETY: The address is that of a mapping of the kernel, which is the same in all tasks.
unsafe impl Send for KernelMap {}

// SAFETY: As above.
unsafe impl Sync for KernelMap {}

impl KernelMap {
    pub(super) fn into_raw(self) -> bindings::iosys_map {
        let mut map: bindings::iosys_map = pin_init::zeroed();

        match self {
            Self::Memory(addr) => map.__bindgen_anon_1.vaddr = addr.as_ptr(),
            Self::Io(addr) => {
                map.__bindgen_anon_1.vaddr_iomem = addr.as_ptr();
                map.is_iomem = true;
            }
        }
        map
    }

    /// # Safety
    ///
    /// `map` must be set.
    pub(super) unsafe fn from_raw(map: &bindings::iosys_map) -> Self {
        // SAFETY: By the safety requirements the pointer is set; both members of the union are
        // the same pointer.
        let addr = unsafe { NonNull::new_unchecked(map.__bindgen_anon_1.vaddr) };

        if map.is_iomem {
            Self::Io(addr)
        } else {
            Self::Memory(addr)
        }
    }
}

/// A mapping of a whole buffer in the address space of the kernel; from [`DmaBuf::vmap`].
///
/// Dropping it undoes the mapping, and takes the reservation lock for it, so the lock must not be
/// held then. C: `dma_buf_vunmap_unlocked()`.
pub struct VMap {
    dma_buf: ARef<DmaBuf>,
    map: KernelMap,
}

impl VMap {
    pub(super) fn new(dma_buf: ARef<DmaBuf>) -> Result<Self> {
        let mut map = pin_init::zeroed();

        // SAFETY: The dma-buf is initialised; `map` is a valid place.
        to_result(unsafe { bindings::dma_buf_vmap_unlocked(dma_buf.as_raw(), &mut map) })?;

        Ok(Self {
            dma_buf,
            // SAFETY: On success the C function has set the mapping.
            map: unsafe { KernelMap::from_raw(&map) },
        })
    }

    /// The buffer that is mapped.
    pub fn dma_buf(&self) -> &DmaBuf {
        &self.dma_buf
    }
}

impl Deref for VMap {
    type Target = KernelMap;

    fn deref(&self) -> &KernelMap {
        &self.map
    }
}

impl Drop for VMap {
    fn drop(&mut self) {
        // SAFETY: The mapping was made in `new()`.
        unsafe {
            bindings::dma_buf_vunmap_unlocked(self.dma_buf.as_raw(), &mut self.map.into_raw())
        };
    }
}
