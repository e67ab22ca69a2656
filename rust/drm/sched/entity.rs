// SPDX-License-Identifier: GPL-2.0

//! Entities: queues of jobs.

use super::{
    scheduler,
    ArmedJob,
    Backend,
    Job,
    Scheduler, //
};
use crate::{
    deferred::{
        Deferred,
        Droppable,
        Late, //
    },
    dma_fence::{
        wait_result,
        Signalling,
        MAX_TIMEOUT, //
    }, //
};
use kernel::{
    bindings,
    error::to_result,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        MutexGuard, //
    },
    time::Jiffies,
    types::Opaque, //
};

use core::{
    marker::PhantomData,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};

/// How urgent the jobs of an entity are, compared with those of other entities of the scheduler.
///
/// Jobs of a lower priority wait as long as there are jobs of a higher one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Priority {
    /// What the kernel does for itself, and others wait for.
    Kernel = ext_bindings::drm_sched_priority_DRM_SCHED_PRIORITY_KERNEL,
    /// Before ordinary clients.
    High = ext_bindings::drm_sched_priority_DRM_SCHED_PRIORITY_HIGH,
    /// Ordinary clients.
    Normal = ext_bindings::drm_sched_priority_DRM_SCHED_PRIORITY_NORMAL,
    /// When there is nothing else.
    Low = ext_bindings::drm_sched_priority_DRM_SCHED_PRIORITY_LOW,
}

/// # Invariants
///
/// `raw` is initialised, with `sched` as its only scheduler.
#[pin_data(PinnedDrop)]
pub(super) struct Inner {
    #[pin]
    raw: Opaque<ext_bindings::drm_sched_entity>,
    #[pin]
    deferred: Deferred,
    /// Held from arming a job until it is pushed. True when the entity was killed.
    #[pin]
    killed: Mutex<bool>,
    sched: scheduler::Ref,
}

// SAFETY: An entity belongs to no thread.
unsafe impl Send for Inner {}

// SAFETY: Entities have locks of their own; for arming and pushing there is `killed`.
unsafe impl Sync for Inner {}

/// A reference to an entity. When the last one has gone, the entity is killed later.
pub(super) type Ref = Late<Inner>;

// SAFETY: The two functions are each other's inverse, and `Inner::new()` is neither generic nor
// inlined.
unsafe impl Droppable for Inner {
    fn deferred(&self) -> &Deferred {
        &self.deferred
    }

    unsafe fn from_deferred(deferred: NonNull<Deferred>) -> NonNull<Self> {
        // SAFETY: By the safety requirements.
        unsafe { NonNull::new_unchecked(kernel::container_of!(deferred.as_ptr(), Self, deferred)) }
    }
}

impl Inner {
    #[inline(never)]
    fn new(sched: scheduler::Ref, priority: Priority) -> Result<Ref> {
        let mut raw_sched = sched.as_raw();

        let inner = Arc::pin_init(
            try_pin_init!(Self {
                deferred <- Deferred::new(Late::<Self>::release),
                killed <- new_mutex!(false, "drm::sched::Entity"),
                raw <- Opaque::try_ffi_init(|slot| {
                    // SAFETY: `slot` is valid for writes, the scheduler is initialised, and `sched`
                    // keeps it. The list of one scheduler is not used after the call.
                    to_result(unsafe {
                        ext_bindings::drm_sched_entity_init(
                            slot,
                            priority as i32,
                            &mut raw_sched,
                            1,
                            null_mut(),
                        )
                    })
                }),
                sched,
            }),
            GFP_KERNEL,
        )?;

        Ok(Late::new(inner))
    }

    pub(super) fn as_raw(&self) -> *mut ext_bindings::drm_sched_entity {
        self.raw.get()
    }

    pub(super) fn scheduler(&self) -> &scheduler::Ref {
        &self.sched
    }
}

#[pinned_drop]
impl PinnedDrop for Inner {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant. There are neither handles left nor jobs that could be
        // pushed. The memory stays until the grace period below has passed.
        unsafe { ext_bindings::drm_sched_entity_fini_held(self.as_raw()) };

        // The callback of the last fence that the entity has waited for clears the pointer to
        // that fence, by which the function above knows that it is gone, and uses the entity
        // after that, with interrupts off.
        //
        // SAFETY: No requirements; this is a context that may sleep.
        unsafe { bindings::synchronize_rcu() };
    }
}

/// A queue of jobs for a [`Scheduler`].
///
/// Dropping it kills it, see [`Entity::kill`]; any context.
pub struct Entity<T: Backend> {
    inner: Ref,
    _backend: PhantomData<fn() -> T>,
}

