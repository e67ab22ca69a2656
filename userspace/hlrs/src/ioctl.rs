// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls of nodes, NICs, dma-bufs and sync files, each bound to the structure
//! that it takes.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::ioctl;

use hlrs_sys as sys;

/// An argument structure of an ioctl.
///
/// # Safety
///
/// The ioctl `NUMBER` of the file that it is for, an hlrs node, that of a NIC, a
/// dma-buf or a sync file, must read and write nothing but the structure itself, and memory
/// that pointers in it designate.
pub(crate) unsafe trait Argument {
    /// Number of the ioctl.
    const NUMBER: u32;
}

macro_rules! argument {
    ($($type:ident => $number:ident),* $(,)?) => {
        // SAFETY: the numbers encode the size of the structure, both come from
        // one header, and what each ioctl accesses is documented there.
        $(unsafe impl Argument for sys::$type {
            const NUMBER: u32 = sys::$number;
        })*
    };
}

argument! {
    drm_version => DRM_IOCTL_VERSION,
    drm_gem_close => DRM_IOCTL_GEM_CLOSE,
    drm_hlrs_device_query => DRM_IOCTL_HLRS_DEVICE_QUERY,
    drm_hlrs_mem_create => DRM_IOCTL_HLRS_MEM_CREATE,
    drm_hlrs_mem_mmap_offset => DRM_IOCTL_HLRS_MEM_MMAP_OFFSET,
    drm_hlrs_mem_copy => DRM_IOCTL_HLRS_MEM_COPY,
    drm_hlrs_mem_fill => DRM_IOCTL_HLRS_MEM_FILL,
    drm_hlrs_mem_crc32c => DRM_IOCTL_HLRS_MEM_CRC32C,
    drm_hlrs_mem_wait => DRM_IOCTL_HLRS_MEM_WAIT,
    drm_hlrs_mem_export => DRM_IOCTL_HLRS_MEM_EXPORT,
    drm_hlrs_mem_revoke => DRM_IOCTL_HLRS_MEM_REVOKE,
    drm_hlrs_device_own => DRM_IOCTL_HLRS_DEVICE_OWN,
    drm_hlrs_vm_create => DRM_IOCTL_HLRS_VM_CREATE,
    drm_hlrs_vm_destroy => DRM_IOCTL_HLRS_VM_DESTROY,
    drm_hlrs_vm_bind => DRM_IOCTL_HLRS_VM_BIND,
    drm_hlrs_vm_query => DRM_IOCTL_HLRS_VM_QUERY,
    drm_hlrs_vm_export => DRM_IOCTL_HLRS_VM_EXPORT,
    drm_hlrs_queue_create => DRM_IOCTL_HLRS_QUEUE_CREATE,
    drm_hlrs_queue_destroy => DRM_IOCTL_HLRS_QUEUE_DESTROY,
    drm_hlrs_queue_submit => DRM_IOCTL_HLRS_QUEUE_SUBMIT,
    drm_hlrs_queue_query => DRM_IOCTL_HLRS_QUEUE_QUERY,
    drm_hlrs_mem_query => DRM_IOCTL_HLRS_MEM_QUERY,
    drm_syncobj_create => DRM_IOCTL_SYNCOBJ_CREATE,
    drm_syncobj_destroy => DRM_IOCTL_SYNCOBJ_DESTROY,
    drm_syncobj_transfer => DRM_IOCTL_SYNCOBJ_TRANSFER,
    drm_syncobj_timeline_wait => DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT,
    hlrs_nic_query => HLRS_NIC_IOCTL_QUERY,
    hlrs_nic_vm_register => HLRS_NIC_IOCTL_VM_REGISTER,
    hlrs_nic_vm_unregister => HLRS_NIC_IOCTL_VM_UNREGISTER,
    hlrs_nic_copy => HLRS_NIC_IOCTL_COPY,
    hlrs_nic_wait => HLRS_NIC_IOCTL_WAIT,
    sync_file_info => SYNC_IOC_FILE_INFO,
    dma_buf_sync => DMA_BUF_IOCTL_SYNC,
    dma_buf_export_sync_file => DMA_BUF_IOCTL_EXPORT_SYNC_FILE,
    dma_buf_import_sync_file => DMA_BUF_IOCTL_IMPORT_SYNC_FILE,
}

struct Call<'a, T> {
    number: u32,
    arg: &'a mut T,
}

// SAFETY: `as_ptr` is an exclusively borrowed structure that stays valid for
// the call, and whose size is encoded in the opcode.
unsafe impl<T> ioctl::Ioctl for Call<'_, T> {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> ioctl::Opcode {
        self.number as ioctl::Opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut *self.arg).cast()
    }

    unsafe fn output_from_ptr(
        _: ioctl::IoctlOutput,
        _: *mut c_void,
    ) -> rustix::io::Result<Self::Output> {
        Ok(())
    }
}

