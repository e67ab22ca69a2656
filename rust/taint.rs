// SPDX-License-Identifier: GPL-2.0

//! Marks the kernel as one whose reports are to be taken with care.
//!
//! C header: [`include/linux/panic.h`](srctree/include/linux/panic.h)

use kernel::bindings;

/// Notes that an administrator asked for something unsafe. Any context.
///
/// C: `add_taint(TAINT_USER, LOCKDEP_STILL_OK)`, as for parameters declared with
/// `module_param_unsafe()`.
pub fn user() {
    // SAFETY: No requirements.
    unsafe { bindings::add_taint(bindings::TAINT_USER, bindings::lockdep_ok_LOCKDEP_STILL_OK) };
}
