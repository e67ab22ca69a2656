// SPDX-License-Identifier: GPL-2.0

//! What a driver implements, and how the C side calls it.

use super::{
    job,
    TimedOut,
    Verdict, //
};
use crate::dma_fence::{
    Fence,
    Signalling, //
};
use kernel::{
    bindings,
    build_error,
    error::VTABLE_DEFAULT_ERROR,
    prelude::*,
    sync::aref::ARef, //
};

use core::{
    marker::PhantomData,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};

/// The driver's side of a scheduler.
///
/// All functions run in process context and may sleep, but in a section in which they must not
/// wait for memory or fences, see the [module](super#what-must-not-wait).
#[vtable]
pub trait Backend: Sized + 'static {
    /// Data of a job. Dropped when the job has ended.
    type Job: Send + 'static;

    /// Names another fence that has to signal before the job can run.
    ///
    /// Called when the fences that were added to the job have signalled, on the workqueue for
    /// submission, again and again until it returns [`None`]. Not called for jobs that are killed.
    /// C: `prepare_job`.
    fn prepare_job(_job: &mut JobContext<'_, Self>) -> Option<ARef<Fence>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gives the job to the hardware.
    ///
    /// Called once, on the workqueue for submission, when the job has nothing left to wait for.
    /// Returns the hardware fence, which the driver has to signal when the job has ended, with the
    /// error if there was one; or [`None`] if it has ended already, with success. The timeout
    /// counts from before the call; [`Backend::timed_out`] is not called before this has returned.
    ///
    /// The hardware may be gone, and its driver unbound: jobs that were pushed are run all the
    /// same. C: `run_job`.
    ///
    /// # Errors
    ///
    /// The job has ended with this error.
    fn run_job(job: &mut JobContext<'_, Self>) -> Result<Option<ARef<Fence>>>;

    /// The first job in the hardware has taken longer than the timeout, or
    /// [`Scheduler::fault`](super::Scheduler::fault) was called.
    ///
    /// Called on the workqueue for timeouts, never for a job that has ended. The driver finds out
    /// what has happened, and answers by one of the functions of [`TimedOut`]. It must not wait
    /// for the job to be freed, and not call [`Scheduler::stop`](super::Scheduler::stop) or
    /// [`pause`](super::Scheduler::pause) of any scheduler, which wait for this function; what
    /// concerns more than this scheduler is for a work item.
    ///
    /// Functions of different schedulers run side by side, unless the schedulers share an ordered
    /// workqueue for timeouts. C: `timedout_job`.
    fn timed_out(job: TimedOut<'_, Self>) -> Verdict;

    /// Lets go of what a job that has ended holds, and returns whether the data may be dropped at
    /// once, on the workqueue for submission, by the same call.
    ///
    /// That is much cheaper than another workqueue, to which the job goes if this returns `false`
    /// or is left out. But other jobs wait for that workqueue: neither this function nor dropping
    /// the data after it has returned `true` may sleep, take locks, or be the end of anything that
    /// does when it ends. A reference that might be the last one is such a thing;
    /// [`Arc::into_unique_or_drop`](kernel::sync::Arc::into_unique_or_drop) tells. What belongs to
    /// this crate may always be dropped: entities, schedulers, fences.
    ///
    /// Called once, for jobs that were pushed, whether they have run or not.
    fn try_release(_job: Pin<&mut Self::Job>) -> bool {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// A job in a function of [`Backend`].
///
/// # Invariants
///
/// `job` points to a job of `T` that was armed. During `'a` it lives, and nobody else accesses its
/// data.
pub struct JobContext<'a, T: Backend> {
    job: NonNull<job::Inner<T>>,
    _lifetime: PhantomData<&'a mut T::Job>,
}

impl<T: Backend> JobContext<'_, T> {
    /// # Safety
    ///
    /// As the type invariants, with a lifetime that the caller chooses.
    pub(super) unsafe fn new(job: NonNull<job::Inner<T>>) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            job,
            _lifetime: PhantomData,
        }
    }

    /// The data of the job.
    pub fn data(&self) -> &T::Job {
        // SAFETY: By the type invariants.
        unsafe { &(*self.job.as_ptr()).data }
    }

    /// The data of the job, to be changed.
    pub fn data_mut(&mut self) -> Pin<&mut T::Job> {
        // SAFETY: By the type invariants; the data stays in the job, which does not move.
        unsafe { Pin::new_unchecked(&mut (*self.job.as_ptr()).data) }
    }

    /// The fence that signals when the job has ended, whatever became of it.
    pub fn finished(&self) -> &Fence {
        // SAFETY: By the type invariants. The job holds its fences.
        unsafe { job::finished(self.as_raw()) }
    }

    pub(super) fn inner(&self) -> NonNull<job::Inner<T>> {
        self.job
    }

    pub(super) fn as_raw(&self) -> *mut ext_bindings::drm_sched_job {
        self.job.as_ptr().cast()
    }
}

