// SPDX-License-Identifier: GPL-2.0

//! DRM printers, and what fdinfo shows through them.
//!
//! C headers: [`include/drm/drm_print.h`](srctree/include/drm/drm_print.h),
//! [`include/drm/drm_file.h`](srctree/include/drm/drm_file.h)

use super::gem::ObjectStatus;
use core::{
    ffi::c_void,
    ptr, //
};
use kernel::{
    bindings,
    fmt,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// Where to print: a file, a buffer or the log, as the caller has decided.
///
/// See [`drm_print!`](crate::drm_print) for how to use it.
///
/// # Invariants
///
/// `self.0` is a valid `struct drm_printer` that nobody else uses.
#[repr(transparent)]
pub struct Printer(Opaque<bindings::drm_printer>, NotThreadSafe);

impl Printer {
    /// Wraps a `struct drm_printer`.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid and not used otherwise for the duration of `'a`.
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::drm_printer) -> &'a mut Self {
        // SAFETY: By the safety requirements.
        // CAST: `Printer` is a transparent wrapper of `struct drm_printer`.
        unsafe { &mut *ptr.cast() }
    }

    /// Returns the raw `struct drm_printer`, valid as long as `self`.
    pub fn as_raw(&self) -> *mut bindings::drm_printer {
        self.0.get()
    }

    /// Prints `args`. Whether it may sleep is the caller's business, who made the printer.
    ///
    /// C: `drm_printf()`.
    pub fn print(&mut self, args: fmt::Arguments<'_>) {
        // SAFETY: The printer is valid by the type invariants; `%pA` expects a pointer to
        // `fmt::Arguments`.
        unsafe {
            ext_bindings::drm_printf(
                self.as_raw(),
                c"%pA".as_char_ptr(),
                ptr::from_ref(&args).cast::<c_void>(),
            )
        };
    }

    /// Prints the memory of a client in one region, as the keys `drm-total-REGION` and so on.
    ///
    /// `supported` says which of the optional numbers (resident, purgeable, active) are known.
    /// C: `drm_print_memory_stats()`.
    pub fn memory_stats(&mut self, stats: &MemoryStats, supported: ObjectStatus, region: &CStr) {
        let stats = bindings::drm_memory_stats {
            shared: stats.shared,
            private: stats.private,
            resident: stats.resident,
            purgeable: stats.purgeable,
            active: stats.active,
        };

        // SAFETY: All pointers are valid for the call.
        unsafe {
            bindings::drm_print_memory_stats(
                self.as_raw(),
                &stats,
                supported.as_raw(),
                region.as_char_ptr(),
            )
        };
    }
}

impl fmt::Write for Printer {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.print(fmt!("{s}"));
        Ok(())
    }
}

/// Prints to a [`Printer`](crate::drm::Printer) with the ordinary formatting syntax.
///
/// ```ignore
/// drm_print!(printer, "drm-engine-copy:\t{} ns\n", busy);
/// ```
#[macro_export]
macro_rules! drm_print {
    ($printer:expr, $($arg:tt)+) => {
        $printer.print(::kernel::prelude::fmt!($($arg)+))
    };
}

/// Memory of a client in one region, in bytes.
///
/// C: `struct drm_memory_stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Of buffers that others have access to as well.
    pub shared: u64,
    /// Of buffers that only this client has access to.
    pub private: u64,
    /// Of buffers that have their backing storage in the region now.
    pub resident: u64,
    /// Of buffers that the client allows to be thrown away.
    pub purgeable: u64,
    /// Of buffers that the device works on now.
    pub active: u64,
}

/// Prints memory statistics, see [`Printer::memory_stats`].
///
/// Shows all of the optional numbers.
pub fn print_memory_stats(printer: &mut Printer, stats: &MemoryStats, region: &CStr) {
    printer.memory_stats(stats, ObjectStatus::all(), region);
}
