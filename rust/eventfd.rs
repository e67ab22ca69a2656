// SPDX-License-Identifier: GPL-2.0

//! Counters that userspace waits for, as file descriptors.
//!
//! C header: [`include/linux/eventfd.h`](srctree/include/linux/eventfd.h)
//!
//! A process makes an eventfd with `eventfd(2)` and names it in a request; when the request has
//! ended the driver adds 1 to the counter, which wakes up whoever reads or polls it.
//!
//! # Lifetime model
//!
//! An [`EventFd`] holds the counter and not the file: the process may close its descriptor at any
//! time, and signals then go nowhere.

use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*, //
};

use core::ptr::NonNull;

/// A reference to the counter of an eventfd.
///
/// # Invariants
///
/// The pointer is that of a `struct eventfd_ctx`, of which this owns a reference.
pub struct EventFd(NonNull<bindings::eventfd_ctx>);

// SAFETY: A reference to a counter may be given up on any thread.
unsafe impl Send for EventFd {}

// SAFETY: The counter is protected by a spinlock of its own.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// The counter behind a descriptor of the current process. Does not sleep.
    /// C: `eventfd_ctx_fdget()`.
    ///
    /// # Errors
    ///
    /// - `EBADF`: there is no such descriptor.
    /// - `EINVAL`: it is not that of an eventfd.
    pub fn from_fd(fd: i32) -> Result<Self> {
        // SAFETY: No requirements.
        let ctx = from_err_ptr(unsafe { bindings::eventfd_ctx_fdget(fd) })?;

        // INVARIANT: The C function returns a new reference.
        Ok(Self(NonNull::new(ctx).ok_or(EBADF)?))
    }

    /// Adds 1 to the counter, and wakes up those who wait for it.
    ///
    /// Any context but one: not from a function that an eventfd calls when it wakes up its waiters
    /// (an entry of its wait queue, as KVM and VFIO have them), where the kernel warns and nothing
    /// happens. A counter at its maximum stays there, and is reported to `poll(2)` as an error.
    /// C: `eventfd_signal()`.
    pub fn signal(&self) {
        // SAFETY: By the type invariant the counter is valid.
        unsafe { bindings::eventfd_signal_mask(self.0.as_ptr(), 0) };
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this owns a reference, which is not used any more.
        unsafe { bindings::eventfd_ctx_put(self.0.as_ptr()) };
    }
}
