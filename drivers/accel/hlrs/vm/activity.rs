// SPDX-License-Identifier: GPL-2.0

//! Which engines are working in a VM, and since when.
//!
//! A command that runs when a translation is invalidated may use it for the rest of the step that
//! it is at. What was unmapped must therefore stay as it is until the work that was being done then
//! has ended. Waiting for fences would not do: new ones keep coming.

use core::sync::atomic::{
    AtomicU64,
    Ordering, //
};

/// Hardware queues of a function.
const QUEUES: usize = hlrs_abi::HLRS_NR_QUEUES as usize;

/// Work that has been begun, numbered from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark(u64);

/// What the engines do in a VM.
pub(crate) struct Activity {
    begun: AtomicU64,
    /// For each hardware queue the number of the work that it does in the VM; 0 if none.
    running: [AtomicU64; QUEUES],
}

impl Activity {
    /// Nothing is being done.
    pub(super) const fn new() -> Self {
        Self {
            begun: AtomicU64::new(0),
            running: [const { AtomicU64::new(0) }; QUEUES],
        }
    }

    /// Hardware queue `queue` is about to begin some work. Any context.
    pub(crate) fn begin(&self, queue: usize) {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;

        if let Some(running) = self.running.get(queue) {
            running.store(number, Ordering::SeqCst);
        }
    }

    /// Numbers work that no hardware queue of this driver does. Any context.
    pub(super) fn count(&self) -> Mark {
        Mark(self.begun.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// It has ended. Any context.
    pub(crate) fn end(&self, queue: usize) {
        if let Some(running) = self.running.get(queue) {
            running.store(0, Ordering::SeqCst);
        }
    }

    /// Marks the present: after a translation was invalidated, only work that has begun before can
    /// still use it. Any context.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.begun.load(Ordering::SeqCst))
    }

    /// Whether all work that had begun at `mark` has ended. Any context.
    pub(super) fn has_passed(&self, mark: Mark) -> bool {
        self.running.iter().all(|running| {
            let number = running.load(Ordering::SeqCst);

            number == 0 || number > mark.0
        })
    }
}

#[cfg(CONFIG_KUNIT = "y")]
#[path = "../../../../tests/kunit/hlrs/activity.rs"]
mod tests;
