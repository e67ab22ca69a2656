// SPDX-License-Identifier: GPL-2.0

//! The copies in a queue and its ring, under one lock.
//!
//! The lock is taken on the way to signalling fences: nothing is allocated here after
//! [`State::new`], and no VM given up.

use kernel::{
    prelude::*,
    time::Instant, //
};

use hlrs::nic::QueueFault;

use super::{
    copy::Copy,
    ring::{
        Ring,
        SLOTS, //
    }, //
};
use crate::{
    client::Outcome,
    vms::Access, //
};

/// What the queue is about.
///
/// ```text
///            start            suspend
///   Stopped --------> Running --------> Suspended
///      |                 |  <--------      |
///      |                 |    resume       |
///      |   give_up,      |                 |  give_up, resume failed,
///      |   shutdown      |  shutdown       |  shutdown
///      v                 v                 v
///    Dead <-------------------------------'
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not started yet.
    Stopped,
    /// Copies run.
    Running,
    /// The function is being reset; who submits waits.
    Suspended,
    /// Nothing runs any more, and why.
    Dead(Error),
}

/// Ring and copies.
pub(super) struct State {
    pub(super) phase: Phase,
    ring: Option<Ring>,
    /// Copies in the queue, each at its number modulo [`SLOTS`].
    copies: KVec<Option<KBox<Copy>>>,
    /// Numbers of the oldest copy in the queue and of the next one.
    oldest: u64,
    next: u64,
    /// Places that are taken for copies to come.
    reserved: usize,
    /// Copy that the watchdog has found done, but whose interrupt may still come.
    suspect: Option<u64>,
    /// Whether the engine did not stop when it was told to.
    unstoppable: bool,
    /// Finished copies that are still to be dropped.
    finished: Option<KBox<Copy>>,
}

impl State {
    /// The state of a queue that is not started. May sleep.
    pub(super) fn new(ring: Ring) -> Result<Self> {
        let mut copies = KVec::with_capacity(SLOTS, GFP_KERNEL)?;

        for _ in 0..SLOTS {
            copies.push(None, GFP_KERNEL)?;
        }
        Ok(Self {
            phase: Phase::Stopped,
            ring: Some(ring),
            copies,
            oldest: 1,
            next: 1,
            reserved: 0,
            suspect: None,
            unstoppable: false,
            finished: None,
        })
    }

    /// Number of copies in the queue.
    pub(super) fn in_flight(&self) -> usize {
        // CAST: At most `SLOTS`.
        (self.next - self.oldest) as usize
    }

    /// Takes a place for a copy to come; whether there was one.
    pub(super) fn reserve(&mut self) -> bool {
        let has_room = self.in_flight() + self.reserved < SLOTS;

        self.reserved += usize::from(has_room);
        has_room
    }

    /// Gives back a place that [`State::reserve`] has taken.
    pub(super) fn release(&mut self) {
        self.reserved -= 1;
    }

    /// Submits a copy, for which a place was reserved. Fails with the error of a dead queue.
    ///
    /// A copy whose VM was taken away, and one that comes while the function is being reset, is
    /// submitted all the same, as a cancelled one.
    pub(super) fn push(&mut self, mut copy: KBox<Copy>) -> Result {
        let phase = self.phase;
        self.release();

        match phase {
            Phase::Dead(error) => return Err(error),
            Phase::Stopped => return Err(ENODEV),
            Phase::Suspended => {
                // Its fence is known to others by now, and its turn does not come: the queue is
                // empty.
                copy.cancelled = true;
                copy.finish(Ok(()));
                self.retire(copy);
                return Ok(());
            }
            Phase::Running => {}
        }
        copy.cancelled = copy.has_lost_vm();

        let seqno = self.next;
        self.ring
            .as_mut()
            .ok_or(ENODEV)?
            .push(seqno, &copy.command())?;

        let first = self.in_flight() == 0;
        self.next += 1;
        let copy = self.copies[Ring::slot(seqno)].insert(copy);
        if first {
            copy.started = Some(Instant::now());
        }
        Ok(())
    }

