// SPDX-License-Identifier: GPL-2.0

//! The queues of the NIC engine.
//!
//! - [`ring`]: the ring that the engine reads commands from, and the memory it answers to.
//! - [`copy`]: a copy, and who is told of its end.
//! - [`state`]: the copies in a queue, and what becomes of them.
//! - [`queue`]: a queue: submission, interrupts, time-outs, resets.
//!
//! Copies of a client go to one queue, and so run and end in the order in which they were submitted.
//! Each ends in one of these ways:
//!
//! | what happened | outcome, and error of the fence |
//! |---|---|
//! | the engine wrote its fence | success |
//! | it used an address that is not mapped, or not for this | `EFAULT` |
//! | another fault | `EIO` |
//! | it was at the head of the queue for longer than the time-out | `ETIMEDOUT` |
//! | a VM was taken away or banned, or the function was reset | `ECANCELED` |
//! | the driver was unbound, or the device pulled out | `ENODEV` |
//!
//! After a fault or a time-out the queue is reset, and the copies behind the guilty one are written
//! to the ring again: they do not notice. So is a copy that was stopped because somebody else has
//! faulted in its context, until its time is over. When a VM is taken away its copies are replaced by commands
//! that do nothing. They keep their places, because fences of one client must be signalled in order.

use kernel::{
    device::Device,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    types::ScopeGuard, //
};
use kernel_ext::dma_fence::UniqueFence;

use hlrs::{
    nic::{
        Handler,
        QueueRegisters, //
    },
    vm_api::Vms, //
};

use crate::{
    client::Client,
    vms::Access, //
};

mod copy;
mod queue;
mod ring;
mod state;

pub(crate) use self::copy::Request;
pub(crate) use self::ring::CoherentMemory;
pub(crate) use self::ring::Memory;
#[cfg(CONFIG_KUNIT = "y")]
pub(crate) use self::ring::{
    Command,
    COMMAND_WORDS,
    LEN,
    SLOTS, //
};

use self::{
    copy::{
        Copy,
        CopyFence, //
    },
    queue::Queue, //
};

/// Largest size of one copy, bytes.
pub(crate) const MAX_COPY_SIZE: u64 = hlrs_nic_abi::HLRS_CMD_MAX_BYTES;

/// The engine.
pub(crate) struct Engine {
    queues: KVec<Pin<KBox<Queue>>>,
}

impl Engine {
    /// An engine with a queue for each element of `memory`, that does not run yet. Sleeps.
    ///
    /// A copy that is at the head of its queue for longer than `timeout_ms` fails. `dev` is for
    /// messages.
    pub(crate) fn new<M: Memory + 'static>(
        dev: &Device,
        regs: Arc<dyn QueueRegisters>,
        memory: KVec<M>,
        timeout_ms: u32,
    ) -> Result<Arc<Self>> {
        let dev: ARef<Device> = dev.into();
        let mut queues = KVec::with_capacity(memory.len(), GFP_KERNEL)?;

        for (index, memory) in memory.into_iter().enumerate() {
            let queue = Queue::new(&dev, index, regs.clone(), memory, timeout_ms)?;

            queues.push(KBox::pin_init(queue, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Arc::new(Self { queues }, GFP_KERNEL)?)
    }

    /// Lets the queues run. Sleeps. Fails as [`QueueRegisters::stop`].
    pub(crate) fn start(&self) -> Result {
        self.queues.iter().try_for_each(|queue| queue.start())
    }

    fn queue_of(&self, client: &Client) -> Result<&Queue> {
        // CAST: The remainder is small.
        let index = (client.id() % self.queues.len().max(1) as u64) as usize;

        self.queues.get(index).map(|queue| &**queue).ok_or(ENODEV)
    }

    /// Submits a copy of `client`; returns its number.
    ///
    /// With `wait` it waits until the client and the queue have room. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EAGAIN`: there is no room, and `wait` is not set.
    /// - `ERESTARTSYS`: a signal came in.
    /// - `ESTALE`: a VM was revoked.
    /// - `ENODEV`: the device is gone; `EIO`: the queue does not come back from a reset.
    /// - `ENOMEM`, and those of [`Vms::access`].
    pub(crate) fn submit(
        &self,
        vms: &dyn Vms,
        client: &Arc<Client>,
        request: Request,
        wait: bool,
    ) -> Result<u64> {
        let queue = self.queue_of(client)?;
        let fences = client.submission.lock();
        let seqno = client.begin(wait)?;
        let abandon = ScopeGuard::new(|| client.abandon());
        let place = queue.reserve(wait)?;
        let fence = UniqueFence::new(&fences, CopyFence, GFP_KERNEL)?;
        let shared = fence.fence();
        let (src, dst) = (request.src_vm.clone(), request.dst_vm.clone());
        let copy = Copy::new(request, client.clone(), seqno, fence)?;

        if src.access.is_ended() || dst.access.is_ended() {
            return Err(ESTALE);
        }
        // From here on others may wait for the fence: nothing may stand in its way. There is a place
        // in the queue, and a copy that is dropped signals its fence.
        vms.access(&[&*src.user, &*dst.user], &shared)
            .map_err(|e| match e {
                // While it was waiting: the engine has ended, or a VM was taken away.
                ECANCELED => self.why_dead().unwrap_or(ESTALE),
                e => e,
            })?;
        place.push(copy)?;
        abandon.dismiss();
        Ok(seqno)
    }

    /// Why the engine takes no copies any more, if it does not. Sleeps.
    pub(crate) fn why_dead(&self) -> Option<Error> {
        self.queues.iter().find_map(|queue| queue.why_dead())
    }

    /// Takes a VM away; the engine does not access it for `access` when this returns. Sleeps.
    pub(crate) fn cancel(&self, access: &Access) {
        self.queues.iter().for_each(|queue| queue.cancel(access));
    }

    /// Ends all copies with `error`, now and in future. Sleeps.
    pub(crate) fn give_up(&self, error: Error) {
        self.queues.iter().for_each(|queue| queue.give_up(error));
    }

    /// Ends all copies with `ENODEV`, stops the engine and gives its memory back.
    ///
    /// Called while the function is still bound. Sleeps. When it returns no task of a queue runs,
    /// nor will one.
    pub(crate) fn shutdown(&self) {
        self.queues.iter().for_each(|queue| queue.shutdown());
    }
}

impl Handler for Engine {
    fn completed(&self) {
        self.queues.iter().for_each(|queue| queue.completed());
    }

    fn faulted(&self) {
        self.queues.iter().for_each(|queue| queue.faulted());
    }

    fn suspend(&self) {
        self.queues.iter().for_each(|queue| queue.suspend());
    }

    fn resume(&self, result: Result) {
        self.queues.iter().for_each(|queue| queue.resume(result));
    }

    fn was_reset(&self) {
        self.queues.iter().for_each(|queue| queue.was_reset());
    }
}
