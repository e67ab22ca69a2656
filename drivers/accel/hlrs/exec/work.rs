// SPDX-License-Identifier: GPL-2.0

//! What a job of user space asks of an engine.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::dma_fence::{
    FenceOps,
    UniqueFence, //
};

use super::{
    turns::{
        Turn,
        Waits, //
    },
    Queue, //
};
use crate::queue::Command;

/// The kind of the fences that engines signal.
pub(crate) struct EngineFence;

#[vtable]
impl FenceOps for EngineFence {
    fn driver_name(&self) -> &CStr {
        c"hlrs"
    }

    fn timeline_name(&self) -> &CStr {
        c"engine"
    }
}

/// Commands, in the address space of a queue, and the fence that says when they are done.
pub(crate) struct Work {
    commands: KVec<Command>,
    fence: UniqueFence<EngineFence>,
    queue: Arc<Queue>,
}

impl Work {
    /// At most [`super::MAX_COMMANDS`] commands.
    pub(crate) fn new(
        commands: KVec<Command>,
        fence: UniqueFence<EngineFence>,
        queue: Arc<Queue>,
    ) -> Self {
        Self {
            commands,
            fence,
            queue,
        }
    }

    pub(super) fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// The queue that the work is of.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Ends the work. Does not sleep.
    ///
    /// The job that it belongs to holds the queue, and lives until the fence is signalled: the
    /// queue is let go of before, so that it is never freed here.
    pub(super) fn finish(self, result: Result) {
        let Self { fence, queue, .. } = self;

        drop(queue);
        fence.signal(result);
    }

    /// As [`Work::finish`], but what the queue holds is never freed: an engine does not stop, and
    /// may still access it.
    pub(super) fn abandon(self, error: Error) {
        let Self { fence, queue, .. } = self;

        core::mem::forget(queue);
        fence.signal(Err(error));
    }
}

impl Waits for Work {
    fn turn(&self) -> &Turn {
        self.queue.turn()
    }
}
