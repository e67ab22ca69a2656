// SPDX-License-Identifier: GPL-2.0

//! Fences as file descriptors.
//!
//! C header: [`include/linux/sync_file.h`](srctree/include/linux/sync_file.h)
//!
//! # Lifetime model
//!
//! A sync file is a file that holds a reference on one fence. It is made as a [`SyncFile`], which
//! becomes visible to userspace by [`SyncFile::install`], the last step of an operation, which
//! cannot fail. Dropped before that, nothing has happened.

use crate::dma_fence::Fence;
use kernel::{
    fs::file::{
        File,
        FileDescriptorReservation, //
    },
    prelude::*,
    sync::aref::ARef, //
};

use core::ptr::NonNull;

/// A sync file that has no descriptor yet.
pub struct SyncFile(ARef<File>);

impl SyncFile {
    /// Makes a sync file for `fence`. Sleeps (allocates). C: `sync_file_create()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(fence: &Fence) -> Result<Self> {
        // SAFETY: The fence is valid; the C function takes a reference of its own.
        let sync_file = NonNull::new(unsafe { ext_bindings::sync_file_create(fence.as_raw()) })
            .ok_or(ENOMEM)?;

        // SAFETY: The file was made just now, and the sync file is freed when it is. The only
        // reference on it is taken over here. Its position is not locked, as it is not a regular
        // file.
        Ok(Self(unsafe {
            let file = NonNull::new_unchecked((*sync_file.as_ptr()).file);
            ARef::from_raw(file.cast())
        }))
    }

    /// Makes the file visible to the current process, at a descriptor that was reserved before.
    pub fn install(self, fd: FileDescriptorReservation) {
        fd.fd_install(self.0);
    }
}

/// The fence of the sync file behind a descriptor of the current process.
///
/// Does not sleep. C: `sync_file_get_fence()`.
///
/// # Errors
///
/// `EINVAL`: there is no such descriptor, or it is not that of a sync file.
pub fn fence_from_fd(fd: i32) -> Result<ARef<Fence>> {
    // SAFETY: No requirements.
    let fence = NonNull::new(unsafe { ext_bindings::sync_file_get_fence(fd) }).ok_or(EINVAL)?;

    // SAFETY: The C function returns a new reference.
    Ok(unsafe { Fence::from_owned(fence) })
}
