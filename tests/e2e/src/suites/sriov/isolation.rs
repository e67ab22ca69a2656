// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a virtual function cannot reach.

use std::fs::File;
use std::os::fd::AsRawFd;

use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::skip;
use crate::suites::mem::exhaust;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::vfs::Vfs;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![everyone_keeps_to_his_own: 300, reaching_past_the_quota: 180]
}

/// Each function, and the card itself, fills all that it has.
fn everyone_keeps_to_his_own(_: &Context) -> Outcome {
    let vfs = Vfs::enable(7)?;
    let mut owners = vec![cards::first()?];
    for number in 1..=7 {
        owners.push(vfs.open(number)?);
    }
    let mut everything = Vec::new();
    for (n, device) in (1..).zip(&owners) {
        let buffers = exhaust(device, Place::Lmem, 2 * MIB)?;
        for buffer in &buffers {
            let _job = buffer.fill_async(0, buffer.size(), n)?;
        }
        everything.push((n, buffers));
    }
    for (n, buffers) in &everything {
        for buffer in buffers {
            cards::holds_pattern(&format!("memory of owner {n}"), buffer, *n)?;
        }
    }
    Ok(())
}

/// The window of a function onto its memory, as the hardware shows it.
struct Window {
    start: *mut u64,
    len: usize,
}

impl Window {
    fn of(address: &str) -> Outcome<Window> {
        let path = driver::pci(address).join("resource2");
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|err| Stop::skipped(format!("{}: {err}", path.display())))?;
        let len = file.metadata()?.len() as usize;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses an address range that nothing else uses.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                prot,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            skip!(
                "{} cannot be mapped: {}",
                path.display(),
                std::io::Error::last_os_error()
            );
        }
        Ok(Window {
            start: start.cast(),
            len,
        })
    }

    fn at(&self, offset: u64) -> *mut u64 {
        assert!(offset % 8 == 0 && offset + 8 <= self.len as u64);
        // SAFETY: inside the mapping, as just checked.
        unsafe { self.start.add(offset as usize / 8) }
    }

    fn read(&self, offset: u64) -> u64 {
        // SAFETY: `at` gives an aligned address inside the mapping of device
        // memory, to which nothing refers.
        unsafe { self.at(offset).read_volatile() }
    }

    fn write(&self, offset: u64, value: u64) {
        // SAFETY: as in `read`.
        unsafe { self.at(offset).write_volatile(value) }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: mapped by `of`, and no reference was given out.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// As a function with a hostile driver would: through its own window, without
/// asking anybody.
fn reaching_past_the_quota(_: &Context) -> Outcome {
    let vfs = Vfs::none()?;
    let quota = 6 * MIB;
    vfs.pf.set_quota(1, quota)?;
    vfs.pf.set_quota(2, quota)?;
    vfs.set(2)?;
    let pf = cards::first()?;
    let mine = exhaust(&pf, Place::Lmem, 2 * MIB)?;
    for buffer in &mine {
        buffer.fill(0, buffer.size(), 0x0f0f)?;
    }
    let neighbour = Place::Lmem.create(&vfs.open(2)?, quota)?;
    neighbour.fill(0, quota, 0x2222)?;
    let vf = vfs.open(1)?;
    let own = Place::Lmem.create(&vf, quota)?;
    own.fill(0, quota, 0x1111)?;

    let node = vfs.vf_node(1)?;
    let window = Window::of(&node.address)?;
    check!(
        window.len as u64 > quota,
        "the window of {} bytes has no outside",
        window.len
    );
    let before = node.counters();
    check_eq!(window.read(0), 0x1111, "the first word inside");
    check_eq!(window.read(quota - 8), 0x1111, "the last word inside");
    let outside = [
        quota,
        quota + MIB,
        window.len as u64 / 2,
        window.len as u64 - 8,
    ];
    for offset in outside {
        check_eq!(window.read(offset), u64::MAX, "read at {offset:#x}");
        window.write(offset, 0xbad);
        check_eq!(window.read(offset), u64::MAX, "read again at {offset:#x}");
    }
    if let (Some(before), Some(after)) = (before, node.counters()) {
        let counted = after.since(&before, "quota_violation").unwrap_or(0);
        let expected = 3 * outside.len() as u64;
        check!(
            counted >= expected,
            "{counted} violations were counted, not {expected}"
        );
    }
    for buffer in &mine {
        cards::holds_pattern("the card's memory", buffer, 0x0f0f)?;
    }
    cards::holds_pattern("the neighbour's memory", &neighbour, 0x2222)?;
    cards::holds_pattern("its own memory", &own, 0x1111)
}
