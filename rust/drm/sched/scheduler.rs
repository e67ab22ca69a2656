// SPDX-License-Identifier: GPL-2.0

//! Schedulers.

use super::{
    backend,
    job,
    Backend, //
};
use crate::{
    deferred::{
        Deferred,
        Droppable,
        Late, //
    },
    workqueue::OwnedQueue, //
};
use kernel::{
    bindings,
    device,
    error::to_result,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
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

/// Size of the place for the name of a scheduler, with its terminating zero.
const NAME_LEN: usize = 32;

/// What a [`Scheduler`] is made with.
pub struct Config<'a> {
    /// Name of the ring, for traces and debugfs. Cut off after 31 bytes.
    pub name: &'a CStr,
    /// How many credits the jobs may have that are in the hardware at one time, not 0: the size of
    /// the ring, in whatever unit [`Job::new`](super::Job::new) is told.
    pub credit_limit: u32,
    /// Jiffies that a job may take, from the moment in which it is the first in the hardware.
    /// `None` for no limit.
    pub timeout: Option<Jiffies>,
    /// Where jobs are run and freed. `None` for an ordered workqueue of the scheduler's own.
    ///
    /// One that is shared by many schedulers saves threads. With one that is not ordered, jobs of
    /// different schedulers are run side by side.
    pub submit_queue: Option<Arc<OwnedQueue>>,
    /// Where [`Backend::timed_out`] is called. `None` for a workqueue of the system.
    pub timeout_queue: Option<Arc<OwnedQueue>>,
    /// The device that messages name.
    pub device: &'a device::Device,
}

/// # Invariants
///
/// `raw` is initialised. What it points to is part of this object, or kept by it.
#[pin_data(PinnedDrop)]
pub(super) struct Inner {
    #[pin]
    raw: Opaque<ext_bindings::drm_gpu_scheduler>,
    #[pin]
    deferred: Deferred,
    /// Held by who has stopped it.
    #[pin]
    control: Mutex<()>,
    /// A copy, because the scheduler may outlive the module of the original.
    ops: ext_bindings::drm_sched_backend_ops,
    /// Finished fences refer to it until they have signalled.
    name: [u8; NAME_LEN],
    _submit_queue: Option<Arc<OwnedQueue>>,
    _timeout_queue: Option<Arc<OwnedQueue>>,
    _device: ARef<device::Device>,
}

// SAFETY: A scheduler belongs to no thread.
unsafe impl Send for Inner {}

// SAFETY: Schedulers have locks of their own; for stopping there is `control`.
unsafe impl Sync for Inner {}

/// A reference to a scheduler. When the last one has gone, the scheduler ends later.
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
    fn new(config: Config<'_>, ops: ext_bindings::drm_sched_backend_ops) -> Result<Ref> {
        if config.credit_limit == 0 {
            return Err(EINVAL);
        }

        let mut name = [0; NAME_LEN];
        for (to, from) in name[..NAME_LEN - 1].iter_mut().zip(config.name.to_bytes()) {
            *to = *from;
        }

        let mut args = ext_bindings::drm_sched_init_args {
            submit_wq: raw_queue(&config.submit_queue),
            timeout_wq: raw_queue(&config.timeout_queue),
            num_rqs: ext_bindings::drm_sched_priority_DRM_SCHED_PRIORITY_COUNT as u32,
            credit_limit: config.credit_limit,
            timeout: config.timeout.map_or(isize::MAX, |timeout| {
                isize::try_from(timeout).unwrap_or(isize::MAX)
            }),
            // CAST: `device::Device` is a transparent wrapper of `Opaque<struct device>`.
            dev: core::ptr::from_ref(config.device).cast_mut().cast(),
            ..Default::default()
        };

        let inner = Arc::pin_init(
            try_pin_init!(&this in Self {
                deferred <- Deferred::new(Late::<Self>::release),
                control <- new_mutex!((), "drm::sched::Scheduler"),
                ops: ext_bindings::drm_sched_backend_ops {
                    free_job: Some(job::free_job_callback),
                    ..ops
                },
                name,
                _submit_queue: config.submit_queue,
                _timeout_queue: config.timeout_queue,
                _device: config.device.into(),
                // Comes last, for it uses the others.
                raw <- Opaque::try_ffi_init(|slot: *mut ext_bindings::drm_gpu_scheduler| {
                    // The C function wants to see that it was not called before.
                    //
                    // SAFETY: `slot` is valid for writes, and zeroes are a valid value.
                    unsafe { slot.write_bytes(0, 1) };

                    // SAFETY: `this` points to the object that is being made.
                    args.ops = unsafe { &raw const (*this.as_ptr()).ops };
                    // SAFETY: As above.
                    args.name = unsafe { &raw const (*this.as_ptr()).name }.cast();

                    // SAFETY: What the arguments point to is initialised, does not move, and is
                    // kept by this object.
                    to_result(unsafe { ext_bindings::drm_sched_init(slot, &args) })
                }),
            }),
            GFP_KERNEL,
        )?;

        Ok(Late::new(inner))
    }

    pub(super) fn as_raw(&self) -> *mut ext_bindings::drm_gpu_scheduler {
        self.raw.get()
    }

    pub(super) fn credit_limit(&self) -> u32 {
        // SAFETY: By the type invariant; the field does not change.
        unsafe { (*self.as_raw()).credit_limit }
    }

    fn timeout_work(&self) -> *mut bindings::delayed_work {
        // SAFETY: By the type invariant.
        unsafe { &raw mut (*self.as_raw()).work_tdr }
    }
}

