// SPDX-License-Identifier: GPL-2.0

//! A copy, what it needs to stay alive, and who is told of its end.

use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        Instant,
        Monotonic, //
    }, //
};
use kernel_ext::{
    dma_fence::{
        FenceOps,
        UniqueFence, //
    },
    eventfd::EventFd, //
};

use super::ring::Command;
use crate::{
    client::{
        Client,
        Outcome, //
    },
    vms::{
        Access,
        Registered, //
    }, //
};

/// The kind of the fences of copies.
pub(crate) struct CopyFence;

#[vtable]
impl FenceOps for CopyFence {
    fn driver_name(&self) -> &CStr {
        c"hlrs_nic"
    }

    fn timeline_name(&self) -> &CStr {
        c"copy"
    }
}

/// What is to be copied. Addresses are virtual ones of the VMs, sizes are bytes.
pub(crate) struct Request {
    pub(crate) src_vm: Arc<Registered>,
    pub(crate) dst_vm: Arc<Registered>,
    pub(crate) src: u64,
    pub(crate) dst: u64,
    pub(crate) size: u64,
    /// Told of the end.
    pub(crate) eventfd: Option<EventFd>,
}

/// A copy in a queue. It has to be [finished](Copy::finish) or given back to its client.
pub(super) struct Copy {
    pub(super) request: Request,
    client: Arc<Client>,
    seqno: u64,
    fence: Option<UniqueFence<CopyFence>>,
    /// Set once the engine must not touch the VMs; the copy then only keeps its place in the queue.
    pub(super) cancelled: bool,
    /// When the copy got to the head of the queue.
    pub(super) started: Option<Instant<Monotonic>>,
    /// The next in a list of finished ones.
    pub(super) next: Option<KBox<Copy>>,
}

impl Copy {
    /// The copy with the number `seqno` of `client`. May sleep.
    pub(super) fn new(
        request: Request,
        client: Arc<Client>,
        seqno: u64,
        fence: UniqueFence<CopyFence>,
    ) -> Result<KBox<Self>> {
        Ok(KBox::new(
            Self {
                request,
                client,
                seqno,
                fence: Some(fence),
                cancelled: false,
                started: None,
                next: None,
            },
            GFP_KERNEL,
        )?)
    }

    /// Whether the copy is one of a VM for this registration.
    pub(super) fn uses(&self, access: &Access) -> bool {
        core::ptr::eq(&*self.request.src_vm.access, access)
            || core::ptr::eq(&*self.request.dst_vm.access, access)
    }

    /// Whether a VM has been taken away.
    pub(super) fn has_lost_vm(&self) -> bool {
        self.request.src_vm.access.is_ended() || self.request.dst_vm.access.is_ended()
    }

    /// The command for the engine.
    pub(super) fn command(&self) -> Command {
        if self.cancelled {
            return Command::nop();
        }
        let request = &self.request;

        Command::xcopy(
            (request.src_vm.user.context(), request.src),
            (request.dst_vm.user.context(), request.dst),
            request.size,
        )
    }

    /// Makes the contexts usable after a fault; whether both are. Sleeps.
    pub(super) fn recover(&self) -> bool {
        let src = self.request.src_vm.user.recover();
        let dst = self.request.dst_vm.user.recover();

        src && dst
    }

    /// Tells everybody that the copy has ended. May sleep, allocates nothing.
    ///
    /// The copy itself must be dropped where it is safe to give up VMs.
    pub(super) fn finish(&mut self, outcome: Outcome) {
        let Some(fence) = self.fence.take() else {
            return;
        };
        let outcome = if self.cancelled {
            outcome.and(Err(ECANCELED))
        } else {
            outcome
        };

        fence.signal(outcome);
        self.client.finish(self.seqno, outcome);
        if let Some(eventfd) = &self.request.eventfd {
            eventfd.signal();
        }
    }
}
