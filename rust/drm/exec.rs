// SPDX-License-Identifier: GPL-2.0

//! The reservation locks of many GEM objects at a time.
//!
//! C header: [`include/drm/drm_exec.h`](srctree/include/drm/drm_exec.h)
//!
//! A task that wants the locks of several objects would deadlock with one that takes them in
//! another order. [`Exec`] has a ticket, as [`lock_pair`](crate::dma_resv::lock_pair) has: when
//! the lock of an object is held by a task with an older one, all locks are released, that lock is
//! waited for, and the list of objects is gone through again.
//!
//! # Lifetime model
//!
//! [`Exec::lock`] calls a function that names the objects, through [`Locking`], as often as it
//! takes, and gives [`Locked`]: all of them are locked, and no more can be. Dropping that releases
//! the locks. An object is referenced as long as it is locked. An [`Exec`] must not move while it
//! holds locks, which name its ticket; it is pinned, on the stack as a rule, and releases what is
//! left when it is dropped, also if [`Locked`] was leaked.
//!
//! Functions for which the lock of one of the objects must be held take a
//! [`Guard`](crate::dma_resv::Guard) of it, which [`Locked::guard`] lends. Only one can be lent at
//! a time, so that it is as exclusive as any other.
//!
//! # Fences
//!
//! [`Locked::reserve_fences`] makes room in every object, after which as many calls of the
//! functions that add a fence to them cannot fail. Whoever gets a guard may add fences of his own
//! (an exporter that moves its buffer does), and takes what room there is. Therefore lending a
//! guard ends the reservation: first comes what needs guards, then the reservation, then the point
//! of no return, then the fence.
//!
//! # Examples
//!
//! ```ignore
//! let mut exec = pin!(Exec::new(Interruptible::Yes));
//! let mut locked = exec.as_mut().lock(|locking| {
//!     locking.lock_object(&src)?;
//!     locking.lock_object(&dst)
//! })?;
//!
//! let mapped = attachment.map(&mut locked.guard(src.resv()).ok_or(EINVAL)?, direction)?;
//! locked.reserve_fences(1)?;
//! let job = queue.submit(&mapped, &dst);
//! locked.add_fence(job.fence(), |resv| {
//!     Some(if core::ptr::eq(resv, dst.resv()) { Usage::Write } else { Usage::Read })
//! })?;
//! ```
//!
//! # Known limits
//!
//! - An object that was named twice, or that shares its reservation object with another, is not an
//!   error and is locked once (`DRM_EXEC_IGNORE_DUPLICATES`).
//! - There is no unlocking of single objects.

use super::gem::{
    DriverObject,
    Object, //
};
use crate::{
    dma_fence::Fence,
    dma_resv::{
        DmaResv,
        Guard,
        Usage, //
    }, //
};
use core::{
    cell::Cell,
    marker::PhantomData,
    ptr::null_mut, //
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

/// Whether a signal ends waiting for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruptible {
    /// It does, with `EINTR`. For calls of userspace.
    Yes,
    /// It does not.
    No,
}

/// A means to lock several GEM objects. C: `struct drm_exec`.
///
/// See the [module](self).
///
/// # Invariants
///
/// - `inner` is initialised if and only if `active` is true.
/// - While it is initialised, `self` is pinned, and each object in `inner.objects` is locked with
///   the ticket of `inner` by this task.
pub struct Exec {
    inner: Opaque<bindings::drm_exec>,
    active: Cell<bool>,
    interruptible: Interruptible,
    /// The ticket names the task.
    _not_send: NotThreadSafe,
}

impl Exec {
    /// Makes one that holds no locks. Does not sleep.
    pub const fn new(interruptible: Interruptible) -> Self {
        // INVARIANT: Neither initialised nor active.
        Self {
            inner: Opaque::uninit(),
            active: Cell::new(false),
            interruptible,
            _not_send: NotThreadSafe,
        }
    }