/// The operations for jobs of `T`.
///
/// There is no `cancel_job`: a scheduler that ends has no jobs.
pub(super) const fn ops<T: Backend>() -> ext_bindings::drm_sched_backend_ops {
    ext_bindings::drm_sched_backend_ops {
        prepare_job: if T::HAS_PREPARE_JOB {
            Some(prepare_job_callback::<T>)
        } else {
            None
        },
        run_job: Some(run_job_callback::<T>),
        timedout_job: Some(timed_out_callback::<T>),
        // That of this crate, not of the driver, is filled in by the scheduler.
        free_job: None,
        cancel_job: None,
    }
}

/// # Safety
///
/// Called by the C side only, with a job of `T` that is about to run.
unsafe extern "C" fn prepare_job_callback<T: Backend>(
    job: *mut ext_bindings::drm_sched_job,
    _entity: *mut ext_bindings::drm_sched_entity,
) -> *mut bindings::dma_fence {
    let _signalling = Signalling::begin();

    // SAFETY: The job is at the start of an `Inner<T>`. A job that was pushed is accessed by the
    // item of the scheduler that runs jobs, which is here, by `timed_out()` after that, and is
    // freed after that.
    let mut context = unsafe { JobContext::new(NonNull::new_unchecked(job.cast())) };

    into_raw(T::prepare_job(&mut context))
}

/// # Safety
///
/// Called by the C side only, once, with a job of `T`.
unsafe extern "C" fn run_job_callback<T: Backend>(
    job: *mut ext_bindings::drm_sched_job,
) -> *mut bindings::dma_fence {
    let _signalling = Signalling::begin();

    // SAFETY: As in `prepare_job_callback()`. A timer that fires before the function has returned
    // finds the job not marked.
    let mut context = unsafe { JobContext::<T>::new(NonNull::new_unchecked(job.cast())) };

    let ret = T::run_job(&mut context);

    // SAFETY: The C side frees no job whose `run_job` has not returned.
    unsafe { job::mark_run(context.inner()) };

    match ret {
        Ok(fence) => into_raw(fence),
        Err(err) => err.to_ptr(),
    }
}

/// # Safety
///
/// Called by the C side only, with a job of `T` that was given to `run_job`.
unsafe extern "C" fn timed_out_callback<T: Backend>(
    job: *mut ext_bindings::drm_sched_job,
) -> ext_bindings::drm_gpu_sched_stat {
    // SAFETY: The job is at the start of an `Inner<T>`. The C side has taken it from its list, so
    // that it is not freed before this function has returned.
    let job = unsafe { NonNull::new_unchecked(job.cast::<job::Inner<T>>()) };

    // SAFETY: As above; it was armed.
    let is_running =
        unsafe { job::is_run(job) && !job::finished(job.as_ptr().cast()).is_signaled() };

    // Timers are not exact: the job may be on its way to the hardware, or have ended.
    if !is_running {
        return Verdict::NO_HANG;
    }

    let _signalling = Signalling::begin();

    // SAFETY: As above. `run_job()` has returned, and nobody else accesses the data until the job
    // is freed.
    T::timed_out(TimedOut::new(unsafe { JobContext::new(job) })).into_raw()
}

/// The C side takes over the reference.
fn into_raw(fence: Option<ARef<Fence>>) -> *mut bindings::dma_fence {
    fence.map_or(null_mut(), |fence| ARef::into_raw(fence).cast().as_ptr())
}
