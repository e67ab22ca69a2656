// SPDX-License-Identifier: GPL-2.0

//! Synchronisation objects: places for fences that userspace has handles for.
//!
//! C header: [`include/drm/drm_syncobj.h`](srctree/include/drm/drm_syncobj.h)
//!
//! A *binary* object has one fence, which is replaced. A *timeline* has a fence for each of its
//! points, which are numbers that grow. Whether an object is the one or the other is a matter of
//! how it is used. Userspace makes, waits for and destroys them by ioctls of the DRM core, which a
//! driver has by [`Driver::FEAT_SYNCOBJ`] and [`Driver::FEAT_SYNCOBJ_TIMELINE`].
//!
//! A submission takes in the fences to wait for with [`find_fence`], and prepares those to signal
//! with [`OutFence::prepare`], where things can still fail. When the job is armed,
//! [`OutFence::publish`] cannot fail.
//!
//! # Lifetime model
//!
//! Objects are reference counted; handles and files hold them, and so does an [`ARef<Syncobj>`].
//! An object holds its fences.
//!
//! # Known limits
//!
//! - The fence of a point on a timeline does not have the error of the fence that it was made of;
//!   that of a binary object is the fence itself.
//! - [`find_submitted_fence`] leaks a reference to the fence if that appears at the very moment in
//!   which the wait is interrupted or times out, as `drm_syncobj_find_fence()` does.

use super::{
    Driver,
    File,
    FileData, //
};
use crate::dma_fence::{
    Chain,
    Fence, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

use core::{
    num::NonZero,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};

/// A synchronisation object.
///
/// Instances are always reference counted; an owned reference is an [`ARef<Syncobj>`].
///
/// # Invariants
///
/// The underlying `struct drm_syncobj` is initialised.
#[repr(transparent)]
pub struct Syncobj(Opaque<ext_bindings::drm_syncobj>);

// SAFETY: The reference count may be dropped on any thread.
unsafe impl Send for Syncobj {}

// SAFETY: What changes in an object is changed under its spinlock, or by RCU.
unsafe impl Sync for Syncobj {}

// SAFETY: The C side keeps the object allocated while its reference count is not zero.
unsafe impl AlwaysRefCounted for Syncobj {
    #[inline]
    fn inc_ref(&self) {
        // SAFETY: A shared reference means that the reference count is not zero.
        unsafe { ext_bindings::drm_syncobj_get(self.as_raw()) };
    }

    #[inline]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference that it owns.
        unsafe { ext_bindings::drm_syncobj_put(obj.cast().as_ptr()) };
    }
}

impl Syncobj {
    /// Makes an object without a fence, or with one that has signalled. Sleeps.
    /// C: `drm_syncobj_create()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(signaled: bool) -> Result<ARef<Self>> {
        let flags = if signaled {
            bindings::DRM_SYNCOBJ_CREATE_SIGNALED
        } else {
            0
        };
        let mut obj = null_mut();

        // SAFETY: `obj` is a valid place.
        to_result(unsafe { ext_bindings::drm_syncobj_create(&mut obj, flags, null_mut()) })?;

