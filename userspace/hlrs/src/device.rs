// SPDX-License-Identifier: MIT OR Apache-2.0
//! An open accel node.

use std::collections::HashMap;
use std::ffi::c_char;
use std::fs;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use hlrs_sys as sys;
use rustix::io::Errno;

use crate::buffer::BufferBuilder;
use crate::error::Cause;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::fdinfo::Usage;
use crate::ioctl;
use crate::query;
use crate::query::Engines;
use crate::query::Info;
use crate::query::Region;
use crate::query::RegionClass;

/// An open accel node of an hlrs device.
///
/// Clones share the open file. The file is closed when the last clone and the
/// last [`Buffer`](crate::Buffer) of it are dropped.
#[derive(Clone)]
pub struct Device {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    fd: OwnedFd,
    /// How many owners each GEM handle of this file has. The kernel gives the
    /// same handle when an object is imported twice, and closing it once closes
    /// it for all. The lock is held over the ioctls that open or close handles,
    /// so that a handle is never closed between its import and its counting.
    handles: Mutex<HashMap<u32, u32>>,
    regions: Vec<Region>,
}

impl Device {
    /// Opens a node, for instance `/dev/accel/accel0`.
    ///
    /// Fails if the node belongs to another driver, or if the driver speaks
    /// another major version of the interface.
    pub fn open(path: impl AsRef<Path>) -> Result<Device> {
        let path = path.as_ref();
        let what = path.display().to_string();
        let file = fs::File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|err| Error::io(Operation::Open, &what, &err))?;
        Self::from_named(file.into(), &what)
    }

    /// Takes over an open node, for instance one received from another process.
    pub fn from_fd(fd: OwnedFd) -> Result<Device> {
        let what = format!("file descriptor {}", fd.as_raw_fd());
        Self::from_named(fd, &what)
    }

    fn from_named(fd: OwnedFd, what: &str) -> Result<Device> {
        let failed = |errno| Error::system(Operation::Open, what, errno);
        let driver = driver_name(fd.as_fd()).map_err(failed)?;
        if driver != "hlrs" {
            return Err(Error::new(
                Operation::Open,
                what,
                Cause::OtherDriver(driver),
            ));
        }
        let info = query::info(fd.as_fd()).map_err(failed)?;
        if info.abi.0 != sys::DRM_HLRS_ABI_MAJOR {
            let cause = Cause::AbiVersion {
                driver: info.abi.0,
                library: sys::DRM_HLRS_ABI_MAJOR,
            };
            return Err(Error::new(Operation::Open, what, cause));
        }
        let regions = query::regions(fd.as_fd()).map_err(failed)?;
        Ok(Device {
            inner: Arc::new(Inner {
                fd,
                handles: Mutex::default(),
                regions,
            }),
        })
    }

    /// Asks about the device as such.
    pub fn info(&self) -> Result<Info> {
        query::info(self.as_fd()).map_err(|e| Error::system(Operation::Query, "device", e))
    }

    /// Asks about the memory regions and their use now.
    pub fn regions(&self) -> Result<Vec<Region>> {
        query::regions(self.as_fd()).map_err(|e| Error::system(Operation::Query, "regions", e))
    }

    /// Asks about the engines.
    pub fn engines(&self) -> Result<Vec<Engines>> {
        query::engines(self.as_fd()).map_err(|e| Error::system(Operation::Query, "engines", e))
    }

    /// Asks about the first region of a kind.
    pub fn region(&self, class: RegionClass) -> Result<Region> {
        self.regions()?
            .into_iter()
            .find(|r| r.class == class)
            .ok_or_else(|| Error::new(Operation::Query, format!("{class:?}"), Cause::NoSuchRegion))
    }

    /// Asks about the device's own memory.
    pub fn lmem(&self) -> Result<Region> {
        self.region(RegionClass::Lmem)
    }

    /// Starts the creation of a buffer of `size` bytes, in the device's own
    /// memory unless the builder is told otherwise.
    pub fn buffer(&self, size: u64) -> BufferBuilder<'_> {
        BufferBuilder::new(self, size)
    }

    /// Makes this open file the owner of the device: until it is closed or
    /// [`disown`](Self::disown) is called the node cannot be opened, and
    /// importers that cannot be revoked may attach to what it exports, where the
    /// administrator allows that.
    ///
    /// Fails with `EBUSY` if the node is open elsewhere, or if such an importer
    /// of an earlier owner is still attached.
    pub fn own(&self) -> Result<()> {
        self.ownership(sys::DRM_HLRS_DEVICE_OWN_ACQUIRE, "to own it")
    }

    /// Ends the ownership; fails with `EPERM` if there is none.
    pub fn disown(&self) -> Result<()> {
        self.ownership(sys::DRM_HLRS_DEVICE_OWN_RELEASE, "to own it no longer")
    }

    fn ownership(&self, op: u32, what: &str) -> Result<()> {
        let mut arg = sys::drm_hlrs_device_own {
            op,
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.as_fd(), &mut arg) }
            .map_err(|errno| Error::system(Operation::Own, what, errno))
    }

    /// What this open file has consumed so far.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.as_fd())
    }

    /// Whether both are clones of one open file, whose handles mean the same.
    pub(crate) fn is_same_file(&self, other: &Device) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Number of the first region of a kind; regions never change.
    pub(crate) fn instance(&self, class: RegionClass) -> Option<u32> {
        self.inner
            .regions
            .iter()
            .find(|r| r.class == class)
            .map(|r| r.instance)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.fd.as_fd()
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Device")
            .field(&self.inner.fd.as_raw_fd())
            .finish()
    }
}