    /// The copy that the engine is at.
    pub(super) fn oldest_copy(&mut self) -> Option<&mut KBox<Copy>> {
        if self.in_flight() == 0 {
            return None;
        }
        self.copies[Ring::slot(self.oldest)].as_mut()
    }

    /// Ends the oldest copy. Its successor's time starts now.
    fn finish_oldest(&mut self, outcome: Outcome) {
        if self.in_flight() == 0 {
            return;
        }
        let copy = self.copies[Ring::slot(self.oldest)].take();
        self.oldest += 1;

        if let Some(mut copy) = copy {
            copy.finish(outcome);
            self.retire(copy);
        }
        if let Some(next) = self.oldest_copy() {
            next.started = Some(Instant::now());
        }
    }

    /// Keeps a copy that has ended for [`State::take_finished`].
    fn retire(&mut self, mut copy: KBox<Copy>) {
        if self.unstoppable {
            // The engine may still use the VMs: better kept than somebody else's.
            core::mem::forget(copy);
        } else {
            copy.next = self.finished.take();
            self.finished = Some(copy);
        }
    }

    /// Takes the finished copies, which are a list, away to be dropped.
    pub(super) fn take_finished(&mut self) -> Option<KBox<Copy>> {
        self.finished.take()
    }

    /// Ends the copies whose fence the engine has written.
    pub(super) fn finish_completed(&mut self) {
        while self.in_flight() > 0 {
            let oldest = self.oldest;

            if !self.ring.as_ref().is_some_and(|ring| ring.is_done(oldest)) {
                break;
            }
            self.finish_oldest(Ok(()));
        }
    }

    /// Ends all copies with `error`.
    fn fail_all(&mut self, error: Error) {
        while self.in_flight() > 0 {
            self.finish_oldest(Err(error));
        }
    }

    /// Whether the interrupt of the oldest copy was lost: it is done, and was when this was asked
    /// last.
    pub(super) fn has_lost_interrupt(&mut self) -> bool {
        let oldest = self.oldest;
        let done =
            self.in_flight() > 0 && self.ring.as_ref().is_some_and(|ring| ring.is_done(oldest));
        let lost = done && self.suspect == Some(oldest);

        self.suspect = done.then_some(oldest);
        lost
    }

    /// Whether the oldest copy is done, and only its interrupt is still to come.
    pub(super) fn is_oldest_suspect(&self) -> bool {
        self.suspect == Some(self.oldest)
    }

    /// Stops the engine, so that it does not access VMs for the queue any more. Sleeps.
    ///
    /// If it cannot be stopped the VMs are never given back. A device that is gone has stopped.
    fn stop(&mut self) {
        let Some(ring) = &self.ring else {
            return;
        };
        let stopped = ring.stop().or_else(|e| match e {
            ENODEV => Ok(()),
            _ => ring.reset_function(),
        });

        if stopped.is_err_and(|e| e != ENODEV) {
            self.unstoppable = true;
        }
    }

    /// Resets the queue and writes the copies in it to the ring again. Sleeps.
    ///
    /// If that fails, all copies end, and the queue is dead.
    pub(super) fn restart(&mut self) -> Result {
        let result = self.try_restart();

        if let Err(e) = result {
            self.die(if e == ENODEV { ENODEV } else { EIO });
        } else if self.phase == Phase::Stopped {
            self.phase = Phase::Running;
        }
        result
    }

    fn try_restart(&mut self) -> Result {
        let ring = self.ring.as_mut().ok_or(ENODEV)?;

        ring.restart()?;
        for seqno in self.oldest..self.next {
            if let Some(copy) = &self.copies[Ring::slot(seqno)] {
                ring.push(seqno, &copy.command())?;
            }
        }
        if let Some(copy) = self.oldest_copy() {
            copy.started = Some(Instant::now());
        }
        Ok(())
    }

    /// Ends the oldest copy, which takes too long, with `error`. Sleeps.
    pub(super) fn abort_oldest(&mut self, error: Error) -> Result {
        self.stop();
        // It may have ended just before.
        self.finish_completed();
        self.finish_oldest(Err(error));
        self.restart()
    }