        // SAFETY: On success there is a new object, whose reference is handed over.
        Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(obj.cast())) })
    }

    /// Looks up the object of a handle. Does not sleep. C: `drm_syncobj_find()`.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is no such handle in `file`.
    pub fn find<F: FileData>(file: &File<F>, handle: u32) -> Result<ARef<Self>> {
        const { assert!(F::Driver::FEAT_SYNCOBJ) };

        // SAFETY: The file is valid, and has handles of synchronisation objects.
        let obj = unsafe { ext_bindings::drm_syncobj_find(file.as_raw(), handle) };

        let obj = NonNull::new(obj.cast()).ok_or(ENOENT)?;

        // SAFETY: The C function returns a new reference.
        Ok(unsafe { ARef::from_raw(obj) })
    }

    /// Makes a handle for the object, which userspace may use, and destroy, before this returns.
    ///
    /// Sleeps. C: `drm_syncobj_get_handle()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn create_handle<F: FileData>(&self, file: &File<F>) -> Result<u32> {
        const { assert!(F::Driver::FEAT_SYNCOBJ) };

        let mut handle = 0;

        // SAFETY: The file is valid, and has handles of synchronisation objects; `handle` is a
        // valid place.
        to_result(unsafe {
            ext_bindings::drm_syncobj_get_handle(file.as_raw(), self.as_raw(), &mut handle)
        })?;
        Ok(handle)
    }

    /// Returns the raw pointer.
    #[inline]
    pub fn as_raw(&self) -> *mut ext_bindings::drm_syncobj {
        self.0.get()
    }

    /// The fence of the object, if it has one: on a timeline, that of the last point.
    ///
    /// Does not sleep. C: `drm_syncobj_fence_get()`.
    pub fn fence(&self) -> Option<ARef<Fence>> {
        // SAFETY: By the type invariant.
        let fence = unsafe { ext_bindings::drm_syncobj_fence_get(self.as_raw()) };

        // SAFETY: The C function returns a new reference, or null.
        NonNull::new(fence).map(|fence| unsafe { Fence::from_owned(fence) })
    }

    /// Replaces the fence of the object, as for a binary one.
    ///
    /// Who waits for the object to get a fence is woken up. Does not sleep.
    /// C: `drm_syncobj_replace_fence()`.
    pub fn replace_fence(&self, fence: Option<&Fence>) {
        // SAFETY: By the type invariant. The C function takes a reference of its own.
        unsafe {
            ext_bindings::drm_syncobj_replace_fence(
                self.as_raw(),
                fence.map_or(null_mut(), Fence::as_raw),
            )
        };
    }

    /// Adds a point to the timeline: it is reached when `fence` and all points before it have
    /// signalled.
    ///
    /// Points are to be added in growing order; others make userspace see odd values, but do no
    /// harm to the kernel. Who waits for the point to be added is woken up. Does not sleep.
    /// C: `drm_syncobj_add_point()`.
    pub fn add_point(&self, chain: Chain, fence: &Fence, point: NonZero<u64>) {
        // SAFETY: By the type invariant. The C function takes over the memory, and takes a
        // reference to the fence.
        unsafe {
            ext_bindings::drm_syncobj_add_point(
                self.as_raw(),
                chain.into_raw(),
                fence.as_raw(),
                point.get(),
            )
        };
    }
}

/// Looks up the fence of an object, or that of a point on its timeline. 0 stands for the object.
///
/// Does not sleep. C: `drm_syncobj_find_fence()`.
///
/// # Errors
///
/// - `ENOENT`: there is no such handle in `file`.
/// - `EINVAL`: the object has no fence, or not that point yet.
pub fn find_fence<F: FileData>(file: &File<F>, handle: u32, point: u64) -> Result<ARef<Fence>> {
    find_with(file, handle, point, 0)
}

/// As [`find_fence`], but waits up to 5 seconds for the fence to be there.
///
/// Whether it ever will be is up to userspace: this must not be called with any lock held, nor
/// where a fence depends on it. Sleeps.
///
/// # Errors
///
/// - `ENOENT`: there is no such handle in `file`.
/// - `ETIME`: there is still no fence.
/// - `ERESTARTSYS`: a signal came in.
pub fn find_submitted_fence<F: FileData>(
    file: &File<F>,
    handle: u32,
    point: u64,
) -> Result<ARef<Fence>> {
    find_with(
        file,
        handle,
        point,
        u64::from(bindings::DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT),
    )
}

fn find_with<F: FileData>(
    file: &File<F>,
    handle: u32,
    point: u64,
    flags: u64,
) -> Result<ARef<Fence>> {
    const { assert!(F::Driver::FEAT_SYNCOBJ) };

    let mut fence = null_mut();

    // SAFETY: The file is valid, and has handles of synchronisation objects; `fence` is a valid
    // place.
    to_result(unsafe {
        ext_bindings::drm_syncobj_find_fence(file.as_raw(), handle, point, flags, &mut fence)
    })?;

    // SAFETY: On success the C function returns a new reference, never null.
    Ok(unsafe { Fence::from_owned(NonNull::new_unchecked(fence)) })
}

/// What a submission is to signal: an object, or a point on its timeline, with all that takes.
pub struct OutFence {
    obj: ARef<Syncobj>,
    point: Option<(NonZero<u64>, Chain)>,
}

impl OutFence {
    /// Looks up the object, and allocates what a point takes. 0 stands for the object itself.
    ///
    /// Nothing is changed yet. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOENT`: there is no such handle in `file`.
    /// - `ENOMEM`.
    pub fn prepare<F: FileData>(file: &File<F>, handle: u32, point: u64) -> Result<Self> {
        Ok(Self {
            obj: Syncobj::find(file, handle)?,
            point: match NonZero::new(point) {
                Some(point) => Some((point, Chain::new()?)),
                None => None,
            },
        })
    }

    /// Makes `fence` the one of the object, or of the point. Does not sleep.
    pub fn publish(self, fence: &Fence) {
        match self.point {
            Some((point, chain)) => self.obj.add_point(chain, fence, point),
            None => self.obj.replace_fence(Some(fence)),
        }
    }
}
