// SPDX-License-Identifier: GPL-2.0

//! The ring of a queue and the memory that the engine answers to.
//!
//! A job's commands are framed by a time stamp and a fence. Both, and the result of a checksum,
//! go to the job's slot:
//!
//! ```text
//! byte  0  device time at the start          (TIMESTAMP)
//!       8  struct hlrs_crc_result            (CRC32C)
//!      16  struct hlrs_fence_result          (FENCE)
//! ```
//!
//! A slot is taken again when its job has left the queue, by which time it was read.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    dma::Coherent,
    io::{
        io_read,
        io_write,
        register::Array,
        Io, //
    },
    prelude::*,
    sync::barrier,
    time::Delta, //
};

use super::command::{
    Address,
    Command,
    WORDS, //
};
use crate::{
    hw::Hw,
    regs, //
};

/// Jobs that can be in flight.
pub(crate) const SLOTS: usize = 64;
const SLOT_WORDS: usize = 4;

/// Commands that frame those of a job.
pub(crate) const FRAME: usize = 2;

/// What a ring is for.
#[derive(Clone, Copy)]
pub(crate) struct Config {
    /// Number of the hardware queue.
    pub(crate) index: usize,
    /// Log2 of the number of commands in the ring.
    pub(crate) order: u32,
    /// MSI-X vector of the queue's fences.
    pub(crate) vector: u32,
}

/// How long the reset of a queue may take; the device needs microseconds.
const RESET_TIMEOUT: Delta = Delta::from_millis(200);

/// What the engine wrote to a slot.
pub(crate) struct SlotResult {
    /// Device time of the job, nanoseconds.
    pub(crate) busy_ns: u64,
    /// Checksum, if the job computed one.
    pub(crate) crc: u32,
}

/// What stopped a queue.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) address: u64,
    pub(crate) info: regs::Q_FAULT_INFO,
}

/// The ring of a hardware queue; its memory is the device's until [`Ring::stop`].
pub(crate) struct Ring {
    config: Config,
    commands: Coherent<[u64]>,
    slots: Coherent<[u64]>,
    /// Commands written and consumed since the queue was started.
    tail: u32,
    head: u32,
}

impl Ring {
    /// Allocates a ring, which is not started yet. Sleeps. Fails with `ENOMEM`.
    pub(crate) fn new(dev: &Device<Bound>, config: Config) -> Result<Self> {
        Ok(Self {
            config,
            commands: Coherent::zeroed_slice(dev, WORDS << config.order, GFP_KERNEL)?,
            slots: Coherent::zeroed_slice(dev, SLOTS * SLOT_WORDS, GFP_KERNEL)?,
            tail: 0,
            head: 0,
        })
    }

    /// Resets the queue, which ends whatever it does, and starts it anew with an empty ring.
    ///
    /// Sleeps. Fails with `ETIMEDOUT` if the reset does not end, `ENODEV` if the device is gone.
    pub(crate) fn restart(&mut self, hw: &Hw) -> Result {
        self.stop(hw)?;

        self.tail = 0;
        self.head = 0;

        let at = self.config.index;
        hw.try_with(|bar| {
            let ctrl = regs::Q_CTRL::zeroed()
                .with_enable(true)
                .with_privileged(true);

            bar.try_write(
                regs::Q_RING::try_at(at).ok_or(EINVAL)?,
                regs::Q_RING::from(self.commands.dma_address()),
            )?;
            bar.try_write(
                regs::Q_ORDER::try_at(at).ok_or(EINVAL)?,
                regs::Q_ORDER::from(self.config.order),
            )?;
            bar.try_write(
                regs::Q_VECTOR::try_at(at).ok_or(EINVAL)?,
                regs::Q_VECTOR::from(self.config.vector),
            )?;
            bar.try_write(regs::Q_CTRL::try_at(at).ok_or(EINVAL)?, ctrl)
        })
    }

    /// Lets commands that are pushed from now on use context `context` for virtual addresses.
    ///
    /// The ring must be empty. Sleeps. Fails with `ETIMEDOUT` if the queue does not come to rest,
    /// `ENODEV` if the device is gone.
    pub(crate) fn set_context(&self, hw: &Hw, context: u32) -> Result {
        let at = self.config.index;
        let off = regs::Q_CTRL::zeroed().with_privileged(true);

        self.write_ctrl(hw, off)?;
        // The register ignores writes until the engine has put the last command away.
        hw.poll(RESET_TIMEOUT, |bar| {
            let ctx = || regs::Q_CTX::try_at(at).ok_or(EINVAL);
            let attempt = || {
                bar.try_write(ctx()?, regs::Q_CTX::from(context))?;
                Ok::<_, Error>(bar.try_read(ctx()?)?.into_raw() == context)
            };

            attempt().unwrap_or(false)
        })?;
        self.write_ctrl(hw, off.with_enable(true))
    }

    fn write_ctrl(&self, hw: &Hw, value: regs::Q_CTRL) -> Result {
        let ctrl = regs::Q_CTRL::try_at(self.config.index).ok_or(EINVAL)?;

        hw.try_with(|bar| bar.try_write(ctrl, value))
    }

