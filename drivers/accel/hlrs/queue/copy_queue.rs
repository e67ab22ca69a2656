// SPDX-License-Identifier: GPL-2.0

//! The jobs in flight.
//!
//! Jobs run in the order in which they were submitted. Each ends in one of these ways, and its
//! fence says in which:
//!
//! | what happened | error of the fence |
//! |---|---|
//! | the engine wrote the fence | none |
//! | the engine reported a fault | `EIO` |
//! | the job was at the head for longer than the time-out | `ETIMEDOUT` |
//! | the device was reset | `ECANCELED` |
//! | the device was unbound or pulled out | `ENODEV` |
//!
//! After a fault or a time-out the queue is reset, and the jobs behind the guilty one are written
//! to the ring again: they do not notice.
//!
//! # Locking
//!
//! Two mutexes, taken in this order, after reservation locks:
//!
//! - `submission` is held from the creation of a job's fence to the job's submission, so that the
//!   fences of the queue's context are signalled in the order of their numbers.
//! - `state` covers ring and jobs. It is taken on the way to signalling fences, so nothing is
//!   allocated and no reservation lock taken under it. Buffers are released by a task of their
//!   own for the same reason.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    new_condvar, new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        CondVar,
        Mutex, //
    },
    time::{
        msecs_to_jiffies,
        Delta,
        Jiffies, //
    },
};
use kernel_ext::{
    dma_fence::{
        Fence,
        FenceContext, //
    },
    new_delayed_task,
    workqueue::{
        DelayedTask,
        Task, //
    },
};

use super::{
    command::Command,
    job::{
        Job,
        Parties, //
    },
    ring::{
        Config,
        Ring,
        FRAME, //
    },
    state::{
        Phase,
        State, //
    },
};
use crate::hw::Hw;

/// Number of the hardware queue that the kernel keeps for itself.
const QUEUE_INDEX: usize = 0;

/// Log2 of the number of commands in the ring.
const ORDER: u32 = 10;

/// Most commands of one job, not counting its time stamp and fence.
///
/// A job must fit into the ring when that is empty; a fourth of it lets the next ones in while it
/// runs.
pub(crate) const MAX_JOB_COMMANDS: usize = 1 << (ORDER - 2);

static_assert!(MAX_JOB_COMMANDS + FRAME <= 1 << ORDER);

/// MSI-X vector of the queue's fences.
pub(crate) const VECTOR: u32 = hlrs_abi::HLRS_EVENT_VECTOR + 1;

/// How often the watchdog looks, at least. A lost interrupt is noticed within twice this time.
const WATCHDOG_PERIOD_MS: u32 = 250;

/// Bit of the queue in `QUEUE_IRQ`.
pub(crate) const QUEUE_BIT: u32 = 1 << QUEUE_INDEX;

#[pin_data]
struct Shared {
    dev: ARef<Device>,
    hw: Arc<Hw>,
    timeout_ms: u32,
    fence_context: u64,
    #[pin]
    state: Mutex<State>,
    /// Signalled when a job has ended, and when the phase changes.
    #[pin]
    changed: CondVar,
}

/// The kernel's own copy queue.
#[pin_data]
pub(crate) struct CopyQueue {
    shared: Arc<Shared>,
    #[pin]
    submission: Mutex<FenceContext>,
    #[pin]
    watchdog: DelayedTask<Watchdog>,
    reaper: Arc<DelayedTask<Reaper>>,
}

impl CopyQueue {
    /// Allocates the queue and starts it. Sleeps.
    ///
    /// A job that is at the head of the queue for longer than `timeout_ms` fails. Fails with
    /// `ENOMEM`, or as [`Ring::restart`].
    pub(crate) fn new(dev: &Device<Bound>, hw: Arc<Hw>, timeout_ms: u32) -> Result<Arc<Self>> {
        let config = Config {
            index: QUEUE_INDEX,
            order: ORDER,
            vector: VECTOR,
        };
        let mut ring = Ring::new(dev, config)?;
        ring.restart(&hw)?;

        let state = State::new(ring)?;
        let fences = FenceContext::new(1);
        let fence_context = fences.context(0).ok_or(EINVAL)?;
        let shared = Arc::pin_init(
            pin_init!(Shared {
                fence_context,
                dev: dev.into(),
                hw,
                timeout_ms,
                state <- new_mutex!(state, "hlrs::CopyQueue"),
                changed <- new_condvar!("hlrs::CopyQueue::changed"),
            }),
            GFP_KERNEL,
        )?;

        let reaper = Arc::pin_init(
            new_delayed_task!(Reaper(shared.clone()), "hlrs_reaper"),
            GFP_KERNEL,
        )?;
        let watchdog = Watchdog {
            shared: shared.clone(),
            reaper: reaper.clone(),
        };

        Arc::pin_init(
            pin_init!(Self {
                submission <- new_mutex!(fences, "hlrs::CopyQueue::submission"),
                watchdog <- new_delayed_task!(watchdog, "hlrs_watchdog"),
                reaper,
                shared,
            }),
            GFP_KERNEL,
        )
    }