/// Performs the ioctl once.
///
/// # Safety
///
/// Pointers in `arg` must designate memory that the ioctl may access as
/// documented.
pub(crate) unsafe fn once<T: Argument>(fd: BorrowedFd<'_>, arg: &mut T) -> Result<(), Errno> {
    // SAFETY: `Argument` promises that the ioctl touches the structure and what
    // it points to, and the caller answers for the pointers.
    unsafe {
        ioctl::ioctl(
            fd,
            Call {
                number: T::NUMBER,
                arg,
            },
        )
    }
}

/// Performs the ioctl, again when a signal interrupted it.
///
/// # Safety
///
/// As for [`once`].
pub(crate) unsafe fn call<T: Argument>(fd: BorrowedFd<'_>, arg: &mut T) -> Result<(), Errno> {
    loop {
        // SAFETY: forwarded to the caller.
        match unsafe { once(fd, arg) } {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// An ioctl that shares its structure with others.
///
/// # Safety
///
/// The ioctl `number` must take a `T`, and read and write nothing but it and
/// memory that pointers in it designate.
pub(crate) unsafe trait Shared<T>: Copy {
    /// Number of the ioctl.
    fn number(self) -> u32;
}

/// Performs one of several ioctls that take the same structure, again when a
/// signal interrupted it.
///
/// # Safety
///
/// As for [`once`].
pub(crate) unsafe fn shared<T>(
    fd: BorrowedFd<'_>,
    which: impl Shared<T>,
    arg: &mut T,
) -> Result<(), Errno> {
    loop {
        // SAFETY: `Shared` promises that the ioctl touches the structure and what
        // it points to, and the caller answers for the pointers.
        match unsafe {
            ioctl::ioctl(
                fd,
                Call {
                    number: which.number(),
                    arg: &mut *arg,
                },
            )
        } {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// The ioctls that take a `drm_prime_handle`.
#[derive(Clone, Copy)]
pub(crate) enum Prime {
    HandleToFd,
    FdToHandle,
}

// SAFETY: both access the structure only, which has no pointers.
unsafe impl Shared<sys::drm_prime_handle> for Prime {
    fn number(self) -> u32 {
        match self {
            Prime::HandleToFd => sys::DRM_IOCTL_PRIME_HANDLE_TO_FD,
            Prime::FdToHandle => sys::DRM_IOCTL_PRIME_FD_TO_HANDLE,
        }
    }
}

/// Makes a descriptor of a GEM handle, or the other way round.
pub(crate) fn prime(
    fd: BorrowedFd<'_>,
    way: Prime,
    arg: &mut sys::drm_prime_handle,
) -> Result<(), Errno> {
    // SAFETY: the argument has no pointers.
    unsafe { shared(fd, way, arg) }
}

/// The ioctls that take a `drm_syncobj_handle`.
#[derive(Clone, Copy)]
pub(crate) enum SyncobjFd {
    HandleToFd,
    FdToHandle,
}

// SAFETY: both access the structure only, which has no pointers.
unsafe impl Shared<sys::drm_syncobj_handle> for SyncobjFd {
    fn number(self) -> u32 {
        match self {
            SyncobjFd::HandleToFd => sys::DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD,
            SyncobjFd::FdToHandle => sys::DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE,
        }
    }
}

/// The ioctls that take a `drm_syncobj_array`.
#[derive(Clone, Copy)]
pub(crate) enum SyncobjArray {
    Signal,
    Reset,
}

// SAFETY: both access the structure and read the handles that it points to.
unsafe impl Shared<sys::drm_syncobj_array> for SyncobjArray {
    fn number(self) -> u32 {
        match self {
            SyncobjArray::Signal => sys::DRM_IOCTL_SYNCOBJ_SIGNAL,
            SyncobjArray::Reset => sys::DRM_IOCTL_SYNCOBJ_RESET,
        }
    }
}

/// The ioctls that take a `drm_syncobj_timeline_array`.
#[derive(Clone, Copy)]
pub(crate) enum TimelineArray {
    Signal,
    Query,
}

// SAFETY: both access the structure, read the handles and access the points
// that it points to.
unsafe impl Shared<sys::drm_syncobj_timeline_array> for TimelineArray {
    fn number(self) -> u32 {
        match self {
            TimelineArray::Signal => sys::DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL,
            TimelineArray::Query => sys::DRM_IOCTL_SYNCOBJ_QUERY,
        }
    }
}
