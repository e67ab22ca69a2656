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
    new_condvar,
    new_mutex,
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
        Instant,
        Jiffies,
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
        Ring,
        SLOTS, //
    },
};
use crate::hw::Hw;

/// Number of the hardware queue that the kernel keeps for itself.
const QUEUE_INDEX: usize = 0;

/// How often the watchdog looks, at least. A lost interrupt is noticed within twice this time.
const WATCHDOG_PERIOD_MS: u32 = 250;

/// Bit of the queue in `QUEUE_IRQ`.
pub(crate) const QUEUE_BIT: u32 = 1 << QUEUE_INDEX;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Jobs run.
    Running,
    /// The device is being reset; submitters wait.
    Resetting,
    /// Nothing runs any more: the device is gone (`ENODEV`), or does not come back (`EIO`).
    Dead(Error),
}

struct State {
    phase: Phase,
    ring: Option<Ring>,
    /// Jobs in flight, each at its sequence number modulo [`SLOTS`].
    jobs: KVec<Option<KBox<Job>>>,
    /// Sequence numbers of the oldest job in flight and of the next one.
    oldest: u64,
    next: u64,
    /// Job that the watchdog has found done, but whose interrupt may still come.
    suspect: Option<u64>,
    /// Finished jobs that are still to be dropped.
    finished: Option<KBox<Job>>,
}

impl State {
    fn in_flight(&self) -> usize {
        // CAST: At most `SLOTS`.
        (self.next - self.oldest) as usize
    }

    fn slot(seqno: u64) -> usize {
        // CAST: The remainder is smaller than `SLOTS`.
        (seqno % SLOTS as u64) as usize
    }

    fn oldest_job(&mut self) -> Option<&mut KBox<Job>> {
        if self.in_flight() == 0 {
            return None;
        }
        self.jobs.get_mut(Self::slot(self.oldest))?.as_mut()
    }

    /// Ends the oldest job. Its successor's time starts now.
    fn finish_oldest(&mut self, result: Result<super::ring::SlotResult>) {
        if self.in_flight() == 0 {
            return;
        }
        let job = self
            .jobs
            .get_mut(Self::slot(self.oldest))
            .and_then(Option::take);
        self.oldest += 1;

        if let Some(mut job) = job {
            if let Some(ring) = &mut self.ring {
                ring.consume(Ring::footprint(job.commands().len()));
            }
            job.finish(result);
            job.next = self.finished.take();
            self.finished = Some(job);
        }

        if let Some(next) = self.oldest_job() {
            next.started = Some(Instant::now());
        }
    }

    /// Ends all jobs with `error`.
    fn fail_all(&mut self, error: Error) {
        while self.in_flight() > 0 {
            self.finish_oldest(Err(error));
        }
    }

    /// Ends the jobs whose fence the engine has written. Returns how many.
    fn finish_completed(&mut self) -> usize {
        let mut count = 0;

        while self.in_flight() > 0 {
            let oldest = self.oldest;
            let Some(result) = self.ring.as_ref().and_then(|ring| ring.result(oldest)) else {
                break;
            };
            self.finish_oldest(Ok(result));
            count += 1;
        }
        count
    }

    /// Whether the interrupt of the oldest job was lost: the job is done, and was when this was
    /// asked last.
    fn has_lost_interrupt(&mut self) -> bool {
        let oldest = self.oldest;
        let done = self.in_flight() > 0
            && self.ring.as_ref().is_some_and(|ring| ring.result(oldest).is_some());
        let lost = done && self.suspect == Some(oldest);

        self.suspect = done.then_some(oldest);
        lost
    }

    /// Resets the queue and writes the jobs in flight to the ring again.
    ///
    /// If that fails, all jobs end, and the queue is dead.
    fn restart(&mut self, hw: &Hw) -> Result {
        let result = self.try_restart(hw);

        if let Err(e) = result {
            let error = if e == ENODEV { ENODEV } else { EIO };
            self.phase = Phase::Dead(error);
            self.fail_all(error);
        }
        result
    }

    fn try_restart(&mut self, hw: &Hw) -> Result {
        let ring = self.ring.as_mut().ok_or(ENODEV)?;

        ring.restart(hw)?;
        for seqno in self.oldest..self.next {
            if let Some(Some(job)) = self.jobs.get(Self::slot(seqno)) {
                ring.push(hw, seqno, job.commands())?;
            }
        }
        if let Some(job) = self.oldest_job() {
            job.started = Some(Instant::now());
        }
        Ok(())
    }
}

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
    #[pin]
    reaper: DelayedTask<Reaper>,
}

