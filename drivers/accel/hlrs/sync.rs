// SPDX-License-Identifier: GPL-2.0

//! Syncobjs that user space wants an operation to wait for, or to signal.

use kernel::{
    prelude::*,
    sync::aref::ARef,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};
use kernel_ext::{
    dma_fence::Fence,
    drm::syncobj::{
        self,
        OutFence, //
    },
};

use crate::{
    device::File,
    ioctl::{
        check_flags,
        must_be_zero,
        read_element, //
    },
};

const SIGNAL: u32 = hlrs_abi::DRM_HLRS_SYNC_SIGNAL;
const TIMELINE: u32 = hlrs_abi::DRM_HLRS_SYNC_TIMELINE;

/// Fences to wait for, and what is to be signalled.
pub(crate) struct Syncs {
    dependencies: KVec<ARef<Fence>>,
    out: KVec<OutFence>,
}

impl Syncs {
    /// Looks up what `count` elements of `struct drm_hlrs_sync` at `address` in user space name.
    ///
    /// Sleeps. Fails with `E2BIG` beyond `DRM_HLRS_MAX_SYNCS`, `EFAULT`, `EINVAL` for unknown
    /// flags, a point that is missing or has no meaning, and a syncobj without a fence to wait for,
    /// `ENOENT` for an unknown handle, `ENOMEM`.
    pub(crate) fn read(file: &File, address: u64, count: u32) -> Result<Self> {
        let mut this = Self {
            dependencies: KVec::new(),
            out: KVec::new(),
        };
        if count > hlrs_abi::DRM_HLRS_MAX_SYNCS {
            return Err(E2BIG);
        }

        // CAST: An address of user space; at most 64 elements.
        let len = count as usize * size_of::<hlrs_abi::drm_hlrs_sync>();
        let mut reader = UserSlice::new(UserPtr::from_addr(address as usize), len).reader();
        for _ in 0..count {
            this.add(file, &read_element(&mut reader)?)?;
        }
        Ok(this)
    }

    fn add(&mut self, file: &File, sync: &hlrs_abi::drm_hlrs_sync) -> Result {
        must_be_zero(&sync.reserved)?;
        check_flags(sync.flags, SIGNAL | TIMELINE)?;
        if (sync.flags & TIMELINE != 0) != (sync.timeline_value != 0) {
            return Err(EINVAL);
        }

        if sync.flags & SIGNAL != 0 {
            let out = OutFence::prepare(file, sync.handle, sync.timeline_value)?;

            self.out.push(out, GFP_KERNEL)?;
        } else {
            let fence = syncobj::find_fence(file, sync.handle, sync.timeline_value)?;

            self.dependencies.push(fence, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Whether there is something to wait for.
    pub(crate) fn has_dependencies(&self) -> bool {
        !self.dependencies.is_empty()
    }

    /// Takes out the fences to wait for.
    pub(crate) fn take_dependencies(&mut self) -> KVec<ARef<Fence>> {
        core::mem::take(&mut self.dependencies)
    }

    /// Makes `fence` the one of all that is to be signalled. Does not sleep.
    pub(crate) fn publish(self, fence: &Fence) {
        for out in self.out {
            out.publish(fence);
        }
    }
}
