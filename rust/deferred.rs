// SPDX-License-Identifier: GPL-2.0

//! Values that are dropped later, on a workqueue.
//!
//! The last reference to an object may go where its end cannot be brought about: in an interrupt,
//! with a spinlock held, in the very work item that the end would wait for, in the path that has
//! to signal a fence. Here such an object is put on a workqueue instead, which drops it in process
//! context, with nothing held.
//!
//! # Lifetime model
//!
//! The workqueue belongs to the module that is home of this crate, see [`Service`]. It is
//! destroyed, and so everything on it has run, when that module exits, which is after all modules
//! that use the crate. What runs on it is either code of this crate, or the item has a
//! [`ModuleRef`] on the module that the code is in. That is given back here, not there.

use crate::{
    module::ModuleRef,
    workqueue::OwnedQueue, //
};
use kernel::{
    bindings,
    container_of,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        static_lock_class,
        Arc, //
    },
    types::Opaque, //
};

use core::{
    mem::ManuallyDrop,
    ops::Deref,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};

/// The workqueue; null while there is no [`Service`].
static QUEUE: Atomic<*mut bindings::workqueue_struct> = Atomic::new(null_mut());

/// How often one value may hold the last reference to another that is dropped later, too: the data
/// of a job, the entity in it, the scheduler of that.
const DEPTH: usize = 3;

/// The workqueue on which values are dropped.
pub struct Service(OwnedQueue);

impl Service {
    /// Creates the workqueue. Sleeps.
    ///
    /// # Safety
    ///
    /// Must be called once, by the initialisation of the module that is home of this crate, before
    /// any other module can use it. The value must be kept until that module exits.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub unsafe fn start() -> Result<Self> {
        let queue = OwnedQueue::new(c"kernel_ext_drop", bindings::wq_flags_WQ_UNBOUND, 0)?;

        QUEUE.store(queue.as_raw(), Release);
        Ok(Self(queue))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // No other module is left that could queue something. What is queued runs now, and what
        // that queues in turn.
        self.0.flush();
    }
}

/// Waits until everything has been dropped of which the last reference was given up before the
/// call, and what it held.
///
/// Sleeps. Must not be called while something of that kind is being dropped.
#[inline(never)]
pub fn flush() {
    let queue = QUEUE.load(Acquire);

    if !queue.is_null() {
        for _ in 0..DEPTH {
            // SAFETY: The workqueue lives longer than all modules but the one that has this code.
            unsafe { bindings::__flush_workqueue(queue) };
        }
    }
}

/// What an item does: it ends the life of the object that the [`Deferred`] is part of. The module
/// whose code it is, if it is not this crate, stays until the reference is dropped.
pub(crate) type ReleaseFn = unsafe fn(NonNull<Deferred>) -> Option<ModuleRef>;

/// The part of an object by which it is queued.
///
/// # Invariants
///
/// `work` is initialised, and its function is [`run`].
#[pin_data]
pub(crate) struct Deferred {
    #[pin]
    work: Opaque<bindings::work_struct>,
    release: ReleaseFn,
}

// SAFETY: It is queued by whoever owns the object, on any thread.
unsafe impl Send for Deferred {}

// SAFETY: `&Deferred` gives access to nothing.
unsafe impl Sync for Deferred {}

impl Deferred {
    pub(crate) fn new(release: ReleaseFn) -> impl PinInit<Self> {
        // INVARIANT: The initialiser sets up the work and its function.
        pin_init!(Self {
            work <- Opaque::ffi_init(init_work),
            release,
        })
    }

    /// Queues the object, for `release` to be called with this pointer. Any context.
    ///
    /// # Safety
    ///
    /// `this` must point to an initialised value that lives until `release` is called. It is
    /// queued once, and `release` may be called with it, in process context. `release` must be
    /// code of this crate, unless it returns a reference on its module.
    #[inline(never)]
    pub(crate) unsafe fn queue(this: NonNull<Self>) {
        // SAFETY: By the safety requirements. There is a workqueue: it is older than all users.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                QUEUE.load(Acquire),
                (&raw const (*this.as_ptr()).work).cast_mut().cast(),
            )
        };
    }

    /// Calls `release` at once, where that is allowed after all.
    ///
    /// # Safety
    ///
    /// As [`Deferred::queue`], but for the context, which is that of the caller.
    #[inline(never)]
    pub(crate) unsafe fn release_now(this: NonNull<Self>) {
        // SAFETY: By the safety requirements.
        let module = unsafe { ((*this.as_ptr()).release)(this) };

        // Nothing of the module runs any more on behalf of this item.
        drop(module);
    }
}

/// Sets up the work of a [`Deferred`]. It is a function of its own so that [`run`] is that of this
/// crate, and not a copy in another module.
#[inline(never)]
fn init_work(slot: *mut bindings::work_struct) {
    // SAFETY: The caller passes a place that is valid for writes, in a `Deferred`.
    unsafe {
        bindings::init_work_with_key(
            slot,
            Some(run),
            false,
            c"kernel_ext::deferred".as_char_ptr(),
            static_lock_class!().as_ptr(),
        )
    };
}

/// # Safety
///
/// Only for the work of a `Deferred` that was queued.
unsafe extern "C" fn run(work: *mut bindings::work_struct) {
    // SAFETY: The work is embedded in a `Deferred`, by the safety requirements.
    let this = unsafe { container_of!(Opaque::cast_from(work), Deferred, work) }.cast_mut();

    // SAFETY: The value lives until `release` is called, which is here.
    let module = unsafe { ((*this).release)(NonNull::new_unchecked(this)) };

    // Nothing of the module runs any more on behalf of this item.
    drop(module);
}

/// An object that is dropped later, when the last [`Late`] reference to it has gone.
///
/// # Safety
///
/// `deferred()` must return the [`Deferred`] in the object, `from_deferred()` the object of a
/// `Deferred`, and that must have been made with [`Late::<Self>::release`] in a function of this
/// crate that is neither generic nor inlined.
pub(crate) unsafe trait Droppable: Sized {
    fn deferred(&self) -> &Deferred;

    /// # Safety
    ///
    /// `deferred` must be part of a `Self`.
    unsafe fn from_deferred(deferred: NonNull<Deferred>) -> NonNull<Self>;
}

/// A reference to an object; when it was the last, the object is dropped later.
///
/// May be dropped in any context.
pub(crate) struct Late<T: Droppable>(ManuallyDrop<Arc<T>>);

impl<T: Droppable> Late<T> {
    pub(crate) fn new(object: Arc<T>) -> Self {
        Self(ManuallyDrop::new(object))
    }

    /// For [`Deferred::new`].
    ///
    /// # Safety
    ///
    /// `deferred` must be that of an object of which this is the last reference, which is given
    /// up.
    pub(crate) unsafe fn release(deferred: NonNull<Deferred>) -> Option<ModuleRef> {
        // SAFETY: `drop()` has turned the last reference into the pointer.
        drop(unsafe { Arc::from_raw(T::from_deferred(deferred).as_ptr().cast_const()) });
        None
    }
}

impl<T: Droppable> Clone for Late<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Droppable> Deref for Late<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Droppable> Drop for Late<T> {
    fn drop(&mut self) {
        // SAFETY: The value is not used again.
        let object = unsafe { ManuallyDrop::take(&mut self.0) };

        if let Some(last) = Arc::into_unique_or_drop(object) {
            let object = Arc::into_raw(Arc::from(last));

            // SAFETY: The last reference keeps the object until `release()` takes it over. The
            // function is that of this crate, as `Droppable` demands.
            unsafe { Deferred::queue(NonNull::from((*object).deferred())) };
        }
    }
}
