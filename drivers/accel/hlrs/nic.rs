// SPDX-License-Identifier: GPL-2.0

//! What the driver of the NIC engine gets: the auxiliary device `hlrs.nic`.
//!
//! The NIC's queues are driven by `hlrs_nic.ko`, a driver of its own. It finds here, as registration
//! data of its auxiliary device, no more than it needs: the registers of its queues
//! ([`QueueRegisters`]), the VMs ([`Vms`]), and a place to hear of interrupts and resets
//! ([`Events`]).
//!
//! # Lifetime model
//!
//! The auxiliary device exists while the accelerator is bound, and is the first to go: when
//! [`Publication`] is dropped, the NIC's driver has been unbound and its queues are stopped. It may
//! be unbound and bound again by itself at any time. [`Services`] may outlive both, as part of what
//! an open file of the NIC holds; registers are then refused with `ENODEV`.

use kernel::{
    auxiliary,
    device,
    io::{
        register::Array,
        Io, //
    },
    new_mutex,
    pci,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    time::Delta,
    types::CovariantForLt, //
};

use crate::{
    hw::{
        Function,
        Hw, //
    },
    regs,
    vm_api::Vms, //
};

/// Name of the module in that of the auxiliary device.
pub const MODULE_NAME: &CStr = c"hlrs";

/// Name of the auxiliary device, which is `hlrs.nic.N`.
pub const DEVICE_NAME: &CStr = c"nic";

/// Numbers of the hardware queues that belong to the NIC.
const FIRST_QUEUE: usize = 16;

/// Number of queues of the NIC.
pub const QUEUES: usize = 2;

/// MSI-X vector of the NIC's queues.
pub(crate) const VECTOR: u32 = hlrs_abi::HLRS_EVENT_VECTOR + 3;

/// Bits of the NIC's queues in `QUEUE_IRQ`.
pub(crate) const QUEUE_BITS: u32 = ((1 << QUEUES) - 1) << FIRST_QUEUE;

/// How long the reset of a queue may take; the device needs microseconds.
const RESET_TIMEOUT: Delta = Delta::from_millis(200);

/// A fault that has stopped a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFault {
    /// Address, in the space that the reason implies.
    pub address: u64,
    /// `HLRS_FAULT_*` of `hlrs_hw.h`.
    pub reason: u32,
    /// Whether it was a write.
    pub write: bool,
}

/// The registers of the NIC's queues, which are numbered from 0.
///
/// Fails with `ENODEV` if the device is gone, `EINVAL` if there is no such queue. A trait, so that
/// the NIC's driver can be tested without an engine.
pub trait QueueRegisters: Send + Sync {
    /// Resets queue `queue`, which ends whatever it does, and leaves it off: the engine does not
    /// access memory for it any more. Sleeps. Fails with `ETIMEDOUT` if the reset does not end.
    fn stop(&self, queue: usize) -> Result;

    /// Lets a queue that is off begin with the first command of the ring at the bus address `ring`,
    /// of `2^order` commands. Any context.
    fn start(&self, queue: usize, ring: u64, order: u32) -> Result;

    /// Tells the engine how many commands have been produced, modulo 2^32. Orders itself behind the
    /// writes to the ring. Any context.
    fn ring_doorbell(&self, queue: usize, tail: u32) -> Result;

    /// The fault that has stopped the queue, if one has. Any context.
    fn fault(&self, queue: usize) -> Result<Option<QueueFault>>;

    /// Whether the queue is on; somebody else may have reset the function. Any context.
    fn is_on(&self, queue: usize) -> Result<bool>;

    /// Resets the whole function, as the last resort against a queue that does not stop. Sleeps.
    fn reset_function(&self) -> Result;

    /// Whether the device answers. Any context.
    fn is_present(&self) -> bool;
}

/// The registers of the hardware.
struct HwQueues(Arc<Hw>);

impl HwQueues {
    fn index(queue: usize) -> Result<usize> {
        if queue < QUEUES {
            Ok(FIRST_QUEUE + queue)
        } else {
            Err(EINVAL)
        }
    }
}

