// SPDX-License-Identifier: GPL-2.0

//! Open files.

use core::sync::atomic::{
    AtomicU64,
    Ordering, //
};

use kernel::{
    io::poll::read_poll_timeout,
    prelude::*,
    sync::Arc,
    time::Delta, //
};
use kernel_ext::{
    deferred,
    drm,
    task, //
};

use crate::{
    device::HlrsDevice,
    driver::Hlrs,
    exec::{
        Queue,
        Turn, //
    },
    numbered::Numbered,
    prime::OpenFile,
    vm::Vm, //
};

/// What is counted for one open file. Jobs and exports hold it, which may outlive the file.
pub(crate) struct Client {
    process: task::Identity,
    copy_busy_ns: AtomicU64,
    exported: AtomicU64,
    turn: Turn,
    /// Jobs that are not freed yet, and those of them that wait for nothing else.
    jobs: AtomicU64,
    under_way: AtomicU64,
}

/// A job of a file that is not freed yet. To be dropped after all that the job holds.
pub(crate) struct JobCount {
    client: Arc<Client>,
    under_way: bool,
}

impl JobCount {
    /// From now on the job waits for nothing else until it is gone, which may take long. Any
    /// context.
    pub(crate) fn set_under_way(&mut self) {
        if !self.under_way {
            self.under_way = true;
            self.client.under_way.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for JobCount {
    fn drop(&mut self) {
        self.client.jobs.fetch_sub(1, Ordering::Release);
        if self.under_way {
            self.client.under_way.fetch_sub(1, Ordering::Release);
        }
    }
}

impl Client {
    /// When the file had its last turn on the engines.
    pub(crate) fn turn(&self) -> &Turn {
        &self.turn
    }

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

    /// Counts a job until the result is dropped, with what the job has held. Any context.
    pub(crate) fn count_job(self: &Arc<Self>) -> JobCount {
        self.jobs.fetch_add(1, Ordering::Relaxed);
        JobCount {
            client: self.clone(),
            under_way: false,
        }
    }

    /// Waits until jobs that have ended are gone, so that what they have held is free. Sleeps.
    ///
    /// Waits for a second at most for jobs that may wait for others; longer only for those that
    /// cannot.
    pub(crate) fn settle(&self) {
        let wait_for = |count: &AtomicU64, timeout| {
            let count = || Ok(count.load(Ordering::Acquire));

            // If some are left, they are freed when they end.
            let _ = read_poll_timeout(count, |left| *left == 0, SETTLE_POLL, timeout);
        };

        wait_for(&self.jobs, SETTLE_TIMEOUT);
        wait_for(&self.under_way, UNDER_WAY_TIMEOUT);
        deferred::flush();
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

/// How often, and for how long, to look whether jobs are gone when a file is closed.
const SETTLE_POLL: Delta = Delta::from_micros(100);
const SETTLE_TIMEOUT: Delta = Delta::from_secs(1);
const UNDER_WAY_TIMEOUT: Delta = Delta::from_secs(10);

/// Most VMs and queues of a file.
const MAX_VMS: usize = 8;
const MAX_QUEUES: usize = 64;

/// Private data of an open file.
#[pin_data(PinnedDrop)]
pub(crate) struct ClientFile {
    pub(crate) client: Arc<Client>,
    #[pin]
    pub(crate) queues: Numbered<Queue>,
    #[pin]
    pub(crate) vms: Numbered<Vm>,
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
                turn: Turn::new(),
                jobs: AtomicU64::new(0),
                under_way: AtomicU64::new(0),
            },
            GFP_KERNEL,
        )?;

        KBox::pin_init(
            pin_init!(Self {
                client,
                queues <- Numbered::new(MAX_QUEUES),
                vms <- Numbered::new(MAX_VMS),
                open,
            }),
            GFP_KERNEL,
        )
    }
}

#[pinned_drop]
impl PinnedDrop for ClientFile {
    fn drop(self: Pin<&mut Self>) {
        // Jobs of a process that is gone are of no use to anybody.
        for queue in self.queues.take_all() {
            queue.close(true);
        }
        for vm in self.vms.take_all() {
            vm.close();
            vm.revoke();
        }
        self.client.settle();
        self.open.close(&self.client);
    }
}