    /// If the engine has stopped at a fault: ends the guilty copy, and lets the others run.
    ///
    /// Returns the fault, and how the queue came back from it. Sleeps.
    pub(super) fn handle_fault(&mut self) -> Option<(QueueFault, Result)> {
        if self.phase != Phase::Running {
            return None;
        }
        let fault = self.ring.as_ref()?.fault()?;

        // What was done before is not to blame for it.
        self.finish_completed();
        self.stop();
        let Some(copy) = self.oldest_copy() else {
            return Some((fault, self.restart()));
        };
        let started = copy.started;
        let usable = copy.recover();

        // Otherwise another queue has faulted in the context.
        if fault.reason != hlrs_nic_abi::HLRS_FAULT_CTX_DISABLED {
            self.finish_oldest(Err(outcome_of(&fault)));
            return Some((fault, self.restart()));
        }
        if !usable {
            self.finish_oldest(Err(ECANCELED));
            return Some((fault, self.restart()));
        }
        // It is begun again, but does not get more time: this may happen any number of times.
        let result = self.restart();
        if let Some(copy) = self.oldest_copy() {
            copy.started = started;
        }
        Some((fault, result))
    }

    /// Takes a VM away: its copies keep their places, but do nothing. Sleeps.
    ///
    /// When this returns the engine does not access the VM for the queue.
    pub(super) fn cancel(&mut self, access: &Access) -> Result {
        self.finish_completed();
        if self.phase != Phase::Running || !self.live_copies(access).any(|_| true) {
            return Ok(());
        }

        self.stop();
        self.finish_completed();
        self.live_copies(access)
            .for_each(|copy| copy.cancelled = true);
        self.restart()
    }

    /// The copies of a VM that are not cancelled.
    fn live_copies<'a>(
        &'a mut self,
        access: &'a Access,
    ) -> impl Iterator<Item = &'a mut KBox<Copy>> {
        self.copies
            .iter_mut()
            .flatten()
            .filter(|copy| !copy.cancelled && copy.uses(access))
    }

    /// Ends all copies with `ECANCELED`; those to come wait. Sleeps.
    pub(super) fn suspend(&mut self) {
        self.finish_completed();
        if self.phase == Phase::Running {
            self.phase = Phase::Suspended;
        }
        self.stop();
        self.finish_completed();
        self.fail_all(ECANCELED);
    }

    /// Goes on after [`State::suspend`]. Sleeps.
    pub(super) fn resume(&mut self, result: Result) -> Result {
        if self.phase != Phase::Suspended {
            return Ok(());
        }
        if let Err(e) = result {
            self.die(if e == ENODEV { ENODEV } else { EIO });
            return Err(e);
        }
        self.phase = Phase::Running;
        self.restart()
    }

    /// If somebody else has reset the function, cancels the copies and starts the queue anew.
    ///
    /// Sleeps.
    pub(super) fn handle_reset(&mut self) -> Result {
        if self.phase != Phase::Running || !self.ring.as_ref().is_some_and(Ring::is_off) {
            return Ok(());
        }
        self.finish_completed();
        self.fail_all(ECANCELED);
        self.restart()
    }

    /// Ends all copies with `error`, now and in future. Sleeps.
    pub(super) fn die(&mut self, error: Error) {
        self.phase = Phase::Dead(error);
        self.finish_completed();
        self.stop();
        self.finish_completed();
        self.fail_all(error);
    }

    /// Takes the ring away, for good. Its memory may be freed unless the engine does not stop.
    pub(super) fn take_ring(&mut self) -> Option<Ring> {
        let ring = self.ring.take();

        if self.unstoppable {
            // The engine may still write to the slots.
            core::mem::forget(ring);
            return None;
        }
        ring
    }

    /// Whether the engine did not stop when it was told to.
    pub(super) fn is_unstoppable(&self) -> bool {
        self.unstoppable
    }
}

/// What a fault means for the copy.
fn outcome_of(fault: &QueueFault) -> Error {
    match fault.reason {
        hlrs_nic_abi::HLRS_FAULT_NOT_PRESENT
        | hlrs_nic_abi::HLRS_FAULT_READ_ONLY
        | hlrs_nic_abi::HLRS_FAULT_VA_RANGE => EFAULT,
        _ => EIO,
    }
}
