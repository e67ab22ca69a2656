// SPDX-License-Identifier: GPL-2.0

//! A queue of the engine.
//!
//! # Locking
//!
//! `state` is taken after a client's `submission` and after the lock of `hlrs::nic::Events`, and
//! before a client's own. It is taken on the way to signalling fences, so nothing is allocated and no
//! reservation lock taken under it. Copies, which may hold the last reference to a VM, are dropped by
//! a task of their own for the same reason.

use kernel::{
    device::Device,
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
        Jiffies, //
    }, //
};
use kernel_ext::{
    new_delayed_task,
    workqueue::{
        DelayedTask,
        Task, //
    }, //
};

use hlrs::nic::QueueRegisters;

use super::{
    copy::Copy,
    ring::{
        Memory,
        Ring, //
    },
    state::{
        Phase,
        State, //
    }, //
};
use crate::vms::Access;

/// How often the watchdog looks, at least. A lost interrupt is noticed within twice this time.
const WATCHDOG_PERIOD_MS: u32 = 250;

#[pin_data]
struct Shared {
    dev: ARef<Device>,
    index: usize,
    regs: Arc<dyn QueueRegisters>,
    timeout_ms: u32,
    #[pin]
    state: Mutex<State>,
    /// Signalled when a copy has ended, and when the phase changes.
    #[pin]
    changed: CondVar,
}

/// A queue.
#[pin_data]
pub(super) struct Queue {
    shared: Arc<Shared>,
    #[pin]
    watchdog: DelayedTask<Watchdog>,
    #[pin]
    reaper: DelayedTask<Reaper>,
}

/// A place in a queue for a copy to come; given back when dropped.
pub(super) struct Place<'a>(Option<&'a Queue>);

impl Queue {
    /// Queue `index`, which does not run yet. Sleeps.
    pub(super) fn new<M: Memory + 'static>(
        dev: &ARef<Device>,
        index: usize,
        regs: Arc<dyn QueueRegisters>,
        memory: M,
        timeout_ms: u32,
    ) -> Result<impl PinInit<Self>> {
        let memory: KBox<dyn Memory> = KBox::new(memory, GFP_KERNEL)?;
        let state = State::new(Ring::new(index, regs.clone(), memory))?;
        let shared = Arc::pin_init(
            pin_init!(Shared {
                dev: dev.clone(),
                index,
                regs,
                timeout_ms,
                state <- new_mutex!(state, "hlrs_nic::Queue"),
                changed <- new_condvar!("hlrs_nic::Queue::changed"),
            }),
            GFP_KERNEL,
        )?;

        Ok(pin_init!(Self {
            watchdog <- new_delayed_task!(Watchdog(shared.clone()), "hlrs_nic_watchdog"),
            reaper <- new_delayed_task!(Reaper(shared.clone()), "hlrs_nic_reaper"),
            shared,
        }))
    }

    /// Lets the queue run; if the function is being reset, once that is over. Sleeps.
    pub(super) fn start(&self) -> Result {
        let mut state = self.shared.state.lock();

        match state.phase {
            Phase::Stopped => state.restart(),
            Phase::Running | Phase::Suspended => Ok(()),
            Phase::Dead(error) => Err(error),
        }
    }

    /// The error of a dead queue. Sleeps.
    pub(super) fn why_dead(&self) -> Option<Error> {
        match self.shared.state.lock().phase {
            Phase::Dead(error) => Some(error),
            _ => None,
        }
    }

    /// Waits for room in the queue, no longer than copies take to time out. Sleeps.
    ///
    /// Fails with `EAGAIN` if it would have to wait and `wait` is not set, `ERESTARTSYS` if a signal
    /// came in, or the error of a dead queue.
    pub(super) fn reserve(&self, wait: bool) -> Result<Place<'_>> {
        let mut state = self.shared.state.lock();

        loop {
            let phase = state.phase;

            match phase {
                Phase::Dead(error) => return Err(error),
                Phase::Running if state.reserve() => return Ok(Place(Some(self))),
                Phase::Running | Phase::Suspended | Phase::Stopped => {}
            }
            if !wait {
                return Err(EAGAIN);
            }
            if self.shared.changed.wait_interruptible(&mut state) {
                return Err(ERESTARTSYS);
            }
        }
    }

    /// Takes a VM away. Sleeps.
    pub(super) fn cancel(&self, access: &Access) {
        let result = self.shared.state.lock().cancel(access);

        self.shared.report(result);
        self.after_change();
    }

    /// Ends the copies that are done. Sleeps.
    pub(super) fn completed(&self) {
        self.shared.state.lock().finish_completed();
        self.after_change();
    }

    /// Looks whether the queue has stopped at a fault. Sleeps.
    pub(super) fn faulted(&self) {
        self.shared.handle_fault(&mut self.shared.state.lock());
        self.after_change();
    }

    /// The function is about to be reset. Sleeps.
    pub(super) fn suspend(&self) {
        self.shared.state.lock().suspend();
        self.after_change();
    }

    /// The reset is over. Sleeps.
    pub(super) fn resume(&self, result: Result) {
        let result = self.shared.state.lock().resume(result);

        self.shared.report(result);
        self.after_change();
    }

    /// Somebody else may have reset the function. Sleeps.
    pub(super) fn was_reset(&self) {
        let result = self.shared.state.lock().handle_reset();

        self.shared.report(result);
        self.after_change();
    }

    /// Ends all copies with `error`, now and in future. Sleeps.
    pub(super) fn give_up(&self, error: Error) {
        self.shared.state.lock().die(error);
        self.after_change();
    }

    /// As [`super::Engine::shutdown`].
    pub(super) fn shutdown(&self) {
        let mut state = self.shared.state.lock();

        state.die(ENODEV);
        let ring = state.take_ring();
        let unstoppable = state.is_unstoppable();
        drop(state);

        if unstoppable {
            dev_err!(
                self.shared.dev,
                "NIC queue {} does not stop; its memory is not freed\n",
                self.shared.index
            );
        }
        drop(ring);
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

impl Place<'_> {
    /// Submits a copy. Fails with the error of a dead queue; the copy's fence is signalled then.
    pub(super) fn push(mut self, copy: KBox<Copy>) -> Result {
        let Some(queue) = self.0.take() else {
            return Err(EINVAL);
        };
        let result = queue.shared.state.lock().push(copy);

        queue.watchdog.schedule(queue.shared.watchdog_period());
        queue.reaper.schedule(0);
        result
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0 {
            queue.shared.state.lock().release();
            queue.shared.changed.notify_all();
        }
    }
}

