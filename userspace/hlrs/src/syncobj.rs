// SPDX-License-Identifier: MIT OR Apache-2.0
//! Syncobjs of DRM: places for fences, which jobs and binds wait for and signal.

use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use hlrs_sys as sys;
use rustix::io::Errno;
use rustix::time;

use crate::device::Device;
use crate::error::Cause;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::ioctl;
use crate::sync_file::FenceStatus;
use crate::sync_file::SyncFile;

/// A place for a fence of an open device.
///
/// A *binary* syncobj has one fence, which each signaller replaces. A
/// *timeline* has one for each of its points, which are numbers that grow; it
/// is used by [`at`](Self::at). Which of the two a syncobj is nobody says but
/// its users.
///
/// Clones are the same syncobj, which is destroyed with the last of them; jobs
/// keep their fences.
#[derive(Clone)]
pub struct Syncobj {
    handle: Arc<Handle>,
}

struct Handle {
    device: Device,
    raw: u32,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut arg = sys::drm_syncobj_destroy {
            handle: self.raw,
            pad: 0,
        };
        // After the device is gone it goes with the file.
        // SAFETY: the argument has no pointers.
        let _ = unsafe { ioctl::call(self.device.as_fd(), &mut arg) };
    }
}

impl Device {
    /// Creates a syncobj without a fence.
    pub fn syncobj(&self) -> Result<Syncobj> {
        self.create_syncobj(0)
    }

    /// Creates a syncobj with a fence that has signalled.
    pub fn signalled_syncobj(&self) -> Result<Syncobj> {
        self.create_syncobj(sys::DRM_SYNCOBJ_CREATE_SIGNALED)
    }

    fn create_syncobj(&self, flags: u32) -> Result<Syncobj> {
        let mut arg = sys::drm_syncobj_create { handle: 0, flags };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.as_fd(), &mut arg) }
            .map_err(|errno| Error::system(Operation::Syncobj, "creating one", errno))?;
        Ok(Syncobj::from_raw(self, arg.handle))
    }

    /// Takes a syncobj that [`Syncobj::export`] has put into a descriptor,
    /// perhaps in another process or of another device.
    pub fn import_syncobj(&self, fd: impl AsFd) -> Result<Syncobj> {
        let mut arg = sys::drm_syncobj_handle {
            fd: fd.as_fd().as_raw_fd(),
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::shared(self.as_fd(), ioctl::SyncobjFd::FdToHandle, &mut arg) }
            .map_err(|errno| Error::system(Operation::Syncobj, "importing one", errno))?;
        Ok(Syncobj::from_raw(self, arg.handle))
    }
}

impl Syncobj {
    fn from_raw(device: &Device, raw: u32) -> Syncobj {
        Syncobj {
            handle: Arc::new(Handle {
                device: device.clone(),
                raw,
            }),
        }
    }

    /// The device that it can be used with.
    pub fn device(&self) -> &Device {
        &self.handle.device
    }

    /// Its handle, for calls that this crate does not know.
    pub fn handle(&self) -> u32 {
        self.handle.raw
    }

