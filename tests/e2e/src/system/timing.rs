// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that are slower than usual, so that what a test wants to see in
//! flight is.

use std::time::Duration;

use super::registers::Registers;
use crate::harness::Outcome;

/// Offset of the register `TIME_CMD`, nanoseconds for each command. The driver
/// makes no use of it, nor of the next.
const TIME_CMD: usize = 0x38;
/// Offset of the register `TIME_LMEM`, nanoseconds for each KiB of a side.
const TIME_LMEM: usize = 0x3c;

/// A function whose commands take longer, until this is dropped, or the function
/// is reset. The closing fence of a job is a command, too.
pub struct Slow {
    registers: Registers,
    offset: usize,
    before: u32,
}

impl Slow {
    /// Each command of the function at a PCI address takes `time`, before it
    /// begins.
    pub fn commands(address: &str, time: Duration) -> Outcome<Slow> {
        Self::set_to(address, TIME_CMD, time)
    }

    /// Each KiB of LMEM that a command reads or writes takes `time`.
    pub fn lmem(address: &str, time: Duration) -> Outcome<Slow> {
        Self::set_to(address, TIME_LMEM, time)
    }

    fn set_to(address: &str, offset: usize, time: Duration) -> Outcome<Slow> {
        let registers = Registers::of(address)?;
        let before = registers.read(offset);
        registers.write(offset, u32::try_from(time.as_nanos()).unwrap_or(u32::MAX));
        Ok(Slow {
            registers,
            offset,
            before,
        })
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.registers.write(self.offset, self.before);
    }
}
