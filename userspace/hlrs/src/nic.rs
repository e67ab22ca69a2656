// SPDX-License-Identifier: MIT OR Apache-2.0
//! The NIC of an accelerator: copies between address spaces.

use std::fmt;
use std::fs;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use hlrs_sys as sys;
use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::error::Cause;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::ioctl;
use crate::node::Node;
use crate::sync_file::poll;

/// An open NIC of a function: the address spaces that were registered through
/// it, and the copies between them.
///
/// Copies of one open file run and end in their order. Clones share the open
/// file, as does another process that was given the descriptor: two processes
/// that want to copy between their address spaces share one, and each registers
/// its own. The file is closed, and the registrations end, when the last clone,
/// the last [`NicVm`] and the last [`NicCopy`] of it are dropped.
///
/// ```no_run
/// # use std::time::Duration;
/// # fn main() -> hlrs::Result<()> {
/// # let node = &hlrs::list()?[0];
/// # let (one, two) = (node.open()?, node.open()?);
/// let (a, b) = (one.vm().create()?, two.vm().create()?);
/// a.map(0x1000_0000, &one.buffer(2 << 20).create()?)?;
/// b.map(0x5000_0000, &two.buffer(2 << 20).create()?)?;
///
/// let nic = node.open_nic()?;
/// let (src, dst) = (nic.register(&a.export()?)?, nic.register(&b.export()?)?);
/// nic.copy(&src, 0x1000_0000, &dst, 0x5000_0000, 2 << 20)
///     .run(Duration::from_secs(10))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Nic {
    fd: Arc<OwnedFd>,
}

/// What a NIC tells about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NicInfo {
    /// Major and minor version of its interface.
    pub abi: (u32, u32),
    /// Unique number of the card, as in [`Info`](crate::Info).
    pub uid: u64,
    /// 0 on a physical function, otherwise the number of the virtual one.
    pub vf_id: u32,
    /// Address spaces that can be registered at a time, by all open files.
    pub max_vms: u32,
    /// Bytes of the largest copy.
    pub max_copy_size: u64,
    /// Copies of an open file that can be pending at a time.
    pub max_pending: u32,
    /// Copies of an open file whose results are remembered.
    pub max_results: u32,
}

