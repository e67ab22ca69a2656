// SPDX-License-Identifier: GPL-2.0

//! Jobs.

use super::{
    entity,
    scheduler,
    Backend,
    Entity,
    Submission, //
};
use crate::{
    deferred::Deferred,
    dma_fence::Fence,
    dma_resv::{
        Guard,
        Usage, //
    },
    drm::{
        syncobj,
        File,
        FileData, //
    },
    module::ModuleRef, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Release, //
        }, //
    },
    types::Opaque, //
};

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};

/// The part of a job that does not depend on the driver.
///
/// # Invariants
///
/// `raw` is initialised by `drm_sched_job_init()`.
#[pin_data(PinnedDrop)]
#[repr(C)]
struct Head {
    #[pin]
    raw: Opaque<ext_bindings::drm_sched_job>,
    #[pin]
    deferred: Deferred,
    /// Whether the job may be freed on the workqueue for submission.
    try_release: Option<unsafe fn(NonNull<Deferred>) -> bool>,
    /// Whether `run_job()` has returned.
    run: Atomic<bool>,
    /// Always there, but for the moment in which the job is freed.
    module: Option<ModuleRef>,
    /// `drm_sched_job.sched` is used until the job is freed, and by some after it has signalled.
    _sched: scheduler::Ref,
}

// SAFETY: A job belongs to no thread.
unsafe impl Send for Head {}

// SAFETY: `&Head` gives access to the flag only.
unsafe impl Sync for Head {}

#[pinned_drop]
impl PinnedDrop for Head {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant. The job was never armed, or has been freed by the
        // scheduler.
        unsafe { ext_bindings::drm_sched_job_cleanup(self.raw.get()) };
    }
}

/// A job with its data.
#[pin_data]
#[repr(C)]
pub(super) struct Inner<T: Backend> {
    /// Goes first: the C side knows a job by its address.
    #[pin]
    head: Head,
    #[pin]
    pub(super) data: T::Job,
}

impl<T: Backend> Inner<T> {
    fn new<E>(
        entity: &entity::Ref,
        credits: u32,
        client_id: u64,
        data: impl PinInit<T::Job, E>,
    ) -> Result<Pin<KBox<Self>>>
    where
        Error: From<E>,
    {
        let module = ModuleRef::try_get::<T::OwnerModule>()?;
        let raw_entity = entity.as_raw();

        let head = try_pin_init!(Head {
            deferred <- Deferred::new(release::<T>),
            try_release: if T::HAS_TRY_RELEASE {
                Some(try_release::<T>)
            } else {
                None
            },
            run: Atomic::new(false),
            module: Some(module),
            _sched: entity.scheduler().clone(),
            raw <- Opaque::try_ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes, and the entity is initialised. It is kept
                // until the job is pushed, and the C side forgets it when the job is run.
                to_result(unsafe {
                    ext_bindings::drm_sched_job_init(
                        slot,
                        raw_entity,
                        credits,
                        null_mut(),
                        client_id,
                    )
                })
            }),
        }? Error);

        KBox::try_pin_init(
            try_pin_init!(Self {
                head <- head,
                data <- data,
            }? Error),
            GFP_KERNEL,
        )
    }
}

/// Notes that `run_job()` has returned.
///
/// # Safety
///
/// `job` must be valid.
pub(super) unsafe fn mark_run<T: Backend>(job: NonNull<Inner<T>>) {
    // SAFETY: By the safety requirements. The reference is to the flag only.
    unsafe { &(*job.as_ptr()).head.run }.store(true, Release);
}

/// Whether `run_job()` has returned.
///
/// # Safety
///
/// `job` must be valid.
pub(super) unsafe fn is_run<T: Backend>(job: NonNull<Inner<T>>) -> bool {
    // SAFETY: By the safety requirements. The reference is to the flag only.
    unsafe { &(*job.as_ptr()).head.run }.load(Acquire)
}

/// The finished fence of a job.
///
/// # Safety
///
/// `job` must be armed, and not be freed during `'a`.
pub(super) unsafe fn finished<'a>(job: *mut ext_bindings::drm_sched_job) -> &'a Fence {
    // SAFETY: By the safety requirements; the fences are initialised when the job is armed, and it
    // has a reference.
    unsafe { Fence::from_raw(&raw mut (*(*job).s_fence).finished) }
}

