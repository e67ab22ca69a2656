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
use kernel_ext::drm;

use crate::{
    device::HlrsDevice,
    driver::Hlrs, //
};

/// What is counted for one open file. Jobs hold it, which may end after the file is closed.
pub(crate) struct Client {
    copy_busy_ns: AtomicU64,
}

impl Client {
    /// Books device time of the copy engines, nanoseconds. Any context.
    pub(crate) fn add_busy(&self, ns: u64) {
        self.copy_busy_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Device time that the file's jobs took on the copy engines, nanoseconds.
    pub(crate) fn copy_busy_ns(&self) -> u64 {
        self.copy_busy_ns.load(Ordering::Relaxed)
    }
}

/// Private data of an open file.
pub(crate) struct ClientFile {
    pub(crate) client: Arc<Client>,
}

impl drm::FileData for ClientFile {
    type Driver = Hlrs;

    fn open(_dev: &HlrsDevice) -> Result<Pin<KBox<Self>>> {
        let client = Arc::new(
            Client {
                copy_busy_ns: AtomicU64::new(0),
            },
            GFP_KERNEL,
        )?;

        Ok(KBox::pin(Self { client }, GFP_KERNEL)?)
    }
}