impl Nic {
    /// Opens a node, for instance `/dev/hlrs_nic0`.
    ///
    /// Fails if the driver speaks another major version of the interface.
    pub fn open(path: impl AsRef<Path>) -> Result<Nic> {
        let path = path.as_ref();
        let what = path.display().to_string();
        let file = fs::File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|err| Error::io(Operation::Open, &what, &err))?;
        Self::from_named(file.into(), &what)
    }

    /// Takes over an open node, for instance one received from another process,
    /// or one that was opened with `O_NONBLOCK`: copies are then refused with
    /// `EAGAIN` instead of waiting for room.
    pub fn from_fd(fd: OwnedFd) -> Result<Nic> {
        let what = format!("file descriptor {}", fd.as_raw_fd());
        Self::from_named(fd, &what)
    }

    fn from_named(fd: OwnedFd, what: &str) -> Result<Nic> {
        let nic = Nic { fd: Arc::new(fd) };
        let info = nic
            .query()
            .map_err(|errno| Error::system(Operation::Open, what, errno))?;
        if info.abi.0 != sys::HLRS_NIC_ABI_MAJOR {
            let cause = Cause::AbiVersion {
                driver: info.abi.0,
                library: sys::HLRS_NIC_ABI_MAJOR,
            };
            return Err(Error::new(Operation::Open, what, cause));
        }
        Ok(nic)
    }

    /// Asks about the NIC as such.
    pub fn info(&self) -> Result<NicInfo> {
        self.query()
            .map_err(|errno| Error::system(Operation::Query, "NIC", errno))
    }

    fn query(&self) -> std::result::Result<NicInfo, Errno> {
        let mut arg = sys::hlrs_nic_query::default();
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.as_fd(), &mut arg) }?;
        Ok(NicInfo {
            abi: (arg.abi_major, arg.abi_minor),
            uid: arg.uid,
            vf_id: arg.vf_id,
            max_vms: arg.max_vms,
            max_copy_size: arg.max_copy_size,
            max_pending: arg.max_pending,
            max_results: arg.max_results,
        })
    }

    /// Lets the engine use an address space; usually a [`VmFd`](crate::VmFd),
    /// which may be closed afterwards.
    ///
    /// Fails with `EACCES` if the address space is not for the credentials of
    /// this process, with `EXDEV` if it is one of another function or device.
    pub fn register(&self, vm: impl AsFd) -> Result<NicVm> {
        let fd = vm.as_fd().as_raw_fd();
        let mut arg = sys::hlrs_nic_vm_register {
            fd,
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.as_fd(), &mut arg) }.map_err(|errno| {
            let what = format!("registering the address space of descriptor {fd}");
            Error::system(Operation::Nic, what, errno)
        })?;
        Ok(NicVm {
            nic: self.clone(),
            number: arg.vm,
        })
    }

    /// Starts a copy of `size` bytes from the address `src_va` of `src` to
    /// `dst_va` of `dst`. Any bytes will do; the two may be one address space, but
    /// the ranges not overlap then.
    pub fn copy<'a>(
        &'a self,
        src: &'a NicVm,
        src_va: u64,
        dst: &'a NicVm,
        dst_va: u64,
        size: u64,
    ) -> NicCopyBuilder<'a> {
        NicCopyBuilder {
            nic: self,
            vms: (src, dst),
            vas: (src_va, dst_va),
            size,
            eventfd: None,
        }
    }

    /// The copy with the number `seqno` of this open file, perhaps one that
    /// another process has submitted.
    pub fn pending(&self, seqno: u64) -> NicCopy {
        NicCopy {
            nic: self.clone(),
            seqno,
        }
    }

    /// Waits until no copy of the open file is pending; fails with `ETIME` if
    /// that takes longer than `timeout`.
    pub fn wait_idle(&self, timeout: Duration) -> Result<()> {
        let failed = |errno| Error::system(Operation::Nic, "waiting for all copies", errno);
        match poll(self.as_fd(), PollFlags::IN, timeout).map_err(failed)? {
            None => Err(failed(Errno::TIME)),
            Some(events) if events.contains(PollFlags::HUP) => Err(failed(Errno::NODEV)),
            Some(_) => Ok(()),
        }
    }
}

impl AsFd for Nic {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for Nic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Nic").field(&self.fd.as_raw_fd()).finish()
    }
}

impl Node {
    /// The node of the function's NIC; `None` while no driver is bound to it.
    pub fn nic(&self) -> Option<PathBuf> {
        let function = Path::new("/sys/bus/pci/devices").join(&self.address);
        let names = |directory: PathBuf| {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok())
        };
        let auxiliary = names(function.clone()).find(|name| name.starts_with("hlrs.nic."))?;
        let node = names(function.join(auxiliary).join("misc")).next()?;
        Some(Path::new("/dev").join(node))
    }

    /// Opens the function's NIC; fails with `ENODEV` while no driver is bound to
    /// it.
    pub fn open_nic(&self) -> Result<Nic> {
        match self.nic() {
            Some(path) => Nic::open(path),
            None => {
                let what = format!("the NIC of {}", self.address);
                Err(Error::system(Operation::Open, what, Errno::NODEV))
            }
        }
    }
}

/// An address space that the engine may use; until this is dropped.
pub struct NicVm {
    nic: Nic,
    /// Number within the open file.
    number: u32,
}

impl NicVm {
    /// Its number within the open file, for calls that this crate does not know.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Ends the registration now, as dropping does: copies that are pending end
    /// with `ECANCELED`, and the engine does not access the address space any
    /// more when this returns.
    pub fn unregister(self) -> Result<()> {
        let nic = self.nic.clone();
        let number = self.number;
        std::mem::forget(self);
        unregister(&nic, number).map_err(|errno| {
            let what = format!("unregistering address space {number}");
            Error::system(Operation::Nic, what, errno)
        })
    }
}

fn unregister(nic: &Nic, vm: u32) -> std::result::Result<(), Errno> {
    let mut arg = sys::hlrs_nic_vm_unregister {
        vm,
        ..Default::default()
    };
    // SAFETY: the argument has no pointers.
    unsafe { ioctl::call(nic.as_fd(), &mut arg) }
}

impl Drop for NicVm {
    fn drop(&mut self) {
        // After the device is gone there is nothing to unregister from.
        let _ = unregister(&self.nic, self.number);
    }
}

