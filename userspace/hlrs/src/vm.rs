// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address spaces of a device.

use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use hlrs_sys as sys;

use crate::bind::Bind;
use crate::bind::BindOp;
use crate::device::Device;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::ioctl;
use crate::queue::Queue;

/// An address space of a device: what addresses mean to the jobs of its queues.
///
/// It is destroyed when it and all its [`Queue`]s are dropped. While a [`VmFd`]
/// of it is open that is refused, so that it lives until the [`Device`] is
/// closed; close the descriptor first.
///
/// ```no_run
/// # use std::time::Duration;
/// # fn main() -> hlrs::Result<()> {
/// # let device = hlrs::list()?[0].open()?;
/// let vm = device.vm().create()?;
/// let (a, b) = (device.buffer(2 << 20).create()?, device.buffer(4096).create()?);
/// vm.bind()
///     .map(0x1000_0000, &a)
///     .op(hlrs::BindOp::map(0x2000_0000, &b).read_only())
///     .submit()?;
/// let queue = vm.queue()?;
/// queue
///     .job()
///     .fill(0x1000_0000, 2 << 20, 0x55)
///     .copy(0x1000_0000, 0x2000_0000, 4096)
///     .run(Duration::from_secs(10))?;
/// # Ok(())
/// # }
/// ```
pub struct Vm {
    shared: Arc<Shared>,
}

/// What a VM and its queues have in common.
pub(crate) struct Shared {
    pub(crate) device: Device,
    /// Number within the file; 0, which is none, once it is destroyed.
    id: AtomicU32,
}

impl Shared {
    pub(crate) fn id(&self) -> u32 {
        self.id.load(Ordering::Relaxed)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    fn destroy(&self) -> std::result::Result<(), rustix::io::Errno> {
        let mut arg = sys::drm_hlrs_vm_destroy {
            vm_id: self.id(),
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.fd(), &mut arg) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.id() != 0 {
            // What is refused now happens when the file is closed.
            let _ = self.destroy();
        }
    }
}

/// What a new address space is to be like; from [`Device::vm`].
#[derive(Debug, Clone)]
#[must_use = "nothing is created before create()"]
pub struct VmBuilder<'a> {
    device: &'a Device,
    flags: u32,
}

impl VmBuilder<'_> {
    /// Lets processes with other credentials use its [`VmFd`], too.
    pub fn shared(mut self) -> Self {
        self.flags |= sys::DRM_HLRS_VM_CREATE_SHARED;
        self
    }

    /// Creates the address space, with nothing mapped.
    pub fn create(self) -> Result<Vm> {
        let mut arg = sys::drm_hlrs_vm_create {
            flags: self.flags,
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.device.as_fd(), &mut arg) }
            .map_err(|errno| Error::system(Operation::Vm, "creating one", errno))?;
        Ok(Vm {
            shared: Arc::new(Shared {
                device: self.device.clone(),
                id: AtomicU32::new(arg.vm_id),
            }),
        })
    }
}

impl Device {
    /// Starts the creation of an address space.
    pub fn vm(&self) -> VmBuilder<'_> {
        VmBuilder {
            device: self,
            flags: 0,
        }
    }
}

impl Vm {
    /// The device that it is an address space of.
    pub fn device(&self) -> &Device {
        &self.shared.device
    }

    /// Its number within the open file, for calls that this crate does not know;
    /// 0 once it was destroyed.
    pub fn id(&self) -> u32 {
        self.shared.id()
    }

    /// Starts a change of what is mapped.
    pub fn bind(&self) -> Bind<'_> {
        Bind::new(&self.shared)
    }

    /// Maps all of a buffer, and waits until that is done; [`bind`](Self::bind)
    /// can do more.
    pub fn map(&self, va: u64, buffer: &crate::Buffer) -> Result<()> {
        self.bind().map(va, buffer).submit()
    }

    /// Unmaps a range, and waits until that is done.
    pub fn unmap(&self, va: u64, size: u64) -> Result<()> {
        self.bind().op(BindOp::unmap(va, size)).submit()
    }

    /// Creates a queue of jobs for the copy engines.
    pub fn queue(&self) -> Result<Queue> {
        Queue::create(&self.shared)
    }

    /// Asks for its state.
    pub fn state(&self) -> Result<VmState> {
        let mut arg = sys::drm_hlrs_vm_query {
            vm_id: self.id(),
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.shared.fd(), &mut arg) }
            .map_err(|errno| self.failed("its state", errno))?;
        Ok(VmState::from_raw(&arg))
    }

    /// Puts it into a descriptor that other drivers of the device take, closed
    /// on exec.
    ///
    /// Fails with `EEXIST` while an earlier descriptor is open.
    pub fn export(&self) -> Result<VmFd> {
        let mut arg = sys::drm_hlrs_vm_export {
            vm_id: self.id(),
            fd: -1,
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.shared.fd(), &mut arg) }
            .map_err(|errno| self.failed("exporting", errno))?;
        // SAFETY: the kernel has just installed this descriptor for us alone.
        Ok(VmFd::from(unsafe { OwnedFd::from_raw_fd(arg.fd) }))
    }

    /// Destroys it now, and tells if that is refused: with `EBUSY` while it has
    /// queues, is exported, or is registered with another driver. It can be used
    /// on then; after success there is none, and calls fail with `ENOENT`.
    pub fn destroy(&mut self) -> Result<()> {
        self.shared
            .destroy()
            .map_err(|errno| self.failed("destroying", errno))?;
        self.shared.id.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn failed(&self, what: &str, errno: rustix::io::Errno) -> Error {
        Error::system(
            Operation::Vm,
            format!("{what}, number {}", self.id()),
            errno,
        )
    }
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm")
            .field("device", &self.shared.device)
            .field("id", &self.id())
            .finish()
    }
}

