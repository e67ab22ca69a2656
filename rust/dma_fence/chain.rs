// SPDX-License-Identifier: GPL-2.0

//! Memory for the links of timelines.
//!
//! C header: [`include/linux/dma-fence-chain.h`](srctree/include/linux/dma-fence-chain.h)

use kernel::prelude::*;

use core::mem::MaybeUninit;

/// Memory for one link of a chain of fences, which is what the timeline of a
/// [`Syncobj`](crate::drm::syncobj::Syncobj) is made of.
///
/// It is allocated before the point of no return, where it is used up.
pub struct Chain(KBox<MaybeUninit<ext_bindings::dma_fence_chain>>);

// SAFETY: Memory without contents belongs to no thread.
unsafe impl Send for Chain {}

// SAFETY: `&Chain` gives access to nothing.
unsafe impl Sync for Chain {}

impl Chain {
    /// Allocates the memory. Sleeps. C: `dma_fence_chain_alloc()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self(KBox::new_uninit(GFP_KERNEL)?))
    }

    /// Hands the memory over to the C side, which frees it with `kfree_rcu()`.
    pub(crate) fn into_raw(self) -> *mut ext_bindings::dma_fence_chain {
        KBox::into_raw(self.0).cast()
    }
}
