// SPDX-License-Identifier: GPL-2.0

//! The hardware queues that work for user space, and what waits for them.
//!
//! Any queue of user space can use any hardware queue; a hardware queue does one piece of work at
//! a time, so that it is clear who is to blame for a fault, and so that files take turns. Work
//! ends in one of these ways, which its fence tells:
//!
//! | what happened | error of the fence |
//! |---|---|
//! | the engine wrote the fence | none |
//! | the engine reported a fault | `EFAULT` |
//! | it took longer than the time-out | `ETIMEDOUT` |
//! | other work has got its VM banned; the device was reset; its queue is going | `ECANCELED` |
//! | the hardware queue does not come back from a reset | `EIO` |
//! | the device was unbound or pulled out | `ENODEV` |
//!
//! # Locking
//!
//! One mutex covers all. It is taken on the way to signalling fences: nothing is allocated under
//! it, no reservation lock is taken, no buffer or VM freed. What a VM does when it is banned is
//! done under it, too.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    io::poll::read_poll_timeout,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    time::Delta,
};
use kernel_ext::{
    new_delayed_task,
    workqueue::DelayedTask, //
};

use super::{
    crash::{
        Crash,
        Reporter, //
    },
    engine::Engine,
    timelines::Timelines,
    turns::Turns,
    work::Work,
    Queue, //
};
use crate::{
    hw::Hw,
    vm::{
        Ban,
        Cause, //
    },
};

/// How often to look whether a queue has nothing to do any more.
const DRAIN_POLL: Delta = Delta::from_micros(200);

/// Hardware queues that work for user space.
const INDICES: core::ops::Range<usize> = 1..hlrs_abi::HLRS_NR_COPY_QUEUES as usize;

/// What the engines are about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Work is done.
    Running,
    /// The device is being reset; work waits.
    Resetting,
    /// Nothing is done any more: the device is gone (`ENODEV`), or does not come back (`EIO`).
    Dead(Error),
}

struct State {
    phase: Phase,
    engines: KVec<Engine>,
    turns: Turns<Work>,
}

/// The engines of a function.
#[pin_data]
pub(crate) struct Engines {
    dev: ARef<Device>,
    hw: Arc<Hw>,
    /// How long work may take.
    timeout: Delta,
    timelines: Arc<Timelines>,
    #[pin]
    state: Mutex<State>,
    #[pin]
    reporter: DelayedTask<Reporter>,
}

