// SPDX-License-Identifier: GPL-2.0

//! What writes to the configuration space do to the memory of a function.

use super::Cause;
use kernel::bindings;

/// What a write to the configuration space may do to the access to memory.
///
/// It is judged by where it writes. The values come from user memory, which can change before the core
/// reads it again, so that they decide only where being wrong does no harm:
///
/// - An FLR that was not foreseen is announced by `reset_prepare`, before it begins.
/// - Memory Space Enable of a VF does not switch anything off: that bit is the PF's. Where it does, the
///   others are made to let go right after the write. To do that before each write of the command
///   register, of which a driver makes many, would take their mappings for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigWrite {
    /// Nothing.
    Harmless,
    /// It writes Memory Space Enable, and does not switch it off.
    KeepsMemory,
    /// Memory may be inaccessible during the write, or after it.
    Takes(Cause),
}

impl ConfigWrite {
    /// Judges a write of `count` bytes at `offset` in the configuration space.
    ///
    /// `capabilities` are the offsets of PCI Power Management, PCI Express and Advanced Features, 0 for
    /// those that are not there. `byte` returns the byte that is written at an offset; it is asked only
    /// for bytes that are, and `None` stands for one that cannot be read.
    pub fn judge(
        offset: u64,
        count: usize,
        capabilities: [u8; 3],
        byte: impl Fn(u64) -> Option<u8>,
    ) -> Self {
        // CAST: A count of bytes.
        let end = offset.saturating_add(count as u64);
        let writes = |at: u64| offset <= at && at < end;
        let sets = |at: u64, bit: u8| writes(at) && byte(at).is_none_or(|value| value & bit != 0);
        let [pm, exp, af] = capabilities.map(u64::from);

        // The FLR bit is the highest of a register of 16 bits, in the second byte.
        let exp_flr = exp + u64::from(bindings::PCI_EXP_DEVCTL) + 1;
        const EXP_FLR: u8 = (bindings::PCI_EXP_DEVCTL_BCR_FLR >> 8) as u8;
        let af_flr = af + u64::from(bindings::PCI_AF_CTRL);
        const AF_FLR: u8 = bindings::PCI_AF_CTRL_FLR as u8;
        let command = u64::from(bindings::PCI_COMMAND);
        const MEMORY: u8 = bindings::PCI_COMMAND_MEMORY as u8;

        if exp != 0 && sets(exp_flr, EXP_FLR) || af != 0 && sets(af_flr, AF_FLR) {
            Self::Takes(Cause::Reset)
        } else if pm != 0 && writes(pm + u64::from(bindings::PCI_PM_CTRL)) {
            Self::Takes(Cause::Power)
        } else if !writes(command) {
            Self::Harmless
        } else if byte(command).is_some_and(|value| value & MEMORY != 0) {
            Self::KeepsMemory
        } else {
            Self::Takes(Cause::Memory)
        }
    }
}
