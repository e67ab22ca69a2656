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

/// Commands in the ring, log2 and number.
const ORDER: u32 = 10;
const LEN: usize = 1 << ORDER;

/// Jobs that can be in flight.
pub(super) const SLOTS: usize = 64;
const SLOT_WORDS: usize = 4;

/// Most commands of one job, not counting its time stamp and fence.
///
/// A job must fit into the ring when that is empty; a fourth of it lets the next ones in while it
/// runs.
pub(crate) const MAX_JOB_COMMANDS: usize = LEN / 4;

/// Commands that frame those of a job.
const FRAME: usize = 2;

/// MSI-X vector of the copy queue's fences.
pub(crate) const VECTOR: u32 = hlrs_abi::HLRS_EVENT_VECTOR + 1;

/// How long the reset of a queue may take; the device needs microseconds.
const RESET_TIMEOUT: Delta = Delta::from_millis(200);

/// What the engine wrote to a slot.
pub(super) struct SlotResult {
    /// Device time of the job, nanoseconds.
    pub(super) busy_ns: u64,
    /// Checksum, if the job computed one.
    pub(super) crc: u32,
}

/// What stopped a queue.
pub(super) struct Fault {
    pub(super) address: u64,
    pub(super) info: regs::Q_FAULT_INFO,
}

/// The ring of queue `index`; its memory is the device's until [`Ring::stop`].
pub(super) struct Ring {
    index: usize,
    commands: Coherent<[u64]>,
    slots: Coherent<[u64]>,
    /// Commands written and consumed since the queue was started.
    tail: u32,
    head: u32,
}

impl Ring {
    /// Allocates a ring for queue `index`, which is not started yet. Sleeps.
    pub(super) fn new(dev: &Device<Bound>, index: usize) -> Result<Self> {
        Ok(Self {
            index,
            commands: Coherent::zeroed_slice(dev, LEN * WORDS, GFP_KERNEL)?,
            slots: Coherent::zeroed_slice(dev, SLOTS * SLOT_WORDS, GFP_KERNEL)?,
            tail: 0,
            head: 0,
        })
    }

    /// Resets the queue, which ends whatever it does, and starts it anew with an empty ring.
    ///
    /// Sleeps. Fails with `ETIMEDOUT` if the reset does not end, `ENODEV` if the device is gone.
    pub(super) fn restart(&mut self, hw: &Hw) -> Result {
        self.stop(hw)?;

        self.tail = 0;
        self.head = 0;

        let at = self.index;
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
                regs::Q_ORDER::from(ORDER),
            )?;
            bar.try_write(
                regs::Q_VECTOR::try_at(at).ok_or(EINVAL)?,
                regs::Q_VECTOR::from(VECTOR),
            )?;
            bar.try_write(regs::Q_CTRL::try_at(at).ok_or(EINVAL)?, ctrl)
        })
    }

    /// Resets the queue and leaves it off: the engine does not access memory for it any more.
    ///
    /// Sleeps. Errors as for [`Ring::restart`].
    pub(super) fn stop(&self, hw: &Hw) -> Result {
        let ctrl = regs::Q_CTRL::try_at(self.index).ok_or(EINVAL)?;
        hw.try_with(|bar| bar.try_write(ctrl, regs::Q_CTRL::zeroed().with_reset(true)))?;

        hw.poll(RESET_TIMEOUT, |bar| {
            regs::Q_STATUS::try_at(self.index)
                .and_then(|status| bar.try_read(status).ok())
                .is_some_and(|status| !status.resetting() && !status.busy())
        })
    }

    /// Whether a job of `commands` commands fits behind those in the ring now.
    pub(super) fn has_room(&self, commands: usize) -> bool {
        let used = self.tail.wrapping_sub(self.head) as usize;
        used + commands + FRAME <= LEN
    }

    /// Number of commands that a job of `commands` commands takes in the ring.
    pub(super) fn footprint(commands: usize) -> u32 {
        (commands + FRAME) as u32
    }

    /// Takes the oldest `commands` commands as consumed.
    pub(super) fn consume(&mut self, commands: u32) {
        self.head = self.head.wrapping_add(commands);
    }

    /// Writes a job with the sequence number `seqno` and rings the doorbell.
    ///
    /// The caller has checked [`Ring::has_room`]. Fails with `ENODEV` if the device is gone.
    pub(super) fn push(&mut self, hw: &Hw, seqno: u64, commands: &[Command]) -> Result {
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
        let tail = regs::Q_TAIL::try_at(self.index).ok_or(EINVAL)?;
        hw.try_with(|bar| bar.try_write(tail, regs::Q_TAIL::from(self.tail)))
    }

    fn write(&mut self, command: Command) -> Result {
        let base = (self.tail as usize % LEN) * WORDS;

        for (i, word) in command.words().into_iter().enumerate() {
            io_write!(&self.commands, [try: base + i], word);
        }
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// The result of the job with the sequence number `seqno`, if its fence was written.
    pub(super) fn result(&self, seqno: u64) -> Option<SlotResult> {
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

    /// Whether the queue is not enabled, although it was started.
    pub(super) fn is_off(&self, hw: &Hw) -> bool {
        let ctrl = regs::Q_CTRL::try_at(self.index).ok_or(EINVAL);

        ctrl.and_then(|ctrl| hw.try_with(|bar| bar.try_read(ctrl)))
            .is_ok_and(|ctrl| !ctrl.enable())
    }

    /// The fault that stopped the queue, if one did.
    pub(super) fn fault(&self, hw: &Hw) -> Option<Fault> {
        // A device that is gone reads all ones, which look like a fault.
        if !hw.is_present() {
            return None;
        }

        let at = self.index;
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
