// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls with arguments as they are given, for tests about bad ones.

pub mod consumer;
pub mod exporter;
pub mod importer;
pub mod iov;
pub mod kernel;
pub mod nic;
pub mod vfio;

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use hlrs::Errno;
use hlrs_sys as sys;

/// Result of one call.
pub type Result<T = ()> = std::result::Result<T, Errno>;

/// Performs an ioctl on an argument at an address, whatever is there.
///
/// # Safety
///
/// What the ioctl reads and writes must be memory that it may read and write,
/// or not mapped at all.
pub unsafe fn at(file: impl AsFd, number: u32, address: usize) -> Result {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the caller answers for the memory; the descriptor is borrowed.
    match unsafe { libc::ioctl(fd, number.into(), address) } {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        _ => Ok(()),
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($type:ident) = $number:ident;)*) => {
        $($(#[$doc])*
        pub fn $name(file: impl AsFd, arg: &mut sys::$type) -> Result {
            // SAFETY: the number encodes the size of the structure, which has
            // no pointers.
            unsafe { at(file, sys::$number, &raw mut *arg as usize) }
        })*
    };
}

calls! {
    create(drm_hlrs_mem_create) = DRM_IOCTL_HLRS_MEM_CREATE;
    mmap_offset(drm_hlrs_mem_mmap_offset) = DRM_IOCTL_HLRS_MEM_MMAP_OFFSET;
    copy(drm_hlrs_mem_copy) = DRM_IOCTL_HLRS_MEM_COPY;
    fill(drm_hlrs_mem_fill) = DRM_IOCTL_HLRS_MEM_FILL;
    crc32c(drm_hlrs_mem_crc32c) = DRM_IOCTL_HLRS_MEM_CRC32C;
    wait(drm_hlrs_mem_wait) = DRM_IOCTL_HLRS_MEM_WAIT;
    export(drm_hlrs_mem_export) = DRM_IOCTL_HLRS_MEM_EXPORT;
    revoke(drm_hlrs_mem_revoke) = DRM_IOCTL_HLRS_MEM_REVOKE;
    own(drm_hlrs_device_own) = DRM_IOCTL_HLRS_DEVICE_OWN;
    vm_create(drm_hlrs_vm_create) = DRM_IOCTL_HLRS_VM_CREATE;
    vm_destroy(drm_hlrs_vm_destroy) = DRM_IOCTL_HLRS_VM_DESTROY;
    vm_query(drm_hlrs_vm_query) = DRM_IOCTL_HLRS_VM_QUERY;
    vm_export(drm_hlrs_vm_export) = DRM_IOCTL_HLRS_VM_EXPORT;
    queue_create(drm_hlrs_queue_create) = DRM_IOCTL_HLRS_QUEUE_CREATE;
    queue_destroy(drm_hlrs_queue_destroy) = DRM_IOCTL_HLRS_QUEUE_DESTROY;
    queue_query(drm_hlrs_queue_query) = DRM_IOCTL_HLRS_QUEUE_QUERY;
    mem_query(drm_hlrs_mem_query) = DRM_IOCTL_HLRS_MEM_QUERY;
    close(drm_gem_close) = DRM_IOCTL_GEM_CLOSE;
    to_fd(drm_prime_handle) = DRM_IOCTL_PRIME_HANDLE_TO_FD;
    to_handle(drm_prime_handle) = DRM_IOCTL_PRIME_FD_TO_HANDLE;
}

/// The query, whose answer goes to `answer`; `arg.data` is set to it.
pub fn query(file: impl AsFd, arg: &mut sys::drm_hlrs_device_query, answer: &mut [u64]) -> Result {
    assert!(
        arg.size as usize <= size_of_val(answer),
        "the answer must have room"
    );
    arg.data = answer.as_mut_ptr() as u64;
    // SAFETY: `data` has at least `size` bytes.
    unsafe {
        at(
            file,
            sys::DRM_IOCTL_HLRS_DEVICE_QUERY,
            &raw mut *arg as usize,
        )
    }
}

/// The bind, whose arrays are set; `num_ops` and `num_syncs` may say less than
/// there is.
pub fn vm_bind(
    file: impl AsFd,
    arg: &mut sys::drm_hlrs_vm_bind,
    ops: &[sys::drm_hlrs_vm_bind_op],
    syncs: &[sys::drm_hlrs_sync],
) -> Result {
    assert!(arg.num_ops as usize <= ops.len() && arg.num_syncs as usize <= syncs.len());
    (arg.ops, arg.syncs) = (ops.as_ptr() as u64, syncs.as_ptr() as u64);
    // SAFETY: the arrays have as many elements as are told, and are read only.
    unsafe { at(file, sys::DRM_IOCTL_HLRS_VM_BIND, &raw mut *arg as usize) }
}

/// The submission, as [`vm_bind`].
pub fn submit(
    file: impl AsFd,
    arg: &mut sys::drm_hlrs_queue_submit,
    commands: &[sys::drm_hlrs_command],
    syncs: &[sys::drm_hlrs_sync],
) -> Result {
    assert!(arg.num_commands as usize <= commands.len() && arg.num_syncs as usize <= syncs.len());
    (arg.commands, arg.syncs) = (commands.as_ptr() as u64, syncs.as_ptr() as u64);
    let number = sys::DRM_IOCTL_HLRS_QUEUE_SUBMIT;
    // SAFETY: the arrays have as many elements as are told, and are read only.
    unsafe { at(file, number, &raw mut *arg as usize) }
}

/// Two pages, of which the second cannot be accessed, and the first perhaps not
/// be written.
pub struct Pages {
    start: *mut libc::c_void,
}

/// The CPU's page size.
pub const PAGE: usize = 4096;

impl Pages {
    /// Maps them, with `content` at the very end of the first.
    pub fn new(content: &[u8], writable: bool) -> std::io::Result<Pages> {
        assert!(content.len() <= PAGE);
        let (prot, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: the kernel chooses a range that nothing else uses.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), 2 * PAGE, prot, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        let pages = Pages { start };
        pages.protect(libc::PROT_READ | libc::PROT_WRITE)?;
        // SAFETY: the first page is ours, writable now, and not referred to.
        unsafe {
            let to = start.cast::<u8>().add(PAGE - content.len());
            std::ptr::copy_nonoverlapping(content.as_ptr(), to, content.len());
        }
        if !writable {
            pages.protect(libc::PROT_READ)?;
        }
        Ok(pages)
    }

    fn protect(&self, prot: i32) -> std::io::Result<()> {
        // SAFETY: the first page was mapped by `new`; no reference to it exists.
        match unsafe { libc::mprotect(self.start, PAGE, prot) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }

    /// Address of the last `len` bytes before the page that is not accessible.
    pub fn before_end(&self, len: usize) -> usize {
        self.start as usize + PAGE - len
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and the addresses given out are integers.
        unsafe { libc::munmap(self.start, 2 * PAGE) };
    }
}

/// The bytes of an argument structure.
pub fn bytes_of<T: Copy>(arg: &T) -> Vec<u8> {
    let start = (&raw const *arg).cast::<u8>();
    // SAFETY: the structures of the interface have no padding, so that every
    // byte is initialised.
    unsafe { std::slice::from_raw_parts(start, size_of::<T>()) }.to_vec()
}
