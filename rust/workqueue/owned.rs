// SPDX-License-Identifier: GPL-2.0

//! Workqueues of a driver's own.

use kernel::{
    bindings,
    prelude::*,
    workqueue::{
        Queue,
        RawWorkItem, //
    }, //
};

use core::ptr::NonNull;

/// A workqueue that is destroyed with its owner.
///
/// It has a thread in reserve (`WQ_MEM_RECLAIM`), so that work gets on when no memory is left for
/// another thread. Fences that others wait for, in the reclaim of memory among others, may depend
/// on such work.
///
/// Dropping it runs what is queued to its end. Sleeps. Must not be dropped by work of its own.
///
/// # Invariants
///
/// The pointer is that of a workqueue that nobody else destroys.
pub struct OwnedQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A workqueue belongs to no thread.
unsafe impl Send for OwnedQueue {}

// SAFETY: Workqueues have locks of their own.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Creates a workqueue that runs one item at a time, in the order in which they were queued.
    ///
    /// Of `name`, the part that `ps` shows is the first 23 bytes. Sleeps.
    /// C: `alloc_ordered_workqueue()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn ordered(name: &CStr) -> Result<Self> {
        Self::new(
            name,
            bindings::wq_flags_WQ_UNBOUND
                | bindings::wq_flags___WQ_ORDERED
                | bindings::wq_flags_WQ_MEM_RECLAIM,
            1,
        )
    }

    /// Creates a workqueue that runs different items side by side, on any processor.
    ///
    /// As [`OwnedQueue::ordered`] otherwise. C: `alloc_workqueue()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn unbound(name: &CStr) -> Result<Self> {
        Self::new(
            name,
            bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags_WQ_MEM_RECLAIM,
            0,
        )
    }

    /// Creates a workqueue that runs items on the processor that queued them, one after the other
    /// as long as they do not sleep, and side by side if they do.
    ///
    /// That saves the switch to another thread for an item that another has queued. As
    /// [`OwnedQueue::ordered`] otherwise. C: `alloc_workqueue()` with `WQ_PERCPU`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn per_cpu(name: &CStr) -> Result<Self> {
        Self::new(
            name,
            bindings::wq_flags_WQ_PERCPU | bindings::wq_flags_WQ_MEM_RECLAIM,
            0,
        )
    }

    /// Creates a workqueue; `max_active` is that of `alloc_workqueue()`.
    pub(crate) fn new(name: &CStr, flags: bindings::wq_flags, max_active: i32) -> Result<Self> {
        // SAFETY: The format takes one string, which is copied.
        let wq = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%s".as_char_ptr(),
                flags,
                max_active,
                name.as_char_ptr(),
            )
        };

        // INVARIANT: It was made just now.
        NonNull::new(wq).map(Self).ok_or(ENOMEM)
    }

    /// Returns the raw pointer, valid as long as `self`.
    #[inline]
    pub fn as_raw(&self) -> *mut bindings::workqueue_struct {
        self.0.as_ptr()
    }

    /// Queues an item. May be called in any context, as far as the item allows.
    ///
    /// C: `queue_work()`.
    pub fn enqueue<W, const ID: u64>(&self, work: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        // SAFETY: By the type invariant. What is queued here has run before the workqueue is
        // destroyed; it is not delayed, so that nothing is queued later.
        unsafe { Queue::from_raw(self.as_raw()) }.enqueue(work)
    }

    /// Waits for the items that were queued before. Sleeps. C: `flush_workqueue()`.
    pub fn flush(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::__flush_workqueue(self.as_raw()) };
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. Whoever uses the pointer for longer holds `self`.
        unsafe { bindings::destroy_workqueue(self.as_raw()) };
    }
}