    /// A point of the timeline; 0 is no point.
    pub fn at(&self, point: u64) -> SyncPoint<'_> {
        SyncPoint {
            syncobj: self,
            point,
        }
    }

    /// Its fence, as a binary syncobj.
    pub fn binary(&self) -> SyncPoint<'_> {
        self.at(0)
    }

    /// Waits for its fence as [`SyncPoint::wait`] does.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        self.binary().wait(timeout)
    }

    /// What became of the work that its fence stands for; as
    /// [`SyncPoint::status`].
    pub fn status(&self) -> Result<FenceStatus> {
        self.binary().status()
    }

    /// Takes its fences away.
    pub fn reset(&self) -> Result<()> {
        let mut arg = sys::drm_syncobj_array {
            handles: &raw const self.handle.raw as u64,
            count_handles: 1,
            pad: 0,
        };
        // SAFETY: `handles` designates one handle.
        unsafe { ioctl::shared(self.fd(), ioctl::SyncobjArray::Reset, &mut arg) }
            .map_err(|errno| self.failed("resetting", errno))
    }

    /// The last point of the timeline that has signalled.
    pub fn reached(&self) -> Result<u64> {
        let mut point = 0u64;
        let mut arg = sys::drm_syncobj_timeline_array {
            handles: &raw const self.handle.raw as u64,
            points: &raw mut point as u64,
            count_handles: 1,
            flags: 0,
        };
        // SAFETY: `handles` designates one handle, and `points` room for one.
        unsafe { ioctl::shared(self.fd(), ioctl::TimelineArray::Query, &mut arg) }
            .map_err(|errno| self.failed("asking", errno))?;
        Ok(point)
    }

    /// Puts it into a descriptor, which is closed on exec, for another process
    /// or device: what one signals the other sees.
    pub fn export(&self) -> Result<OwnedFd> {
        let mut arg = sys::drm_syncobj_handle {
            handle: self.handle.raw,
            fd: -1,
            ..Default::default()
        };
        self.to_fd(&mut arg, "exporting")
    }

    /// Gives it the fence of a sync file.
    pub fn import_sync_file(&self, file: &SyncFile) -> Result<()> {
        let mut arg = sys::drm_syncobj_handle {
            handle: self.handle.raw,
            flags: sys::DRM_SYNCOBJ_IMPORT_SYNC_FILE,
            fd: file.as_fd().as_raw_fd(),
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::shared(self.fd(), ioctl::SyncobjFd::FdToHandle, &mut arg) }
            .map_err(|errno| self.failed("taking the fence of a sync file", errno))
    }

    fn to_fd(&self, arg: &mut sys::drm_syncobj_handle, what: &str) -> Result<OwnedFd> {
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::shared(self.fd(), ioctl::SyncobjFd::HandleToFd, arg) }
            .map_err(|errno| self.failed(what, errno))?;
        // SAFETY: the kernel has just installed this descriptor for us alone.
        Ok(unsafe { OwnedFd::from_raw_fd(arg.fd) })
    }

    fn failed(&self, what: &str, errno: Errno) -> Error {
        let what = format!("{what} handle {}", self.handle.raw);
        Error::system(Operation::Syncobj, what, errno)
    }

    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.handle.device.as_fd()
    }
}

impl fmt::Debug for Syncobj {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Syncobj")
            .field("device", &self.handle.device)
            .field("handle", &self.handle.raw)
            .finish()
    }
}

/// The fence of a binary syncobj, or a point of a timeline.
#[derive(Debug, Clone, Copy)]
pub struct SyncPoint<'a> {
    syncobj: &'a Syncobj,
    point: u64,
}

impl<'a> From<&'a Syncobj> for SyncPoint<'a> {
    fn from(syncobj: &'a Syncobj) -> Self {
        syncobj.binary()
    }
}

