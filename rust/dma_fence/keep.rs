// SPDX-License-Identifier: GPL-2.0

//! Values that are kept until a fence signals.

use super::Fence;
use crate::{
    deferred::Deferred,
    module::ModuleRef, //
};
use kernel::{
    bindings,
    container_of,
    error::to_result,
    prelude::*,
    sync::aref::ARef,
    types::Opaque,
    ModuleMetadata, //
};

use core::{
    marker::PhantomPinned,
    ptr::NonNull, //
};

/// What the callback of the fence finds, whatever the value is.
#[repr(C)]
#[pin_data]
struct Head {
    cb: Opaque<bindings::dma_fence_cb>,
    #[pin]
    deferred: Deferred,
    #[pin]
    _pin: PhantomPinned,
}

/// A value that is kept.
#[repr(C)]
#[pin_data]
struct Kept<T> {
    #[pin]
    head: Head,
    /// Taken out at the end, as is the module: what is pinned stays where it is.
    value: Option<T>,
    module: Option<ModuleRef>,
    /// Fences are kept by who waits for them.
    _fence: ARef<Fence>,
}

/// Drops `value` when `fence` has signalled; at once if it has already.
///
/// Later, that is in process context, with nothing held: see [`crate::deferred`]. As long as the
/// value is kept the module `M`, whose code drops it, cannot be unloaded. Nothing waits meanwhile;
/// that fences signal in finite time is what those promise who make them. Sleeps (allocates).
///
/// Fails for want of memory, and while the module is being unloaded; the value is given back then.
pub fn drop_after<M: ModuleMetadata, T: Send + 'static>(fence: &Fence, value: T) -> Result<(), T> {
    let memory = KBox::<Kept<T>>::new_uninit(GFP_KERNEL);
    let (Ok(memory), Ok(module)) = (memory, ModuleRef::try_get::<M>()) else {
        return Err(value);
    };

    let kept: Result<_, core::convert::Infallible> = memory.write_pin_init(pin_init!(Kept {
        head <- pin_init!(Head {
            cb: Opaque::zeroed(),
            deferred <- Deferred::new(release::<T>),
            _pin: PhantomPinned,
        }),
        value: Some(value),
        module: Some(module),
        _fence: fence.into(),
    }));
    let Ok(kept) = kept;
    // SAFETY: The value is not moved: it is only accessed by the pointer.
    let kept = KBox::into_raw(unsafe { Pin::into_inner_unchecked(kept) });
    // SAFETY: It was allocated just now.
    let head = unsafe { &raw mut (*kept).head };

    // SAFETY: The fence is valid, and the place stays until `release()`, which comes after the
    // callback.
    let added = to_result(unsafe {
        bindings::dma_fence_add_callback(fence.as_raw(), (*head).cb.get(), Some(on_signal))
    });
    if added.is_err() {
        // SAFETY: The callback is not going to be called, so that nobody else has the value. The
        // caller has nothing locked that the value needs, since it could have dropped it itself.
        unsafe { Deferred::release_now(NonNull::new_unchecked(&raw mut (*head).deferred)) };
    }
    Ok(())
}

/// # Safety
///
/// Called by the C side only, once, with a `cb` in a [`Head`].
#[inline(never)]
unsafe extern "C" fn on_signal(_fence: *mut bindings::dma_fence, cb: *mut bindings::dma_fence_cb) {
    // SAFETY: By the safety requirements.
    let head = unsafe { container_of!(Opaque::cast_from(cb), Head, cb) }.cast_mut();

    // SAFETY: The value is there until `release()`, which this brings about and nobody else. That
    // returns a reference on its module.
    unsafe { Deferred::queue(NonNull::new_unchecked(&raw mut (*head).deferred)) };
}

/// Ends the life of a [`Kept`].
///
/// # Safety
///
/// `deferred` must be that of a `Kept<T>`, to which nobody else has a pointer.
unsafe fn release<T>(deferred: NonNull<Deferred>) -> Option<ModuleRef> {
    // SAFETY: By the safety requirements. The head is at the start.
    let mut kept = unsafe {
        let head = container_of!(deferred.as_ptr(), Head, deferred);

        KBox::from_raw(head.cast::<Kept<T>>())
    };
    let (value, module) = (kept.value.take(), kept.module.take());

    drop(kept);
    drop(value);
    module
}
