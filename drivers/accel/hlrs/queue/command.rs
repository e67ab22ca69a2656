// SPDX-License-Identifier: GPL-2.0

//! Commands of the copy engine.
//!
//! The kernel's own queue works on physical addresses, jobs of user space on virtual ones. The
//! layout is `struct hlrs_cmd` of `hlrs_hw.h`.

use kernel::fmt;

/// Words of 64 bits in a command.
pub(super) const WORDS: usize = hlrs_abi::HLRS_CMD_SIZE as usize / 8;

/// An address that an engine can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// In the function's own LMEM.
    Lmem(u64),
    /// A DMA address: system memory, or the BAR of a peer.
    Bus(u64),
    /// In the LMEM of the card at the other end of the link.
    Link(u64),
    /// In the address space of the queue's context.
    Virtual(u64),
}

impl Address {
    /// The address `offset` bytes further.
    pub(crate) fn add(self, offset: u64) -> Self {
        match self {
            Self::Lmem(address) => Self::Lmem(address + offset),
            Self::Bus(address) => Self::Bus(address + offset),
            Self::Link(address) => Self::Link(address + offset),
            Self::Virtual(address) => Self::Virtual(address + offset),
        }
    }

    fn raw(self) -> u64 {
        match self {
            Self::Lmem(address)
            | Self::Bus(address)
            | Self::Link(address)
            | Self::Virtual(address) => address,
        }
    }

    fn space(self) -> u32 {
        match self {
            Self::Lmem(_) => hlrs_abi::HLRS_SPACE_LMEM,
            Self::Bus(_) => hlrs_abi::HLRS_SPACE_BUS,
            Self::Link(_) => hlrs_abi::HLRS_SPACE_LINK,
            Self::Virtual(_) => hlrs_abi::HLRS_SPACE_VIRTUAL,
        }
    }
}

/// One command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    header: u32,
    src: u64,
    dst: u64,
    size: u64,
    data: u64,
    /// Whether the result goes to the slot of the job.
    to_slot: bool,
}

impl Command {
    fn new(opcode: u32, src: Option<Address>, dst: Option<Address>) -> Self {
        let src_space = src.map_or(0, |a| a.space() << hlrs_abi::HLRS_CMD_SRC_SPACE_SHIFT);
        let dst_space = dst.map_or(0, |a| a.space() << hlrs_abi::HLRS_CMD_DST_SPACE_SHIFT);

        Self {
            header: opcode | src_space | dst_space,
            src: src.map_or(0, Address::raw),
            dst: dst.map_or(0, Address::raw),
            size: 0,
            data: 0,
            to_slot: false,
        }
    }

    /// Copies `size` bytes; the ranges must not overlap.
    pub(crate) fn copy(src: Address, dst: Address, size: u64) -> Self {
        Self {
            size,
            ..Self::new(hlrs_abi::HLRS_OP_COPY, Some(src), Some(dst))
        }
    }

    /// Fills `size` bytes with the eight bytes of `pattern`, repeated, little-endian.
    pub(crate) fn fill(dst: Address, size: u64, pattern: u64) -> Self {
        Self {
            size,
            data: pattern,
            ..Self::new(hlrs_abi::HLRS_OP_FILL, None, Some(dst))
        }
    }

    /// Computes the CRC-32C of `size` bytes, as if they followed data with the sum `initial`.
    ///
    /// The result goes to the job's slot in the ring, see [`super::Outcome::crc`].
    pub(crate) fn crc32c(src: Address, size: u64, initial: u32) -> Self {
        Self {
            size,
            data: u64::from(initial),
            to_slot: true,
            ..Self::new(hlrs_abi::HLRS_OP_CRC32C, Some(src), None)
        }
    }

    /// As [`Command::crc32c`], but the result, `struct hlrs_crc_result`, goes to `dst`.
    pub(crate) fn crc32c_to(src: Address, dst: Address, size: u64, initial: u32) -> Self {
        Self {
            size,
            data: u64::from(initial),
            ..Self::new(hlrs_abi::HLRS_OP_CRC32C, Some(src), Some(dst))
        }
    }

    /// Writes `struct hlrs_fence_result` with `data` to `dst`, 16-byte aligned.
    pub(crate) fn user_fence(dst: Address, data: u64) -> Self {
        Self {
            data,
            ..Self::new(hlrs_abi::HLRS_OP_FENCE, None, Some(dst))
        }
    }

    /// As [`Command::crc32c`], with the result of the job's preceding one as initial value.
    pub(crate) fn crc32c_continued(src: Address, size: u64) -> Self {
        let command = Self::crc32c(src, size, 0);

        Self {
            header: command.header | hlrs_abi::HLRS_CMD_CHAIN,
            ..command
        }
    }

    /// Whether the outcome is the same if the command is done again after a part of it was: not if
    /// it has overwritten its source.
    pub(crate) fn can_be_repeated(&self) -> bool {
        self.header & 0xff != hlrs_abi::HLRS_OP_COPY || self.src.abs_diff(self.dst) >= self.size
    }

    /// Never completes. For tests of the time-out.
    pub(crate) fn hang() -> Self {
        Self::new(hlrs_abi::HLRS_OP_HANG, None, None)
    }

    /// Writes the device's time to `dst`, 8-byte aligned.
    pub(super) fn timestamp(dst: Address) -> Self {
        Self::new(hlrs_abi::HLRS_OP_TIMESTAMP, None, Some(dst))
    }

    /// Writes `struct hlrs_fence_result` with `seqno` to `dst`, 16-byte aligned, and interrupts.
    pub(super) fn fence(dst: Address, seqno: u64) -> Self {
        let command = Self::new(hlrs_abi::HLRS_OP_FENCE, None, Some(dst));

        Self {
            header: command.header | hlrs_abi::HLRS_CMD_IRQ,
            data: seqno,
            ..command
        }
    }

    /// The command with the result slot of its job filled in, if it writes to that.
    pub(super) fn with_result_slot(self, slot: Address) -> Self {
        if !self.to_slot {
            return self;
        }

        Self {
            header: self.header | slot.space() << hlrs_abi::HLRS_CMD_DST_SPACE_SHIFT,
            dst: slot.raw(),
            ..self
        }
    }

    /// The command as the engine reads it.
    pub(super) fn words(&self) -> [u64; WORDS] {
        [
            u64::from(self.header).to_le(),
            self.src.to_le(),
            self.dst.to_le(),
            self.size.to_le(),
            self.data.to_le(),
            0,
            0,
            0,
        ]
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "header {:#x} src {:#x} dst {:#x} size {:#x} data {:#x}",
            self.header, self.src, self.dst, self.size, self.data
        )
    }
}

#[cfg(CONFIG_KUNIT = "y")]
#[path = "../../../../tests/kunit/hlrs/command.rs"]
mod tests;
