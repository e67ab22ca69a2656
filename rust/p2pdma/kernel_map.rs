// SPDX-License-Identifier: GPL-2.0

//! Memory of a BAR in the address space of the kernel.

use super::Provider;
use crate::dma_buf::{
    KernelMap,
    PhysRange, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

use core::ptr::NonNull;

/// How a mapping is undone.
enum Kind {
    /// By `ioremap_wc()`.
    Io,
    /// By `vmap_pfn()`.
    Pages,
}

/// Memory of a BAR, mapped for the CPU with write combining; unmapped when dropped.
///
/// The BAR must decode as long as the mapping is used: an access after that is harmless, and reads
/// all ones.
pub struct BarMap {
    address: NonNull<c_void>,
    kind: Kind,
}

// SAFETY: The mapping is one of the kernel, which all tasks have, and any may undo it.
unsafe impl Send for BarMap {}

// SAFETY: As above.
unsafe impl Sync for BarMap {}

impl BarMap {
    /// Where the memory is mapped.
    pub fn address(&self) -> KernelMap {
        KernelMap::Io(self.address)
    }
}

impl Drop for BarMap {
    fn drop(&mut self) {
        // SAFETY: The address came from the function that belongs to this one.
        unsafe {
            match self.kind {
                Kind::Io => ext_bindings::iounmap(self.address.as_ptr()),
                Kind::Pages => ext_bindings::vunmap(self.address.as_ptr()),
            }
        }
    }
}

impl Provider {
    /// Maps `ranges` of the BAR one after the other into the address space of the kernel.
    ///
    /// Sleeps (allocates). C: `ioremap_wc()` for one range, `vmap_pfn()` for several.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: there is no range, or one is empty or not on page boundaries.
    /// - `ERANGE`: a range is not within the BAR.
    /// - `EOPNOTSUPP`: there are several ranges, and the kernel has no `vmap_pfn()`
    ///   (`CONFIG_VMAP_PFN`, which i915 and xe select).
    /// - `ENOMEM`.
    pub fn map_kernel(&self, ranges: impl Iterator<Item = PhysRange> + Clone) -> Result<BarMap> {
        let mut count = 0;

        for range in ranges.clone() {
            if range.len == 0 || (range.start | range.len) % PAGE_SIZE as u64 != 0 {
                return Err(EINVAL);
            }
            if !self.contains(range.start, range.len) {
                return Err(ERANGE);
            }
            count += 1;
        }

        let (address, kind) = match (count, ranges.clone().next()) {
            (_, None) => return Err(EINVAL),
            (1, Some(range)) => {
                let len = usize::try_from(range.len)?;

                // SAFETY: The range is device memory.
                let address = unsafe { ext_bindings::ioremap_wc(range.start, len) };

                (address, Kind::Io)
            }
            _ => (map_pages(ranges)?, Kind::Pages),
        };

        Ok(BarMap {
            address: NonNull::new(address).ok_or(ENOMEM)?,
            kind,
        })
    }
}

fn map_pages(ranges: impl Iterator<Item = PhysRange>) -> Result<*mut c_void> {
    if !cfg!(CONFIG_VMAP_PFN) {
        return Err(EOPNOTSUPP);
    }

    let mut pfns = KVVec::<usize>::new();

    for range in ranges {
        for page in 0..range.len / PAGE_SIZE as u64 {
            // CAST: `usize` has 64 bits wherever BARs are beyond 4 GiB.
            pfns.push((range.start / PAGE_SIZE as u64 + page) as usize, GFP_KERNEL)?;
        }
    }

    let count = u32::try_from(pfns.len())?;

    // SAFETY: The list has `count` numbers of page frames, which are device memory.
    Ok(unsafe { ext_bindings::vmap_pfn_wc(pfns.as_mut_ptr(), count) })
}
