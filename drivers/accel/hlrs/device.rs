// SPDX-License-Identifier: GPL-2.0

//! What a DRM device of this driver consists of.
//!
//! It lives as long as an open file or a buffer does, which may be longer than the driver is bound
//! to the hardware. [`Hw`] and [`CopyQueue`] know when that is over.

use core::sync::atomic::AtomicU64;

use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{
        Arc,
        CondVar,
        CondVarTimeoutResult,
        Mutex, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta,
        Instant,
        Monotonic, //
    },
};
use kernel_ext::{
    dma_fence::Fence,
    drm::{
        self,
        gem::IoWindow, //
    },
    p2pdma,
    workqueue::OwnedQueue, //
};

use crate::{
    driver::Hlrs,
    exec::Engines,
    hw::Hw,
    lmem::Lmem,
    prime::{
        Exports,
        Imports,
        Ownership,
        Sharing, //
    },
    queue::CopyQueue,
    sriov::Provisioning,
    vm::Contexts, //
};

/// A DRM device of this driver.
pub(crate) type HlrsDevice = drm::Device<Hlrs>;

/// A DRM device of this driver that is not unplugged.
pub(crate) type BoundDevice<'a> = drm::DeviceGuard<'a, Hlrs>;

/// An open file of this driver.
pub(crate) type File = drm::File<crate::client::ClientFile>;

/// How long a page fault waits for the end of a reset, milliseconds.
const RESET_WAIT_MS: u32 = 2000;

/// Private data of the DRM device.
#[pin_data]
pub(crate) struct DeviceData {
    pub(crate) hw: Arc<Hw>,
    pub(crate) lmem: Arc<Lmem>,
    pub(crate) queue: Arc<CopyQueue>,
    /// The hardware queues that work for user space.
    pub(crate) engines: Arc<Engines>,
    /// Contexts of the MMU.
    pub(crate) contexts: Arc<Contexts>,
    /// Where jobs of user space's queues are given to the engines, and freed.
    pub(crate) submit_queue: Arc<OwnedQueue>,
    /// Where VM_BINDs are done. Large ones take long, and may do so on any processor.
    pub(crate) bind_queue: Arc<OwnedQueue>,
    /// BAR 2.
    pub(crate) aperture: IoWindow,
    /// What peers need to reach BAR 2; [`None`] if they cannot.
    pub(crate) p2p: Option<Arc<p2pdma::Provider>>,
    /// The dma-bufs that buffers of this device were exported as.
    pub(crate) exports: Arc<Exports>,
    /// The dma-bufs of others that buffers of this device were made of.
    pub(crate) imports: Arc<Imports>,
    /// Which VF has which part of LMEM; [`None`] unless this is a PF that can have VFs.
    pub(crate) provisioning: Option<Arc<Provisioning>>,
    /// Who has the device open, and who owns it.
    pub(crate) ownership: Arc<Ownership>,
    /// Bytes of buffers in system memory.
    pub(crate) system_used: Arc<AtomicU64>,
    /// Whether memory is handed out with what is in it; for benchmarks.
    pub(crate) skip_zeroing: bool,
    /// Whether a reset is going on, in which the CPU must not access LMEM.
    #[pin]
    resetting: Mutex<bool>,
    #[pin]
    reset_done: CondVar,
    /// The same for page tables. Memory is allocated with the other lock held, but not with this.
    #[pin]
    tables_away: Mutex<bool>,
}

impl DeviceData {
    /// Puts the parts together.
    #[expect(clippy::too_many_arguments)]
    pub(crate) fn new(
        hw: Arc<Hw>,
        lmem: Arc<Lmem>,
        queue: Arc<CopyQueue>,
        engines: Arc<Engines>,
        contexts: Arc<Contexts>,
        submit_queue: Arc<OwnedQueue>,
        bind_queue: Arc<OwnedQueue>,
        aperture: IoWindow,
        p2p: Option<Arc<p2pdma::Provider>>,
        sharing: Sharing,
        provisioning: Option<Arc<Provisioning>>,
        system_used: Arc<AtomicU64>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            system_used,
            skip_zeroing: crate::skip_zeroing(),
            hw,
            lmem,
            queue,
            engines,
            contexts,
            submit_queue,
            bind_queue,
            aperture,
            p2p,
            exports: sharing.exports,
            imports: sharing.imports,
            provisioning,
            ownership: sharing.ownership,
            resetting <- new_mutex!(false, "hlrs::DeviceData::resetting"),
            reset_done <- new_condvar!("hlrs::DeviceData::reset_done"),
            tables_away <- new_mutex!(false, "hlrs::DeviceData::tables_away"),
        })
    }

    /// Whether `fence` is that of a job of this device, of whatever driver. Sleeps.
    pub(crate) fn is_own(&self, fence: &Fence) -> bool {
        self.engines.timelines().has(fence)
    }

    /// Calls `f`, which allocates LMEM, and once more if it fails for want of room: what has just
    /// been freed may still be kept by a job that has ended.
    ///
    /// `error` tells what the error of `f` is. Sleeps. As for [`CopyQueue::drop_ended_jobs`], no
    /// reservation may be held.
    pub(crate) fn retry_when_full<T, E>(
        &self,
        mut f: impl FnMut() -> Result<T, E>,
        error: impl Fn(&E) -> Error,
    ) -> Result<T, E> {
        f().or_else(|e| {
            if error(&e) != ENOSPC {
                return Err(e);
            }
            self.queue.drop_ended_jobs();
            f()
        })
    }

    /// Calls `f` while no reset can begin.
    ///
    /// Sleeps. Waits for the end of a reset that is going on; fails with `EIO` if it does not end
    /// in time, `EINTR` if a signal comes.
    pub(crate) fn outside_reset<R>(&self, f: impl FnOnce() -> R) -> Result<R> {
        let mut resetting = self.resetting.lock();
        let mut left = msecs_to_jiffies(RESET_WAIT_MS);

        while *resetting {
            match self
                .reset_done
                .wait_interruptible_timeout(&mut resetting, left)
            {
                CondVarTimeoutResult::Woken { jiffies } => left = jiffies,
                CondVarTimeoutResult::Timeout => return Err(EIO),
                CondVarTimeoutResult::Signal { .. } => return Err(EINTR),
            }
        }
        Ok(f())
    }

    /// Calls `f` while no reset can begin, whatever happens: with false if one does not end.
    ///
    /// Sleeps, no longer than [`RESET_WAIT_MS`]. May be called where a fence depends on it, and
    /// `f` must not do what may not be done there.
    pub(crate) fn outside_reset_always<R>(&self, f: impl FnOnce(bool) -> R) -> R {
        let begin = Instant::<Monotonic>::now();

        loop {
            let resetting = self.tables_away.lock();
            let give_up = begin.elapsed() >= Delta::from_millis(RESET_WAIT_MS.into());

            if !*resetting || give_up {
                return f(!*resetting);
            }
            drop(resetting);
            fsleep(Delta::from_millis(1));
        }
    }

    /// Notes that a reset begins; waits for accesses that are going on. Sleeps.
    pub(crate) fn begin_reset(&self) {
        *self.resetting.lock() = true;
        *self.tables_away.lock() = true;
    }

    /// Notes that the reset is over. Sleeps.
    pub(crate) fn end_reset(&self) {
        *self.tables_away.lock() = false;
        *self.resetting.lock() = false;
        self.reset_done.notify_all();
    }
}
