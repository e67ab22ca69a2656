// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that are slower than usual, so that what a test wants to see in
//! flight is.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::driver;
use crate::check;
use crate::harness::Outcome;
use crate::skip;

/// Offset of the register `TIME_CMD`, nanoseconds for each command.
const TIME_CMD: usize = 0x38;
/// Offset of the register `TIME_LMEM`, nanoseconds for each KiB of a side.
const TIME_LMEM: usize = 0x3c;
/// Bytes of registers.
const LEN: usize = 65536;

/// A function whose commands take longer, until this is dropped, or the function
/// is reset. The closing fence of a job is a command, too.
pub struct Slow {
    registers: *mut u32,
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
        let path = driver::pci(address).join("resource0");
        let file = File::options().read(true).write(true).open(&path)?;
        check!(
            file.metadata()?.len() as usize == LEN,
            "{} has not {LEN} bytes",
            path.display()
        );
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let (null, fd) = (std::ptr::null_mut(), file.as_raw_fd());
        // SAFETY: the kernel chooses an address range that nothing else uses.
        let start = unsafe { libc::mmap(null, LEN, prot, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            skip!(
                "{} cannot be mapped: {}",
                path.display(),
                std::io::Error::last_os_error()
            );
        }
        let mut slow = Slow {
            registers: start.cast(),
            offset,
            before: 0,
        };
        // SAFETY: inside the mapping; a register that reading does not change.
        slow.before = unsafe { slow.time().read_volatile() };
        slow.set(u32::try_from(time.as_nanos()).unwrap_or(u32::MAX));
        Ok(slow)
    }

    fn time(&self) -> *mut u32 {
        // SAFETY: inside the mapping.
        unsafe { self.registers.add(self.offset / 4) }
    }

    fn set(&self, time: u32) {
        // SAFETY: an aligned register of 32 bits inside the mapping, of which
        // the driver makes no use.
        unsafe { self.time().write_volatile(time) };
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.set(self.before);
        // SAFETY: mapped by `set_to`, and no reference was given out.
        unsafe { libc::munmap(self.registers.cast(), LEN) };
    }
}