#[pinned_drop]
impl PinnedDrop for Inner {
    fn drop(self: Pin<&mut Self>) {
        // Who has signalled the hardware fence of the last job may be about to queue work of the
        // scheduler, after the finished fence has signalled, with interrupts off. Who has seen
        // that fence pending may be reading the name, in an RCU section.
        //
        // SAFETY: No requirements; this is a context that may sleep.
        unsafe { bindings::synchronize_rcu() };

        // SAFETY: By the type invariant. Entities and jobs have references, so there are none.
        // This is not run by work of the scheduler, for which the function waits.
        unsafe { ext_bindings::drm_sched_fini(self.as_raw()) };
    }
}

fn raw_queue(queue: &Option<Arc<OwnedQueue>>) -> *mut bindings::workqueue_struct {
    queue.as_ref().map_or(null_mut(), |queue| queue.as_raw())
}

/// A scheduler: one ring of the hardware, or one queue that the firmware or the driver multiplexes.
///
/// Dropping it does not wait, and may happen in any context: it ends when its last entity and its
/// last job have gone.
pub struct Scheduler<T: Backend> {
    inner: Ref,
    _backend: PhantomData<fn() -> T>,
}

impl<T: Backend> Scheduler<T> {
    /// Makes a scheduler, which is ready to run jobs. Sleeps. C: `drm_sched_init()`.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the credit limit is 0.
    /// - `ENOMEM`.
    pub fn new(config: Config<'_>) -> Result<Self> {
        Ok(Self {
            inner: Inner::new(config, backend::ops::<T>())?,
            _backend: PhantomData,
        })
    }

    /// Has [`Backend::timed_out`] called at once, for the first job in the hardware.
    ///
    /// For a driver that learns of a fault. The job need not be the one that is at fault. Nothing
    /// happens if no job is in the hardware. Any context. C: `drm_sched_fault()`.
    pub fn fault(&self) {
        // SAFETY: The scheduler is initialised.
        unsafe { ext_bindings::drm_sched_fault(self.inner.as_raw()) };
    }

    /// From now on, all jobs time out as soon as they run.
    ///
    /// For a queue that is of no use any more. [`Backend::timed_out`] has to end the job then,
    /// since [`TimedOut::no_hang`](super::TimedOut::no_hang) brings it back at once. Process
    /// context; does not sleep. C: `drm_sched_tdr_queue_imm()`.
    pub fn expire(&self) {
        // SAFETY: The scheduler is initialised.
        unsafe { ext_bindings::drm_sched_tdr_queue_imm(self.inner.as_raw()) };
    }

