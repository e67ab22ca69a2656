// SPDX-License-Identifier: GPL-2.0

//! Who is next: files take turns, whatever the number of their queues, and the queues of a file
//! take turns among themselves.

use core::sync::atomic::{
    AtomicU64,
    Ordering, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};

/// When a file had its last turn.
pub(crate) struct Turn(AtomicU64);

impl Turn {
    /// A file that had no turn yet.
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

/// Something that a queue of a file waits with for its turn.
pub(super) trait Waits {
    /// The file's turn.
    fn turn(&self) -> &Turn;
}

/// What waits, at most one thing for each queue, in the order of its coming.
pub(super) struct Turns<T> {
    waiting: KVec<T>,
    seats: usize,
    clock: u64,
}

impl<T: Waits> Turns<T> {
    pub(super) fn new() -> Self {
        Self {
            waiting: KVec::new(),
            seats: 0,
            clock: 0,
        }
    }

    /// Whether another seat takes more room than there is; see [`Turns::add_seat`].
    pub(super) fn room_for_seat(&self) -> Option<usize> {
        (self.seats == self.waiting.capacity()).then_some((self.seats * 2).max(16))
    }

    /// Makes sure that one more queue can wait. `room` is an empty vector with the capacity that
    /// [`Turns::room_for_seat`] has asked for; it takes the place of the one that is too small,
    /// which is returned to be freed. Does not allocate.
    ///
    /// Fails with `EAGAIN` if the room is too small.
    pub(super) fn add_seat(&mut self, mut room: KVec<T>) -> Result<KVec<T>, Error> {
        if self.seats == self.waiting.capacity() {
            if room.capacity() <= self.seats {
                return Err(EAGAIN);
            }
            for one in self.waiting.drain_all() {
                // There is room for as many as there are seats.
                let _ = room.push_within_capacity(one);
            }
            core::mem::swap(&mut self.waiting, &mut room);
        }
        self.seats += 1;
        Ok(room)
    }

    /// A queue is gone.
    pub(super) fn remove_seat(&mut self) {
        self.seats -= 1;
    }

    /// Adds what a queue waits with. Does not allocate. Fails, and gives it back, if more wait
    /// than there are seats.
    pub(super) fn wait(&mut self, one: T) -> Result<(), T> {
        if self.waiting.len() >= self.seats {
            return Err(one);
        }
        self.waiting.push_within_capacity(one).map_err(|e| e.0)
    }

    /// Takes out what is next: the first one of the file whose last turn was longest ago.
    pub(super) fn next(&mut self) -> Option<T> {
        let index = self
            .waiting
            .iter()
            .enumerate()
            .min_by_key(|(_, one)| one.turn().0.load(Ordering::Relaxed))?
            .0;
        let one = self.waiting.remove(index).ok()?;

        self.clock += 1;
        one.turn().0.store(self.clock, Ordering::Relaxed);
        Some(one)
    }

    /// What waits.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter()
    }

    /// Takes out the first one that `choose` says yes to.
    pub(super) fn take(&mut self, choose: impl FnMut(&T) -> bool) -> Option<T> {
        let index = self.waiting.iter().position(choose)?;

        self.waiting.remove(index).ok()
    }
}

impl<T: Waits> Waits for Arc<T> {
    fn turn(&self) -> &Turn {
        (**self).turn()
    }
}

#[cfg(CONFIG_KUNIT = "y")]
#[path = "../../../../tests/kunit/hlrs/turns.rs"]
mod tests;
