// SPDX-License-Identifier: GPL-2.0

//! Reservation objects.
//!
//! A reservation object belongs to a buffer, or to several that move together. It is a lock, and
//! the set of the fences of all work that uses the buffer.
//!
//! C header: [`include/linux/dma-resv.h`](srctree/include/linux/dma-resv.h)
//!
//! # Lifetime model
//!
//! [`DmaResv`] is only ever seen by reference: it is embedded in the object that it belongs to (a
//! GEM object, a dma-buf) and lives as long as that.
//!
//! Holding the lock is a value, [`Guard`]. Functions for which C says "must be called with the
//! reservation lock held" take one, by shared reference where they only need the lock, and by
//! exclusive reference where they call out to others that may change what the lock protects
//! (mappings, placement). A borrow of such data that came from a guard can then not survive the
//! call. Which object a guard belongs to is checked when it is used ([`Guard::protects`]).
//!
//! A task that needs the locks of two objects would deadlock with one that takes them in the
//! other order. [`lock_pair`] takes both, backing off as wound/wait mutexes demand.
//!
//! # Known limits
//!
//! More than two objects at a time are the business of [`drm::exec`](super::drm::exec).

use super::dma_fence::{
    wait_result,
    Fence,
    MAX_TIMEOUT, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::aref::ARef,
    time::Jiffies,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

use core::{
    cell::Cell,
    ptr::{
        null_mut,
        NonNull, //
    },
};

mod acquire;
mod cell;
mod fences;

pub use acquire::lock_pair;
pub use cell::ResvCell;

/// What a fence in a reservation object stands for.
///
/// Ordered: asking for one usage means also those before it. C: `enum dma_resv_usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Usage {
    /// The kernel moves or clears the memory. Everybody has to wait for it, always.
    Kernel = bindings::dma_resv_usage_DMA_RESV_USAGE_KERNEL,
    /// Work of userspace that writes and takes part in implicit synchronisation.
    Write = bindings::dma_resv_usage_DMA_RESV_USAGE_WRITE,
    /// Work of userspace that reads and takes part in implicit synchronisation.
    Read = bindings::dma_resv_usage_DMA_RESV_USAGE_READ,
    /// Everything else that uses the memory. It is waited for before the memory is moved or
    /// freed, and by nobody else.
    Bookkeep = bindings::dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP,
}

impl Usage {
    /// What new work has to wait for under implicit synchronisation: a write for all reads and
    /// writes, a read for the writes. C: `dma_resv_usage_rw()`.
    pub fn dependencies_of(write: bool) -> Self {
        if write {
            Self::Read
        } else {
            Self::Write
        }
    }
}

/// A reservation object.
///
/// # Invariants
///
/// The underlying `struct dma_resv` is initialised.
#[repr(transparent)]
pub struct DmaResv(Opaque<bindings::dma_resv>);

// SAFETY: A reservation object has no ties to a thread while it is not locked.
unsafe impl Send for DmaResv {}

// SAFETY: The methods that take `&self` lock or use RCU, as the C side provides.
unsafe impl Sync for DmaResv {}

impl DmaResv {
    /// Creates a reference from a pointer.
    ///
    /// # Safety
    ///
    /// `ptr` must point to an initialised `struct dma_resv` that lives during `'a`.
    #[inline]
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::dma_resv) -> &'a Self {
        // SAFETY: By the safety requirements; `DmaResv` is a transparent wrapper.
        unsafe { &*ptr.cast() }
    }

    /// Returns the raw pointer.
    #[inline]
    pub fn as_raw(&self) -> *mut bindings::dma_resv {
        self.0.get()
    }

    /// Takes the lock. Sleeps until it is free.
    ///
    /// A task that holds the lock of another reservation object must use [`lock_pair`] instead.
    /// C: `dma_resv_lock()`.
    pub fn lock(&self) -> Guard<'_> {
        // SAFETY: By the type invariant the object is initialised. Without a context the call
        // cannot fail.
        unsafe { ext_bindings::dma_resv_lock(self.as_raw(), null_mut()) };

        // INVARIANT: Locked just now.
        Guard::new(self)
    }

    /// Takes the lock; a signal ends the wait. Sleeps. C: `dma_resv_lock_interruptible()`.
    ///
    /// # Errors
    ///
    /// `EINTR`: a signal came in.
    pub fn lock_interruptible(&self) -> Result<Guard<'_>> {
        // SAFETY: By the type invariant the object is initialised.
        to_result(unsafe { ext_bindings::dma_resv_lock_interruptible(self.as_raw(), null_mut()) })?;

        // INVARIANT: Locked just now.
        Ok(Guard::new(self))
    }

    /// Takes the lock if it is free. Does not sleep. C: `dma_resv_trylock()`.
    pub fn try_lock(&self) -> Option<Guard<'_>> {
        // SAFETY: By the type invariant the object is initialised.
        let locked = unsafe { ext_bindings::dma_resv_trylock(self.as_raw()) };

        // INVARIANT: Locked just now.
        locked.then(|| Guard::new(self))
    }

    /// Waits for all fences of `usage` and of those before it, for at most `timeout` jiffies.
    ///
    /// Returns what is left of the time, at least 1. Fences that are added meanwhile may be missed
    /// unless the lock is held, which is allowed. Sleeps. C: `dma_resv_wait_timeout()`.
    ///
    /// # Errors
    ///
    /// - `ETIMEDOUT`: not all have signalled in time.
    /// - `ERESTARTSYS`: `interruptible` was set and a signal came in.
    pub fn wait_timeout(
        &self,
        usage: Usage,
        interruptible: bool,
        timeout: Jiffies,
    ) -> Result<Jiffies> {
        // SAFETY: By the type invariant the object is initialised.
        wait_result(unsafe {
            bindings::dma_resv_wait_timeout(
                self.as_raw(),
                usage as u32,
                interruptible,
                timeout.min(MAX_TIMEOUT),
            )
        })
    }

    /// Whether all fences of `usage` and of those before it have signalled.
    ///
    /// Does not sleep. C: `dma_resv_test_signaled()`.
    pub fn test_signaled(&self, usage: Usage) -> bool {
        // SAFETY: By the type invariant the object is initialised.
        unsafe { bindings::dma_resv_test_signaled(self.as_raw(), usage as u32) }
    }

    /// One fence that signals when all of `usage` and of those before it have; `None` if there is
    /// nothing to wait for.
    ///
    /// Sleeps (allocates). C: `dma_resv_get_singleton()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn singleton(&self, usage: Usage) -> Result<Option<ARef<Fence>>> {
        let mut fence = null_mut();

        // SAFETY: By the type invariant the object is initialised; `fence` is a valid place.
        to_result(unsafe {
            bindings::dma_resv_get_singleton(self.as_raw(), usage as u32, &mut fence)
        })?;

        // SAFETY: On success the C function hands out one reference, or `NULL`.
        Ok(NonNull::new(fence).map(|fence| unsafe { Fence::from_owned(fence) }))
    }
}

