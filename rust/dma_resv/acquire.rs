// SPDX-License-Identifier: GPL-2.0

//! The locks of two reservation objects at a time.

use super::{
    DmaResv,
    Guard, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// Calls `f` with the locks of `a` and `b` held, and returns what it returns.
///
/// Two tasks may name the same two objects in different orders without a deadlock. Sleeps until
/// both are held. The guards are only lent to `f`: the locks must be given back before the acquire
/// context ends, so whoever could keep or leak them must not have that duty.
///
/// The caller must hold the lock of no other reservation object.
///
/// # Errors
///
/// - `EALREADY`: `a` and `b` are the same object (two buffers may share one). `f` is not called.
///
/// # Examples
///
/// ```ignore
/// dma_resv::lock_pair(src.resv(), dst.resv(), |src_guard, dst_guard| {
///     src_guard.reserve_fences(1)?;
///     dst_guard.reserve_fences(1)?;
///     let job = queue.submit(copy)?;
///     src_guard.add_fence(job.fence(), Usage::Read)?;
///     dst_guard.add_fence(job.fence(), Usage::Write)
/// })??;
/// ```
pub fn lock_pair<R>(
    a: &DmaResv,
    b: &DmaResv,
    f: impl for<'g> FnOnce(&mut Guard<'g>, &mut Guard<'g>) -> R,
) -> Result<R> {
    pin_init::stack_pin_init!(let ctx = AcquireCtx::new());
    let (mut guard_a, mut guard_b) = ctx.lock_pair(a, b)?;
    let result = f(&mut guard_a.lend(), &mut guard_b.lend());

    Ok(result)
}

/// An acquire context: a task's ticket in the order in which tasks may take locks.
///
/// The older ticket wins. A task that meets a lock whose holder is older lets go of what it has,
/// waits for that lock, and starts again from there, so that no circle of waiting tasks can form.
///
/// # Invariants
///
/// `inner` is initialised for the class of reservation objects.
#[pin_data(PinnedDrop)]
struct AcquireCtx {
    #[pin]
    inner: Opaque<bindings::ww_acquire_ctx>,
    /// The ticket names the task.
    _not_send: NotThreadSafe,
}

impl AcquireCtx {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|ctx| {
                // SAFETY: `ctx` is a place to be initialised, and does not move afterwards.
                unsafe { ext_bindings::dma_resv_acquire_init(ctx) };
            }),
            _not_send: NotThreadSafe,
        })
    }

    /// Takes both locks. The context must hold none, and the guards must be dropped, not leaked.
    fn lock_pair<'a>(&'a self, a: &'a DmaResv, b: &'a DmaResv) -> Result<(Guard<'a>, Guard<'a>)> {
        let (mut first, mut second) = (a, b);
        let mut first_guard = self.lock(first)?;

        // The second lock can be refused because its holder has an older ticket. Then it is the
        // one to wait for, with no lock held, and the other is taken after it.
        loop {
            match self.lock(second) {
                Ok(second_guard) => {
                    return Ok(if core::ptr::eq(first, a) {
                        (first_guard, second_guard)
                    } else {
                        (second_guard, first_guard)
                    });
                }
                Err(err) if err == EDEADLK => {
                    drop(first_guard);
                    core::mem::swap(&mut first, &mut second);
                    first_guard = self.lock_slow(first);
                }
                Err(err) => return Err(err),
            }
        }
    }

    fn lock<'a>(&'a self, resv: &'a DmaResv) -> Result<Guard<'a>> {
        // SAFETY: By the type invariants both are initialised, and `self` outlives the guard.
        to_result(unsafe { ext_bindings::dma_resv_lock(resv.as_raw(), self.inner.get()) })?;

        // INVARIANT: Locked just now.
        Ok(Guard::new(resv))
    }

    /// Takes the lock that was refused with `EDEADLK`, when the context holds no other.
    fn lock_slow<'a>(&'a self, resv: &'a DmaResv) -> Guard<'a> {
        // SAFETY: By the type invariants both are initialised, and `self` outlives the guard.
        unsafe { ext_bindings::dma_resv_lock_slow(resv.as_raw(), self.inner.get()) };

        // INVARIANT: Locked just now.
        Guard::new(resv)
    }
}

#[pinned_drop]
impl PinnedDrop for AcquireCtx {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The context was initialised in `new()`. The guards borrow it, and `lock_pair()`
        // drops them first, so no lock is held with it any more.
        unsafe { ext_bindings::dma_resv_acquire_fini(self.inner.get()) };
    }
}