/// The `free_job` of all schedulers: the job has ended, and the C side does not use it any more.
///
/// It runs on the workqueue for submission, among others, and belongs to this crate rather than to
/// the driver, whose module may be unloaded as soon as the job is queued here.
///
/// # Safety
///
/// Called by the C side only, once for each job that was pushed.
#[inline(never)]
pub(super) unsafe extern "C" fn free_job_callback(job: *mut ext_bindings::drm_sched_job) {
    let head = job.cast::<Head>();

    // SAFETY: The job is at the start of the head. From `ArmedJob` on, nobody owns it but the C
    // side, which gives it up. `release()` returns the reference on the module, and is called
    // once, here or there.
    unsafe {
        let deferred = NonNull::new_unchecked(&raw mut (*head).deferred);

        if (*head).try_release.is_some_and(|f| f(deferred)) {
            // The C side goes on with the scheduler. That ends on the other workqueue, where this
            // one is waited for, should the job have had the last reference.
            Deferred::release_now(deferred);
        } else {
            Deferred::queue(deferred);
        }
    }
}

/// Whether the job may be freed at once, see [`Backend::try_release`].
///
/// # Safety
///
/// `deferred` must be that of a job of `T` that has ended and that nobody owns.
unsafe fn try_release<T: Backend>(deferred: NonNull<Deferred>) -> bool {
    // SAFETY: By the safety requirements, it is in the head of a job.
    let head = unsafe { kernel::container_of!(deferred.as_ptr(), Head, deferred) };
    let job = head.cast::<Inner<T>>();

    // SAFETY: By the safety requirements nobody else accesses the data, which does not move.
    T::try_release(unsafe { Pin::new_unchecked(&mut (*job).data) })
}

/// Frees a job, and returns its reference on the module.
///
/// # Safety
///
/// `deferred` must be that of a job of `T` that nobody owns.
unsafe fn release<T: Backend>(deferred: NonNull<Deferred>) -> Option<ModuleRef> {
    // SAFETY: By the safety requirements, it is in the head of a job.
    let head = unsafe { kernel::container_of!(deferred.as_ptr(), Head, deferred) };
    let job = head.cast::<Inner<T>>();

    // SAFETY: By the safety requirements, and as the job comes from a pinned box.
    unsafe { free(Pin::new_unchecked(KBox::from_raw(job))) }
}

/// Drops a job, and returns its reference on the module.
fn free<T: Backend>(job: Pin<KBox<Inner<T>>>) -> Option<ModuleRef> {
    // SAFETY: Nothing is moved out but the reference, which is not pinned.
    let mut job = unsafe { Pin::into_inner_unchecked(job) };
    let module = job.head.module.take();

    // SAFETY: It has not moved.
    drop(unsafe { Pin::new_unchecked(job) });
    module
}

/// A job that has not been armed. Dropping it abandons it.
pub struct Job<T: Backend> {
    /// `None` only when it is being dropped.
    inner: Option<Pin<KBox<Inner<T>>>>,
    entity: entity::Ref,
}

impl<T: Backend> Job<T> {
    /// Makes a job for `entity`.
    ///
    /// `credits` is what it takes of the scheduler's credit limit while the hardware has it.
    /// `client_id` is for trace events: that of the file, or 0. Sleeps. C: `drm_sched_job_init()`.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `credits` is 0 or more than the limit.
    /// - `ENOMEM`.
    /// - `ENODEV`: the module of `T` is being unloaded.
    /// - What the initialiser of `data` returned.
    pub fn new<E>(
        entity: &Entity<T>,
        credits: u32,
        client_id: u64,
        data: impl PinInit<T::Job, E>,
    ) -> Result<Self>
    where
        Error: From<E>,
    {
        let entity = entity.inner().clone();

        if credits == 0 || credits > entity.scheduler().credit_limit() {
            return Err(EINVAL);
        }

        Ok(Self {
            inner: Some(Inner::new(&entity, credits, client_id, data)?),
            entity,
        })
    }

    /// The data of the job.
    pub fn data(&self) -> &T::Job {
        // SAFETY: The job lives, and is owned by `self`.
        unsafe { &(*self.as_ptr()).data }
    }

    /// The data of the job, to be changed.
    pub fn data_mut(&mut self) -> Pin<&mut T::Job> {
        // SAFETY: The job lives, is owned by `self`, and does not move.
        unsafe { Pin::new_unchecked(&mut (*self.as_ptr()).data) }
    }

