// SPDX-License-Identifier: GPL-2.0

//! The jobs in flight and the ring, under one lock.
//!
//! The lock is taken on the way to signalling fences: nothing is allocated here after
//! [`State::new`], and no buffer released.

use kernel::{
    prelude::*,
    time::Instant, //
};

use super::{
    job::Job,
    ring::{
        Ring,
        SlotResult,
        SLOTS, //
    },
};
use crate::hw::Hw;

/// What the queue is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Jobs run.
    Running,
    /// The device is being reset; submitters wait.
    Resetting,
    /// Nothing runs any more: the device is gone (`ENODEV`), or does not come back (`EIO`).
    Dead(Error),
}

/// Ring and jobs.
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) ring: Option<Ring>,
    /// Jobs in flight, each at its sequence number modulo [`SLOTS`].
    jobs: KVec<Option<KBox<Job>>>,
    /// Sequence numbers of the oldest job in flight and of the next one.
    oldest: u64,
    next: u64,
    /// Job that the watchdog has found done, but whose interrupt may still come.
    pub(super) suspect: Option<u64>,
    /// Whether the engine did not stop when it was told to.
    unstoppable: bool,
    /// Finished jobs that are still to be dropped.
    finished: Option<KBox<Job>>,
}

impl State {
    /// The state of a queue that was just started, with its ring. May sleep.
    pub(super) fn new(ring: Ring) -> Result<Self> {
        let mut jobs = KVec::with_capacity(SLOTS, GFP_KERNEL)?;
        for _ in 0..SLOTS {
            jobs.push(None, GFP_KERNEL)?;
        }

        Ok(Self {
            phase: Phase::Running,
            ring: Some(ring),
            jobs,
            oldest: 1,
            next: 1,
            suspect: None,
            unstoppable: false,
            finished: None,
        })
    }

    /// Number of jobs in flight.
    pub(super) fn in_flight(&self) -> usize {
        // CAST: At most `SLOTS`.
        (self.next - self.oldest) as usize
    }

    fn slot(seqno: u64) -> usize {
        // CAST: The remainder is smaller than `SLOTS`.
        (seqno % SLOTS as u64) as usize
    }

    /// The job that the engine is at.
    pub(super) fn oldest_job(&mut self) -> Option<&mut KBox<Job>> {
        if self.in_flight() == 0 {
            return None;
        }
        self.jobs.get_mut(Self::slot(self.oldest))?.as_mut()
    }

    /// Ends the oldest job. Its successor's time starts now.
    pub(super) fn finish_oldest(&mut self, result: Result<SlotResult>) {
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
            if self.unstoppable {
                // The engine may still write to the buffers: better lost than somebody else's.
                core::mem::forget(job);
            } else {
                job.next = self.finished.take();
                self.finished = Some(job);
            }
        }

        if let Some(next) = self.oldest_job() {
            next.started = Some(Instant::now());
        }
    }

    /// Ends all jobs with `error`.
    pub(super) fn fail_all(&mut self, error: Error) {
        while self.in_flight() > 0 {
            self.finish_oldest(Err(error));
        }
    }

    /// Ends the jobs whose fence the engine has written. Returns how many.
    pub(super) fn finish_completed(&mut self) -> usize {
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
    pub(super) fn has_lost_interrupt(&mut self) -> bool {
        let oldest = self.oldest;
        let done = self.in_flight() > 0
            && self
                .ring
                .as_ref()
                .is_some_and(|ring| ring.result(oldest).is_some());
        let lost = done && self.suspect == Some(oldest);

        self.suspect = done.then_some(oldest);
        lost
    }

    /// Stops the engine, so that it does not access the buffers of the jobs in flight any more.
    ///
    /// If it cannot be stopped the buffers are never given back. A device that is gone has
    /// stopped.
    pub(super) fn stop(&mut self, hw: &Hw) {
        let Some(ring) = &self.ring else {
            return;
        };
        let stopped = ring.stop(hw).or_else(|e| match e {
            ENODEV => Ok(()),
            _ => hw.reset(),
        });

        if stopped.is_err_and(|e| e != ENODEV) {
            self.unstoppable = true;
        }
    }

    /// Whether [`State::stop`] has failed.
    pub(super) fn is_unstoppable(&self) -> bool {
        self.unstoppable
    }

    /// Ends the oldest job, at which the engine has stopped or hangs, with `error`.
    pub(super) fn abort_oldest(&mut self, hw: &Hw, error: Error) -> Result {
        self.stop(hw);
        self.finish_oldest(Err(error));
        self.restart(hw)
    }

    /// Resets the queue and writes the jobs in flight to the ring again.
    ///
    /// If that fails, all jobs end, and the queue is dead.
    pub(super) fn restart(&mut self, hw: &Hw) -> Result {
        let result = self.try_restart(hw);

        if let Err(e) = result {
            self.die(hw, if e == ENODEV { ENODEV } else { EIO });
        }
        result
    }

    /// Ends all jobs with `error`, now and in future.
    pub(super) fn die(&mut self, hw: &Hw, error: Error) {
        self.phase = Phase::Dead(error);
        self.stop(hw);
        self.fail_all(error);
    }

    /// Submits a job; there is room for it. Fails with `ENODEV` if the device is gone.
    pub(super) fn push(&mut self, hw: &Hw, job: KBox<Job>) -> Result {
        let seqno = self.next;
        let ring = self.ring.as_mut().ok_or(ENODEV)?;
        ring.push(hw, seqno, job.commands())?;

        let first = self.in_flight() == 0;
        self.next += 1;
        if let Some(slot) = self.jobs.get_mut(Self::slot(seqno)) {
            let job = slot.insert(job);
            if first {
                job.started = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// Whether a job of `commands` commands can be submitted now.
    pub(super) fn has_room(&self, commands: usize) -> bool {
        self.in_flight() < SLOTS
            && self
                .ring
                .as_ref()
                .is_some_and(|ring| ring.has_room(commands))
    }

    /// Takes the finished jobs, which are a list, away to be dropped.
    pub(super) fn take_finished(&mut self) -> Option<KBox<Job>> {
        self.finished.take()
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
