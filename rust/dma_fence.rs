// SPDX-License-Identifier: GPL-2.0

//! DMA fences.
//!
//! A fence is a promise that a piece of work on a device will end. It goes from *pending* to
//! *signalled* exactly once, with success or with an error, and anybody may wait for that or ask
//! to be called back.
//!
//! C header: [`include/linux/dma-fence.h`](srctree/include/linux/dma-fence.h)
//!
//! # Parts
//!
//! - [`Fence`] is a fence of any driver, C or Rust: what a waiter needs.
//! - [`FenceContext`], [`FenceOps`], [`DriverFence`] and [`UniqueFence`] are for drivers that make
//!   fences, with [`FenceMemory`] where they must not allocate. [`Signalling`] marks the code that
//!   fences depend on.
//! - [`FenceCallback`] is a function to be called when a fence signals.
//! - [`drop_after`] keeps a value until a fence signals.
//! - [`Chain`] is memory for a link of a timeline.
//!
//! # Lifetime model
//!
//! A fence is reference counted, and its memory is given back an RCU grace period after the last
//! reference has gone. References may outlive the driver: a `sync_file`, another driver's queue
//! or a reservation object can hold them for as long as they like.
//!
//! The promise is kept by types. A fence is born as a [`UniqueFence`], which is the only means to
//! signal it. It can be signalled once, because that consumes it; and it cannot be lost, because
//! dropping it signals `ECANCELED`. What others get are references, which cannot signal.
//!
//! While a fence is pending, the C side may call the driver's [`FenceOps`] at any time. Since
//! Linux 7.1 `dma_fence_signal()` clears the operations of a fence that has neither `release` nor
//! `wait`, so that a signalled fence has nothing to do with its driver any more. The operations
//! built here have neither. A pending fence holds a reference on the driver's module and gives it
//! back when it is signalled; from the module's exit to the freeing of its code an RCU grace
//! period passes, which ends every call that had been under way. A driver can therefore be
//! unloaded while others still hold its signalled fences, and not while one is pending.
//!
//! The price is that nobody is left to drop a fence's private data. It is therefore plain data:
//! a type that needs [`Drop`] is refused at compile time. What has to be dropped at the end of a
//! job is kept beside the [`UniqueFence`] in the job.
//!
//! # Known limits
//!
//! - Deadline hints (`set_deadline`) are not passed on.
//! - Leaking a [`UniqueFence`] with [`core::mem::forget`] leaves a fence that never signals, and
//!   with it a module that cannot be unloaded. No memory is at risk.

use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        rcu, //
    },
    time::Jiffies,
    types::Opaque, //
};

use core::ptr::NonNull;

mod callback;
mod chain;
mod driver;
mod keep;
mod signalling;

pub use callback::FenceCallback;
pub use chain::Chain;
pub use driver::{
    DriverFence,
    FenceContext,
    FenceMemory,
    FenceOps,
    UniqueFence, //
};
pub use keep::drop_after;
pub use signalling::Signalling;

/// Longest wait that the C API takes: it counts jiffies in a `signed long`.
pub const MAX_TIMEOUT: Jiffies = isize::MAX as Jiffies;

/// A fence of any driver.
///
/// Instances are always reference counted; an owned reference is an [`ARef<Fence>`].
///
/// # Invariants
///
/// The underlying `struct dma_fence` is initialised.
#[repr(transparent)]
pub struct Fence(Opaque<bindings::dma_fence>);

// SAFETY: The reference count of a fence may be dropped on any thread.
unsafe impl Send for Fence {}

// SAFETY: All methods of `Fence` may be called concurrently: what changes in a fence is changed
// under its spinlock or atomically.
unsafe impl Sync for Fence {}

// SAFETY: The C side keeps the fence allocated while its reference count is not zero.
unsafe impl AlwaysRefCounted for Fence {
    #[inline]
    fn inc_ref(&self) {
        // SAFETY: A shared reference means that the reference count is not zero.
        unsafe { ext_bindings::dma_fence_get(self.as_raw()) };
    }

    #[inline]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference that it owns.
        unsafe { ext_bindings::dma_fence_put(obj.cast().as_ptr()) };
    }
}

