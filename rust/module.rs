// SPDX-License-Identifier: GPL-2.0

//! References on modules.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use kernel::{
    bindings,
    module::this_module,
    prelude::*,
    ModuleMetadata, //
};

/// A reference on a module: while it exists, the module cannot be unloaded.
///
/// For what outlives the call that made it, and calls into the module later: a work item, a fence.
/// Whoever drops the last reference must not return to code of the module, unless something else
/// keeps that loaded.
///
/// # Invariants
///
/// It owns one reference on the module, which is null for code that is built into the kernel.
pub struct ModuleRef(*mut bindings::module);

// SAFETY: References on modules belong to no thread.
unsafe impl Send for ModuleRef {}

// SAFETY: `&ModuleRef` gives access to nothing.
unsafe impl Sync for ModuleRef {}

impl ModuleRef {
    /// Takes a reference on the module `M`. Does not sleep. C: `try_module_get()`.
    ///
    /// # Errors
    ///
    /// `ENODEV`: the module is being unloaded.
    pub fn try_get<M: ModuleMetadata>() -> Result<Self> {
        // SAFETY: `THIS_MODULE` is valid while code of the module runs.
        unsafe { Self::try_get_raw(this_module::<M>().as_ptr()) }
    }

    /// As [`ModuleRef::try_get`], for a module that C code has named.
    ///
    /// # Safety
    ///
    /// `module` must be null, for code that is built in, or point to a module that is loaded, or
    /// being unloaded, during the call.
    pub unsafe fn try_get_raw(module: *mut bindings::module) -> Result<Self> {
        // SAFETY: By the safety requirements.
        if unsafe { bindings::try_module_get(module) } {
            // INVARIANT: Taken just now.
            Ok(Self(module))
        } else {
            Err(ENODEV)
        }
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, there is a reference to give back.
        unsafe { bindings::module_put(self.0) };
    }
}