impl Inner {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn handles(&self) -> MutexGuard<'_, HashMap<u32, u32>> {
        // The table is never left half-changed, so a panic elsewhere while the
        // lock was held does not make it wrong.
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `open`, which returns a GEM handle, and counts one owner for it.
    pub(crate) fn open_handle(
        &self,
        open: impl FnOnce() -> std::result::Result<u32, Errno>,
    ) -> std::result::Result<u32, Errno> {
        let mut handles = self.handles();
        let handle = open()?;
        *handles.entry(handle).or_insert(0) += 1;
        Ok(handle)
    }

    /// Gives up one owner's share of a handle, and closes it with the last one.
    pub(crate) fn close_handle(&self, handle: u32) {
        let mut handles = self.handles();
        let Some(owners) = handles.get_mut(&handle) else {
            return;
        };
        *owners -= 1;
        if *owners == 0 {
            handles.remove(&handle);
            let mut arg = sys::drm_gem_close { handle, pad: 0 };
            // After the device is gone the kernel refuses, and releases the
            // handle with the file instead: there is nothing left to do here.
            // SAFETY: the argument has no pointers.
            let _ = unsafe { ioctl::call(self.fd(), &mut arg) };
        }
    }
}

/// Name of the driver that a DRM node belongs to.
fn driver_name(fd: BorrowedFd<'_>) -> std::result::Result<String, Errno> {
    let mut name = [0u8; 64];
    let mut arg = sys::drm_version {
        version_major: 0,
        version_minor: 0,
        version_patchlevel: 0,
        name_len: name.len(),
        name: name.as_mut_ptr().cast::<c_char>(),
        date_len: 0,
        date: std::ptr::null_mut(),
        desc_len: 0,
        desc: std::ptr::null_mut(),
    };
    // SAFETY: `name` has `name_len` bytes; the other two strings are not asked
    // for, as their lengths are 0.
    unsafe { ioctl::call(fd, &mut arg)? };
    // The kernel reports the full length even if it had to cut the name.
    let len = arg.name_len.min(name.len());
    Ok(String::from_utf8_lossy(&name[..len]).into_owned())
}