/// An address space in a file descriptor, for other drivers of the device.
///
/// It holds the address space, but not what is mapped beyond the life of the
/// [`Device`]: when that is closed, the descriptor is good for nothing.
#[derive(Debug)]
pub struct VmFd {
    fd: OwnedFd,
}

impl VmFd {
    /// Another descriptor of the same export, closed on exec.
    pub fn try_clone(&self) -> Result<VmFd> {
        let fd = self.fd.try_clone();
        fd.map(VmFd::from)
            .map_err(|err| Error::io(Operation::Vm, "duplicating a descriptor", &err))
    }
}

impl From<OwnedFd> for VmFd {
    fn from(fd: OwnedFd) -> Self {
        VmFd { fd }
    }
}

impl From<VmFd> for OwnedFd {
    fn from(vm: VmFd) -> Self {
        vm.fd
    }
}

impl AsFd for VmFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The state of an address space.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VmState {
    /// A job has failed in it: no more jobs, only destroying it is left.
    pub banned: bool,
    /// A [`VmFd`] of it is open.
    pub exported: bool,
    /// Another driver uses it.
    pub registered: bool,
    /// Why it was banned.
    pub fault: Option<Fault>,
    /// Bytes of addresses that are mapped.
    pub mapped: u64,
    /// Bytes of LMEM that its page tables take.
    pub page_tables: u64,
}

/// Why an address space was banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The address that could not be accessed; 0 after a time-out.
    pub va: u64,
    /// What was wrong.
    pub reason: FaultReason,
    /// Whether the access was a write.
    pub write: bool,
    /// Number of the queue whose job it was, see [`Queue::id`].
    pub queue: u32,
}

/// What was wrong with an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultReason {
    /// Nothing is mapped at the address.
    NotPresent,
    /// A write to a mapping that is for reading only.
    ReadOnly,
    /// The address lies beyond the address space.
    OutOfRange,
    /// The memory behind the address did not answer.
    Bus,
    /// An uncorrectable error in LMEM.
    LmemError,
    /// It was no access: a job did not end in time.
    TimedOut,
    /// Something else.
    Other,
    /// One that this version of the crate does not know.
    Unknown(u32),
}

impl VmState {
    fn from_raw(raw: &sys::drm_hlrs_vm_query) -> VmState {
        let fault = &raw.fault;
        let reason = match fault.reason {
            sys::DRM_HLRS_FAULT_NONE => None,
            sys::DRM_HLRS_FAULT_NOT_PRESENT => Some(FaultReason::NotPresent),
            sys::DRM_HLRS_FAULT_READ_ONLY => Some(FaultReason::ReadOnly),
            sys::DRM_HLRS_FAULT_VA_RANGE => Some(FaultReason::OutOfRange),
            sys::DRM_HLRS_FAULT_BUS => Some(FaultReason::Bus),
            sys::DRM_HLRS_FAULT_LMEM_ERROR => Some(FaultReason::LmemError),
            sys::DRM_HLRS_FAULT_TIMEOUT => Some(FaultReason::TimedOut),
            sys::DRM_HLRS_FAULT_OTHER => Some(FaultReason::Other),
            other => Some(FaultReason::Unknown(other)),
        };
        VmState {
            banned: raw.state & sys::DRM_HLRS_VM_BANNED != 0,
            exported: raw.state & sys::DRM_HLRS_VM_EXPORTED != 0,
            registered: raw.state & sys::DRM_HLRS_VM_REGISTERED != 0,
            fault: reason.map(|reason| Fault {
                va: fault.va,
                reason,
                write: fault.flags & sys::DRM_HLRS_FAULT_WRITE != 0,
                queue: fault.queue_id,
            }),
            mapped: raw.mapped,
            page_tables: raw.page_tables,
        }
    }
}
