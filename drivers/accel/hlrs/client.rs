// SPDX-License-Identifier: GPL-2.0

//! Open files.

use core::sync::atomic::{
    AtomicU64,
    Ordering, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    drm,
    task, //
};

use crate::{
    device::HlrsDevice,
    driver::Hlrs,
    prime::OpenFile, //
};

/// What is counted for one open file. Jobs and exports hold it, which may outlive the file.
pub(crate) struct Client {
    process: task::Identity,
    copy_busy_ns: AtomicU64,
    exported: AtomicU64,
}

impl Client {
    /// The process that has opened the file.
    pub(crate) fn process(&self) -> &task::Identity {
        &self.process
    }

    /// Books device time of the copy engines, nanoseconds. Any context.
    pub(crate) fn add_busy(&self, ns: u64) {
        self.copy_busy_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Device time that the file's jobs took on the copy engines, nanoseconds.
    pub(crate) fn copy_busy_ns(&self) -> u64 {
        self.copy_busy_ns.load(Ordering::Relaxed)
    }

    /// Bytes of the dma-bufs that the file has made and that exist.
    pub(crate) fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Books bytes of a dma-buf until the result is dropped. Any context.
    ///
    /// Fails with `EDQUOT` if the file would have more than `limit` bytes then.
    pub(crate) fn book_export(self: &Arc<Self>, bytes: u64, limit: u64) -> Result<ExportBooking> {
        self.exported
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |booked| {
                booked.checked_add(bytes).filter(|sum| *sum <= limit)
            })
            .map_err(|_| EDQUOT)?;

        Ok(ExportBooking {
            client: self.clone(),
            bytes,
        })
    }
}

/// Bytes of a dma-buf, booked for the file that has exported it.
pub(crate) struct ExportBooking {
    client: Arc<Client>,
    bytes: u64,
}

impl ExportBooking {
    /// How many.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file that they are counted for.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for ExportBooking {
    fn drop(&mut self) {
        self.client
            .exported
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Private data of an open file.
pub(crate) struct ClientFile {
    pub(crate) client: Arc<Client>,
    open: OpenFile,
}

impl drm::FileData for ClientFile {
    type Driver = Hlrs;

    fn open(dev: &HlrsDevice) -> Result<Pin<KBox<Self>>> {
        let open = dev.ownership.open()?;
        let client = Arc::new(
            Client {
                process: task::Identity::of_current(),
                copy_busy_ns: AtomicU64::new(0),
                exported: AtomicU64::new(0),
            },
            GFP_KERNEL,
        )?;

        Ok(KBox::pin(Self { client, open }, GFP_KERNEL)?)
    }
}

impl Drop for ClientFile {
    fn drop(&mut self) {
        self.open.close(&self.client);
    }
}
