// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of a function, past its driver.

use std::fs::File;
use std::os::fd::AsRawFd;

use super::driver;
use crate::check;
use crate::harness::Outcome;
use crate::skip;

/// Bytes of registers.
const LEN: usize = 65536;

/// BAR 0 of a function.
pub struct Registers(*mut u32);

// SAFETY: a mapping may be used by, and removed on, any thread; a register is
// read or written at once.
unsafe impl Send for Registers {}
// SAFETY: as above.
unsafe impl Sync for Registers {}

impl Registers {
    /// Those of the function at a PCI address. Skips the test where the kernel
    /// does not give them away.
    pub fn of(address: &str) -> Outcome<Registers> {
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
        Ok(Registers(start.cast()))
    }

    fn at(&self, offset: usize) -> *mut u32 {
        assert!(offset % 4 == 0 && offset < LEN);
        // SAFETY: inside the mapping, as just checked.
        unsafe { self.0.add(offset / 4) }
    }

    pub fn read(&self, offset: usize) -> u32 {
        // SAFETY: `at` gives an aligned register of 32 bits inside the mapping.
        unsafe { self.at(offset).read_volatile() }
    }

    pub fn write(&self, offset: usize, value: u32) {
        // SAFETY: as above.
        unsafe { self.at(offset).write_volatile(value) };
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: mapped by `of`, and no reference was given out.
        unsafe { libc::munmap(self.0.cast(), LEN) };
    }
}