impl Engines {
    /// Allocates and starts the hardware queues. Sleeps.
    ///
    /// Work that takes longer than `timeout_ms` fails. `kernel_fences` is the context of the fences of
    /// the kernel's own queue. Fails with `ENOMEM`, `ETIMEDOUT`, `ENODEV`.
    pub(crate) fn new(
        dev: &Device<Bound>,
        hw: Arc<Hw>,
        kernel_fences: u64,
        timeout_ms: u32,
    ) -> Result<Arc<Self>> {
        let mut engines = KVec::with_capacity(INDICES.len(), GFP_KERNEL)?;
        for index in INDICES {
            engines.push(Engine::new(dev, &hw, index)?, GFP_KERNEL)?;
        }

        let state = State {
            phase: Phase::Running,
            engines,
            turns: Turns::new(),
        };
        let reporter = Reporter::new(dev)?;
        Arc::pin_init(
            try_pin_init!(Self {
                dev: dev.into(),
                hw,
                timeout: Delta::from_millis(i64::from(timeout_ms)),
                timelines: Timelines::new(kernel_fences)?,
                state <- new_mutex!(state, "hlrs::Engines"),
                reporter <- new_delayed_task!(reporter, "hlrs_crash"),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Whose fences are those of the device.
    pub(crate) fn timelines(&self) -> &Arc<Timelines> {
        &self.timelines
    }

    /// Makes room for the work of one more queue. Sleeps (allocates). Fails with `ENOMEM`.
    pub(super) fn add_seat(&self) -> Result {
        loop {
            // Not in the `match`, which would allocate with the lock held.
            let needed = self.state.lock().turns.room_for_seat();
            let room = match needed {
                Some(capacity) => KVec::with_capacity(capacity, GFP_KERNEL)?,
                None => KVec::new(),
            };

            // Others may have taken the room meanwhile.
            let old = self.state.lock().turns.add_seat(room);
            match old {
                Ok(_) => return Ok(()),
                Err(e) if e == EAGAIN => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Undoes [`Engines::add_seat`]. Sleeps.
    pub(super) fn remove_seat(&self) {
        self.state.lock().turns.remove_seat();
    }

    /// Has `work` done as soon as it is its turn. Sleeps.
    ///
    /// Its queue has no other work here. The fence of the work tells how it ends, in any case.
    pub(super) fn run(&self, work: Work) {
        let mut state = self.state.lock();

        if let Phase::Dead(error) = state.phase {
            work.finish(Err(error));
            return;
        }
        if let Err(work) = state.turns.wait(work) {
            // More than one piece of work of a queue: a defect of this driver.
            work.finish(Err(EIO));
            return;
        }
        self.dispatch(&mut state);
    }

    /// Starts what waits, as long as there are hardware queues that are idle.
    fn dispatch(&self, state: &mut State) {
        while state.phase == Phase::Running && state.engines.iter().any(Engine::is_idle) {
            let Some(work) = state.turns.next() else {
                return;
            };
            if let Err(e) = work.queue().check_usable() {
                work.finish(Err(e));
                continue;
            }

            // Changing the context takes time.
            let context = work.queue().context();
            let engines = state.engines.iter();
            let index = engines
                .clone()
                .position(|engine| engine.is_idle() && engine.has_context(context))
                .or_else(|| engines.clone().position(Engine::is_idle));
            let Some(engine) = index.and_then(|index| state.engines.get_mut(index)) else {
                work.finish(Err(EIO));
                return;
            };

            if let Err(e) = engine.start(&self.hw, work) {
                dev_err!(
                    self.dev,
                    "copy queue {}: work cannot be started: {:?}\n",
                    engine.index(),
                    e
                );
            }
        }
    }

    /// Ends work that is done. `queues` are the bits of `QUEUE_IRQ`.
    ///
    /// Called by the interrupt of [`super::VECTOR`]. Sleeps.
    pub(crate) fn handle_completions(&self, queues: u32) {
        let mut state = self.state.lock();

        for engine in state.engines.iter_mut() {
            if queues & engine.bit() != 0 {
                engine.finish_completed();
            }
        }
        self.dispatch(&mut state);
    }

    /// Ends work at which hardware queues have stopped, and bans its VMs.
    ///
    /// Called by the event interrupt. Sleeps.
    pub(crate) fn handle_faults(&self) {
        let mut state = self.state.lock();

        self.look_for_faults(&mut state);
        self.dispatch(&mut state);
    }

    fn look_for_faults(&self, state: &mut State) {
        if state.phase != Phase::Running {
            return;
        }

        // A fault also stops other queues that use the context: the guilty one comes first.
        for others in [false, true] {
            for engine in state.engines.iter_mut() {
                let Some(fault) = engine.work().and_then(|_| engine.fault(&self.hw)) else {
                    continue;
                };
                let cause = Cause::of(&fault);

                if cause.is_somebody_else() != others {
                    continue;
                }
                engine.finish_completed();
                if !others || !self.go_on(engine) {
                    self.fail(engine, &Ban::by_fault(cause, &fault), EFAULT);
                }
            }
        }
    }

    /// Goes on with the work of `engine`, whose context was stopped by a fault.
    ///
    /// Returns false if it is over with its VM, or it does not work.
    fn go_on(&self, engine: &mut Engine) -> bool {
        if let Some((work, _)) = engine.work() {
            let vm = work.queue().vm();

            // The fault was one of its own work.
            if vm.is_banned() {
                return false;
            }
            vm.space().recover();
        }
        engine.go_on(&self.hw).is_ok()
    }

    /// Ends the work of `engine` with `error` and bans its VM.
    fn fail(&self, engine: &mut Engine, ban: &Ban, error: Error) {
        let mut error = error;

        if let Some((work, _)) = engine.work() {
            let queue = work.queue().clone();

            if queue.vm().is_banned() {
                error = ECANCELED;
            } else {
                let ban = ban.with_queue(queue.id());

                dev_err!(
                    self.dev,
                    "copy queue {}: {}, VM {} of {} is banned\n",
                    engine.index(),
                    ban,
                    queue.vm().id(),
                    queue.client().process()
                );
                let crash = Crash::record(&self.hw, &queue, engine.index(), work.commands(), &ban);
                if let Some(crash) = crash {
                    self.reporter.task().add(crash);
                    self.reporter.schedule(0);
                }
                queue.vm().ban(ban);
            }
        }
        engine.stop(&self.hw, error);
        self.report_restart(engine);
    }

    fn report_restart(&self, engine: &mut Engine) {
        if let Err(e) = engine.restart(&self.hw) {
            if e != ENODEV {
                dev_err!(
                    self.dev,
                    "copy queue {} does not come back from reset: {:?}\n",
                    engine.index(),
                    e
                );
            }
        }
    }

    /// Looks after the work of `queue`: at lost interrupts, and whether it takes too long.
    ///
    /// Called now and then while the queue has work here. Sleeps.
    pub(super) fn look_after(&self, queue: &Queue) {
        let mut state = self.state.lock();

        // During a reset a device that is there cannot be told from one that is gone.
        if state.phase != Phase::Running {
            return;
        }
        if !self.hw.is_present() {
            self.die(&mut state, ENODEV);
            return;
        }
        self.look_for_faults(&mut state);

        let engine = state.engines.iter_mut().find(|engine| {
            engine
                .work()
                .is_some_and(|(work, _)| core::ptr::eq(&**work.queue(), queue))
        });
        if let Some(engine) = engine {
            if engine.finish_completed() {
                dev_warn!(
                    self.dev,
                    "copy queue {}: an interrupt was lost\n",
                    engine.index()
                );
            } else if engine.work().is_some_and(|(_, age)| age >= self.timeout) {
                self.fail(engine, &Ban::by_timeout(), ETIMEDOUT);
            }
        }
        self.dispatch(&mut state);
    }

    /// Ends the work of `queue` with `ECANCELED`, also if it is being done. Sleeps.
    pub(super) fn cancel(&self, queue: &Queue) {
        let is_ours = |work: &Work| core::ptr::eq(&**work.queue(), queue);
        let mut state = self.state.lock();

        while let Some(work) = state.turns.take(&is_ours) {
            work.finish(Err(ECANCELED));
        }
        for engine in state.engines.iter_mut() {
            if engine.work().is_some_and(|(work, _)| is_ours(work)) {
                engine.stop(&self.hw, ECANCELED);
                self.report_restart(engine);
            }
        }
        self.dispatch(&mut state);
    }

    /// Waits until no work of `queue` is being done or waits, for at most `timeout_ms`; cancels it
    /// then. Sleeps.
    pub(super) fn drain(&self, queue: &Queue, timeout_ms: u32) {
        let idle = || {
            let state = self.state.lock();
            let is_ours = |work: &Work| core::ptr::eq(&**work.queue(), queue);

            !state.turns.iter().any(&is_ours)
                && !state
                    .engines
                    .iter()
                    .any(|engine| engine.work().is_some_and(|(work, _)| is_ours(work)))
        };
        let timeout = Delta::from_millis(timeout_ms.into());

        let drained = read_poll_timeout(|| Ok(idle()), |idle| *idle, DRAIN_POLL, timeout);
        if drained.is_err() {
            self.cancel(queue);
        }
    }

    /// If somebody else has reset the hardware queues (the PF those of its VF), cancels what was
    /// being done and starts them anew; contexts have been set up again. Called by the event
    /// interrupt. Sleeps.
    pub(crate) fn handle_reset(&self) {
        let mut state = self.state.lock();

        if state.phase == Phase::Running {
            for engine in state.engines.iter_mut() {
                if engine.is_off(&self.hw) {
                    engine.stop(&self.hw, ECANCELED);
                    self.report_restart(engine);
                }
            }
        }
        self.dispatch(&mut state);
    }

    /// Ends what is being done with `ECANCELED` and starts nothing until [`Engines::resume`].
    ///
    /// Called when the device is about to be reset. Sleeps.
    pub(crate) fn suspend(&self) {
        let mut state = self.state.lock();

        if state.phase == Phase::Running {
            state.phase = Phase::Resetting;
        }
        for engine in state.engines.iter_mut() {
            engine.stop(&self.hw, ECANCELED);
        }
    }

    /// Starts the hardware queues after a reset of the device. Sleeps. Errors as
    /// [`crate::queue::Ring::restart`].
    pub(crate) fn resume(&self) -> Result {
        let mut state = self.state.lock();

        if let Phase::Dead(error) = state.phase {
            return Err(error);
        }
        state.phase = Phase::Running;
        for engine in state.engines.iter_mut() {
            engine.restart(&self.hw)?;
        }
        self.dispatch(&mut state);
        Ok(())
    }

    /// Ends all work with `error`, now and in future: the device did not come back from a reset.
    ///
    /// Sleeps.
    pub(crate) fn give_up(&self, error: Error) {
        self.die(&mut self.state.lock(), error);
    }

    fn die(&self, state: &mut State, error: Error) {
        if !matches!(state.phase, Phase::Dead(_)) {
            state.phase = Phase::Dead(error);
        }
        for engine in state.engines.iter_mut() {
            engine.stop(&self.hw, error);
        }
        while let Some(work) = state.turns.next() {
            work.finish(Err(error));
        }
    }

    /// Ends all work with `ENODEV`, stops the hardware queues and gives their memory back.
    ///
    /// Called while the device is still bound, before the driver lets go of it. Sleeps.
    pub(crate) fn shutdown(&self) {
        let mut state = self.state.lock();

        self.die(&mut state, ENODEV);
        for engine in state.engines.iter_mut() {
            if !engine.retire() {
                dev_err!(
                    self.dev,
                    "copy queue {} does not stop; its memory is not freed\n",
                    engine.index()
                );
            }
        }
        drop(state);
        self.reporter.disable();
    }
}
