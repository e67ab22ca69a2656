// SPDX-License-Identifier: GPL-2.0

//! Interrupts: vector 0 for events, vector 1 for the fences of the kernel's queue, vector 2 for
//! those of user space's work, vector 3 for those of the NIC's queues.
//!
//! The work is done by the interrupts' threads, since it takes mutexes. A fence whose interrupt is
//! lost is found by those who watch over the queues.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    io::Io,
    irq::{
        IrqReturn,
        ThreadedHandler, //
    },
    pci::{
        self,
        IrqType,
        IrqTypes, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};

use kernel_ext::{
    pci::Interrupts,
    workqueue::DelayedTask, //
};

use crate::{
    exec::{
        self,
        Engines, //
    },
    hw::Hw,
    nic,
    queue::{
        self,
        CopyQueue, //
    },
    regs,
    sriov::VfResets,
    vm::Contexts, //
};

/// Vectors that the driver uses.
const VECTORS: u32 = nic::VECTOR + 1;

/// Those who are told.
#[derive(Clone)]
pub(crate) struct Parties {
    pub(crate) hw: Arc<Hw>,
    pub(crate) queue: Arc<CopyQueue>,
    pub(crate) engines: Arc<Engines>,
    pub(crate) contexts: Arc<Contexts>,
    pub(crate) nic: Arc<nic::Events>,
    /// On a PF that can have VFs.
    pub(crate) vfs: Option<Arc<DelayedTask<VfResets>>>,
}

/// Handler of the event vector.
struct EventHandler {
    dev: ARef<Device>,
    to: Parties,
}

impl ThreadedHandler for EventHandler {
    fn handle_threaded(&self) -> IrqReturn {
        let Ok(events) = self.to.hw.with(|bar| {
            let events = bar.read(regs::EVENT_STATUS);
            // Cleared before it is looked at: what happens meanwhile interrupts again.
            bar.write_reg(events);
            events
        }) else {
            return IrqReturn::None;
        };

        // All ones come from a device that is not there any more.
        if events.into_raw() & !hlrs_abi::HLRS_EVENT_ALL != 0 || events.into_raw() == 0 {
            return IrqReturn::None;
        }

        if events.lmem_error() {
            dev_err!(self.dev, "uncorrectable error in LMEM\n");
        }
        if events.fault() {
            self.to.queue.handle_fault();
            self.to.engines.handle_faults();
            self.to.nic.faulted();
        }
        if events.reset_done() {
            self.handle_reset();
        }
        if events.vf_flr() {
            self.handle_vf_flr();
        }
        if events.quota() {
            dev_warn!(
                self.dev,
                "the PF has changed the LMEM quota; bind the driver anew\n"
            );
        }
        if events.link() {
            dev_dbg!(self.dev, "link to the peer went up or down\n");
        }
        IrqReturn::Handled
    }
}

impl EventHandler {
    fn handle_reset(&self) {
        // A reset that the driver has asked for finds contexts as they should be.
        let _ = self.to.contexts.restore();
        self.to.queue.handle_reset();
        self.to.engines.handle_reset();
        self.to.nic.was_reset();
    }

    fn handle_vf_flr(&self) {
        let bits = self.to.hw.try_with(|bar| {
            let bits = bar.try_read(regs::VF_FLR)?;
            bar.try_write_reg(bits)?;
            Ok(bits.into_raw())
        });

        if let Ok(bits) = bits {
            dev_dbg!(self.dev, "function level reset of VFs {:#x}\n", bits);
            if let Some(task) = &self.to.vfs {
                VfResets::note(task, bits);
            }
        }
    }
}

/// Handler of the vector of user space's work.
struct WorkHandler {
    to: Parties,
}

impl ThreadedHandler for WorkHandler {
    fn handle_threaded(&self) -> IrqReturn {
        let Ok(queues) = self.to.hw.with(|bar| {
            let queues = bar.read(regs::QUEUE_IRQ).into_raw() & exec::QUEUE_BITS;

            bar.write_reg(regs::QUEUE_IRQ::from(queues));
            queues
        }) else {
            return IrqReturn::None;
        };
        self.to.engines.handle_completions(queues);
        IrqReturn::Handled
    }
}

/// Handler of the queue's vector.
struct FenceHandler {
    hw: Arc<Hw>,
    queue: Arc<CopyQueue>,
}

impl ThreadedHandler for FenceHandler {
    fn handle_threaded(&self) -> IrqReturn {
        let acknowledged = self
            .hw
            .with(|bar| bar.write_reg(regs::QUEUE_IRQ::from(queue::QUEUE_BIT)));

        if acknowledged.is_err() {
            return IrqReturn::None;
        }
        self.queue.handle_completions();
        IrqReturn::Handled
    }
}

/// Handler of the vector of the NIC's queues.
struct NicHandler {
    hw: Arc<Hw>,
    nic: Arc<nic::Events>,
}

impl ThreadedHandler for NicHandler {
    fn handle_threaded(&self) -> IrqReturn {
        let acknowledged = self
            .hw
            .with(|bar| bar.write_reg(regs::QUEUE_IRQ::from(nic::QUEUE_BITS)));

        if acknowledged.is_err() {
            return IrqReturn::None;
        }
        self.nic.completed();
        IrqReturn::Handled
    }
}

/// Allocates the vectors and registers the handlers.
///
/// Sleeps. Interrupts may come before this returns. Fails with `ENOSPC` if there are too few
/// vectors.
pub(crate) fn register<'bound>(
    pdev: &'bound pci::Device<Bound>,
    to: Parties,
) -> Result<Interrupts<'bound>> {
    let types = IrqTypes::default().with(IrqType::MsiX);
    let mut interrupts = Interrupts::new(pdev, VECTORS, types)?;

    interrupts.register(
        hlrs_abi::HLRS_EVENT_VECTOR as usize,
        c"hlrs-events",
        EventHandler {
            dev: ARef::from(&**pdev.as_ref()),
            to: to.clone(),
        },
    )?;
    interrupts.register(
        queue::VECTOR as usize,
        c"hlrs-copy",
        FenceHandler {
            hw: to.hw.clone(),
            queue: to.queue.clone(),
        },
    )?;
    interrupts.register(
        nic::VECTOR as usize,
        c"hlrs-nic",
        NicHandler {
            hw: to.hw.clone(),
            nic: to.nic.clone(),
        },
    )?;
    interrupts.register(exec::VECTOR as usize, c"hlrs-work", WorkHandler { to })?;
    Ok(interrupts)
}