    /// Resets the queue and leaves it off: the engine does not access memory for it any more.
    ///
    /// Sleeps. Errors as for [`Ring::restart`].
    pub(crate) fn stop(&self, hw: &Hw) -> Result {
        self.write_ctrl(hw, regs::Q_CTRL::zeroed().with_reset(true))?;

        hw.poll(RESET_TIMEOUT, |bar| {
            regs::Q_STATUS::try_at(self.config.index)
                .and_then(|status| bar.try_read(status).ok())
                .is_some_and(|status| !status.resetting() && !status.busy())
        })
    }

    /// Whether a job of `commands` commands fits behind those in the ring now.
    pub(crate) fn has_room(&self, commands: usize) -> bool {
        let used = self.tail.wrapping_sub(self.head) as usize;
        used + commands + FRAME <= 1 << self.config.order
    }

    /// Number of commands that a job of `commands` commands takes in the ring.
    pub(crate) fn footprint(commands: usize) -> u32 {
        (commands + FRAME) as u32
    }

    /// Takes the oldest `commands` commands as consumed.
    pub(crate) fn consume(&mut self, commands: u32) {
        self.head = self.head.wrapping_add(commands);
    }

    /// Writes a job with the sequence number `seqno` and rings the doorbell.
    ///
    /// The caller has checked [`Ring::has_room`]. Fails with `ENODEV` if the device is gone.
    pub(crate) fn push(&mut self, hw: &Hw, seqno: u64, commands: &[Command]) -> Result {
        let slot = Self::slot(seqno);
        let base = self.slots.dma_address() + (slot * SLOT_WORDS * 8) as u64;

        for word in 0..SLOT_WORDS {
            io_write!(&self.slots, [try: slot * SLOT_WORDS + word], 0);
        }

        self.write(Command::timestamp(Address::Bus(base)))?;
        for command in commands {
            self.write(command.with_result_slot(Address::Bus(base + 8)))?;
        }
        self.write(Command::fence(Address::Bus(base + 16), seqno))?;

        // The write of the doorbell orders itself behind those to memory.
        let tail = regs::Q_TAIL::try_at(self.config.index).ok_or(EINVAL)?;
        hw.try_with(|bar| bar.try_write(tail, regs::Q_TAIL::from(self.tail)))
    }

    fn write(&mut self, command: Command) -> Result {
        let base = (self.tail as usize % (1 << self.config.order)) * WORDS;

        for (i, word) in command.words().into_iter().enumerate() {
            io_write!(&self.commands, [try: base + i], word);
        }
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// The result of the job with the sequence number `seqno`, if its fence was written.
    pub(crate) fn result(&self, seqno: u64) -> Option<SlotResult> {
        self.read_result(seqno).ok().flatten()
    }

    fn read_result(&self, seqno: u64) -> Result<Option<SlotResult>> {
        let base = Self::slot(seqno) * SLOT_WORDS;

        let fence: u64 = io_read!(&self.slots, [try: base + 2]);
        if u64::from_le(fence) != seqno {
            return Ok(None);
        }

        // The device writes the sequence number last; what follows must not be read before it.
        barrier::dma_mb(barrier::Read);

        let start: u64 = io_read!(&self.slots, [try: base]);
        let crc: u64 = io_read!(&self.slots, [try: base + 1]);
        let end: u64 = io_read!(&self.slots, [try: base + 3]);

        Ok(Some(SlotResult {
            busy_ns: u64::from_le(end).saturating_sub(u64::from_le(start)),
            // CAST: The sum is the low half of `struct hlrs_crc_result`.
            crc: u64::from_le(crc) as u32,
        }))
    }

    /// How many commands of the oldest job the engine has done, which has stopped.
    ///
    /// Fails with `ENODEV` if the device is gone.
    pub(crate) fn commands_done(&self, hw: &Hw) -> Result<usize> {
        let head = regs::Q_HEAD::try_at(self.config.index).ok_or(EINVAL)?;
        let head = hw.try_with(|bar| bar.try_read(head))?.into_raw();

        // The time stamp was the first.
        // CAST: At most as many as the ring has.
        Ok((head.wrapping_sub(self.head) as usize).saturating_sub(1))
    }

    /// Whether the queue is not enabled, although it was started.
    pub(crate) fn is_off(&self, hw: &Hw) -> bool {
        let ctrl = regs::Q_CTRL::try_at(self.config.index).ok_or(EINVAL);

        ctrl.and_then(|ctrl| hw.try_with(|bar| bar.try_read(ctrl)))
            .is_ok_and(|ctrl| !ctrl.enable())
    }

    /// The fault that stopped the queue, if one did.
    pub(crate) fn fault(&self, hw: &Hw) -> Option<Fault> {
        // A device that is gone reads all ones, which look like a fault.
        if !hw.is_present() {
            return None;
        }

        let at = self.config.index;
        let status = regs::Q_STATUS::try_at(at)?;
        let address = regs::Q_FAULT_ADDR::try_at(at)?;
        let info = regs::Q_FAULT_INFO::try_at(at)?;

        hw.try_with(|bar| {
            if !bar.try_read(status)?.stopped() {
                return Ok(None);
            }
            Ok(Some(Fault {
                address: bar.try_read(address)?.into_raw(),
                info: bar.try_read(info)?,
            }))
        })
        .ok()?
    }

    fn slot(seqno: u64) -> usize {
        // CAST: The remainder is smaller than `SLOTS`.
        (seqno % SLOTS as u64) as usize
    }
}