    /// Whether the scheduler is stopped or paused. May be outdated when it is returned.
    pub fn is_stopped(&self) -> bool {
        // SAFETY: The scheduler is initialised.
        unsafe { ext_bindings::drm_sched_is_stopped(self.inner.as_raw()) }
    }

    /// Keeps the scheduler from running jobs, from freeing them and from timing them out.
    ///
    /// Jobs in the hardware go on; their finished fences signal. Waits for [`Backend`]'s functions
    /// that are running, and must not be called from them. Sleeps. C: `drm_sched_wqueue_stop()`.
    pub fn pause(&self) -> Paused<'_, T> {
        let control = self.inner.control.lock();

        // First the timeouts: handling one may start the scheduler again.
        //
        // SAFETY: The scheduler is initialised.
        unsafe {
            bindings::disable_delayed_work_sync(self.inner.timeout_work());
            ext_bindings::drm_sched_wqueue_stop(self.inner.as_raw());
        }
        Paused {
            sched: self,
            _control: control,
        }
    }

    /// Stops the scheduler in order to reset the hardware.
    ///
    /// As [`Scheduler::pause`], and the scheduler does not listen any more to the hardware fences
    /// of jobs that have not ended: these end with [`Stopped::start`]. Meanwhile the driver takes
    /// them from the hardware.
    ///
    /// This is for resets that come from outside. For those because of a timeout there is
    /// [`TimedOut::reset`](super::TimedOut::reset). C: `drm_sched_stop()`.
    pub fn stop(&self) -> Stopped<'_, T> {
        let control = self.inner.control.lock();

        // SAFETY: The scheduler is initialised. The C function goes through the list of jobs
        // without a lock: the handling of timeouts, which changes it, is disabled before, and
        // `control` keeps off others who stop.
        unsafe {
            bindings::disable_delayed_work_sync(self.inner.timeout_work());
            ext_bindings::drm_sched_stop(self.inner.as_raw(), null_mut());
        }
        Stopped {
            sched: self,
            error: ECANCELED,
            _control: control,
        }
    }

    pub(super) fn inner(&self) -> &Ref {
        &self.inner
    }
}

/// A scheduler that is paused, see [`Scheduler::pause`]. It goes on when this is dropped.
#[must_use = "the scheduler goes on at once when the value is not used"]
pub struct Paused<'a, T: Backend> {
    sched: &'a Scheduler<T>,
    _control: MutexGuard<'a, ()>,
}

impl<T: Backend> Drop for Paused<'_, T> {
    fn drop(&mut self) {
        let inner = &self.sched.inner;
        let raw = inner.as_raw();

        // SAFETY: The scheduler is initialised, and was stopped by `pause()`. The timer starts
        // anew if there are jobs in the hardware. CAST: Timeouts are positive.
        unsafe {
            bindings::enable_delayed_work(inner.timeout_work());
            if (*raw).timeout != isize::MAX {
                ext_bindings::drm_sched_resume_timeout(raw, (*raw).timeout as usize);
            }
            ext_bindings::drm_sched_wqueue_start(raw);
        }
    }
}

/// A scheduler that is stopped, see [`Scheduler::stop`].
///
/// Dropping it starts the scheduler with `ECANCELED`.
#[must_use = "the scheduler is started at once when the value is not used"]
pub struct Stopped<'a, T: Backend> {
    sched: &'a Scheduler<T>,
    error: Error,
    _control: MutexGuard<'a, ()>,
}

impl<T: Backend> Stopped<'_, T> {
    /// Starts the scheduler. Jobs that were in the hardware and had not ended, end with `error`.
    ///
    /// Jobs that have not run yet are run. C: `drm_sched_start()`.
    pub fn start(mut self, error: Error) {
        self.error = error;
    }
}

impl<T: Backend> Drop for Stopped<'_, T> {
    fn drop(&mut self) {
        let inner = &self.sched.inner;

        // SAFETY: The scheduler is initialised, and was stopped by `Scheduler::stop()`.
        unsafe {
            bindings::enable_delayed_work(inner.timeout_work());
            ext_bindings::drm_sched_start(inner.as_raw(), self.error.to_errno());
        }
    }
}
