// SPDX-License-Identifier: GPL-2.0

//! The ring of a queue, and the memory that the engine answers to.
//!
//! Each copy takes two commands: itself and a fence, which goes to the copy's slot
//! (`struct hlrs_fence_result`). There are as many slots as copies fit into the ring, so that only
//! slots have to be counted.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    dma::Coherent,
    io::{
        io_read,
        io_write, //
    },
    prelude::*,
    sync::{
        barrier,
        Arc, //
    }, //
};

use hlrs::nic::{
    QueueFault,
    QueueRegisters, //
};

/// Words of 64 bits in a command, and in a slot.
pub(crate) const COMMAND_WORDS: usize = hlrs_nic_abi::HLRS_CMD_SIZE as usize / 8;
const SLOT_WORDS: usize = 2;

/// Commands of a copy.
const FOOTPRINT: usize = 2;

/// Copies that can be in a queue.
pub(crate) const SLOTS: usize = 64;

/// Commands in the ring, number and log2.
pub(crate) const LEN: usize = SLOTS * FOOTPRINT;
const ORDER: u32 = LEN.ilog2();

static_assert!(LEN.is_power_of_two());
static_assert!(ORDER >= hlrs_nic_abi::HLRS_Q_ORDER_MIN && ORDER <= hlrs_nic_abi::HLRS_Q_ORDER_MAX);

/// One command, as the engine reads it (`struct hlrs_cmd`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Command([u64; COMMAND_WORDS]);

impl Command {
    fn new(header: u32, contexts: u32, src: u64, dst: u64, size: u64, data: u64) -> Self {
        let first = u64::from(header) | u64::from(contexts) << 32;

        Self([first, src, dst, size, data, 0, 0, 0].map(u64::to_le))
    }

    /// Does nothing.
    pub(crate) fn nop() -> Self {
        Self::new(hlrs_nic_abi::HLRS_OP_NOP, 0, 0, 0, 0, 0)
    }

    /// Copies `size` bytes between virtual addresses of contexts.
    pub(crate) fn xcopy(src: (u16, u64), dst: (u16, u64), size: u64) -> Self {
        let contexts = u32::from(src.0) | u32::from(dst.0) << hlrs_nic_abi::HLRS_CMD_DST_CTX_SHIFT;

        Self::new(hlrs_nic_abi::HLRS_OP_XCOPY, contexts, src.1, dst.1, size, 0)
    }

    /// Writes `seqno` to the bus address `dst`, a multiple of 16, and interrupts.
    pub(crate) fn fence(dst: u64, seqno: u64) -> Self {
        let header = hlrs_nic_abi::HLRS_OP_FENCE
            | hlrs_nic_abi::HLRS_CMD_IRQ
            | hlrs_nic_abi::HLRS_SPACE_BUS << hlrs_nic_abi::HLRS_CMD_DST_SPACE_SHIFT;

        Self::new(header, 0, 0, dst, 0, seqno)
    }

    /// The words in memory.
    pub(crate) fn words(&self) -> &[u64; COMMAND_WORDS] {
        &self.0
    }
}

/// Memory of a queue that both the CPU and the engine access: [`LEN`] commands and [`SLOTS`] slots.
pub(crate) trait Memory: Send {
    /// Bus address of the commands.
    fn ring_address(&self) -> u64;

    /// Bus address of a slot.
    fn slot_address(&self, slot: usize) -> u64;

    /// Writes a command.
    fn write(&mut self, index: usize, command: &Command) -> Result;

    /// Clears a slot.
    fn clear(&mut self, slot: usize) -> Result;

    /// What the engine has last written to a slot; what it has done before is visible then.
    fn seqno(&self, slot: usize) -> Result<u64>;
}

/// The memory of a real queue.
pub(crate) struct CoherentMemory {
    commands: Coherent<[u64]>,
    slots: Coherent<[u64]>,
}

