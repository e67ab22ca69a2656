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
use kernel_ext::{
    dma_fence::Fence,
    dma_resv::Guard, //
};

use super::activity::Mark;
use crate::exec::Timeline;

/// Accesses for which there is room when there are none.
const MIN_ROOM: usize = 8;

/// One access.
struct Access {
    number: Mark,
    fence: ARef<Fence>,
    /// That of the fence.
    _timeline: Timeline,
}

struct State {
    /// No more are taken.
    refused: bool,
    /// Those that are not over, with their numbers.
    pending: KVec<Access>,
}

/// Accesses that are not over.
///
/// One is announced with the reservation lock of the VM held, in two steps: [`Accesses::reserve`],
/// after which [`Accesses::add`] does not fail. So whoever announces it to several VMs, whose locks
/// he has, announces it to all of them or to none.
#[pin_data]
pub(super) struct Accesses {
    #[pin]
    state: Mutex<State>,
}

impl Accesses {
    /// None.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(
                State {
                    refused: false,
                    pending: KVec::new(),
                },
                "hlrs::Accesses"
            ),
        })
    }

    /// Makes room for `count`, as long as the reservation lock of the VM is held. Sleeps (allocates).
    ///
    /// The own lock is also taken where fences depend on it: nothing is allocated under it. Fails
    /// with `ESTALE` after [`Accesses::refuse`], `ENOMEM`.
    pub(super) fn reserve(&self, count: usize) -> Result {
        let mut room = KVec::new();

        loop {
            let mut state = self.state.lock();

            if state.refused {
                return Err(ESTALE);
            }
            state.pending.retain(|access| !access.fence.is_signaled());
            if room.capacity() > state.pending.capacity() {
                // Into the larger vector; the other is freed when the lock is not held any more.
                core::mem::swap(&mut state.pending, &mut room);
                for old in room.drain_all() {
                    let _ = state.pending.push_within_capacity(old);
                }
            }
            if state.pending.capacity() - state.pending.len() >= count {
                return Ok(());
            }

            let needed = 2 * state.pending.len() + count.max(MIN_ROOM);
            drop(state);
            room = KVec::with_capacity(needed, GFP_KERNEL)?;
        }
    }

    /// Adds one that is over when `fence` is signalled, which is of `timeline`. Sleeps.
    ///
    /// Fails with `EINVAL` if there is no room, which was to be reserved.
    pub(super) fn add(&self, number: Mark, fence: &Fence, timeline: Timeline) -> Result {
        let access = Access {
            number,
            fence: fence.into(),
            _timeline: timeline,
        };

        self.state
            .lock()
            .pending
            .push_within_capacity(access)
            .map_err(|_| EINVAL)
    }

    /// From now on none can be added. `_guard` is that of the VM: nobody is between reserving room
    /// and adding. Sleeps.
    pub(super) fn refuse(&self, _guard: &Guard<'_>) {
        self.state.lock().refused = true;
    }

    /// Whether all that had begun at `mark` are over. Sleeps.
    pub(super) fn have_passed(&self, mark: Mark) -> bool {
        self.state
            .lock()
            .pending
            .iter()
            .all(|access| access.number > mark || access.fence.is_signaled())
    }

    /// Waits for all that there are, for at most `timeout` jiffies. Sleeps.
    ///
    /// Those that take longer are still counted.
    pub(super) fn wait(&self, timeout: Jiffies) {
        let mut left = timeout;

        loop {
            let next = self
                .state
                .lock()
                .pending
                .iter()
                .map(|access| &access.fence)
                .find(|fence| !fence.is_signaled())
                .cloned();
            let Some(fence) = next else {
                return;
            };

            match fence.wait_timeout(false, left) {
                Ok(rest) => left = rest,
                Err(_) => return,
            }
        }
    }
}
