// SPDX-License-Identifier: MIT OR Apache-2.0
//! Queues of jobs.

use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use hlrs_sys as sys;
use rustix::io::Errno;

use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::ioctl;
use crate::submit::Submission;
use crate::sync_file::FenceStatus;
use crate::sync_file::SyncFile;
use crate::syncobj::Syncobj;
use crate::vm::Shared;

/// A queue: its jobs run one after the other in the address space that it was
/// created for, which lives at least as long.
///
/// Dropping it cancels the jobs that have not begun, and waits for the one that
/// runs.
pub struct Queue {
    vm: Arc<Shared>,
    /// Number within the file; 0, which is none, once it is destroyed.
    id: AtomicU32,
}

/// The state of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueState {
    /// With its address space: jobs are refused.
    pub banned: bool,
    /// Number of its address space, see [`Vm::id`](crate::Vm::id).
    pub vm: u32,
    /// Jobs that have not ended.
    pub pending: u32,
}

impl Queue {
    pub(crate) fn create(vm: &Arc<Shared>) -> Result<Queue> {
        let mut arg = sys::drm_hlrs_queue_create {
            vm_id: vm.id(),
            engine_class: sys::DRM_HLRS_ENGINE_CLASS_COPY,
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(vm.fd(), &mut arg) }.map_err(|errno| {
            let what = format!("creating one of address space {}", vm.id());
            Error::system(Operation::Queue, what, errno)
        })?;
        Ok(Queue {
            vm: vm.clone(),
            id: AtomicU32::new(arg.queue_id),
        })
    }

    /// Its number within the open file; 0 once it was destroyed.
    pub fn id(&self) -> u32 {
        self.id.load(Ordering::Relaxed)
    }

    /// Starts a job.
    pub fn job(&self) -> Submission<'_> {
        Submission::new(&self.vm, self.id())
    }

    /// Asks for its state.
    pub fn state(&self) -> Result<QueueState> {
        let mut arg = sys::drm_hlrs_queue_query {
            queue_id: self.id(),
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.vm.fd(), &mut arg) }
            .map_err(|errno| self.failed("its state", errno))?;
        Ok(QueueState {
            banned: arg.state & sys::DRM_HLRS_QUEUE_BANNED != 0,
            vm: arg.vm_id,
            pending: arg.pending,
        })
    }

    /// Destroys it now, as dropping it does. Afterwards calls fail with
    /// `ENOENT`.
    pub fn destroy(&mut self) -> Result<()> {
        self.do_destroy()
            .map_err(|errno| self.failed("destroying", errno))?;
        self.id.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn do_destroy(&self) -> std::result::Result<(), Errno> {
        let mut arg = sys::drm_hlrs_queue_destroy {
            queue_id: self.id(),
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.vm.fd(), &mut arg) }
    }

    fn failed(&self, what: &str, errno: Errno) -> Error {
        let what = format!("{what}, number {}", self.id());
        Error::system(Operation::Queue, what, errno)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.id() != 0 {
            // After the device is gone it goes with the file.
            let _ = self.do_destroy();
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("device", &self.vm.device)
            .field("vm", &self.vm.id())
            .field("id", &self.id())
            .finish()
    }
}

/// A job that was submitted, by its fence; from [`Submission::start`].
///
/// It may be dropped; the job runs all the same.
#[derive(Debug, Clone)]
#[must_use = "wait() tells whether the job succeeded"]
pub struct Work {
    done: Syncobj,
}

impl Work {
    pub(crate) fn new(done: Syncobj) -> Work {
        Work { done }
    }

    /// A binary syncobj with its fence, for others to wait for.
    pub fn syncobj(&self) -> &Syncobj {
        &self.done
    }

    /// Its fence, for other drivers and processes.
    pub fn sync_file(&self) -> Result<SyncFile> {
        self.done.binary().sync_file()
    }

    /// What became of it, without waiting.
    pub fn status(&self) -> Result<FenceStatus> {
        self.done.status()
    }

    /// Asks whether it has ended, without waiting.
    pub fn is_done(&self) -> Result<bool> {
        self.done.binary().is_done()
    }

    /// Waits for its end, and tells if it failed; with `ETIME` if it has not
    /// ended by then.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        self.done.wait(timeout)?;
        match self.done.status()? {
            FenceStatus::Failed(errno) => Err(Error::system(Operation::Job, "its fence", errno)),
            FenceStatus::Pending | FenceStatus::Done => Ok(()),
        }
    }
}
