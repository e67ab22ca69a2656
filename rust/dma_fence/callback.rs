// SPDX-License-Identifier: GPL-2.0

//! Functions that are called when a fence signals.

use super::Fence;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            AtomicFlag,
            Release, //
        },
    },
    types::Opaque, //
};

use core::{
    cell::UnsafeCell,
    ops::Deref, //
};

/// A function that is called once, when a fence signals.
///
/// Dropping it takes the function back. When that returns, the function has either run to its end
/// or will never run; it is dropped with the object.
///
/// The object must not be dropped with a lock held that the function takes, nor by the function
/// itself. Callbacks that are leaked outlive their module, like every leaked registration.
///
/// # Invariants
///
/// - `cb` is initialised, and on the list of `fence` until it is called or removed.
/// - Before `called` is set, only the C side's call of [`Self::callback`] accesses `func`.
#[pin_data(PinnedDrop)]
pub struct FenceCallback<F: FnOnce(&Fence) + Send> {
    #[pin]
    cb: Opaque<bindings::dma_fence_cb>,
    called: AtomicFlag,
    func: UnsafeCell<Option<F>>,
    fence: ARef<Fence>,
}

// SAFETY: `F` is `Send`, and the fence and the callback may be removed from any thread.
unsafe impl<F: FnOnce(&Fence) + Send> Send for FenceCallback<F> {}

// SAFETY: `&self` gives no access to `F`, only to the fence and to the flag.
unsafe impl<F: FnOnce(&Fence) + Send> Sync for FenceCallback<F> {}

impl<F: FnOnce(&Fence) + Send> FenceCallback<F> {
    /// Arranges that `func` is called when `fence` signals.
    ///
    /// `func` runs in the context of whoever signals, which may be a hard interrupt, with the
    /// spinlock of the fence held and interrupts off. It must not sleep, and of the fence it may
    /// only use what does not take that lock ([`Fence::context`], [`Fence::seqno`], cloning the
    /// reference).
    ///
    /// Does not sleep. C: `dma_fence_add_callback()`.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the fence has been signalled already. `func` is not called.
    pub fn new(fence: &Fence, func: F) -> impl PinInit<Self, Error> + use<'_, F> {
        try_pin_init!(Self {
            fence: fence.into(),
            called: AtomicFlag::new(false),
            func: UnsafeCell::new(Some(func)),
            // Fields are initialised in this order. This is the last, because the function can be
            // called from here on.
            cb <- Opaque::try_ffi_init(|cb| {
                // SAFETY: `fence` is valid, and `cb` stays where it is until it is removed, as
                // the object is pinned.
                to_result(unsafe {
                    bindings::dma_fence_add_callback(fence.as_raw(), cb, Some(Self::callback))
                })
            }),
        })
    }

    /// Whether the function has been called, and has returned.
    pub fn is_called(&self) -> bool {
        self.called.load(Acquire)
    }

    /// The fence that was waited for.
    pub fn fence(&self) -> &Fence {
        self.fence.deref()
    }

    /// # Safety
    ///
    /// Called by the C side only, at most once, with a `cb` that is embedded in a `Self`.
    unsafe extern "C" fn callback(
        fence: *mut bindings::dma_fence,
        cb: *mut bindings::dma_fence_cb,
    ) {
        // SAFETY: `cb` is embedded in a `Self`, which is not freed before `called` is set: its
        // `Drop` takes the spinlock of the fence, which the caller holds.
        let this = unsafe { kernel::container_of!(Opaque::cast_from(cb), Self, cb) };

        // SAFETY: As above; by the type invariant nobody else accesses `func`.
        if let Some(func) = unsafe { (*(*this).func.get()).take() } {
            // SAFETY: The caller passes a valid fence.
            func(unsafe { Fence::from_raw(fence) });
        }

        // SAFETY: As above. This is the last access.
        unsafe { (*this).called.store(true, Release) };
    }
}

#[pinned_drop]
impl<F: FnOnce(&Fence) + Send> PinnedDrop for FenceCallback<F> {
    fn drop(self: Pin<&mut Self>) {
        // After the call there is nothing to remove, and an external spinlock of the fence may be
        // gone: drivers may free theirs once the fence is signalled.
        if !self.called.load(Acquire) {
            // SAFETY: The callback was added to this fence in `new()`.
            unsafe { bindings::dma_fence_remove_callback(self.fence.as_raw(), self.cb.get()) };
        }
    }
}