impl QueueRegisters for HwQueues {
    fn stop(&self, queue: usize) -> Result {
        let at = Self::index(queue)?;
        let ctrl = regs::Q_CTRL::try_at(at).ok_or(EINVAL)?;

        self.0
            .try_with(|bar| bar.try_write(ctrl, regs::Q_CTRL::zeroed().with_reset(true)))?;
        self.0.poll(RESET_TIMEOUT, |bar| {
            regs::Q_STATUS::try_at(at)
                .and_then(|status| bar.try_read(status).ok())
                .is_some_and(|status| !status.resetting() && !status.busy())
        })
    }

    fn start(&self, queue: usize, ring: u64, order: u32) -> Result {
        let at = Self::index(queue)?;

        self.0.try_with(|bar| {
            // Privileged for the sake of fences, which go to the bus; whoever fills the ring is a
            // driver, and copies name contexts.
            let ctrl = regs::Q_CTRL::zeroed()
                .with_enable(true)
                .with_privileged(true);

            bar.try_write(
                regs::Q_RING::try_at(at).ok_or(EINVAL)?,
                regs::Q_RING::from(ring),
            )?;
            bar.try_write(
                regs::Q_ORDER::try_at(at).ok_or(EINVAL)?,
                regs::Q_ORDER::from(order),
            )?;
            bar.try_write(
                regs::Q_VECTOR::try_at(at).ok_or(EINVAL)?,
                regs::Q_VECTOR::from(VECTOR),
            )?;
            bar.try_write(regs::Q_CTRL::try_at(at).ok_or(EINVAL)?, ctrl)
        })
    }

    fn ring_doorbell(&self, queue: usize, tail: u32) -> Result {
        let tail_reg = regs::Q_TAIL::try_at(Self::index(queue)?).ok_or(EINVAL)?;

        self.0
            .try_with(|bar| bar.try_write(tail_reg, regs::Q_TAIL::from(tail)))
    }

    fn fault(&self, queue: usize) -> Result<Option<QueueFault>> {
        // A device that is gone reads all ones, which look like a fault.
        if !self.is_present() {
            return Err(ENODEV);
        }

        let at = Self::index(queue)?;
        let status = regs::Q_STATUS::try_at(at).ok_or(EINVAL)?;
        let address = regs::Q_FAULT_ADDR::try_at(at).ok_or(EINVAL)?;
        let info = regs::Q_FAULT_INFO::try_at(at).ok_or(EINVAL)?;

        self.0.try_with(|bar| {
            if !bar.try_read(status)?.stopped() {
                return Ok(None);
            }
            let info = bar.try_read(info)?;

            Ok(Some(QueueFault {
                address: bar.try_read(address)?.into_raw(),
                reason: info.reason().into(),
                write: info.write(),
            }))
        })
    }

    fn is_on(&self, queue: usize) -> Result<bool> {
        let ctrl = regs::Q_CTRL::try_at(Self::index(queue)?).ok_or(EINVAL)?;

        Ok(self.0.try_with(|bar| bar.try_read(ctrl))?.enable())
    }

    fn reset_function(&self) -> Result {
        self.0.reset()
    }

    fn is_present(&self) -> bool {
        self.0.is_present()
    }
}

/// What the NIC's driver is told. All of it is called in process context and may sleep.
pub trait Handler: Send + Sync {
    /// A queue of the NIC has completed a fence.
    fn completed(&self);

    /// A queue of the function has stopped at a fault: perhaps one of the NIC.
    fn faulted(&self);

    /// The function is about to be reset: ends all copies with `ECANCELED` and stops the queues.
    fn suspend(&self);

    /// The reset is over; `result` says whether the function works again.
    fn resume(&self, result: Result);

    /// Somebody else (the PF for its VF) has reset the function.
    fn was_reset(&self);
}

/// Where the NIC's driver hears of interrupts and resets.
#[pin_data]
pub struct Events {
    #[pin]
    state: Mutex<State>,
}

struct State {
    handler: Option<Arc<dyn Handler>>,
    /// Whether the function is being reset.
    resetting: bool,
}