    /// Number of the context of the queue's fences: they are signalled in order.
    pub(crate) fn fence_context(&self) -> u64 {
        self.shared.fence_context
    }

    /// Submits a job. Waits for room in the queue, no longer than running jobs take to time out.
    ///
    /// Returns the fence that says when and how the job has ended. `interruptible` lets a signal
    /// end the wait.
    ///
    /// Sleeps. Fails with `ERESTARTSYS` if interrupted, `ENODEV` if the device is gone, `EIO` if
    /// the queue could not be reset after a failure, `ENOMEM`, `EINVAL` if there are more than
    /// [`super::MAX_JOB_COMMANDS`] commands. The job was not submitted then.
    pub(crate) fn submit(
        &self,
        commands: KVec<Command>,
        parties: Parties,
        interruptible: bool,
    ) -> Result<ARef<Fence>> {
        let fences = self.submission.lock();
        let job = Job::new(&fences, commands, parties)?;
        let fence = job.fence().ok_or(EINVAL)?;

        self.push(job, interruptible)?;
        Ok(fence)
    }

    fn push(&self, job: KBox<Job>, interruptible: bool) -> Result {
        let commands = job.commands().len();
        let mut state = self.shared.state.lock();

        loop {
            match state.phase {
                Phase::Dead(error) => return Err(error),
                Phase::Running if state.has_room(commands) => break,
                Phase::Running | Phase::Resetting => {}
            }

            if !interruptible {
                self.shared.changed.wait(&mut state);
            } else if self.shared.changed.wait_interruptible(&mut state) {
                return Err(ERESTARTSYS);
            }
        }

        state.push(&self.shared.hw, job)?;
        self.watchdog.schedule(self.shared.watchdog_period());
        Ok(())
    }

    /// Ends the jobs that are done. Called by the interrupt of the queue's vector. May sleep.
    pub(crate) fn handle_completions(&self) {
        self.shared.state.lock().finish_completed();
        self.after_change();
    }

    /// If the engine has stopped at a fault, ends the guilty job and runs the others again.
    ///
    /// Called by the event interrupt. Sleeps.
    pub(crate) fn handle_fault(&self) {
        self.shared.handle_fault(&mut self.shared.state.lock());
        self.after_change();
    }

    /// If somebody else has reset the engine (the PF that of its VF), cancels the jobs that were
    /// in flight and starts it anew. Called by the event interrupt. Sleeps.
    pub(crate) fn handle_reset(&self) {
        let mut state = self.shared.state.lock();
        let hw = &self.shared.hw;

        if state.phase == Phase::Running && state.ring.as_ref().is_some_and(|ring| ring.is_off(hw))
        {
            state.finish_completed();
            state.fail_all(ECANCELED);
            self.shared.report(state.restart(hw));
        }
        drop(state);
        self.after_change();
    }

    /// Ends all jobs with `ECANCELED` and lets submitters wait until [`CopyQueue::resume`].
    ///
    /// Called when the device is about to be reset. Sleeps.
    pub(crate) fn suspend(&self) {
        let mut state = self.shared.state.lock();

        state.finish_completed();
        if state.phase == Phase::Running {
            state.phase = Phase::Resetting;
        }
        state.stop(&self.shared.hw);
        state.fail_all(ECANCELED);
        drop(state);
        self.after_change();
    }

    /// Starts the queue after a reset of the device. Sleeps. Errors as [`Ring::restart`].
    pub(crate) fn resume(&self) -> Result {
        let mut state = self.shared.state.lock();

        if let Phase::Dead(error) = state.phase {
            return Err(error);
        }
        state.phase = Phase::Running;
        let result = state.restart(&self.shared.hw);
        drop(state);
        self.after_change();
        result
    }

    /// Ends all jobs with `error`, now and in future: the device did not come back from a reset.
    ///
    /// Sleeps.
    pub(crate) fn give_up(&self, error: Error) {
        self.shared.state.lock().die(&self.shared.hw, error);
        self.after_change();
    }

