// SPDX-License-Identifier: GPL-2.0

//! The copies of an open file, by number, and how they have ended.

use kernel::{
    new_mutex,
    new_poll_condvar,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        poll::PollCondVar,
        Arc,
        CondVarTimeoutResult,
        Mutex, //
    },
    time::Jiffies, //
};
use kernel_ext::dma_fence::FenceContext;

/// Copies of an open file that can be pending.
pub(crate) const MAX_PENDING: usize = 64;

/// Copies of an open file whose results are remembered.
pub(crate) const MAX_RESULTS: usize = 256;

/// What [`Client::wait`] may find.
pub(crate) type Outcome = Result;

struct State {
    /// Number of the copy that was submitted last.
    last: u64,
    pending: usize,
    /// Of copy n at n modulo [`MAX_RESULTS`]; [`None`] while it is pending.
    results: KVec<Option<Outcome>>,
}

impl State {
    fn slot(seqno: u64) -> usize {
        // CAST: The remainder is smaller than `MAX_RESULTS`.
        (seqno % MAX_RESULTS as u64) as usize
    }
}

/// An open file, as those see it who work for it.
#[pin_data]
pub(crate) struct Client {
    id: u64,
    /// Held while a copy is submitted, so that numbers, fences and the queue have one order.
    #[pin]
    pub(crate) submission: Mutex<FenceContext>,
    #[pin]
    state: Mutex<State>,
    /// Signalled when a copy has ended.
    #[pin]
    pub(crate) changed: PollCondVar,
}

impl Client {
    /// A client without copies. Sleeps.
    pub(crate) fn new() -> Result<Arc<Self>> {
        static NEXT: Atomic<u64> = Atomic::new(1);

        let mut results = KVec::with_capacity(MAX_RESULTS, GFP_KERNEL)?;
        for _ in 0..MAX_RESULTS {
            results.push(None, GFP_KERNEL)?;
        }
        let state = State {
            last: 0,
            pending: 0,
            results,
        };

        Arc::pin_init(
            pin_init!(Self {
                id: NEXT.fetch_add(1u64, Relaxed),
                submission <- new_mutex!(FenceContext::new(1), "hlrs_nic::Client::submission"),
                state <- new_mutex!(state, "hlrs_nic::Client"),
                changed <- new_poll_condvar!("hlrs_nic::Client::changed"),
            }),
            GFP_KERNEL,
        )
    }

    /// Number of the client, which no other has.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether another copy may be submitted; whether none is pending.
    pub(crate) fn readiness(&self) -> (bool, bool) {
        let state = self.state.lock();

        (state.pending < MAX_PENDING, state.pending == 0)
    }

    /// The copies that were submitted, and how many of them are pending.
    pub(crate) fn counts(&self) -> (u64, usize) {
        let state = self.state.lock();

        (state.last, state.pending)
    }

    /// Waits until another copy may be submitted, and counts it as pending; returns its number.
    ///
    /// Called with [`Client::submission`] held; nobody else changes the number. Sleeps. Fails with
    /// `EAGAIN` if there is no room and `wait` is not set, `ERESTARTSYS` if a signal came in.
    pub(crate) fn begin(&self, wait: bool) -> Result<u64> {
        let mut state = self.state.lock();

        loop {
            if state.pending < MAX_PENDING {
                break;
            }
            if !wait {
                return Err(EAGAIN);
            }
            if self.changed.wait_interruptible(&mut state) {
                return Err(ERESTARTSYS);
            }
        }

        let seqno = state.last + 1;
        state.last = seqno;
        state.pending += 1;
        state.results[State::slot(seqno)] = None;
        Ok(seqno)
    }

    /// Takes back what [`Client::begin`] has done, the copy was not submitted. As there.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();

        state.last -= 1;
        state.pending -= 1;
        drop(state);
        self.changed.notify_all();
    }

    /// The copy `seqno` has ended. May sleep; called on the way to signalling fences.
    pub(crate) fn finish(&self, seqno: u64, outcome: Outcome) {
        let mut state = self.state.lock();

        state.results[State::slot(seqno)] = Some(outcome);
        state.pending -= 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until the copy `seqno` has ended, for at most `timeout` jiffies.
    ///
    /// Sleeps. Fails with `EINVAL` if there is no such copy, `ESTALE` if its result is forgotten,
    /// `ETIME` if it has not ended, `ERESTARTSYS` if a signal came in.
    pub(crate) fn wait(&self, seqno: u64, timeout: Jiffies) -> Result<Outcome> {
        let mut state = self.state.lock();
        let mut left = timeout;

        loop {
            // The last number may have been taken back meanwhile.
            if seqno == 0 || seqno > state.last {
                return Err(EINVAL);
            }
            if state.last - seqno >= MAX_RESULTS as u64 {
                return Err(ESTALE);
            }
            if let Some(outcome) = state.results[State::slot(seqno)] {
                return Ok(outcome);
            }
            if left == 0 {
                return Err(ETIME);
            }
            match self.changed.wait_interruptible_timeout(&mut state, left) {
                CondVarTimeoutResult::Woken { jiffies } => left = jiffies,
                CondVarTimeoutResult::Timeout => left = 0,
                CondVarTimeoutResult::Signal { .. } => return Err(ERESTARTSYS),
            }
        }
    }
}