/// A reservation object whose lock is held by this task.
///
/// # Invariants
///
/// The lock of `resv` is held as long as the guard exists.
#[must_use = "the lock is released at once when the guard is not used"]
pub struct Guard<'a> {
    resv: &'a DmaResv,
    /// Whether dropping the guard unlocks. It is part of the value, so that exchanging two guards
    /// does not exchange their duties.
    unlock: bool,
    /// Slots that were reserved with this guard and not used yet.
    slots: Cell<u32>,
    _not_send: NotThreadSafe,
}

impl<'a> Guard<'a> {
    /// The caller has taken the lock, and hands it over.
    fn new(resv: &'a DmaResv) -> Self {
        Self::with_duty(resv, true)
    }

    fn with_duty(resv: &'a DmaResv, unlock: bool) -> Self {
        Self {
            resv,
            unlock,
            slots: Cell::new(0),
            _not_send: NotThreadSafe,
        }
    }

    /// A guard for callbacks that the C side calls with the lock held. It does not unlock.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a reservation object whose lock is held by this task during `'a`.
    #[inline]
    pub unsafe fn assume_held(ptr: *mut bindings::dma_resv) -> Self {
        // SAFETY: By the safety requirements.
        let resv = unsafe {
            ext_bindings::dma_resv_assert_held(ptr);
            DmaResv::from_raw(ptr)
        };

        // INVARIANT: By the safety requirements.
        Self::with_duty(resv, false)
    }

    /// Another guard for the same lock, which does not unlock, to be lent to somebody else.
    fn lend(&mut self) -> Guard<'_> {
        // INVARIANT: `self` is borrowed, and keeps the lock.
        Guard::with_duty(self.resv, false)
    }

    /// The object that is locked.
    #[inline]
    pub fn resv(&self) -> &'a DmaResv {
        self.resv
    }

    /// Whether it is the lock of `resv` that is held.
    #[inline]
    pub fn protects(&self, resv: &DmaResv) -> bool {
        core::ptr::eq(self.resv, resv)
    }

    /// Makes room for `count` fences, so that as many calls of [`Guard::add_fence`] succeed.
    ///
    /// Reservations do not add up, and end with the guard. Sleeps (allocates).
    /// C: `dma_resv_reserve_fences()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if `count` is 0.
    pub fn reserve_fences(&self, count: u32) -> Result {
        if count == 0 {
            return Err(EINVAL);
        }

        // SAFETY: By the type invariants the object is initialised and locked.
        to_result(unsafe { bindings::dma_resv_reserve_fences(self.resv.as_raw(), count) })?;
        self.slots.set(self.slots.get().max(count));
        Ok(())
    }

    /// Adds a fence, in the place of an earlier one of its context with the same or a weaker
    /// usage if there is such. Does not sleep. C: `dma_resv_add_fence()`.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: no slot is left of those reserved with this guard. Who reserves before the point
    /// of no return never sees it.
    pub fn add_fence(&self, fence: &Fence, usage: Usage) -> Result {
        let left = self.slots.get().checked_sub(1).ok_or(ENOSPC)?;

        self.slots.set(left);
        // SAFETY: By the type invariants the object is initialised and locked. A slot is free.
        unsafe { bindings::dma_resv_add_fence(self.resv.as_raw(), fence.as_raw(), usage as u32) };
        Ok(())
    }

    /// As [`DmaResv::wait_timeout`], with nobody adding fences meanwhile.
    pub fn wait(&self, usage: Usage, interruptible: bool, timeout: Jiffies) -> Result<Jiffies> {
        self.resv.wait_timeout(usage, interruptible, timeout)
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.unlock {
            // SAFETY: By the type invariants the object is locked, by this task.
            unsafe { ext_bindings::dma_resv_unlock(self.resv.as_raw()) };
        }
    }
}
