// SPDX-License-Identifier: GPL-2.0

//! VMs that nobody has any more, while an engine still accesses them.
//!
//! A driver of the device may give a VM up, and its owner destroy it, before the fence of an access
//! is signalled. What is mapped stays until then: tables, buffers and the context are kept here.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    time::{
        msecs_to_jiffies,
        Jiffies, //
    },
};
use kernel_ext::{
    new_delayed_task,
    workqueue::{
        DelayedTask,
        Task, //
    },
};

use super::space::{
    GpuVm,
    Tree, //
};

/// How often to look whether accesses are over, milliseconds.
const LOOK_MS: u32 = 5;

/// What is left of a VM.
pub(super) struct Remains {
    space: ARef<GpuVm>,
    tree: Arc<Tree>,
    next: Option<KBox<Remains>>,
}

impl Remains {
    /// Sleeps (allocates). Fails with `ENOMEM`.
    pub(super) fn new(space: &ARef<GpuVm>, tree: &Arc<Tree>) -> Result<KBox<Self>> {
        Ok(KBox::new(
            Self {
                space: space.clone(),
                tree: tree.clone(),
                next: None,
            },
            GFP_KERNEL,
        )?)
    }

    /// Gives everything back: no engine uses it. Sleeps; does not allocate.
    pub(super) fn give_back(&self) {
        self.space.close();

        let tree = self.tree.lock().take();
        drop(tree);
        self.space.deferred_cleanup();
        self.space.tidy();
    }

    /// An engine did not stop. What it may still use is never given back. Sleeps.
    fn forget(&self) {
        self.space.close();
        core::mem::forget(self.tree.lock().take());
    }
}

/// A list of them.
struct List(Option<KBox<Remains>>);

impl List {
    fn push(&mut self, mut remains: KBox<Remains>) {
        remains.next = self.0.take();
        self.0 = Some(remains);
    }

    fn pop(&mut self) -> Option<KBox<Remains>> {
        let mut first = self.0.take()?;

        self.0 = first.next.take();
        Some(first)
    }

    /// Takes out those that no engine uses any more.
    fn take_idle(&mut self) -> List {
        let (mut busy, mut idle) = (List(None), List(None));

        while let Some(remains) = self.pop() {
            if remains.space.is_idle() {
                idle.push(remains);
            } else {
                busy.push(remains);
            }
        }
        *self = busy;
        idle
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // One by one, rather than by as many nested calls.
        while self.pop().is_some() {}
    }
}

struct State {
    /// Nobody looks any more.
    closed: bool,
    list: List,
}

struct Sweeper {
    state: Pin<KBox<Mutex<State>>>,
}

impl Task for Sweeper {
    fn run(&self) -> Option<Jiffies> {
        let (mut idle, left) = {
            let mut state = self.state.lock();
            let idle = state.list.take_idle();

            (idle, state.list.0.is_some())
        };

        while let Some(remains) = idle.pop() {
            remains.give_back();
        }
        left.then(|| msecs_to_jiffies(LOOK_MS))
    }
}

/// The VMs of a function that have ended, but for accesses.
///
/// They hold the device. [`Ended::shutdown`] is called while the device is held by its driver, so
/// that the last reference is never dropped by the task itself.
#[pin_data]
pub(super) struct Ended {
    #[pin]
    sweeper: DelayedTask<Sweeper>,
}

impl Ended {
    /// None. Sleeps (allocates). Fails with `ENOMEM`.
    pub(super) fn new() -> Result<impl PinInit<Self>> {
        let state = State {
            closed: false,
            list: List(None),
        };
        let state = KBox::pin_init(new_mutex!(state, "hlrs::Ended"), GFP_KERNEL)?;

        Ok(pin_init!(Self {
            sweeper <- new_delayed_task!(Sweeper { state }, "hlrs_ended"),
        }))
    }

    /// Keeps `remains` until no engine uses them. Sleeps; does not allocate.
    pub(super) fn add(&self, remains: KBox<Remains>) {
        let mut state = self.sweeper.task().state.lock();

        if state.closed {
            drop(state);
            remains.forget();
        } else {
            state.list.push(remains);
            self.sweeper.schedule(msecs_to_jiffies(LOOK_MS));
        }
    }

    /// The engines are stopped, and there are no more. Sleeps.
    pub(super) fn shutdown(&self) {
        self.sweeper.disable();

        let mut left = {
            let mut state = self.sweeper.task().state.lock();

            state.closed = true;
            core::mem::replace(&mut state.list, List(None))
        };
        while let Some(remains) = left.pop() {
            if remains.space.is_idle() {
                remains.give_back();
            } else {
                remains.forget();
            }
        }
    }
}
