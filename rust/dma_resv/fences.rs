// SPDX-License-Identifier: GPL-2.0

//! The fences in a reservation object.

use super::{
    DmaResv,
    Guard,
    Usage, //
};
use crate::dma_fence::Fence;
use core::{
    ptr::null_mut,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::aref::ARef, //
};

/// Array of fences as `dma_resv_get_fences()` allocates it.
///
/// # Invariants
///
/// `array` is null or a `kmalloc()`ed array of `len` references to fences.
struct Array {
    array: *mut *mut bindings::dma_fence,
    len: u32,
}

impl Drop for Array {
    fn drop(&mut self) {
        for i in 0..self.len as usize {
            // SAFETY: By the type invariant, `i` being within the array.
            unsafe { ext_bindings::dma_fence_put(*self.array.add(i)) };
        }
        // SAFETY: By the type invariant.
        unsafe { bindings::kfree(self.array.cast()) };
    }
}

impl DmaResv {
    /// Returns the fences of `usage` and of those before it that have not signalled, and for which
    /// `filter` is true.
    ///
    /// Fences that are added meanwhile may be missed unless the lock is held, which is allowed.
    /// Sleeps (allocates). C: `dma_resv_get_fences()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn fences(
        &self,
        usage: Usage,
        filter: impl Fn(&Fence) -> bool,
    ) -> Result<KVec<ARef<Fence>>> {
        let mut array = Array {
            array: null_mut(),
            len: 0,
        };

        // SAFETY: The object is initialised, and the places are valid. On failure they stay as
        // they are.
        //
        // INVARIANT: The function stores an array as the type demands.
        to_result(unsafe {
            bindings::dma_resv_get_fences(
                self.as_raw(),
                usage as u32,
                &mut array.len,
                &mut array.array,
            )
        })?;

        let mut fences = KVec::new();
        for i in 0..array.len as usize {
            // SAFETY: By the invariant of `array`, `i` being within it.
            let Some(fence) = NonNull::new(unsafe { *array.array.add(i) }) else {
                continue;
            };
            // SAFETY: `array` holds a reference.
            let fence = unsafe { Fence::from_raw(fence.as_ptr()) };

            if filter(fence) {
                fences.push(ARef::from(fence), GFP_KERNEL)?;
            }
        }
        Ok(fences)
    }
}

impl Guard<'_> {
    /// A fence of `usage`, or of those before it, that has not signalled and for which `filter` is
    /// true; [`None`] if there is none.
    ///
    /// Does not sleep, does not allocate. C: `dma_resv_for_each_fence()`.
    pub fn find_pending(
        &self,
        usage: Usage,
        filter: impl Fn(&Fence) -> bool,
    ) -> Option<ARef<Fence>> {
        // What `dma_resv_iter_begin()` does. A walk with the lock held takes no references, so that
        // there is nothing to undo.
        let mut cursor = bindings::dma_resv_iter {
            obj: self.resv().as_raw(),
            usage: usage as u32,
            ..pin_init::zeroed()
        };

        // SAFETY: By the type invariants the object is initialised and locked.
        let mut next = unsafe { bindings::dma_resv_iter_first(&mut cursor) };
        while let Some(fence) = NonNull::new(next) {
            // SAFETY: The object holds a reference as long as it is locked.
            let fence = unsafe { Fence::from_raw(fence.as_ptr()) };

            if !fence.is_signaled() && filter(fence) {
                return Some(ARef::from(fence));
            }
            // SAFETY: As above.
            next = unsafe { bindings::dma_resv_iter_next(&mut cursor) };
        }
        None
    }
}