impl fmt::Debug for NicVm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NicVm")
            .field("nic", &self.nic)
            .field("number", &self.number)
            .finish()
    }
}

/// A copy to be; from [`Nic::copy`].
#[derive(Debug, Clone)]
#[must_use = "nothing is copied before start() or run()"]
pub struct NicCopyBuilder<'a> {
    nic: &'a Nic,
    vms: (&'a NicVm, &'a NicVm),
    vas: (u64, u64),
    size: u64,
    eventfd: Option<BorrowedFd<'a>>,
}

impl<'a> NicCopyBuilder<'a> {
    /// Adds 1 to an eventfd at the end of the copy, however it ends.
    pub fn eventfd(mut self, eventfd: BorrowedFd<'a>) -> Self {
        self.eventfd = Some(eventfd);
        self
    }

    /// Queues the copy. While too many copies are pending this waits.
    ///
    /// Fails with `ESTALE` if one of the address spaces was revoked, because its
    /// device file was closed, or is banned.
    pub fn start(self) -> Result<NicCopy> {
        let (src, dst) = self.vms;
        if [src, dst]
            .iter()
            .any(|vm| !Arc::ptr_eq(&vm.nic.fd, &self.nic.fd))
        {
            return Err(self.failed(Cause::DifferentDevices));
        }
        let mut arg = sys::hlrs_nic_copy {
            src_vm: src.number,
            dst_vm: dst.number,
            src: self.vas.0,
            dst: self.vas.1,
            size: self.size,
            ..Default::default()
        };
        if let Some(eventfd) = self.eventfd {
            arg.flags = sys::HLRS_NIC_COPY_EVENTFD;
            arg.eventfd = eventfd.as_raw_fd();
        }
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.nic.as_fd(), &mut arg) }
            .map_err(|errno| self.failed(Cause::System(errno)))?;
        Ok(self.nic.pending(arg.seqno))
    }

    /// Queues the copy, waits for its end, and tells if it failed.
    pub fn run(self, timeout: Duration) -> Result<()> {
        self.start()?.wait(timeout)
    }

    fn failed(&self, cause: Cause) -> Error {
        let ((src, dst), (from, to)) = (self.vms, self.vas);
        let what = format!(
            "{} bytes from {from:#x} of address space {} to {to:#x} of {}",
            self.size, src.number, dst.number
        );
        Error::new(Operation::NicCopy, what, cause)
    }
}

/// A copy that was submitted; from [`NicCopyBuilder::start`].
///
/// It may be dropped; the copy runs all the same. Results are remembered of the
/// last [`NicInfo::max_results`] copies only.
#[derive(Debug, Clone)]
#[must_use = "wait() tells whether the copy succeeded"]
pub struct NicCopy {
    nic: Nic,
    seqno: u64,
}

impl NicCopy {
    /// Its number within the open file, from 1.
    pub fn seqno(&self) -> u64 {
        self.seqno
    }

    /// Waits for its end, and tells if it failed; with `ETIME` if it has not
    /// ended by then.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        let failed = |errno| Error::system(Operation::NicCopy, format!("{}", self.seqno), errno);
        match self.outcome(timeout).map_err(failed)? {
            0 => Ok(()),
            result => Err(failed(Errno::from_raw_os_error(result.saturating_neg()))),
        }
    }

    /// Asks whether it has ended, without waiting.
    pub fn is_done(&self) -> Result<bool> {
        match self.outcome(Duration::ZERO) {
            Ok(_) => Ok(true),
            Err(Errno::TIME) => Ok(false),
            Err(errno) => {
                let what = format!("{}", self.seqno);
                Err(Error::system(Operation::NicCopy, what, errno))
            }
        }
    }

    /// 0, or the negative error number with which it has ended.
    fn outcome(&self, timeout: Duration) -> std::result::Result<i32, Errno> {
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let mut arg = sys::hlrs_nic_wait {
                seqno: self.seqno,
                timeout_ns: i64::try_from(left.as_nanos()).unwrap_or(i64::MAX),
                ..Default::default()
            };
            // SAFETY: the argument has no pointers.
            match unsafe { ioctl::once(self.nic.as_fd(), &mut arg) } {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
                Ok(()) => return Ok(arg.result),
            }
        }
    }
}