impl Shared {
    /// How often the watchdog looks while there are copies.
    fn watchdog_period(&self) -> Jiffies {
        msecs_to_jiffies(self.timeout_ms.min(WATCHDOG_PERIOD_MS))
    }

    fn handle_fault(&self, state: &mut State) {
        let Some((fault, result)) = state.handle_fault() else {
            return;
        };

        // Any process can cause as many as it likes.
        dev_dbg!(
            self.dev,
            "NIC queue {}: fault at {:#x}, {}, reason {}\n",
            self.index,
            fault.address,
            if fault.write { "write" } else { "read" },
            fault.reason
        );
        self.report(result);
    }

    fn report(&self, restarted: Result) {
        if let Err(e) = restarted {
            if e != ENODEV {
                dev_err!(
                    self.dev,
                    "NIC queue {} does not come back from reset: {:?}\n",
                    self.index,
                    e
                );
            }
        }
    }

    /// Drops finished copies, and with them perhaps the last references to VMs. Sleeps.
    fn reap(&self) {
        let mut list = self.state.lock().take_finished();

        while let Some(mut copy) = list {
            list = copy.next.take();
        }
    }
}

/// Looks after copies that do not end, and after interrupts that do not come.
struct Watchdog(Arc<Shared>);

impl Task for Watchdog {
    fn run(&self) -> Option<Jiffies> {
        let shared = &self.0;
        let timeout = Delta::from_millis(i64::from(shared.timeout_ms));
        let mut state = shared.state.lock();

        if state.phase != Phase::Running {
            return None;
        }
        if !shared.regs.is_present() {
            state.die(ENODEV);
        }

        let lost = state.has_lost_interrupt();
        if lost {
            state.finish_completed();
        }
        shared.handle_fault(&mut state);

        let age = state
            .oldest_copy()
            .and_then(|copy| Some(copy.started?.elapsed()));
        if !state.is_oldest_suspect() && age.is_some_and(|age| age >= timeout) {
            dev_err!(
                shared.dev,
                "NIC queue {}: copy did not end within {} ms, resetting the queue\n",
                shared.index,
                shared.timeout_ms
            );
            shared.report(state.abort_oldest(ETIMEDOUT));
        }

        let again = (state.in_flight() > 0).then(|| shared.watchdog_period());
        drop(state);

        if lost {
            dev_warn!(
                shared.dev,
                "NIC queue {}: an interrupt was lost\n",
                shared.index
            );
        }
        shared.changed.notify_all();
        shared.reap();
        again
    }
}

/// Drops finished copies.
struct Reaper(Arc<Shared>);

impl Task for Reaper {
    fn run(&self) -> Option<Jiffies> {
        self.0.reap();
        None
    }
}