impl Fence {
    /// Creates a reference from a pointer.
    ///
    /// # Safety
    ///
    /// `ptr` must point to an initialised `struct dma_fence` whose reference count does not drop
    /// to zero during `'a`.
    #[inline]
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::dma_fence) -> &'a Self {
        // SAFETY: By the safety requirements; `Fence` is a transparent wrapper.
        unsafe { &*ptr.cast() }
    }

    /// Takes over a counted reference from C.
    ///
    /// # Safety
    ///
    /// `ptr` must point to an initialised `struct dma_fence`, and the caller must own one
    /// reference on it, which it gives up.
    #[inline]
    pub unsafe fn from_owned(ptr: NonNull<bindings::dma_fence>) -> ARef<Self> {
        // SAFETY: By the safety requirements.
        unsafe { ARef::from_raw(ptr.cast()) }
    }

    /// Returns a fence that has been signalled with success.
    ///
    /// For interfaces that want a fence where there is nothing to wait for. Does not sleep, does
    /// not fail. C: `dma_fence_get_stub()`.
    pub fn signaled_stub() -> ARef<Self> {
        // SAFETY: No requirements. The C function returns a new reference, never `NULL`.
        unsafe { Self::from_owned(NonNull::new_unchecked(bindings::dma_fence_get_stub())) }
    }

    /// Returns the raw pointer.
    #[inline]
    pub fn as_raw(&self) -> *mut bindings::dma_fence {
        self.0.get()
    }

    /// The number of the timeline on which the fence is.
    ///
    /// Fences of one context signal in the order of their sequence numbers.
    #[inline]
    pub fn context(&self) -> u64 {
        // SAFETY: By the type invariant the fence is initialised. The field never changes.
        unsafe { (*self.as_raw()).context }
    }

    /// The sequence number of the fence on its timeline.
    #[inline]
    pub fn seqno(&self) -> u64 {
        // SAFETY: By the type invariant the fence is initialised. The field never changes.
        unsafe { (*self.as_raw()).seqno }
    }

    /// Calls `f` with the name of the driver that does the work, which does not mean anything any
    /// more once the fence is signalled.
    ///
    /// `f` must not sleep. May be called in any context. C: `dma_fence_driver_name()`.
    pub fn with_driver_name<R>(&self, f: impl FnOnce(&CStr) -> R) -> R {
        let _rcu = rcu::read_lock();

        // SAFETY: By the type invariant the fence is initialised, and `&self` keeps it. The string
        // is valid as long as the RCU lock is held.
        f(unsafe { CStr::from_char_ptr(bindings::dma_fence_driver_name(self.as_raw())) })
    }

    /// Whether the fence has been signalled.
    ///
    /// May be called in any context, and asks the driver where it has a means to tell. A fence
    /// that nobody waits for may be reported as pending for some time after its work has ended.
    /// C: `dma_fence_is_signaled()`.
    #[inline]
    pub fn is_signaled(&self) -> bool {
        // SAFETY: By the type invariant the fence is initialised, and `&self` keeps it.
        unsafe { ext_bindings::dma_fence_is_signaled(self.as_raw()) }
    }

    /// How the work ended: `None` while the fence is pending.
    ///
    /// May be called in any context. C: `dma_fence_get_status()`.
    pub fn status(&self) -> Option<Result> {
        // SAFETY: By the type invariant the fence is initialised, and `&self` keeps it.
        match unsafe { bindings::dma_fence_get_status(self.as_raw()) } {
            0 => None,
            status => Some(to_result(status.min(0))),
        }
    }

    /// The error with which the fence was signalled; `None` while it is pending and when the work
    /// succeeded.
    ///
    /// May be called in any context.
    pub fn error(&self) -> Option<Error> {
        self.status()?.err()
    }

    /// Waits until the fence signals, for at most `timeout` jiffies.
    ///
    /// Returns what is left of the time, at least 1. A wait of 0 jiffies only looks. Whether the
    /// work succeeded is another question, see [`Fence::status`].
    ///
    /// Sleeps. Must not be called with a lock held that the signalling of the fence needs; the
    /// reservation lock may be held. C: `dma_fence_wait_timeout()`.
    ///
    /// # Errors
    ///
    /// - `ETIMEDOUT`: the time has passed and the fence is still pending.
    /// - `ERESTARTSYS`: `interruptible` was set and a signal came in.
    pub fn wait_timeout(&self, interruptible: bool, timeout: Jiffies) -> Result<Jiffies> {
        let timeout = timeout.min(MAX_TIMEOUT) as isize;

        // SAFETY: By the type invariant the fence is initialised, and `&self` keeps it. `timeout`
        // is not negative.
        wait_result(unsafe {
            bindings::dma_fence_wait_timeout(self.as_raw(), interruptible, timeout)
        })
    }

    /// Tells the driver that somebody is going to wait, so that it signals as soon as it can.
    ///
    /// May be called in any context in which the fence's spinlock may be taken.
    /// C: `dma_fence_enable_signaling()`.
    pub fn enable_signaling(&self) {
        // SAFETY: By the type invariant the fence is initialised, and `&self` keeps it.
        unsafe { bindings::dma_fence_enable_signaling(self.as_raw()) };
    }
}

/// Waits until all `fences` have signalled, for at most `timeout` jiffies together.
///
/// Returns what is left of the time, at least 1. Whether the work succeeded is another question,
/// see [`Fence::status`]. Sleeps, under the same rules as [`Fence::wait_timeout`].
///
/// # Errors
///
/// - `ETIMEDOUT`: the time has passed and not all have signalled.
/// - `ERESTARTSYS`: `interruptible` was set and a signal came in.
pub fn wait_all<'a>(
    fences: impl IntoIterator<Item = &'a Fence>,
    interruptible: bool,
    timeout: Jiffies,
) -> Result<Jiffies> {
    let mut left = timeout;

    for fence in fences {
        let wait = fence.wait_timeout(interruptible, left)?;

        // Of no time at all the C side says that 1 is left.
        left = left.min(wait);
    }
    Ok(left.max(1))
}

/// Turns the result of the C functions that wait into a [`Result`].
///
/// They return a negative error, 0 if time ran out, and otherwise the jiffies that are left.
pub(crate) fn wait_result(ret: c_long) -> Result<Jiffies> {
    match ret {
        0 => Err(ETIMEDOUT),
        // CAST: Errors of the kernel fit into an `i32`.
        err if err < 0 => Err(Error::from_errno(err as i32)),
        // CAST: Positive here.
        left => Ok(left as Jiffies),
    }
}
