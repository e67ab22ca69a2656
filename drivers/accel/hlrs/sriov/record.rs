// SPDX-License-Identifier: GPL-2.0

//! The LMEM of one VF: what others may know of it, and rely on.
//!
//! # Lifetime model
//!
//! A [`Record`] begins when the VF gets its memory, and is closed before it loses it. A closed one
//! stays closed: the VF that is enabled next has another, even under the same number. Who has the PF
//! use the memory has a [`Hold`]: as long as there is one, the memory is given to nobody else. A
//! record hands out no more once it is closed, so that what is left can be waited for.

use core::sync::atomic::{
    AtomicU32,
    Ordering, //
};

use kernel::{
    io::poll::read_poll_timeout,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    time::Delta, //
};

use kernel_ext::dma_buf::Deadline;

use crate::{
    hw::VfId,
    lmem::{
        Allocation,
        Extent, //
    },
};

/// How often to look whether holds are gone.
const POLL: Delta = Delta::from_millis(1);

/// Memory, with what it takes to find a part of it quickly.
struct Memory {
    allocation: Allocation,
    layout: Layout,
}

/// Where each extent of some memory begins, counted from the beginning of the memory, in bytes.
struct Layout(KVec<u64>);

impl Layout {
    /// The layout of memory that consists of `extents`. Sleeps (allocates).
    fn new(extents: &[Extent]) -> Result<Self> {
        let mut starts = KVec::with_capacity(extents.len(), GFP_KERNEL)?;
        let mut start = 0;

        for extent in extents {
            starts.push(start, GFP_KERNEL)?;
            start += extent.len;
        }
        Ok(Self(starts))
    }

    /// Calls `f` for the pieces of `extents` that make up `len` bytes from byte `offset` on. They
    /// have exactly that length together. Does not sleep, unless `f` does.
    ///
    /// Fails with `ERANGE` if that is more than there is, after which `f` may have been called.
    fn translate(
        &self,
        extents: &[Extent],
        offset: u64,
        len: u64,
        mut f: impl FnMut(Extent) -> Result,
    ) -> Result {
        let end = offset.checked_add(len).ok_or(ERANGE)?;
        // The first one begins at 0.
        let first = self.0.partition_point(|start| *start <= offset);
        let first = first.checked_sub(1).ok_or(ERANGE)?;
        let mut done = offset;

        for (start, extent) in self.0.iter().zip(extents).skip(first) {
            if done == end {
                break;
            }
            let skip = done - start;
            let len = extent.len.saturating_sub(skip).min(end - done);

            if len == 0 {
                break;
            }
            f(Extent {
                start: extent.start + skip,
                len,
            })?;
            done += len;
        }

        if done == end {
            Ok(())
        } else {
            Err(ERANGE)
        }
    }
}

/// Whether there are new holds.
struct State {
    /// [`None`] once the record is closed.
    memory: Option<Arc<Memory>>,
    /// Not while the PF is being reset.
    suspended: bool,
}

/// The LMEM of one VF while it is enabled.
#[pin_data]
pub(crate) struct Record {
    vf: VfId,
    reachable: u64,
    holds: AtomicU32,
    #[pin]
    state: Mutex<State>,
}

impl Record {
    /// The record of `vf`, which has `allocation` and an aperture of `aperture` bytes. Sleeps
    /// (allocates).
    pub(super) fn new(vf: VfId, allocation: Allocation, aperture: u64) -> Result<Arc<Self>> {
        let reachable = allocation.size().min(aperture);
        let layout = Layout::new(allocation.extents())?;
        let state = State {
            memory: Some(Arc::new(Memory { allocation, layout }, GFP_KERNEL)?),
            suspended: false,
        };

        Arc::pin_init(
            pin_init!(Self {
                vf,
                reachable,
                holds: AtomicU32::new(0),
                state <- new_mutex!(state, "hlrs::sriov::Record"),
            }),
            GFP_KERNEL,
        )
    }

    /// Whose memory it is.
    pub(crate) fn vf(&self) -> VfId {
        self.vf
    }

    /// Bytes of the VF's memory that lie in its aperture, from the beginning on: a VF may have
    /// less memory than its BAR is large, and more.
    pub(crate) fn reachable(&self) -> u64 {
        self.reachable
    }

    /// Calls `f` with the extents that the LMTT consists of, in this order; [`None`] if it is
    /// closed. Sleeps.
    pub(super) fn with_extents<R>(&self, f: impl FnOnce(&[Extent]) -> R) -> Option<R> {
        let memory = self.state.lock().memory.clone()?;

        Some(f(memory.allocation.extents()))
    }

    /// Keeps the memory from changing hands. Sleeps; may be called with a reservation lock held.
    ///
    /// Fails with `ENODEV` if the VF has lost it, or is about to, and while the PF is being reset.
    pub(crate) fn hold(self: &Arc<Self>) -> Result<Hold> {
        let state = self.state.lock();
        let memory = state.memory.as_ref().filter(|_| !state.suspended);
        let held = memory.cloned().ok_or(ENODEV)?;

        self.holds.fetch_add(1, Ordering::Relaxed);
        Ok(Hold {
            memory: held,
            _count: Count(self.clone()),
        })
    }

    /// From now on there are no new holds. The memory is free when the last hold is gone. Sleeps.
    pub(super) fn close(&self) {
        let memory = self.state.lock().memory.take();

        drop(memory);
    }

    /// Whether there are no new holds for a while. Sleeps.
    pub(super) fn set_suspended(&self, suspended: bool) {
        self.state.lock().suspended = suspended;
    }

    /// Waits until nobody has a hold, or `deadline` is over. Sleeps.
    ///
    /// Fails with `ETIMEDOUT`. Only for a record that is closed the answer stays right.
    pub(crate) fn wait_for_holds(&self, deadline: &Deadline) -> Result {
        read_poll_timeout(
            || Ok(self.holds.load(Ordering::Acquire)),
            |holds| *holds == 0,
            POLL,
            Delta::from_millis(i64::from(deadline.left_ms())),
        )
        .map(|_| ())
    }
}

/// Counted in [`Record::holds`].
struct Count(Arc<Record>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::Release);
    }
}

/// The memory of a VF, which nobody else gets; from [`Record::hold`].
pub(crate) struct Hold {
    memory: Arc<Memory>,
    /// Dropped after the memory: who does not find it counted finds the memory free.
    _count: Count,
}

impl Hold {
    /// Number of contiguous pieces that the VF's memory consists of.
    pub(crate) fn extents(&self) -> usize {
        self.memory.allocation.extents().len()
    }

    /// Calls `f` for the LMEM that is behind `len` bytes from byte `offset` of the VF's memory on,
    /// in pieces that are contiguous.
    ///
    /// Fails with `ERANGE` if that is more than the VF has; `f` may have been called then. Passes
    /// the errors of `f` on.
    pub(crate) fn translate(
        &self,
        offset: u64,
        len: u64,
        f: impl FnMut(Extent) -> Result,
    ) -> Result {
        let Memory { allocation, layout } = &*self.memory;

        layout.translate(allocation.extents(), offset, len, f)
    }
}

#[cfg(CONFIG_KUNIT = "y")]
#[path = "../../../../tests/kunit/hlrs/record.rs"]
mod tests;