impl CopyQueue {
    /// Allocates the queue and starts it. Sleeps.
    ///
    /// A job that is at the head of the queue for longer than `timeout_ms` fails. Fails with
    /// `ENOMEM`, or as [`Ring::restart`].
    pub(crate) fn new(dev: &Device<Bound>, hw: Arc<Hw>, timeout_ms: u32) -> Result<Arc<Self>> {
        let mut jobs = KVec::with_capacity(SLOTS, GFP_KERNEL)?;
        for _ in 0..SLOTS {
            jobs.push(None, GFP_KERNEL)?;
        }

        let mut ring = Ring::new(dev, QUEUE_INDEX)?;
        ring.restart(&hw)?;

        let fences = FenceContext::new(1);
        let fence_context = fences.context(0).ok_or(EINVAL)?;
        let shared = Arc::pin_init(
            pin_init!(Shared {
                fence_context,
                dev: dev.into(),
                hw,
                timeout_ms,
                state <- new_mutex!(
                    State {
                        phase: Phase::Running,
                        ring: Some(ring),
                        jobs,
                        oldest: 1,
                        next: 1,
                        suspect: None,
                        finished: None,
                    },
                    "hlrs::CopyQueue"
                ),
                changed <- new_condvar!("hlrs::CopyQueue::changed"),
            }),
            GFP_KERNEL,
        )?;

        Arc::pin_init(
            pin_init!(Self {
                submission <- new_mutex!(fences, "hlrs::CopyQueue::submission"),
                watchdog <- new_delayed_task!(Watchdog(shared.clone()), "hlrs_watchdog"),
                reaper <- new_delayed_task!(Reaper(shared.clone()), "hlrs_reaper"),
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
                Phase::Running
                    if state.in_flight() < SLOTS
                        && state.ring.as_ref().is_some_and(|ring| ring.has_room(commands)) =>
                {
                    break;
                }
                Phase::Running | Phase::Resetting => {}
            }

            if !interruptible {
                self.shared.changed.wait(&mut state);
            } else if self.shared.changed.wait_interruptible(&mut state) {
                return Err(ERESTARTSYS);
            }
        }

        let state = &mut *state;
        let seqno = state.next;
        let ring = state.ring.as_mut().ok_or(ENODEV)?;
        ring.push(&self.shared.hw, seqno, job.commands())?;

        let first = state.in_flight() == 0;
        state.next += 1;
        if let Some(slot) = state.jobs.get_mut(State::slot(seqno)) {
            let job = slot.insert(job);
            if first {
                job.started = Some(Instant::now());
            }
        }

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
            self.shared.restart(&mut state);
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
        if let Some(ring) = &state.ring {
            if let Err(e) = ring.stop(&self.shared.hw) {
                dev_dbg!(self.shared.dev, "queue did not stop before reset: {:?}\n", e);
            }
        }
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
        let mut state = self.shared.state.lock();

        state.phase = Phase::Dead(error);
        state.fail_all(error);
        drop(state);
        self.after_change();
    }

    /// Ends all jobs with `ENODEV`, stops the engine and gives its memory back.
    ///
    /// Called while the device is still bound, before the driver lets go of it. Sleeps. When it
    /// returns, no task of the queue runs, nor will one.
    pub(crate) fn shutdown(&self) {
        let mut state = self.shared.state.lock();

        state.finish_completed();
        state.phase = Phase::Dead(ENODEV);
        state.fail_all(ENODEV);
        let ring = state.ring.take();
        drop(state);

        if let Some(ring) = ring {
            let hw = &self.shared.hw;
            let stopped = ring.stop(hw).or_else(|e| match e {
                ENODEV => Ok(()),
                _ => hw.reset(),
            });

            if stopped.is_err_and(|e| e != ENODEV) {
                // The engine may still write to the slots: better lost than somebody else's.
                dev_err!(self.shared.dev, "engine does not stop; its ring is not freed\n");
                core::mem::forget(ring);
            }
        }

        self.shared.changed.notify_all();
        self.watchdog.disable();
        self.reaper.disable();
        self.shared.reap();
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
        state.finish_completed();
        let Some(fault) = state.ring.as_ref().and_then(|ring| ring.fault(&self.hw)) else {
            return;
        };

        dev_err!(
            self.dev,
            "copy queue: fault at {:#x}, {}, reason {}\n",
            fault.address,
            if fault.info.write() { "write" } else { "read" },
            u32::from(fault.info.reason())
        );
        state.finish_oldest(Err(EIO));
        self.restart(state);
    }

    fn restart(&self, state: &mut State) {
        if let Err(e) = state.restart(&self.hw) {
            if e != ENODEV {
                dev_err!(self.dev, "copy queue does not come back from reset: {:?}\n", e);
            }
        }
    }

    /// Drops finished jobs, and with them perhaps the last references to buffers. Sleeps.
    fn reap(&self) {
        let mut list = self.state.lock().finished.take();

        while let Some(mut job) = list {
            list = job.next.take();
        }
    }
}

/// Looks after jobs that do not end, and after interrupts that do not come.
struct Watchdog(Arc<Shared>);

impl Task for Watchdog {
    fn run(&self) -> Option<Jiffies> {
        let shared = &self.0;
        let timeout = Delta::from_millis(i64::from(shared.timeout_ms));
        let mut state = shared.state.lock();

        if state.phase != Phase::Running {
            return None;
        }

        if !shared.hw.is_present() {
            state.phase = Phase::Dead(ENODEV);
            state.fail_all(ENODEV);
        }

        let lost = state.has_lost_interrupt();
        if lost {
            state.finish_completed();
        }
        let age = |state: &mut State| -> Option<Delta> {
            Some(state.oldest_job()?.started?.elapsed())
        };
        shared.handle_fault(&mut state);
        if state.suspect.is_none() && age(&mut state).is_some_and(|age| age >= timeout) {
            dev_err!(
                shared.dev,
                "copy queue: job did not end within {} ms, resetting the queue\n",
                shared.timeout_ms
            );
            state.finish_oldest(Err(ETIMEDOUT));
            shared.restart(&mut state);
        }

        let again = (state.in_flight() > 0).then(|| shared.watchdog_period());
        drop(state);

        if lost {
            dev_warn!(shared.dev, "copy queue: an interrupt was lost\n");
        }
        shared.changed.notify_all();
        shared.reap();
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