impl<T: Backend> Entity<T> {
    /// Makes an empty queue. Sleeps. C: `drm_sched_entity_init()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(sched: &Scheduler<T>, priority: Priority) -> Result<Self> {
        Ok(Self {
            inner: Inner::new(sched.inner().clone(), priority)?,
            _backend: PhantomData,
        })
    }

    /// Locks the entity, in order to arm and push jobs.
    ///
    /// The lock is one on which fences depend: [`Submission`] is a section in which nothing may be
    /// waited for, see the [module](super#what-must-not-wait). Reservation locks are taken before
    /// it. Sleeps.
    ///
    /// # Errors
    ///
    /// `ESRCH`: the entity was killed.
    pub fn lock(&self) -> Result<Submission<'_, T>> {
        let killed = self.inner.killed.lock();

        if *killed {
            return Err(ESRCH);
        }
        Ok(Submission {
            _signalling: Signalling::begin(),
            _lock: killed,
            entity: self,
        })
    }

    /// Makes an end of the queue: no more jobs can be pushed, and those that have not run yet are
    /// not going to.
    ///
    /// They end with `ESRCH`, later, when all fences that they wait for, and the jobs before them,
    /// have signalled: nobody may take the end of a job for an end of what it was to wait for.
    /// Jobs that run already are not concerned.
    ///
    /// Sleeps until [`Backend::run_job`], if it is running for this entity, has returned. Must not
    /// be called from there, nor while [`Submission`] is held. Killing twice does no harm.
    /// C: `drm_sched_entity_kill()`.
    pub fn kill(&self) {
        let mut killed = self.inner.killed.lock();

        *killed = true;
        // SAFETY: The entity is initialised. Nobody arms or pushes, as the lock is held.
        unsafe { ext_bindings::drm_sched_entity_kill_wake(self.inner.as_raw()) };
    }

    /// Waits until all jobs have been given to the hardware, for at most `timeout` jiffies.
    ///
    /// Returns what is left of the time, at least 1. Returns, too, when the entity is killed.
    /// Sleeps; must not be called where a fence depends on it. Jobs may be pushed meanwhile, and
    /// are waited for.
    ///
    /// Unlike `drm_sched_entity_flush()`, this is bounded for all processes, and does not kill.
    ///
    /// # Errors
    ///
    /// - `ETIMEDOUT`: there are still jobs.
    /// - `ERESTARTSYS`: the process was killed.
    pub fn flush(&self, timeout: Jiffies) -> Result<Jiffies> {
        // SAFETY: The entity is initialised; its scheduler is kept by it.
        wait_result(unsafe {
            ext_bindings::drm_sched_entity_wait(self.inner.as_raw(), timeout.min(MAX_TIMEOUT))
        })
    }

    /// The error of the job that was given to the hardware last, if it has ended with one.
    ///
    /// Does not sleep. C: `drm_sched_entity_error()`.
    pub fn error(&self) -> Option<Error> {
        // SAFETY: The entity is initialised.
        to_result(unsafe { ext_bindings::drm_sched_entity_error(self.inner.as_raw()) }).err()
    }

    /// Changes the priority, with effect for jobs that are pushed later to the empty queue.
    ///
    /// Does not sleep. C: `drm_sched_entity_set_priority()`.
    pub fn set_priority(&self, priority: Priority) {
        // SAFETY: The entity is initialised.
        unsafe {
            ext_bindings::drm_sched_entity_set_priority(self.inner.as_raw(), priority as i32)
        };
    }

    /// The context of the finished fences of the jobs. They signal in order.
    pub fn fence_context(&self) -> u64 {
        // SAFETY: The entity is initialised; the field does not change.
        unsafe { (*self.inner.as_raw()).fence_context + 1 }
    }

    pub(super) fn inner(&self) -> &Ref {
        &self.inner
    }
}

/// The lock of an [`Entity`], for arming and pushing jobs.
#[must_use = "the lock is released at once when the value is not used"]
pub struct Submission<'a, T: Backend> {
    // Fields are dropped in order: the section is within the lock.
    _signalling: Signalling,
    _lock: MutexGuard<'a, bool>,
    entity: &'a Entity<T>,
}

impl<T: Backend> Submission<'_, T> {
    /// Arms a job: its fences exist from now on, and it will run.
    ///
    /// Does not sleep. C: `drm_sched_job_arm()`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the job was made for another entity. It is dropped.
    pub fn arm(&mut self, job: Job<T>) -> Result<ArmedJob<'_, T>> {
        if !job.is_for(&self.entity.inner) {
            return Err(EINVAL);
        }

        // SAFETY: The job is one of the entity. That is locked as long as `self` is borrowed, and
        // was not killed when it was locked.
        Ok(unsafe { ArmedJob::new(job) })
    }
}