    /// Ends all jobs with `ENODEV`, stops the engine and gives its memory back.
    ///
    /// Called while the device is still bound, before the driver lets go of it. Sleeps. When it
    /// returns, no task of the queue runs, nor will one.
    pub(crate) fn shutdown(&self) {
        let mut state = self.shared.state.lock();

        state.finish_completed();
        state.die(&self.shared.hw, ENODEV);
        let ring = state.ring.take();
        let unstoppable = state.is_unstoppable();
        drop(state);

        if unstoppable {
            // The engine may still write to the slots: better lost than somebody else's.
            dev_err!(
                self.shared.dev,
                "engine does not stop; its memory is not freed\n"
            );
            core::mem::forget(ring);
        }

        self.shared.changed.notify_all();
        self.watchdog.disable();
        self.reaper.disable();
        self.shared.reap();
    }

    /// Waits until the jobs that have ended by now do not keep their buffers any more.
    ///
    /// A job's fence is signalled before its references to buffers are dropped, by a task: who has
    /// waited for the fence and freed the buffer finds the memory still in use for a moment.
    ///
    /// Sleeps. The caller must not hold reservations or locks that dropping a buffer takes.
    pub(crate) fn drop_ended_jobs(&self) {
        self.reaper.schedule(0);
        self.reaper.flush();
    }

    fn after_change(&self) {
        self.shared.changed.notify_all();
        self.reaper.schedule(0);
    }
}

impl Shared {
    /// How often the watchdog looks while there are jobs.
    fn watchdog_period(&self) -> Jiffies {
        msecs_to_jiffies(self.timeout_ms.min(WATCHDOG_PERIOD_MS))
    }

    fn handle_fault(&self, state: &mut State) {
        if state.phase != Phase::Running {
            return;
        }
        let Some(fault) = state.ring.as_ref().and_then(|ring| ring.fault(&self.hw)) else {
            return;
        };
        // What was done before the fault is not to blame for it.
        state.finish_completed();

        dev_err!(
            self.dev,
            "copy queue: fault at {:#x}, {}, reason {}\n",
            fault.address,
            if fault.info.write() { "write" } else { "read" },
            u32::from(fault.info.reason())
        );
        self.report(state.abort_oldest(&self.hw, EIO));
    }

    fn report(&self, restarted: Result) {
        if let Err(e) = restarted {
            if e != ENODEV {
                dev_err!(
                    self.dev,
                    "copy queue does not come back from reset: {:?}\n",
                    e
                );
            }
        }
    }

    /// Drops finished jobs, and with them perhaps the last references to buffers. Sleeps.
    fn reap(&self) {
        let mut list = self.state.lock().take_finished();

        while let Some(mut job) = list {
            list = job.next.take();
        }
    }
}

/// Looks after jobs that do not end, and after interrupts that do not come.
struct Watchdog {
    shared: Arc<Shared>,
    reaper: Arc<DelayedTask<Reaper>>,
}

impl Task for Watchdog {
    fn run(&self) -> Option<Jiffies> {
        let shared = &self.shared;
        let timeout = Delta::from_millis(i64::from(shared.timeout_ms));
        let mut state = shared.state.lock();

        if state.phase != Phase::Running {
            return None;
        }

        if !shared.hw.is_present() {
            state.die(&shared.hw, ENODEV);
        }

        let lost = state.has_lost_interrupt();
        if lost {
            state.finish_completed();
        }
        let age =
            |state: &mut State| -> Option<Delta> { Some(state.oldest_job()?.started?.elapsed()) };
        shared.handle_fault(&mut state);
        if state.suspect.is_none() && age(&mut state).is_some_and(|age| age >= timeout) {
            dev_err!(
                shared.dev,
                "copy queue: job did not end within {} ms, resetting the queue\n",
                shared.timeout_ms
            );
            shared.report(state.abort_oldest(&shared.hw, ETIMEDOUT));
        }

        let again = (state.in_flight() > 0).then(|| shared.watchdog_period());
        drop(state);

        if lost {
            dev_warn!(shared.dev, "copy queue: an interrupt was lost\n");
        }
        shared.changed.notify_all();
        self.reaper.schedule(0);
        again
    }
}

/// Drops finished jobs.
struct Reaper(Arc<Shared>);

impl Task for Reaper {
    fn run(&self) -> Option<Jiffies> {
        self.0.reap();
        None
    }
}
