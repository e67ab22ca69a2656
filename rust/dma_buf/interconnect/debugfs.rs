// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/dma_buf_ic/attachments`: a line for each negotiated attachment.
//!
//! `exporter=NAME importer=NAME device=NAME type=NAME size=BYTES mappings=NUMBER`, and what the type
//! has to say. The attachments of a buffer share its inode number, `ino=NUMBER`, by which
//! `/sys/kernel/debug/dma_buf/bufinfo` and fdinfo name it.

use super::record;
use crate::dma_buf::DmaBuf;
use kernel::{
    bindings,
    device::Device,
    prelude::*,
    seq_file::SeqFile,
    seq_print, //
};

use core::ptr::{
    null,
    null_mut, //
};

/// The directory; removed when dropped.
///
/// # Invariants
///
/// `0` came from `debugfs_create_dir()`, and the file in it uses code of this module only.
pub struct Directory(*mut bindings::dentry);

// SAFETY: debugfs has locks.
unsafe impl Send for Directory {}

// SAFETY: As above.
unsafe impl Sync for Directory {}

impl Directory {
    /// Creates it. Sleeps. Without debugfs nothing happens.
    ///
    /// # Safety
    ///
    /// Must be called by the module that is home of this crate, and be dropped when that exits.
    pub unsafe fn new() -> Self {
        // SAFETY: The names are strings, and the operations are static data of this module, which
        // removes the file before it goes. debugfs accepts the error that it returned.
        unsafe {
            let dir = bindings::debugfs_create_dir(c"dma_buf_ic".as_char_ptr(), null_mut());

            bindings::debugfs_create_file_full(
                c"attachments".as_char_ptr(),
                0o400,
                dir,
                null_mut(),
                null(),
                &OPERATIONS.0,
            );
            // INVARIANT: Created above.
            Self(dir)
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Waits for readers.
        //
        // SAFETY: By the type invariant.
        unsafe { bindings::debugfs_remove(self.0) };
    }
}

struct Operations(bindings::file_operations);

// SAFETY: Never written to.
unsafe impl Sync for Operations {}

static OPERATIONS: Operations = Operations(bindings::file_operations {
    open: Some(open),
    read: Some(bindings::seq_read),
    llseek: Some(bindings::seq_lseek),
    release: Some(bindings::single_release),
    // SAFETY: All fields may be zero.
    ..unsafe { core::mem::zeroed() }
});

/// # Safety
///
/// Called by debugfs only.
unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: The file is being opened.
    unsafe { bindings::single_open(file, Some(show), null_mut()) }
}

/// # Safety
///
/// Called for a file that `open()` has opened.
unsafe extern "C" fn show(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    let mut after = 0;

    while let Some(record) = record::next(after) {
        // SAFETY: The file is being read by this thread only. What the record names is valid as
        // long as there is a reference on it.
        let (out, dma_buf, device, importer) = unsafe {
            (
                SeqFile::from_raw(seq),
                DmaBuf::from_raw(record.public.dmabuf),
                Device::<kernel::device::Normal>::from_raw(record.public.dev),
                CStr::from_char_ptr((*record.public.importer).name),
            )
        };
        // SAFETY: A name is a string.
        let name = unsafe { CStr::from_char_ptr(record.ty().name) };

        after = record.number();
        seq_print!(
            out,
            "exporter={} importer={} device={} type={} ino={} size={} mappings={}",
            dma_buf.exporter_name(),
            importer,
            device.name(),
            name,
            dma_buf.inode_number(),
            dma_buf.size(),
            record.mappings()
        );
        if let Some(debugfs_dump) = record.ty().debugfs_dump {
            // SAFETY: The match is one of the type.
            unsafe { debugfs_dump(seq, record.public.match_) };
        }
        seq_print!(out, "\n");
    }
    0
}
