// SPDX-License-Identifier: GPL-2.0

//! Jobs: some commands, what they need to stay alive, and who is told of their end.

use core::sync::atomic::{
    AtomicI32,
    AtomicU32,
    Ordering, //
};

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    time::{
        Instant,
        Monotonic, //
    },
};
use kernel_ext::dma_fence::{
    Fence,
    FenceContext,
    FenceOps,
    UniqueFence, //
};

use super::{
    command::Command,
    ring::SlotResult, //
};
use crate::{
    client::Client,
    gem::Buffer, //
};

/// The kind of the queue's fences.
pub(crate) struct JobFence;

#[vtable]
impl FenceOps for JobFence {
    fn driver_name(&self) -> &CStr {
        c"hlrs"
    }

    fn timeline_name(&self) -> &CStr {
        c"copy"
    }
}

/// How an operation, which may be several jobs, has ended so far.
///
/// Complete when the fence of its last job is signalled; the queue runs jobs in order.
pub(crate) struct Outcome {
    error: AtomicI32,
    crc: AtomicU32,
}

impl Outcome {
    /// An operation that has not failed.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                error: AtomicI32::new(0),
                crc: AtomicU32::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    /// The error of the first job that failed, or the last checksum that was computed.
    pub(crate) fn result(&self) -> Result<u32> {
        match self.error.load(Ordering::Acquire) {
            0 => Ok(self.crc.load(Ordering::Relaxed)),
            errno => Err(Error::from_errno(errno)),
        }
    }

    fn set(&self, result: Result<u32>) {
        match result {
            Ok(crc) => self.crc.store(crc, Ordering::Relaxed),
            Err(e) => {
                let _ = self.error.compare_exchange(
                    0,
                    e.to_errno(),
                    Ordering::Release,
                    Ordering::Relaxed,
                );
            }
        }
    }
}

/// What a job needs and tells, apart from its commands.
pub(crate) struct Parties {
    /// Buffer that is written; it remembers a failure for `MEM_WAIT`.
    pub(crate) writes: Option<ARef<Buffer>>,
    /// Buffer that is read.
    pub(crate) _reads: Option<ARef<Buffer>>,
    /// Open file that the engine's time is booked to.
    pub(crate) client: Option<Arc<Client>>,
    /// Operation that the job belongs to.
    pub(crate) outcome: Arc<Outcome>,
}

/// A job; its fence is signalled exactly once, at the latest when it is dropped.
pub(crate) struct Job {
    commands: KVec<Command>,
    fence: Option<UniqueFence<JobFence>>,
    parties: Parties,
    /// When the job got to the head of the queue.
    pub(super) started: Option<Instant<Monotonic>>,
    /// The next job in a list of finished ones.
    pub(super) next: Option<KBox<Job>>,
}

impl Job {
    /// Creates a job of at most [`super::MAX_JOB_COMMANDS`] commands. May sleep.
    ///
    /// Jobs of one context are submitted in the order of their creation.
    pub(super) fn new(
        fences: &FenceContext,
        commands: KVec<Command>,
        parties: Parties,
    ) -> Result<KBox<Self>> {
        if commands.len() > super::MAX_JOB_COMMANDS {
            return Err(EINVAL);
        }

        Ok(KBox::new(
            Self {
                commands,
                fence: Some(UniqueFence::new(fences, JobFence, GFP_KERNEL)?),
                parties,
                started: None,
                next: None,
            },
            GFP_KERNEL,
        )?)
    }

    /// The fence that is signalled when the job has ended.
    pub(crate) fn fence(&self) -> Option<ARef<Fence>> {
        self.fence.as_ref().map(|fence| fence.fence())
    }

    pub(super) fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// Tells everybody that the job has ended. Does not sleep.
    ///
    /// The job itself must be dropped where it is safe to take locks: the last reference to an
    /// imported buffer may be in it.
    pub(super) fn finish(&mut self, result: Result<SlotResult>) {
        let Some(fence) = self.fence.take() else {
            return;
        };

        if let Err(e) = result {
            if let Some(buffer) = &self.parties.writes {
                buffer.data().set_error(e);
            }
        }
        if let (Ok(result), Some(client)) = (&result, &self.parties.client) {
            client.add_busy(result.busy_ns);
        }
        self.parties
            .outcome
            .set(result.as_ref().map(|r| r.crc).map_err(|e| *e));

        fence.signal(result.map(|_| ()));
    }
}