    /// Locks the objects that `name` names.
    ///
    /// `name` is called again, with no lock held, when another task has an older claim. It must
    /// name all objects each time, pass on the errors of [`Locking`], and have no effects that do
    /// harm when they happen twice. Locks that are held after it has returned with success are
    /// held when this returns.
    ///
    /// The caller must hold no reservation lock, or it deadlocks. Sleeps.
    ///
    /// C: `drm_exec_init()`, `drm_exec_until_all_locked()`.
    ///
    /// # Errors
    ///
    /// - `EINTR`: a signal came in.
    /// - `ENOMEM`.
    /// - What `name` returned.
    ///
    /// No lock is held then.
    pub fn lock<'v>(
        self: Pin<&mut Self>,
        mut name: impl FnMut(&mut Locking<'_, 'v>) -> Result,
    ) -> Result<Locked<'_, 'v>> {
        let exec = self.into_ref().get_ref();
        // Something is left only if it was leaked.
        exec.finish();

        let flags = ext_bindings::DRM_EXEC_IGNORE_DUPLICATES
            | match exec.interruptible {
                Interruptible::Yes => ext_bindings::DRM_EXEC_INTERRUPTIBLE_WAIT,
                Interruptible::No => 0,
            };

        // SAFETY: `inner` is a place to be initialised, which does not move before it is dropped.
        unsafe { bindings::drm_exec_init(exec.as_raw(), flags, 0) };
        // INVARIANT: Initialised just now; the list of objects is empty.
        exec.active.set(true);
        // From here on, leaving releases everything.
        let locked = Locked {
            exec,
            slots: 0,
            _vms: PhantomData,
        };

        // SAFETY: `inner` is initialised. When this returns false, no lock is missing.
        while unsafe { bindings::drm_exec_cleanup(exec.as_raw()) } {
            // Without objects this takes the lock that the last pass had to wait for, if any, so
            // that a `name` that does not come back to it cannot go round for ever.
            //
            // SAFETY: As above; no object is read from the empty array.
            to_result(unsafe {
                bindings::drm_exec_prepare_array(exec.as_raw(), null_mut(), 0, 0)
            })?;

            match name(&mut Locking {
                exec,
                _vms: PhantomData,
            }) {
                Err(e) if e == EDEADLK && exec.is_contended() => {}
                result => result?,
            }
        }

        Ok(locked)
    }

    /// Releases all locks, if there are any.
    fn finish(&self) {
        if self.active.replace(false) {
            // SAFETY: By the type invariants `inner` is initialised, by this task.
            unsafe { bindings::drm_exec_fini(self.as_raw()) };
        }
    }

    /// Whether the lock of an object could not be had, so that the list has to be gone through
    /// again.
    fn is_contended(&self) -> bool {
        // SAFETY: Called in `lock()` only, where `inner` is initialised, and has been entered.
        unsafe { !(*self.as_raw()).contended.is_null() }
    }

    /// Returns the raw `struct drm_exec`.
    pub(super) fn as_raw(&self) -> *mut bindings::drm_exec {
        self.inner.get()
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Whether the lock of `resv` is held with the ticket of `exec`.
///
/// # Safety
///
/// `exec` must be initialised, by this task.
pub(super) unsafe fn holds(exec: *mut bindings::drm_exec, resv: &DmaResv) -> bool {
    // Only this task stores the address of this ticket in a lock, or removes it: whatever others
    // do to the lock at the same time, they neither make the two equal nor different.
    //
    // SAFETY: `resv` is initialised, and the C function reads the field once. `exec` is valid by
    // the safety requirements.
    unsafe { ext_bindings::dma_resv_locking_ctx(resv.as_raw()) == &raw mut (*exec).ticket }
}

/// The objects to be locked are being named, see [`Exec::lock`].
///
/// `'v` is the lifetime of the VMs that are locked, see [`gpuvm`](super::gpuvm).
///
/// # Invariants
///
/// `exec` is initialised, and [`Exec::lock`] is in its loop.
pub struct Locking<'e, 'v> {
    pub(super) exec: &'e Exec,
    _vms: PhantomData<&'v ()>,
}

impl Locking<'_, '_> {
    /// Locks an object, unless it is locked already. Sleeps.
    ///
    /// C: `drm_exec_lock_obj()`.
    ///
    /// # Errors
    ///
    /// - `EDEADLK`: all must be named again; to be passed on to [`Exec::lock`].
    /// - `EINTR`: a signal came in.
    /// - `ENOMEM`.
    pub fn lock_object<T: DriverObject>(&mut self, obj: &Object<T>) -> Result {
        // SAFETY: By the type invariants `exec` is initialised and in its loop. It takes its own
        // reference to the object.
        to_result(unsafe { bindings::drm_exec_lock_obj(self.exec.as_raw(), obj.as_raw()) })
    }

    /// Locks objects, as [`lock_object`](Self::lock_object) does.
    pub fn lock_objects<'o, T: DriverObject>(
        &mut self,
        objs: impl IntoIterator<Item = &'o Object<T>>,
    ) -> Result {
        objs.into_iter().try_for_each(|obj| self.lock_object(obj))
    }
}

