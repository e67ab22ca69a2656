// SPDX-License-Identifier: GPL-2.0

//! One hardware queue, which does one piece of work at a time.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    prelude::*,
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

use super::{
    work::Work,
    MAX_COMMANDS,
    VECTOR, //
};
use crate::{
    hw::Hw,
    queue::{
        Config,
        Fault,
        Ring,
        FRAME, //
    },
};

/// Log2 of the number of commands in the ring, which is empty whenever work begins.
const ORDER: u32 = 7;

static_assert!(MAX_COMMANDS + FRAME <= 1 << ORDER);

/// What a hardware queue is doing.
struct Running {
    work: Work,
    seqno: u64,
    started: Instant<Monotonic>,
    /// Commands that were done before the work was stopped the last time.
    done: usize,
}

/// A hardware queue.
pub(super) struct Engine {
    index: usize,
    /// [`None`] after the end: its memory is the device's no more.
    ring: Option<Ring>,
    /// The context that the queue is set to.
    context: Option<u32>,
    running: Option<Running>,
    seqno: u64,
    /// Whether it did not come back from a reset.
    broken: bool,
    /// Whether it did not stop when it was told to.
    unstoppable: bool,
}

impl Engine {
    /// Allocates and starts hardware queue `index`. Sleeps. Errors as [`Ring::restart`].
    pub(super) fn new(dev: &Device<Bound>, hw: &Hw, index: usize) -> Result<Self> {
        let config = Config {
            index,
            order: ORDER,
            vector: VECTOR,
        };
        let mut ring = Ring::new(dev, config)?;

        ring.restart(hw)?;
        Ok(Self {
            index,
            ring: Some(ring),
            context: None,
            running: None,
            seqno: 0,
            broken: false,
            unstoppable: false,
        })
    }

    /// Bit of the queue in `QUEUE_IRQ`.
    pub(super) fn bit(&self) -> u32 {
        1 << self.index
    }

    /// Number of the hardware queue.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Whether work can be started.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none() && self.ring.is_some() && !self.broken
    }

    /// Whether the queue is set to context `context`.
    pub(super) fn has_context(&self, context: u32) -> bool {
        self.context == Some(context)
    }

    /// What is being done, and for how long already.
    pub(super) fn work(&self) -> Option<(&Work, Delta)> {
        let running = self.running.as_ref()?;

        Some((&running.work, running.started.elapsed()))
    }

    /// Starts `work`; the queue is idle.
    ///
    /// Sleeps. If it cannot be started, the work ends with `ENODEV` when the device is gone, `EIO`
    /// otherwise, and that is returned.
    pub(super) fn start(&mut self, hw: &Hw, work: Work) -> Result {
        let context = work.queue().context();

        match self.try_start(hw, context, &work) {
            Ok(()) => {
                self.running = Some(Running {
                    work,
                    seqno: self.seqno,
                    started: Instant::now(),
                    done: 0,
                });
                Ok(())
            }
            Err(e) => {
                let e = if e == ENODEV { ENODEV } else { EIO };

                work.finish(Err(e));
                if e != ENODEV {
                    self.restart(hw)?;
                }
                Err(e)
            }
        }
    }

    fn try_start(&mut self, hw: &Hw, context: u32, work: &Work) -> Result {
        let ring = self.ring.as_mut().ok_or(ENODEV)?;

        if self.context != Some(context) {
            self.context = None;
            ring.set_context(hw, context)?;
            self.context = Some(context);
        }
        self.seqno += 1;
        work.queue().vm().activity().begin(self.index);
        ring.push(hw, self.seqno, work.commands())
            .inspect_err(|_| work.queue().vm().activity().end(self.index))
    }

    /// Ends the work if the engine is done with it. Returns whether it was.
    pub(super) fn finish_completed(&mut self) -> bool {
        let (Some(running), Some(ring)) = (&self.running, &mut self.ring) else {
            return false;
        };
        let Some(result) = ring.result(running.seqno) else {
            return false;
        };

        ring.consume(Ring::footprint(
            running.work.commands().len() - running.done,
        ));
        if let Some(running) = self.running.take() {
            running.work.queue().book(result.busy_ns);
            running.work.queue().vm().activity().end(self.index);
            running.work.finish(Ok(()));
        }
        true
    }

    /// Goes on with work that somebody else's fault has stopped, from the command on at which it was.
    ///
    /// Its context can be used again. This may happen any number of times, until the time of the
    /// work is over. Sleeps. Fails with `EIO` if the command cannot be done again; `ETIMEDOUT` or `ENODEV` if the queue does not come back. The work
    /// is not ended then.
    pub(super) fn go_on(&mut self, hw: &Hw) -> Result {
        let (Some(running), Some(ring)) = (&mut self.running, &mut self.ring) else {
            return Err(ENODEV);
        };
        let commands = running.work.commands();
        let done = commands.len().min(running.done + ring.commands_done(hw)?);

        if commands[done..]
            .first()
            .is_some_and(|at| !at.can_be_repeated())
        {
            return Err(EIO);
        }

        self.context = None;
        ring.restart(hw)?;
        let context = running.work.queue().context();
        ring.set_context(hw, context)?;
        self.context = Some(context);
        running.done = done;
        ring.push(hw, running.seqno, &commands[done..])
    }

    /// The fault that has stopped the queue, if one did.
    pub(super) fn fault(&self, hw: &Hw) -> Option<Fault> {
        self.ring.as_ref()?.fault(hw)
    }

    /// Whether somebody else has reset the queue.
    pub(super) fn is_off(&self, hw: &Hw) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.is_off(hw))
    }

    /// Stops the queue, and ends the work with `error` if it is not done. Sleeps.
    ///
    /// If the queue does not stop, what its work could access is never given back.
    pub(super) fn stop(&mut self, hw: &Hw, error: Error) {
        self.finish_completed();
        self.context = None;

        if let Some(ring) = &self.ring {
            let stopped = ring.stop(hw).or_else(|e| match e {
                ENODEV => Ok(()),
                _ => hw.reset(),
            });

            self.unstoppable = stopped.is_err_and(|e| e != ENODEV);
        }

        if let Some(running) = self.running.take() {
            if self.unstoppable {
                running.work.abandon(error);
            } else {
                running.work.queue().vm().activity().end(self.index);
                running.work.finish(Err(error));
            }
        }
    }

    /// Resets the queue, which does nothing then. Sleeps. Errors as [`Ring::restart`].
    pub(super) fn restart(&mut self, hw: &Hw) -> Result {
        self.context = None;

        let result = self.ring.as_mut().ok_or(ENODEV)?.restart(hw);
        self.broken = result.is_err();
        result
    }

    /// Takes the queue out of service for good, after [`Engine::stop`]. Sleeps.
    ///
    /// Returns false if it does not stop; its memory is lost then.
    pub(super) fn retire(&mut self) -> bool {
        let ring = self.ring.take();

        if self.unstoppable {
            core::mem::forget(ring);
        }
        !self.unstoppable
    }
}
