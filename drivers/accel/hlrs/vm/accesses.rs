// SPDX-License-Identifier: GPL-2.0

//! Accesses by engines that other drivers of the device drive.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Mutex, //
    },
    time::Jiffies,
};
use kernel_ext::dma_fence::{
    self,
    Fence, //
};

use super::activity::Mark;

/// Accesses for which there is room when there are none.
const MIN_ROOM: usize = 8;

/// Accesses that are not over, with their numbers.
#[pin_data]
pub(super) struct Accesses {
    #[pin]
    pending: Mutex<KVec<(Mark, ARef<Fence>)>>,
}

impl Accesses {
    /// None.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            pending <- new_mutex!(KVec::new(), "hlrs::Accesses"),
        })
    }

    /// Adds one that is over when `fence` is signalled. Sleeps (allocates). Fails with `ENOMEM`.
    ///
    /// The lock is also taken where fences depend on it: nothing is allocated under it.
    pub(super) fn add(&self, number: Mark, fence: &Fence) -> Result {
        let mut room = KVec::new();

        loop {
            let mut pending = self.pending.lock();

            pending.retain(|(_, fence)| !fence.is_signaled());
            if room.capacity() > pending.len() {
                // Into the larger vector; the other is freed when the lock is not held any more.
                core::mem::swap(&mut *pending, &mut room);
                for old in room.drain_all() {
                    let _ = pending.push_within_capacity(old);
                }
            }
            if pending.len() < pending.capacity() {
                return pending
                    .push_within_capacity((number, fence.into()))
                    .map_err(|_| ENOMEM);
            }

            let needed = 2 * pending.len() + MIN_ROOM;
            drop(pending);
            room = KVec::with_capacity(needed, GFP_KERNEL)?;
        }
    }

    /// Whether all that had begun at `mark` are over. Sleeps.
    pub(super) fn have_passed(&self, mark: Mark) -> bool {
        self.pending
            .lock()
            .iter()
            .all(|(number, fence)| *number > mark || fence.is_signaled())
    }

    /// Waits for all that there are, for at most `timeout` jiffies. Sleeps.
    pub(super) fn wait(&self, timeout: Jiffies) {
        let pending = core::mem::take(&mut *self.pending.lock());
        let fences = pending.iter().map(|(_, fence)| &**fence);

        // Those that take longer are still counted.
        if dma_fence::wait_all(fences, false, timeout).is_err() {
            let mut now = self.pending.lock();
            let newer = core::mem::replace(&mut *now, pending);

            for access in newer {
                // Without memory it is taken for over; nothing begins while others wait here.
                let _ = now.push(access, GFP_KERNEL);
            }
        }
    }
}
