// SPDX-License-Identifier: GPL-2.0

//! Pages of an exporter in the address space of the kernel.

use super::{
    sg_table::{
        pages_of,
        Keep, //
    },
    KernelMap,
    PageBacking, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

use core::{
    ops::Range,
    ptr::NonNull, //
};

/// Pages that are mapped one after the other for the CPU; unmapped when dropped.
pub struct PageMap {
    address: NonNull<c_void>,
    /// Keeps the pages; dropped after the mapping.
    _backing: Keep,
}

// SAFETY: The mapping is one of the kernel, which all tasks have, and any may undo it; the backing
// may be released by any.
unsafe impl Send for PageMap {}

// SAFETY: As above; there are no methods that change anything.
unsafe impl Sync for PageMap {}

impl PageMap {
    /// Maps a part of `backing`, in bytes from its start, on page boundaries.
    ///
    /// Sleeps (allocates). C: `vmap()`.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `range` is empty or not on page boundaries.
    /// - `ERANGE`: `range` is beyond the memory.
    /// - `ENOMEM`.
    pub fn new<P: PageBacking>(backing: &Arc<P>, range: Range<usize>) -> Result<Self> {
        let pages = pages_of(&**backing, &range)?;
        let count = u32::try_from(pages.len())?;

        // SAFETY: The pages are valid, and the C function only reads the list.
        let address = unsafe { ext_bindings::vmap_pages(pages.as_ptr().cast_mut(), count) };

        Ok(Self {
            address: NonNull::new(address).ok_or(ENOMEM)?,
            _backing: Keep::new(backing.clone()),
        })
    }

    /// Where the pages are mapped.
    pub fn address(&self) -> KernelMap {
        KernelMap::Memory(self.address)
    }
}

impl Drop for PageMap {
    fn drop(&mut self) {
        // SAFETY: The address came from `vmap()`.
        unsafe { ext_bindings::vunmap(self.address.as_ptr()) };
    }
}
