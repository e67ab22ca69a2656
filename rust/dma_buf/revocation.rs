// SPDX-License-Identifier: GPL-2.0

//! Waiting for importers that were told to let go.

use super::DmaBuf;
use crate::{
    dma_fence::Fence,
    dma_resv::Usage, //
};
use kernel::{
    io::poll::read_poll_timeout,
    prelude::*,
    time::{
        msecs_to_jiffies,
        Delta,
        Instant,
        Jiffies,
        Monotonic, //
    }, //
};

/// A moment until which something may take; the same for all that is waited for in a row.
pub struct Deadline {
    start: Instant<Monotonic>,
    ms: u32,
}

impl Deadline {
    /// In `ms` milliseconds.
    pub fn new(ms: u32) -> Self {
        Self {
            start: Instant::now(),
            ms,
        }
    }

    /// What is left, milliseconds.
    pub fn left_ms(&self) -> u32 {
        let gone = u32::try_from(self.start.elapsed().as_millis()).unwrap_or(u32::MAX);

        self.ms.saturating_sub(gone)
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.left_ms() == 0
    }

    /// What is left, at least one jiffy.
    pub fn left_jiffies(&self) -> Jiffies {
        msecs_to_jiffies(self.left_ms().max(1))
    }
}

impl DmaBuf {
    /// Waits for what importers do with the memory, and until they have unmapped it.
    ///
    /// The exporter has seen to it that nobody maps anew, and has called
    /// [`DmaBuf::invalidate_mappings`]. `counts` says for which fences to wait, of all that there are
    /// ([`Usage::Bookkeep`]), and `mappings` how many mappings are left. The reservation lock must not be
    /// held: it is taken to find the fences, and not while they are waited for. Sleeps.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`: the time is up.
    pub fn wait_for_importers(
        &self,
        counts: impl Fn(&Fence) -> bool,
        mappings: impl Fn() -> u32,
        deadline: &Deadline,
    ) -> Result {
        let pending = || self.resv().lock().find_pending(Usage::Bookkeep, &counts);

        // Not as a condition, which would keep the lock.
        let mut next = pending();
        while let Some(fence) = next {
            fence.wait_timeout(false, deadline.left_jiffies())?;
            next = pending();
        }

        read_poll_timeout(
            || Ok(mappings()),
            |mappings| *mappings == 0,
            Delta::from_millis(1),
            Delta::from_millis(i64::from(deadline.left_ms())),
        )
        .map(|_| ())
    }
}
