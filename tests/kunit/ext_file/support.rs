// SPDX-License-Identifier: GPL-2.0

//! What several of the tests need.

use core::ptr::NonNull;

use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// Functions in C, see `support_test.c`.
#[expect(improper_ctypes)] // They only take pointers to types of the kernel, as its bindings do.
mod c {
    use kernel::{
        bindings,
        prelude::*, //
    };

    extern "C" {
        pub(super) fn ext_file_test_open(path: *const c_char, flags: c_int) -> *mut bindings::file;
        pub(super) fn ext_file_test_exists(path: *const c_char) -> bool;
        pub(super) fn ext_file_test_read(path: *const c_char, buf: *mut u8, size: usize) -> isize;
        pub(super) fn ext_file_test_write(
            path: *const c_char,
            buf: *const u8,
            size: usize,
        ) -> isize;
        pub(super) fn ext_file_test_ioctl(
            file: *mut bindings::file,
            cmd: c_uint,
            arg: c_ulong,
        ) -> c_long;
        pub(super) fn ext_file_test_compat_ioctl(
            file: *mut bindings::file,
            cmd: c_uint,
            arg: c_ulong,
        ) -> c_long;
        pub(super) fn ext_file_test_fdinfo(
            file: *mut bindings::file,
            buf: *mut c_char,
            size: usize,
        );
        pub(super) fn ext_file_test_poll(file: *mut bindings::file) -> c_uint;
        pub(super) fn ext_file_test_name(
            file: *mut bindings::file,
            buf: *mut c_char,
            size: usize,
        ) -> c_int;
        pub(super) fn ext_file_test_dup(file: *mut bindings::file) -> c_int;
        pub(super) fn ext_file_test_cloexec(fd: c_uint) -> bool;
        pub(super) fn ext_file_test_flush();
    }
}

/// Turns a value or a negative error into a result.
fn value(ret: isize) -> Result<usize> {
    // CAST: Errors of the kernel fit into an `i32`.
    usize::try_from(ret).map_err(|_| Error::from_errno(ret as i32))
}

/// The text in a buffer that C has filled.
fn text(mut buf: KVec<u8>) -> Result<KVec<u8>> {
    let len = buf.iter().position(|&c| c == 0).ok_or(EINVAL)?;

    buf.truncate(len);
    Ok(buf)
}

/// Opens a path as a process does.
pub(crate) fn open(path: &CStr) -> Result<ARef<fs::File>> {
    // SAFETY: The path is a string.
    let file = from_err_ptr(unsafe {
        // CAST: A small number.
        c::ext_file_test_open(path.as_char_ptr(), bindings::O_RDWR as c_int)
    })?;

    // SAFETY: The file was just opened, and the reference is taken over.
    Ok(unsafe { ARef::from_raw(NonNull::new(file).ok_or(ENOMEM)?.cast()) })
}

/// Reads at most a page of a file.
pub(crate) fn read(path: &CStr) -> Result<KVec<u8>> {
    let mut buf = KVec::from_elem(0u8, 4096, GFP_KERNEL)?;

    // SAFETY: The path is a string, and the buffer of the given size.
    let ret = unsafe { c::ext_file_test_read(path.as_char_ptr(), buf.as_mut_ptr(), buf.len()) };

    buf.truncate(value(ret)?);
    Ok(buf)
}

/// Whether a path names something, were it a link that leads nowhere.
pub(crate) fn exists(path: &CStr) -> bool {
    // SAFETY: The path is a string.
    unsafe { c::ext_file_test_exists(path.as_char_ptr()) }
}

/// Writes to a file.
pub(crate) fn write(path: &CStr, data: &[u8]) -> Result<usize> {
    // SAFETY: The path is a string, and the buffer of the given size.
    value(unsafe { c::ext_file_test_write(path.as_char_ptr(), data.as_ptr(), data.len()) })
}

/// What a process does with an open file.
pub(crate) trait FileExt {
    fn raw(&self) -> *mut bindings::file;

    fn ioctl(&self, cmd: u32, arg: usize) -> Result<usize> {
        // SAFETY: The file is open.
        value(unsafe { c::ext_file_test_ioctl(self.raw(), cmd, arg) } as isize)
    }

    fn compat_ioctl(&self, cmd: u32, arg: usize) -> Result<usize> {
        // SAFETY: The file is open.
        value(unsafe { c::ext_file_test_compat_ioctl(self.raw(), cmd, arg) } as isize)
    }

    fn fdinfo(&self) -> Result<KVec<u8>> {
        let mut buf = KVec::from_elem(0u8, 4096, GFP_KERNEL)?;

        // SAFETY: The file is open, and the buffer of the given size.
        unsafe { c::ext_file_test_fdinfo(self.raw(), buf.as_mut_ptr().cast(), buf.len()) };
        text(buf)
    }

    fn poll(&self) -> u32 {
        // SAFETY: The file is open.
        unsafe { c::ext_file_test_poll(self.raw()) }
    }

    /// What `/proc/PID/fd/FD` shows.
    fn path(&self) -> Result<KVec<u8>> {
        let mut buf = KVec::from_elem(0u8, 256, GFP_KERNEL)?;

        // SAFETY: The file is open, and the buffer of the given size.
        to_result(unsafe {
            c::ext_file_test_name(self.raw(), buf.as_mut_ptr().cast(), buf.len())
        })?;
        text(buf)
    }

    /// A new descriptor, as from a socket.
    fn dup(&self) -> Result<i32> {
        // SAFETY: The file is open.
        let fd = unsafe { c::ext_file_test_dup(self.raw()) };

        to_result(fd)?;
        Ok(fd)
    }
}

impl FileExt for fs::File {
    fn raw(&self) -> *mut bindings::file {
        self.as_ptr()
    }
}

/// Closes a descriptor of the thread of the test.
pub(crate) fn close(fd: i32) {
    // SAFETY: No requirements.
    unsafe { bindings::close_fd(fd as u32) };
    flush_files();
}

/// Whether a descriptor is closed when another program is executed.
pub(crate) fn is_cloexec(fd: i32) -> bool {
    // SAFETY: Only called for descriptors that are open.
    unsafe { c::ext_file_test_cloexec(fd as u32) }
}

/// Waits until files that were put have been released.
pub(crate) fn flush_files() {
    // SAFETY: No requirements.
    unsafe { c::ext_file_test_flush() };
}

/// Number of references on this module, without those of files that were put.
pub(crate) fn module_references() -> i32 {
    use kernel::ModuleMetadata;

    flush_files();
    // SAFETY: The module is valid while its code runs.
    unsafe { bindings::module_refcount(crate::LocalModule::THIS_MODULE.as_ptr()) }
}

/// A number that several can change.
#[derive(Clone)]
pub(crate) struct Counter(Arc<Atomic<u32>>);

impl Counter {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Arc::new(Atomic::new(0), GFP_KERNEL)?))
    }

    pub(crate) fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    pub(crate) fn increment(&self) {
        self.0.fetch_add(1u32, Full);
    }
}

/// Counts that it was dropped.
pub(crate) struct CountDrop(pub(crate) Counter);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.increment();
    }
}
