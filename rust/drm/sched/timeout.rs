// SPDX-License-Identifier: GPL-2.0

//! Jobs that take too long.

use super::{
    Backend,
    JobContext, //
};
use kernel::prelude::*;

use core::{
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::addr_of, //
};

/// A job that takes too long, and the duty to say what is to become of it.
///
/// The scheduler has taken the job from its list; how it gets back there differs, and is part of
/// the functions that make a [`Verdict`].
pub struct TimedOut<'a, T: Backend>(JobContext<'a, T>);

/// The answer of [`Backend::timed_out`].
pub struct Verdict(ext_bindings::drm_gpu_sched_stat);

impl Verdict {
    pub(super) const NO_HANG: ext_bindings::drm_gpu_sched_stat =
        ext_bindings::drm_gpu_sched_stat_DRM_GPU_SCHED_STAT_NO_HANG;

    pub(super) fn into_raw(self) -> ext_bindings::drm_gpu_sched_stat {
        self.0
    }
}

impl<'a, T: Backend> TimedOut<'a, T> {
    pub(super) fn new(job: JobContext<'a, T>) -> Self {
        Self(job)
    }

    /// The scheduler goes on, and its timer starts anew.
    ///
    /// Either the job is still running and is given another period, or the driver has dealt with
    /// what did not get on, and has signalled the hardware fences of the jobs that were lost, each
    /// with its error. That is the way for drivers that reset a ring without the scheduler's help.
    /// C: `DRM_GPU_SCHED_STAT_NO_HANG`.
    pub fn no_hang(self) -> Verdict {
        Verdict(Verdict::NO_HANG)
    }

    /// Stops the scheduler, runs `recover` and starts it again.
    ///
    /// While it is stopped, no job is run or freed, and it does not listen to the hardware fences
    /// of the jobs that it has given to the driver. `recover` takes these jobs from the hardware,
    /// so that nothing of them is executed any more when it returns. All of them that had not
    /// ended before it was called, this one among them, end with the error that it returns. Their
    /// hardware fences are the driver's to signal; nobody but the driver waits for them.
    ///
    /// Jobs that have not run yet are run afterwards. To prevent that, the driver kills the
    /// entity, or makes [`Backend::run_job`] fail.
    ///
    /// C: `drm_sched_stop()`, `drm_sched_start()`, `DRM_GPU_SCHED_STAT_RESET`.
    pub fn reset(self, recover: impl FnOnce(&mut JobContext<'a, T>) -> Error) -> Verdict {
        self.restart(recover);
        Verdict(ext_bindings::drm_gpu_sched_stat_DRM_GPU_SCHED_STAT_RESET)
    }

    /// The device has gone: all jobs that were given to it end with `ENODEV`.
    ///
    /// The scheduler goes on, so that jobs that wait get their turn; [`Backend::run_job`] fails.
    /// C: `DRM_GPU_SCHED_STAT_ENODEV`.
    pub fn no_device(self) -> Verdict {
        self.restart(|_| ENODEV);
        Verdict(ext_bindings::drm_gpu_sched_stat_DRM_GPU_SCHED_STAT_ENODEV)
    }

    fn restart(mut self, recover: impl FnOnce(&mut JobContext<'a, T>) -> Error) {
        let job = self.0.as_raw();

        // SAFETY: The job was armed, and has a scheduler, which it keeps.
        let sched = unsafe { *addr_of!((*job).sched) };

        // SAFETY: This is called by `timedout_job` of the scheduler, with its job, at most once.
        // Others who stop the scheduler wait for this function first. The job is put back on the
        // list, or freed by the caller after this function.
        unsafe { ext_bindings::drm_sched_stop(sched, job) };

        let err = recover(&mut self.0);

        // SAFETY: It was stopped above. The job is not used after this.
        unsafe { ext_bindings::drm_sched_start(sched, err.to_errno()) };
    }
}

impl<'a, T: Backend> Deref for TimedOut<'a, T> {
    type Target = JobContext<'a, T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T: Backend> DerefMut for TimedOut<'_, T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
