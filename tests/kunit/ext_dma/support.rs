// SPDX-License-Identifier: GPL-2.0

//! What several of the tests need.

use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    faux,
    prelude::*,
    time::{
        msecs_to_jiffies,
        Jiffies, //
    }, //
};

use core::ptr::from_ref;

pub(crate) use crate::thread::Thread;

/// Functions in C, see `support_test.c`.
#[expect(improper_ctypes)] // They only take pointers to types of the kernel, as its bindings do.
pub(crate) mod c {
    use kernel::{
        bindings,
        prelude::*, //
    };

    extern "C" {
        pub(crate) fn ext_dma_test_skip(reason: *const c_char);
        pub(crate) fn ext_dma_test_flush_files();
        pub(crate) fn ext_dma_test_enable_dma(dev: *mut bindings::device);
        pub(crate) fn ext_dma_test_translates(dev: *mut bindings::device) -> bool;
        pub(crate) fn ext_dma_test_resolve(dev: *mut bindings::device, addr: u64) -> u64;
        pub(crate) fn ext_dma_test_set_max_segment(dev: *mut bindings::device, size: u32) -> u32;
        pub(crate) fn ext_dma_test_set_boundary(dev: *mut bindings::device, boundary: u64) -> u64;
        pub(crate) fn ext_dma_test_set_mask(dev: *mut bindings::device, mask: u64) -> u64;
        pub(crate) fn ext_dma_test_phys_vec_to_sgt(
            attachment: *mut bindings::dma_buf_attachment,
            provider: *mut bindings::device,
            bar: c_int,
            start: u64,
            len: usize,
            addr: *mut u64,
        ) -> c_int;
    }
}

/// Jiffies of a time in milliseconds.
pub(crate) fn ms(ms: u32) -> Jiffies {
    msecs_to_jiffies(ms)
}

/// Long enough for what must happen, short enough to fail.
pub(crate) const LONG: u32 = 10_000;

/// Reports the test as skipped.
pub(crate) fn skip(reason: &'static CStr) -> Result {
    // SAFETY: Called on the thread of a test.
    unsafe { c::ext_dma_test_skip(reason.as_char_ptr()) };
    Ok(())
}

/// Waits until files that were put have been released.
pub(crate) fn flush_files() {
    // SAFETY: No requirements.
    unsafe { c::ext_dma_test_flush_files() };
}

/// A device that can be given to the DMA API.
pub(crate) struct TestDevice(faux::Registration);

impl TestDevice {
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        let this = Self(faux::Registration::new(name, None)?);

        // SAFETY: The device is valid, and nobody uses it yet.
        unsafe { c::ext_dma_test_enable_dma(from_ref(this.device()).cast_mut().cast()) };
        Ok(this)
    }

    pub(crate) fn device(&self) -> &Device<Bound> {
        let dev: &faux::Device<Bound> = self.0.as_ref();

        dev.as_ref()
    }
}

/// Number of references on this module, without those of files that were put.
pub(crate) fn module_references() -> i32 {
    use kernel::ModuleMetadata;

    flush_files();
    // SAFETY: The module is valid while its code runs.
    unsafe { bindings::module_refcount(crate::LocalModule::THIS_MODULE.as_ptr()) }
}
