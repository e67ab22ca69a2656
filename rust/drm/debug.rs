// SPDX-License-Identifier: GPL-2.0

//! Messages of the DRM debug log, which `drm.debug` switches on.
//!
//! C header: [`include/drm/drm_print.h`](srctree/include/drm/drm_print.h)

use super::{
    Device,
    Driver, //
};
use core::ptr;
use kernel::{
    ffi::c_void,
    fmt, //
};

impl<T: Driver> Device<T> {
    /// Prints to the debug log if `drm.debug` has `DRM_UT_DRIVER` (2), and not too often.
    ///
    /// `args` should end with a newline. Any context. C: `drm_dbg_ratelimited()`; all callers
    /// share one rate limit.
    pub fn dbg_ratelimited(&self, args: fmt::Arguments<'_>) {
        // SAFETY: The device is valid, and the helper prints its argument as `fmt::Arguments`.
        unsafe {
            ext_bindings::drm_dbg_args_ratelimited(
                self.as_raw(),
                ptr::from_ref(&args).cast::<c_void>(),
            )
        };
    }
}