impl CoherentMemory {
    /// Allocates the memory for DMA by `dev`. Sleeps.
    pub(crate) fn new(dev: &Device<Bound>) -> Result<Self> {
        Ok(Self {
            commands: Coherent::zeroed_slice(dev, LEN * COMMAND_WORDS, GFP_KERNEL)?,
            slots: Coherent::zeroed_slice(dev, SLOTS * SLOT_WORDS, GFP_KERNEL)?,
        })
    }
}

impl Memory for CoherentMemory {
    fn ring_address(&self) -> u64 {
        self.commands.dma_address()
    }

    fn slot_address(&self, slot: usize) -> u64 {
        self.slots.dma_address() + (slot * SLOT_WORDS * 8) as u64
    }

    fn write(&mut self, index: usize, command: &Command) -> Result {
        for (i, word) in command.words().iter().enumerate() {
            io_write!(&self.commands, [try: index * COMMAND_WORDS + i], *word);
        }
        Ok(())
    }

    fn clear(&mut self, slot: usize) -> Result {
        io_write!(&self.slots, [try: slot * SLOT_WORDS], 0);
        Ok(())
    }

    fn seqno(&self, slot: usize) -> Result<u64> {
        let seqno: u64 = io_read!(&self.slots, [try: slot * SLOT_WORDS]);

        // The engine writes the sequence number last.
        barrier::dma_mb(barrier::Read);
        Ok(u64::from_le(seqno))
    }
}

/// The ring of queue `index`; its memory is the engine's until [`Ring::stop`].
pub(super) struct Ring {
    index: usize,
    regs: Arc<dyn QueueRegisters>,
    memory: KBox<dyn Memory>,
    /// Commands written since the queue was started.
    tail: u32,
}

impl Ring {
    /// The ring of a queue that is not started yet.
    pub(super) fn new(
        index: usize,
        regs: Arc<dyn QueueRegisters>,
        memory: KBox<dyn Memory>,
    ) -> Self {
        Self {
            index,
            regs,
            memory,
            tail: 0,
        }
    }

    /// Resets the queue, which ends whatever it does, and starts it anew with an empty ring.
    ///
    /// Sleeps. Errors are those of [`QueueRegisters::stop`].
    pub(super) fn restart(&mut self) -> Result {
        self.stop()?;
        self.tail = 0;
        self.regs
            .start(self.index, self.memory.ring_address(), ORDER)
    }

    /// Resets the queue and leaves it off: the engine does not access memory for it any more.
    pub(super) fn stop(&self) -> Result {
        self.regs.stop(self.index)
    }

    /// Resets everything, if the queue alone cannot be stopped.
    pub(super) fn reset_function(&self) -> Result {
        self.regs.reset_function()
    }

    /// Writes a command and its fence, and rings the doorbell. `seqno` is that of the queue.
    ///
    /// The slot of `seqno` must be free. Fails with `ENODEV` if the device is gone.
    pub(super) fn push(&mut self, seqno: u64, command: &Command) -> Result {
        let slot = Self::slot(seqno);
        let fence = Command::fence(self.memory.slot_address(slot), seqno);

        self.memory.clear(slot)?;
        self.write(command)?;
        self.write(&fence)?;
        self.regs.ring_doorbell(self.index, self.tail)
    }

    fn write(&mut self, command: &Command) -> Result {
        self.memory.write(self.tail as usize % LEN, command)?;
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// Whether the engine has written the fence of `seqno`.
    pub(super) fn is_done(&self, seqno: u64) -> bool {
        self.memory
            .seqno(Self::slot(seqno))
            .is_ok_and(|found| found == seqno)
    }

    /// The fault that has stopped the queue, if one has.
    pub(super) fn fault(&self) -> Option<QueueFault> {
        self.regs.fault(self.index).ok()?
    }

    /// Whether the queue is off, although it was started.
    pub(super) fn is_off(&self) -> bool {
        self.regs.is_on(self.index).is_ok_and(|on| !on)
    }

    /// The slot of the queue's copy `seqno`.
    pub(super) fn slot(seqno: u64) -> usize {
        // CAST: The remainder is smaller than `SLOTS`.
        (seqno % SLOTS as u64) as usize
    }
}
