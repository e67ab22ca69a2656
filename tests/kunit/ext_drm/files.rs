// SPDX-License-Identifier: GPL-2.0

//! Open files of the test device, and what a process does with them.

use crate::driver::{
    TestDriver,
    TestFile, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    device,
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi::{
        c_char,
        c_int,
        c_long,
        c_uint,
        c_ulong,
        c_void, //
    },
    prelude::*, //
};
use kernel_ext::drm;

// See files_test.c.
#[allow(improper_ctypes, reason = "the structures of C are only pointed to")]
unsafe extern "C" {
    fn ext_drm_test_open(dev: *mut bindings::drm_device) -> *mut bindings::file;
    fn ext_drm_test_ioctl(
        file: *mut bindings::file,
        cmd: c_uint,
        arg: *mut c_void,
        size: usize,
    ) -> c_long;
    fn ext_drm_test_fdinfo(file: *mut bindings::file, buf: *mut c_char, size: usize);
    fn ext_drm_test_mmap(
        file: *mut bindings::file,
        len: usize,
        write: bool,
        shared: bool,
        offset: u64,
    ) -> c_long;
    fn ext_drm_test_munmap(addr: c_ulong, len: usize);
    fn ext_drm_test_peek(addr: c_ulong, val: *mut u64) -> c_int;
    fn ext_drm_test_poke(addr: c_ulong, val: u64) -> c_int;
    fn ext_drm_test_enable_dma(dev: *mut bindings::device);
    fn ext_drm_test_dirty(pfn: c_ulong) -> bool;
    fn ext_drm_test_phys(addr: *mut c_void) -> bindings::phys_addr_t;
}

/// An open file of a test device.
pub(crate) struct OpenFile(NonNull<bindings::file>);

impl OpenFile {
    pub(crate) fn new(dev: &drm::Device<TestDriver>) -> Result<Self> {
        // SAFETY: `dev` is a valid device.
        let file = from_err_ptr(unsafe { ext_drm_test_open(dev.as_raw()) })?;
        Ok(Self(NonNull::new(file).ok_or(ENOMEM)?))
    }

    pub(crate) fn as_raw(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }

    /// What ioctls and callbacks get.
    pub(crate) fn drm(&self) -> &drm::File<TestFile> {
        // SAFETY: The file was opened as one of a test device, and is open as long as `self`.
        unsafe { drm::File::from_raw((*self.as_raw()).private_data.cast()) }
    }

    /// Calls an ioctl as a process does; returns its value.
    pub(crate) fn ioctl<A>(&self, cmd: u32, arg: &mut A) -> Result<u32> {
        // SAFETY: The file is open, and the argument of the given size.
        let ret = unsafe {
            ext_drm_test_ioctl(
                self.as_raw(),
                cmd,
                core::ptr::from_mut(arg).cast(),
                size_of::<A>(),
            )
        };
        to_result(ret as c_int)?;
        Ok(ret as u32)
    }

    /// Reads fdinfo.
    pub(crate) fn fdinfo(&self) -> Result<KVec<u8>> {
        let mut buf = KVec::from_elem(0u8, 4096, GFP_KERNEL)?;

        // SAFETY: The file is open, and the buffer of the given size.
        unsafe { ext_drm_test_fdinfo(self.as_raw(), buf.as_mut_ptr().cast(), buf.len()) };

        let len = buf.iter().position(|&c| c == 0).ok_or(EINVAL)?;
        buf.truncate(len);
        Ok(buf)
    }

    /// Maps a buffer of the file, shared and writable.
    pub(crate) fn mmap(&self, len: usize, offset: u64) -> Result<Mapping> {
        Mapping::new(self.as_raw(), len, true, true, offset)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: This is the reference that opening has returned.
        unsafe { bindings::__fput_sync(self.as_raw()) };
    }
}

/// A mapping in the memory of the test's process.
pub(crate) struct Mapping {
    addr: usize,
    len: usize,
}

impl Mapping {
    pub(crate) fn new(
        file: *mut bindings::file,
        len: usize,
        write: bool,
        shared: bool,
        offset: u64,
    ) -> Result<Self> {
        // SAFETY: The file is open.
        let addr = unsafe { ext_drm_test_mmap(file, len, write, shared, offset) };
        if (-4095..0).contains(&addr) {
            return Err(Error::from_errno(addr as c_int));
        }
        Ok(Self {
            addr: addr as usize,
            len,
        })
    }

    /// Reads a word; `EFAULT` where a process would get a signal.
    pub(crate) fn peek(&self, offset: usize) -> Result<u64> {
        let mut val = 0;
        // SAFETY: No requirements on the address; `val` is valid.
        to_result(unsafe { ext_drm_test_peek((self.addr + offset) as c_ulong, &mut val) })?;
        Ok(val)
    }

    /// Writes a word; `EFAULT` where a process would get a signal.
    pub(crate) fn poke(&self, offset: usize, val: u64) -> Result {
        // SAFETY: No requirements on the address.
        to_result(unsafe { ext_drm_test_poke((self.addr + offset) as c_ulong, val) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: This unmaps what `new` has mapped.
        unsafe { ext_drm_test_munmap(self.addr as c_ulong, self.len) };
    }
}

/// Lets a device without a notion of DMA do it.
pub(crate) fn enable_dma(dev: &device::Device<device::Bound>) {
    // SAFETY: The device is valid. CAST: It is a transparent wrapper.
    unsafe { ext_drm_test_enable_dma(core::ptr::from_ref(dev).cast_mut().cast()) };
}

/// Returns the physical address of memory that was allocated by kmalloc.
pub(crate) fn phys(memory: &KVec<u8>) -> u64 {
    // SAFETY: The address is one of the kernel's linear mapping.
    unsafe { ext_drm_test_phys(memory.as_ptr().cast_mut().cast()) }
}

/// Returns whether a page has to be saved before it is used for something else.
///
/// `pfn` must be that of a page of memory.
pub(crate) fn is_dirty(pfn: u64) -> bool {
    // SAFETY: By the requirement above; the pages of the tests are those of objects that live.
    unsafe { ext_drm_test_dirty(pfn as c_ulong) }
}
