// SPDX-License-Identifier: GPL-2.0

//! What several of the tests need.

use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::from_err_ptr,
    faux,
    prelude::*,
    sync::aref::ARef,
    time::{
        msecs_to_jiffies,
        Jiffies, //
    }, //
};
use kernel_ext::dma_buf::DmaBuf;

use core::ptr::{
    from_ref,
    NonNull, //
};

pub(crate) use crate::thread::Thread;

/// Functions in C, see `support_test.c`.
#[expect(improper_ctypes)] // They only take pointers to types of the kernel, as its bindings do.
mod c {
    use kernel::{
        bindings,
        prelude::*, //
    };

    extern "C" {
        pub(super) fn ext_ic_test_skip(reason: *const c_char);
        pub(super) fn ext_ic_test_flush_files();
        pub(super) fn ext_ic_test_enable_dma(dev: *mut bindings::device);
        pub(super) fn ext_ic_test_read(path: *const c_char, buf: *mut u8, size: usize) -> isize;
        pub(super) fn ext_ic_test_disable_sriov(pdev: *mut bindings::pci_dev);
        pub(super) fn ext_ic_test_udmabuf() -> *mut bindings::dma_buf;
        pub(super) fn ext_ic_test_heap() -> *mut bindings::dma_buf;
        pub(super) fn ext_ic_test_vgem() -> *mut bindings::dma_buf;
    }
}

/// Jiffies of a time in milliseconds.
pub(crate) fn ms(ms: u32) -> Jiffies {
    msecs_to_jiffies(ms)
}

/// Long enough for what must happen, short enough to fail.
pub(crate) const LONG: u32 = 10_000;

/// Long enough for others to run, short enough for a test.
pub(crate) const SHORT: u32 = 50;

/// Reports the test as skipped.
pub(crate) fn skip(reason: &'static CStr) -> Result {
    // SAFETY: Called on the thread of a test.
    unsafe { c::ext_ic_test_skip(reason.as_char_ptr()) };
    Ok(())
}

/// Waits until files that were put have been released.
pub(crate) fn flush_files() {
    // SAFETY: No requirements.
    unsafe { c::ext_ic_test_flush_files() };
}

/// Reads a file of the machine.
pub(crate) fn read(path: &CStr) -> Result<KVec<u8>> {
    let mut text = KVec::from_elem(0, 16384, GFP_KERNEL)?;

    // SAFETY: The path is a string, and the buffer is that large.
    let len =
        unsafe { c::ext_ic_test_read(path.as_char_ptr(), text.as_mut_slice().as_mut_ptr(), 16384) };

    if len < 0 {
        // CAST: Error numbers are small.
        return Err(Error::from_errno(len as i32));
    }
    // CAST: Not negative.
    text.truncate(len as usize);
    Ok(text)
}

/// The lines about negotiated attachments in debugfs that contain `words`.
pub(crate) fn debugfs_lines(words: &[&str]) -> Result<usize> {
    let text = read(c"/sys/kernel/debug/dma_buf_ic/attachments")?;
    let text = core::str::from_utf8(&text).map_err(|_| EINVAL)?;

    Ok(text
        .lines()
        .filter(|line| {
            words
                .iter()
                .all(|word| line.split(' ').any(|field| field == *word))
        })
        .count())
}

/// Disables the VFs of a device.
///
/// # Safety
///
/// `pdev` must be valid.
pub(crate) unsafe fn disable_sriov(pdev: *mut bindings::pci_dev) {
    // SAFETY: By the safety requirements.
    unsafe { c::ext_ic_test_disable_sriov(pdev) };
}

/// A device that can be given to the DMA API.
pub(crate) struct TestDevice(faux::Registration);

impl TestDevice {
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        let this = Self(faux::Registration::new(name, None)?);

        // SAFETY: The device is valid, and nobody uses it yet.
        unsafe { c::ext_ic_test_enable_dma(this.raw()) };
        Ok(this)
    }

    pub(crate) fn device(&self) -> &Device<Bound> {
        let dev: &faux::Device<Bound> = self.0.as_ref();

        dev.as_ref()
    }

    pub(crate) fn raw(&self) -> *mut bindings::device {
        from_ref(self.device()).cast_mut().cast()
    }
}

/// Number of references on this module, without those of files that were put.
pub(crate) fn module_references() -> i32 {
    use kernel::ModuleMetadata;

    flush_files();
    // SAFETY: The module is valid while its code runs.
    unsafe { bindings::module_refcount(crate::LocalModule::THIS_MODULE.as_ptr()) }
}

/// An exporter of the kernel's own.
#[derive(Clone, Copy)]
pub(crate) enum Foreign {
    Udmabuf,
    SystemHeap,
    Vgem,
}

impl Foreign {
    /// A buffer of a page. Called on the thread of a test.
    pub(crate) fn export(self) -> Result<ARef<DmaBuf>> {
        // SAFETY: Called on the thread of a test.
        let raw = from_err_ptr(unsafe {
            match self {
                Self::Udmabuf => c::ext_ic_test_udmabuf(),
                Self::SystemHeap => c::ext_ic_test_heap(),
                Self::Vgem => c::ext_ic_test_vgem(),
            }
        })?;

        let raw = NonNull::new(raw.cast()).ok_or(ENOMEM)?;

        // SAFETY: The C function returns a reference.
        Ok(unsafe { ARef::from_raw(raw) })
    }
}
