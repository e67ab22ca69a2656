// SPDX-License-Identifier: GPL-2.0

//! DRM GPU scheduler: jobs wait for fences in software, and go to the hardware in order.
//!
//! C header: [`include/drm/gpu_scheduler.h`](srctree/include/drm/gpu_scheduler.h)
//!
//! # Parts
//!
//! - [`Scheduler`] stands for a ring of the hardware. It takes the next job that has nothing left
//!   to wait for, hands it to the driver, and watches how long it takes.
//! - [`Entity`] is a queue of jobs, for one client. Its jobs run in the order in which they were
//!   pushed. A scheduler takes turns among its entities.
//! - [`Job`] is a piece of work: data of the driver's own, and fences to wait for first.
//! - [`Backend`] is what a driver implements: run a job, recover from one that takes too long.
//!
//! A job is made with [`Job::new`], given its dependencies, and, when nothing can fail any more,
//! armed and pushed under the lock of its entity:
//!
//! ```ignore
//! let mut job = Job::new(&queue.entity, 1, file.client_id(), data)?;
//! job.add_dependency(fence)?;
//! // Reservation locks, slots for fences, links of timelines: all before this line.
//!
//! let mut submission = queue.entity.lock()?;
//! let armed = submission.arm(job)?;
//! resv.add_fence(&armed.finished(), Usage::Write)?;
//! armed.push();
//! ```
//!
//! # Fences and errors
//!
//! A job has three fences. *Scheduled* signals when it goes to the hardware. *Finished* is what
//! others get to wait for: it exists as soon as the job is armed. The *hardware fence* comes from
//! [`Backend::run_job`]; when it signals, so does the finished fence, with the same error. This is
//! how a driver says what became of a job:
//!
//! | event | error of the finished fence |
//! |---|---|
//! | the driver signals the hardware fence | that of the hardware fence |
//! | `run_job()` fails | what it returned |
//! | the entity is killed, or dropped, before the job ran | `ESRCH` |
//! | [`TimedOut::reset`], [`Stopped::start`] while the job ran | what these are given |
//! | [`TimedOut::no_device`] | `ENODEV` |
//!
//! A job that has to end with an error other than its neighbours' is ended by its hardware fence:
//! the driver signals that of the guilty one with `EFAULT`, say, before it resets the rest.
//! An error is not passed on to jobs that depend on the fence; they run.
//!
//! # Lifetime model
//!
//! - An [`Entity`] holds its scheduler, and so does every job from [`Job::new`] until its data has
//!   been dropped. A [`Scheduler`] that is dropped therefore ends (`drm_sched_fini()`) when the
//!   last entity and the last job have gone, wherever they are at that time. Jobs that it still
//!   has are run to their end, or time out. There is nothing left that had to be cancelled.
//! - An [`Entity`] that is dropped is killed: jobs that have not run yet end with `ESRCH`, once
//!   those before them and the fences that they wait for have signalled. A job that has not been
//!   pushed holds its entity.
//! - The data of a job, [`Backend::Job`], belongs to the job. [`Backend::run_job`] and
//!   [`Backend::timed_out`] borrow it, never at the same time. When the job has ended, it is
//!   dropped on a workqueue of its own (see [`deferred`](crate::deferred)), in process context,
//!   with nothing held. It may hold anything: buffers, the VM, the driver's queue with the
//!   entity in it. If that is too slow, [`Backend::try_release`] says which jobs hold nothing
//!   that matters any more, and are freed without a detour.
//! - [`Scheduler`] and [`Entity`] may be dropped in any context, in callbacks of fences and in
//!   those of [`Backend`], too; what takes longer happens on the same workqueue. A job holds the
//!   module of its [`Backend`].
//!
//! An entity whose jobs hold it, by way of their data, is not dropped while it has such jobs: a
//! queue that is closed calls [`Entity::kill`].
//!
//! Job data must not wait, when it is dropped, for another value to be dropped.
//!
//! # What must not wait
//!
//! Fences promise to signal in finite time, and the reclaim of memory relies on it. So whatever a
//! pending fence depends on must not wait for memory or for other fences: [`Backend`]'s functions,
//! and the time between arming and pushing. All that runs in a
//! [`Signalling`](crate::dma_fence::Signalling) section, so that lockdep finds violations. Memory
//! comes from before: for the hardware fence there is
//! [`FenceMemory`](crate::dma_fence::FenceMemory).
//!
//! # Known limits
//!
//! - An entity has one scheduler; there is no balancing of load. The hang limit, karma and
//!   `drm_sched_resubmit_jobs()`, which the C side has deprecated, are not there.
//! - The C side of Linux 7.3 has races between the end of an entity and what the scheduler or a
//!   fence does with it at that moment. They are avoided here, see `rust/helpers/drm_sched.c`.
//! - `gpu-sched.ko` must not be unloaded while anybody holds a fence of one of its jobs, as with
//!   every driver that uses it.
//! - [`core::mem::forget`] of an [`ArmedJob`] leaves a fence that never signals, and a module that
//!   cannot be unloaded. No memory is at risk.

mod backend;
mod entity;
mod job;
mod scheduler;
mod timeout;

pub use backend::{
    Backend,
    JobContext, //
};
pub use entity::{
    Entity,
    Priority,
    Submission, //
};
pub use job::{
    ArmedJob,
    Job, //
};
pub use scheduler::{
    Config,
    Paused,
    Scheduler,
    Stopped, //
};
pub use timeout::{
    TimedOut,
    Verdict, //
};