    /// Makes the job wait for `fence`.
    ///
    /// Of several fences of one context only the latest is kept. An error of the fence does not
    /// concern the job. Sleeps (allocates). C: `drm_sched_job_add_dependency()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn add_dependency(&mut self, fence: ARef<Fence>) -> Result {
        // SAFETY: The job is initialised. The C function takes over the reference, always.
        to_result(unsafe {
            ext_bindings::drm_sched_job_add_dependency(
                self.as_raw(),
                ARef::into_raw(fence).cast().as_ptr(),
            )
        })
    }

    /// Makes the job wait for the fence of a synchronisation object, or for that of a point on its
    /// timeline. 0 stands for the object itself.
    ///
    /// Other than `drm_sched_job_add_syncobj_dependency()`, this takes points of 64 bits. Sleeps.
    ///
    /// # Errors
    ///
    /// Those of [`syncobj::find_fence`], and `ENOMEM`.
    pub fn add_syncobj_dependency<F: FileData>(
        &mut self,
        file: &File<F>,
        handle: u32,
        point: u64,
    ) -> Result {
        self.add_dependency(syncobj::find_fence(file, handle, point)?)
    }

    /// Makes the job wait for the fences of `usage`, and of those before it, of a reservation
    /// object.
    ///
    /// To be called before the job's own fence is added. Sleeps (allocates).
    /// C: `drm_sched_job_add_resv_dependencies()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. Some may have been added.
    pub fn add_resv_dependencies(&mut self, guard: &Guard<'_>, usage: Usage) -> Result {
        // SAFETY: The job is initialised, and the reservation object is locked.
        to_result(unsafe {
            ext_bindings::drm_sched_job_add_resv_dependencies(
                self.as_raw(),
                guard.resv().as_raw(),
                usage as u32,
            )
        })
    }

    /// Whether the job was made for the entity.
    pub(super) fn is_for(&self, entity: &entity::Ref) -> bool {
        self.entity.as_raw() == entity.as_raw()
    }

    fn as_ptr(&self) -> *mut Inner<T> {
        self.inner
            .as_ref()
            .map_or(null_mut(), |inner| core::ptr::from_ref(&**inner).cast_mut())
    }

    fn as_raw(&self) -> *mut ext_bindings::drm_sched_job {
        self.as_ptr().cast()
    }
}

impl<T: Backend> Drop for Job<T> {
    fn drop(&mut self) {
        // The reference on the module goes last, with `_module`. The caller is in the module, and
        // has its own means to keep that.
        let _module = self.inner.take().and_then(free);
    }
}

/// A job that was armed: its fences exist, and it will be pushed when the value is dropped.
///
/// Nothing can fail from here on. The job keeps the entity locked; the next one is armed after it
/// was pushed.
///
/// # Invariants
///
/// `job` is a job that was armed, and is owned by this value.
#[must_use = "the job is pushed at once when the value is not used"]
pub struct ArmedJob<'a, T: Backend> {
    job: NonNull<Inner<T>>,
    _submission: PhantomData<&'a mut Submission<'a, T>>,
}

impl<T: Backend> ArmedJob<'_, T> {
    /// Arms a job.
    ///
    /// # Safety
    ///
    /// The job must be one of the entity whose lock is held during the lifetime of the value, and
    /// which is not killed.
    pub(super) unsafe fn new(job: Job<T>) -> Self {
        let mut job = ManuallyDrop::new(job);

        let raw = job.inner.take().map_or(null_mut(), |inner| {
            // SAFETY: The box is made again, pinned, by `release()`.
            KBox::into_raw(unsafe { Pin::into_inner_unchecked(inner) })
        });

        // SAFETY: The job is initialised, and armed once.
        unsafe { ext_bindings::drm_sched_job_arm(raw.cast()) };

        // The reference to the entity goes: the caller has one.
        // SAFETY: It is not used again.
        unsafe { core::ptr::drop_in_place(&raw mut job.entity) };

        // INVARIANT: Armed just now; taken over from the box.
        // SAFETY: A job has its box until it is dropped.
        let job = unsafe { NonNull::new_unchecked(raw) };

        Self {
            job,
            _submission: PhantomData,
        }
    }

    /// The fence that signals when the job has ended.
    ///
    /// For reservation objects, synchronisation objects, sync files.
    pub fn finished(&self) -> &Fence {
        // SAFETY: By the type invariant.
        unsafe { finished(self.job.as_ptr().cast()) }
    }

    /// The fence that signals when the job is given to the hardware, or ends without.
    pub fn scheduled(&self) -> &Fence {
        let job: *mut ext_bindings::drm_sched_job = self.job.as_ptr().cast();

        // SAFETY: By the type invariant. The finished fence has a reference to this one.
        unsafe { Fence::from_raw(&raw mut (*(*job).s_fence).scheduled) }
    }

    /// Gives the job to its entity. Does not sleep. C: `drm_sched_entity_push_job()`.
    pub fn push(self) {
        // Dropping does it.
    }
}

impl<T: Backend> Drop for ArmedJob<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, the job was armed. The lock of its entity has been held
        // since. From here on it belongs to the C side, which gives it to `free_job_callback()`.
        unsafe { ext_bindings::drm_sched_entity_push_job(self.job.as_ptr().cast()) };
    }
}