impl SyncPoint<'_> {
    /// Waits until the work has ended; whether it was done
    /// [`status`](Self::status) tells.
    ///
    /// Fails with `ETIME` if that takes longer than `timeout`, and with `EINVAL`
    /// if there is no fence yet.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        self.do_wait(timeout, 0)
    }

    /// As [`wait`](Self::wait), also for a fence that is not there yet.
    pub fn wait_for_submit(&self, timeout: Duration) -> Result<()> {
        self.do_wait(timeout, sys::DRM_SYNCOBJ_WAIT_FOR_SUBMIT)
    }

    /// Waits until there is a fence, and not for what it stands for.
    pub fn wait_available(&self, timeout: Duration) -> Result<()> {
        self.do_wait(timeout, sys::DRM_SYNCOBJ_WAIT_AVAILABLE)
    }

    fn do_wait(&self, timeout: Duration, flags: u32) -> Result<()> {
        let mut arg = sys::drm_syncobj_timeline_wait {
            handles: &raw const self.syncobj.handle.raw as u64,
            points: &raw const self.point as u64,
            timeout_nsec: deadline(timeout),
            count_handles: 1,
            flags: flags | sys::DRM_SYNCOBJ_WAIT_ALL,
            ..Default::default()
        };
        // SAFETY: `handles` and `points` designate one each.
        unsafe { ioctl::call(self.syncobj.fd(), &mut arg) }
            .map_err(|errno| self.failed("waiting for", errno))
    }

    /// Asks whether the work has ended, without waiting.
    pub fn is_done(&self) -> Result<bool> {
        match self.wait(Duration::ZERO) {
            Ok(()) => Ok(true),
            Err(err) if err.errno() == Some(Errno::TIME) => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// What became of the work, without waiting. A timeline forgets what became
    /// of points that later ones have followed.
    pub fn status(&self) -> Result<FenceStatus> {
        self.sync_file()?.status()
    }

    /// Makes it signal now.
    pub fn signal(&self) -> Result<()> {
        let handles = &raw const self.syncobj.handle.raw as u64;
        if self.point == 0 {
            let mut arg = sys::drm_syncobj_array {
                handles,
                count_handles: 1,
                pad: 0,
            };
            // SAFETY: `handles` designates one handle.
            unsafe { ioctl::shared(self.syncobj.fd(), ioctl::SyncobjArray::Signal, &mut arg) }
        } else {
            let mut arg = sys::drm_syncobj_timeline_array {
                handles,
                points: &raw const self.point as u64,
                count_handles: 1,
                flags: 0,
            };
            // SAFETY: `handles` and `points` designate one each, and are read.
            unsafe { ioctl::shared(self.syncobj.fd(), ioctl::TimelineArray::Signal, &mut arg) }
        }
        .map_err(|errno| self.failed("signalling", errno))
    }

    /// Gives it the fence of another one of the same device.
    pub fn transfer_from<'b>(&self, from: impl Into<SyncPoint<'b>>) -> Result<()> {
        let from = from.into();
        if !self.syncobj.device().is_same_file(from.syncobj.device()) {
            let cause = Cause::DifferentDevices;
            return Err(Error::new(Operation::Syncobj, "transfer of a fence", cause));
        }
        let mut arg = sys::drm_syncobj_transfer {
            src_handle: from.syncobj.handle.raw,
            dst_handle: self.syncobj.handle.raw,
            src_point: from.point,
            dst_point: self.point,
            flags: 0,
            pad: 0,
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.syncobj.fd(), &mut arg) }
            .map_err(|errno| self.failed("transferring a fence to", errno))
    }

    /// The fence that it has now, for other drivers and processes.
    pub fn sync_file(&self) -> Result<SyncFile> {
        if self.point != 0 {
            // Older kernels export the fence of a binary syncobj only.
            let binary = self.syncobj.device().syncobj()?;
            binary.binary().transfer_from(*self)?;
            return binary.binary().sync_file();
        }
        let mut arg = sys::drm_syncobj_handle {
            handle: self.syncobj.handle.raw,
            flags: sys::DRM_SYNCOBJ_EXPORT_SYNC_FILE,
            fd: -1,
            ..Default::default()
        };
        let fd = self
            .syncobj
            .to_fd(&mut arg, "making a sync file of the fence of")?;
        Ok(SyncFile::from(fd))
    }

    /// The structure that binds and jobs take, if the point is one of `device`.
    pub(crate) fn raw(
        &self,
        device: &Device,
        signal: bool,
    ) -> std::result::Result<sys::drm_hlrs_sync, Cause> {
        if !device.is_same_file(self.syncobj.device()) {
            return Err(Cause::DifferentDevices);
        }
        let mut flags = 0;
        if signal {
            flags |= sys::DRM_HLRS_SYNC_SIGNAL;
        }
        if self.point != 0 {
            flags |= sys::DRM_HLRS_SYNC_TIMELINE;
        }
        Ok(sys::drm_hlrs_sync {
            handle: self.syncobj.handle.raw,
            flags,
            timeline_value: self.point,
            ..Default::default()
        })
    }

    fn failed(&self, what: &str, errno: Errno) -> Error {
        match self.point {
            0 => self.syncobj.failed(what, errno),
            point => self
                .syncobj
                .failed(&format!("{what} point {point} of"), errno),
        }
    }
}

/// The absolute time that lies `timeout` ahead, for calls that are made again.
fn deadline(timeout: Duration) -> i64 {
    let now = time::clock_gettime(time::ClockId::Monotonic);
    let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
    i64::try_from(now.saturating_add(timeout).as_nanos()).unwrap_or(i64::MAX)
}
