// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fences that signal when a test says so: the kernel's `sw_sync`.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

use hlrs::Errno;
use hlrs::SyncFile;
use hlrs::Syncobj;

use crate::harness::Outcome;
use crate::harness::Stop;
use crate::raw;
use crate::system;

const NODE: &str = "/sys/kernel/debug/sync/sw_sync";

/// `struct sw_sync_create_fence_data`
#[repr(C)]
struct CreateFence {
    value: u32,
    name: [u8; 32],
    fence: i32,
}

const CREATE_FENCE: u32 =
    (3 << 30) | ((size_of::<CreateFence>() as u32) << 16) | ((b'W' as u32) << 8);
const INC: u32 = (1 << 30) | (4 << 16) | ((b'W' as u32) << 8) | 1;

/// A counter; its fences signal when it reaches their values. When this is
/// dropped they all signal, with the error `ENOENT`.
pub struct Timeline {
    file: File,
    made: Cell<u32>,
}

impl Timeline {
    /// A counter at 0.
    pub fn new() -> Outcome<Timeline> {
        system::need(NODE, "fences of sw_sync")?;
        let file = File::options().read(true).write(true).open(NODE)?;
        let made = Cell::new(0);
        Ok(Timeline { file, made })
    }

    /// The next fence, which signals after all before it.
    pub fn fence(&self) -> Outcome<SyncFile> {
        self.made.set(self.made.get() + 1);
        let mut arg = CreateFence {
            value: self.made.get(),
            name: [0; 32],
            fence: -1,
        };
        let failed = |errno: Errno| Stop::failed(format!("a fence of sw_sync: {errno}"));
        // SAFETY: the number encodes the size of the structure, which has no
        // pointers.
        unsafe { raw::at(&self.file, CREATE_FENCE, &raw mut arg as usize) }.map_err(failed)?;
        // SAFETY: the kernel has just installed this descriptor for us alone.
        Ok(SyncFile::from(unsafe { OwnedFd::from_raw_fd(arg.fence) }))
    }

    /// The next fence in a binary syncobj.
    pub fn syncobj(&self, device: &hlrs::Device) -> Outcome<Syncobj> {
        let syncobj = device.syncobj()?;
        syncobj.import_sync_file(&self.fence()?)?;
        Ok(syncobj)
    }

    /// Lets the next `count` fences signal.
    pub fn advance(&self, count: u32) -> Outcome {
        let mut count = count;
        // SAFETY: the argument is 32 bits.
        unsafe { raw::at(&self.file, INC, &raw mut count as usize) }
            .map_err(|errno| Stop::failed(format!("signalling fences of sw_sync: {errno}")))
    }
}