/// All objects that were named are locked. They are unlocked when it is dropped.
///
/// # Invariants
///
/// - `exec` is initialised, and has left its loop.
/// - In each object of `exec`, `slots` more fences have their place.
#[must_use = "the locks are released at once when this is not used"]
pub struct Locked<'e, 'v> {
    pub(super) exec: &'e Exec,
    slots: u32,
    _vms: PhantomData<&'v ()>,
}

impl Locked<'_, '_> {
    /// Whether the lock of `resv` is one of those held.
    pub fn holds(&self, resv: &DmaResv) -> bool {
        // SAFETY: By the type invariants `exec` is initialised; it does not leave this task.
        unsafe { holds(self.exec.as_raw(), resv) }
    }

    /// Lends a guard of `resv`; `None` if its lock is not one of those held.
    ///
    /// This ends the reservation of [`reserve_fences`](Self::reserve_fences).
    pub fn guard<'g>(&'g mut self, resv: &'g DmaResv) -> Option<Guard<'g>> {
        if !self.holds(resv) {
            return None;
        }

        self.end_reservation();
        // SAFETY: The lock is held, and is not released while `self` is borrowed.
        Some(unsafe { Guard::assume_held(resv.as_raw()) })
    }

    /// Makes room for `count` fences in each of the objects. Sleeps (allocates).
    ///
    /// Reservations do not add up. C: `dma_resv_reserve_fences()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if `count` is 0.
    pub fn reserve_fences(&mut self, count: u32) -> Result {
        if count == 0 {
            return Err(EINVAL);
        }

        self.end_reservation();
        for resv in self.resvs() {
            // SAFETY: The object is initialised and locked, by the invariants of `Exec`.
            to_result(unsafe { bindings::dma_resv_reserve_fences(resv.as_raw(), count) })?;
        }
        // INVARIANT: Reserved just now.
        self.slots = count;
        Ok(())
    }

    /// Adds a fence to those objects for which `usage` gives one.
    ///
    /// `usage` is called once for each reservation object that is locked, those of VMs included.
    /// A fence takes the place of an earlier one of its context with the same or a weaker usage.
    /// Does not sleep. C: `dma_resv_add_fence()`.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: no room is left of what was [reserved](Self::reserve_fences). Nothing was added.
    pub fn add_fence(
        &mut self,
        fence: &Fence,
        mut usage: impl FnMut(&DmaResv) -> Option<Usage>,
    ) -> Result {
        self.take_slot()?;
        for resv in self.resvs() {
            if let Some(usage) = usage(resv) {
                // SAFETY: The object is initialised and locked, by the invariants of `Exec`. A
                // slot is free: `take_slot` has seen to it, and each object is there once.
                unsafe {
                    bindings::dma_resv_add_fence(resv.as_raw(), fence.as_raw(), usage as u32)
                };
            }
        }
        Ok(())
    }

    /// Uses up one slot of each object.
    pub(super) fn take_slot(&mut self) -> Result {
        self.slots = self.slots.checked_sub(1).ok_or(ENOSPC)?;
        Ok(())
    }

    /// What is called next may add fences of its own.
    pub(super) fn end_reservation(&mut self) {
        self.slots = 0;
    }

    /// The reservation objects that are locked, each once.
    fn resvs(&self) -> impl Iterator<Item = &DmaResv> {
        let exec = self.exec.as_raw();
        // SAFETY: By the type invariants `exec` is initialised. The list does not change any more.
        let (objects, count) = unsafe { ((*exec).objects, (*exec).num_objects) };

        (0..count as usize).map(move |i| {
            // SAFETY: `i` is within the list, to whose objects there are references. An object
            // keeps its reservation object.
            unsafe { DmaResv::from_raw((**objects.add(i)).resv) }
        })
    }
}

impl Drop for Locked<'_, '_> {
    fn drop(&mut self) {
        self.exec.finish();
    }
}