impl Events {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(
                State {
                    handler: None,
                    resetting: false,
                },
                "hlrs::nic::Events"
            ),
        })
    }

    /// Sets who is told; he is told at once if the function is being reset. Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY`: there is a handler.
    pub fn subscribe(self: &Arc<Self>, handler: Arc<dyn Handler>) -> Result<Subscription> {
        let mut state = self.state.lock();

        if state.handler.is_some() {
            return Err(EBUSY);
        }
        if state.resetting {
            handler.suspend();
        }
        state.handler = Some(handler);
        drop(state);
        Ok(Subscription(self.clone()))
    }

    /// Calls `f` for the handler, if there is one. The mutex keeps it from unsubscribing meanwhile.
    fn tell(&self, f: impl FnOnce(&dyn Handler)) {
        if let Some(handler) = &self.state.lock().handler {
            f(&**handler);
        }
    }

    /// The thread of the NIC's interrupt.
    pub(crate) fn completed(&self) {
        self.tell(|handler| handler.completed());
    }

    /// The thread of the event interrupt, after a fault.
    pub(crate) fn faulted(&self) {
        self.tell(|handler| handler.faulted());
    }

    /// The thread of the event interrupt, after a reset that nobody has prepared.
    pub(crate) fn was_reset(&self) {
        self.tell(|handler| handler.was_reset());
    }

    /// Before a reset. Sleeps.
    pub(crate) fn suspend(&self) {
        let mut state = self.state.lock();

        state.resetting = true;
        if let Some(handler) = &state.handler {
            handler.suspend();
        }
    }

    /// After it. Sleeps.
    pub(crate) fn resume(&self, result: Result) {
        let mut state = self.state.lock();

        state.resetting = false;
        if let Some(handler) = &state.handler {
            handler.resume(result);
        }
    }
}

/// A handler that is set; taken back when dropped, which waits for calls that run.
pub struct Subscription(Arc<Events>);

impl Drop for Subscription {
    fn drop(&mut self) {
        let handler = self.0.state.lock().handler.take();

        // Not with the lock held, as it may be the last reference.
        drop(handler);
    }
}

/// What the NIC's driver may use.
pub struct Services {
    /// Unique number of the card.
    pub uid: u64,
    /// 0 on the PF, otherwise the number of the VF, from 1.
    pub vf_id: u32,
    /// The registers of the NIC's queues.
    pub queues: Arc<dyn QueueRegisters>,
    /// Interrupts and resets.
    pub events: Arc<Events>,
    /// The VMs of the function.
    pub vms: Arc<dyn Vms>,
}

/// How [`Services`] are found: `adev.registration_data::<RegistrationData>()`.
pub type RegistrationData = CovariantForLt!(Arc<Services>);

/// The auxiliary device; it goes when this is dropped.
pub(crate) struct Publication<'bound>(
    #[expect(dead_code, reason = "only there to be dropped")]
    auxiliary::Registration<'bound, RegistrationData>,
);

impl<'bound> Publication<'bound> {
    /// Publishes the auxiliary device of a function, with `vms`. Sleeps.
    ///
    /// `id` must be unique among the functions of the machine: the number of the accel node. A driver may bind to it before this returns.
    pub(crate) fn new(
        pdev: &'bound pci::Device<device::Bound>,
        hw: &Arc<Hw>,
        events: &Arc<Events>,
        id: u32,
        vms: Arc<dyn Vms>,
    ) -> Result<Self> {
        let services = Arc::new(
            Services {
                uid: hw.info.uid,
                vf_id: match hw.info.function {
                    Function::Pf => 0,
                    Function::Vf(vf) => vf.number().into(),
                },
                queues: Arc::new(HwQueues(hw.clone()), GFP_KERNEL)?,
                events: events.clone(),
                vms,
            },
            GFP_KERNEL,
        )?;
        Ok(Self(auxiliary::Registration::new(
            pdev.as_ref(),
            DEVICE_NAME,
            id,
            MODULE_NAME,
            services,
        )?))
    }
}

/// Makes the place where the NIC's driver hears of interrupts. Sleeps.
pub(crate) fn events() -> Result<Arc<Events>> {
    Arc::pin_init(Events::new(), GFP_KERNEL)
}
