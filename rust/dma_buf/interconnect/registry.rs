// SPDX-License-Identifier: GPL-2.0

//! Who knows about interconnects.
//!
//! Operations are cast to the structure that embeds them only if that was found here. Who looks up
//! an entry gets a reference on its module, under the lock by which entries are taken out.

use super::table::{
    Node,
    Table, //
};
use crate::slab::SlabBox;
use kernel::{
    bindings,
    ffi::c_void,
    prelude::*,
    sync::global_lock, //
};

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

global_lock! {
    // SAFETY: `init()` is called before anything else of this crate.
    unsafe(uninit) static EXPORTERS: SpinLock<Table> = Table::new();
}

global_lock! {
    // SAFETY: As above.
    unsafe(uninit) static IMPORTERS: SpinLock<Table> = Table::new();
}

/// # Safety
///
/// Must be called once, before anything else of this crate.
pub(super) unsafe fn init() {
    // SAFETY: By the safety requirements.
    unsafe {
        EXPORTERS.init();
        IMPORTERS.init();
    }
}

/// One side.
pub(super) trait Side: 'static {
    /// The module that has the structure.
    fn owner(&self) -> *mut bindings::module;

    /// Calls `f` with the table of this side, locked.
    fn with_table<R>(f: impl FnOnce(&mut Table) -> R) -> R;
}

impl Side for ext_bindings::dma_buf_interconnect_exporter {
    fn owner(&self) -> *mut bindings::module {
        self.owner
    }

    fn with_table<R>(f: impl FnOnce(&mut Table) -> R) -> R {
        f(&mut EXPORTERS.lock())
    }
}

impl Side for ext_bindings::dma_buf_interconnect_importer {
    fn owner(&self) -> *mut bindings::module {
        self.owner
    }

    fn with_table<R>(f: impl FnOnce(&mut Table) -> R) -> R {
        f(&mut IMPORTERS.lock())
    }
}

/// An entry. Its key is the address of the structure, which is also that of the embedded ordinary
/// operations.
#[repr(C)]
struct Entry<S: Side> {
    node: Node,
    side: *const S,
}

fn key<S>(side: *const S) -> *const c_void {
    side.cast()
}

/// Adds `side`. Sleeps.
///
/// # Safety
///
/// `side` must be valid until it is taken out, and as long as there is a reference on its module.
///
/// # Errors
///
/// - `ENOMEM`.
/// - `EEXIST`: it is in the registry already.
pub(super) unsafe fn register<S: Side>(side: NonNull<S>) -> Result {
    let entry = SlabBox::new(
        Entry {
            node: Node::new(key(side.as_ptr())),
            side: side.as_ptr(),
        },
        GFP_KERNEL,
    )?;

    S::with_table(|table| {
        if table.find(key(side.as_ptr())).is_some() {
            return Err(entry);
        }
        // SAFETY: The entry stays until `unregister()` takes it out; the node is at offset 0.
        unsafe { table.add(NonNull::from(SlabBox::leak(entry)).cast()) };
        Ok(())
    })
    // The entry that was not added is freed here, without the lock.
    .map_err(|_entry| EEXIST)
}

/// Takes `side` out. Nobody finds it any more when this returns. Does nothing if it is not there.
pub(super) fn unregister<S: Side>(side: NonNull<S>) {
    let node = S::with_table(|table| table.remove(key(side.as_ptr())));

    if let Some(node) = node {
        // SAFETY: It came from `register()`, and nobody else can find it.
        drop(unsafe { SlabBox::from_raw(node.cast::<Entry<S>>().as_ptr()) });
    }
}

/// A side that was found, with a reference on its module.
///
/// # Invariants
///
/// `side` is valid as long as this exists.
pub(super) struct Found<S: Side> {
    side: NonNull<S>,
    owner: ModuleGuard,
    _side: PhantomData<S>,
}

impl<S: Side> Found<S> {
    pub(super) fn get(&self) -> &S {
        // SAFETY: By the type invariant.
        unsafe { self.side.as_ref() }
    }

    pub(super) fn into_owner(self) -> ModuleGuard {
        self.owner
    }
}

/// The side whose ordinary operations are at `base`; `None` if there is none. Does not sleep.
///
/// # Errors
///
/// `ENODEV`: its module is being unloaded.
pub(super) fn find<S: Side>(base: *const c_void) -> Result<Option<Found<S>>> {
    S::with_table(|table| {
        let Some(node) = table.find(base) else {
            return Ok(None);
        };
        // SAFETY: All nodes of the table are entries of `S`, which are valid while it is locked.
        let side = unsafe { &*node.cast::<Entry<S>>().as_ref().side };

        // SAFETY: The side is valid while it is in the table, and so its module.
        let owner = unsafe { ModuleGuard::try_get(side.owner()) }?;

        // INVARIANT: By the requirements of `register()`, the reference on the module keeps it.
        Ok(Some(Found {
            side: NonNull::from(side),
            owner,
            _side: PhantomData,
        }))
    })
}

/// A reference on some module, perhaps none.
///
/// # Invariants
///
/// It owns a reference on the module if that is not null.
pub(super) struct ModuleGuard(*mut bindings::module);

// SAFETY: References on modules belong to no thread.
unsafe impl Send for ModuleGuard {}

// SAFETY: `&ModuleGuard` gives access to nothing.
unsafe impl Sync for ModuleGuard {}

impl ModuleGuard {
    /// Takes a reference. Does not sleep.
    ///
    /// # Safety
    ///
    /// `module` must be null or valid.
    pub(super) unsafe fn try_get(module: *mut bindings::module) -> Result<Self> {
        // SAFETY: By the safety requirements; null is for built-in code.
        if unsafe { bindings::try_module_get(module) } {
            // INVARIANT: Taken just now.
            Ok(Self(module))
        } else {
            Err(ENODEV)
        }
    }
}

impl Drop for ModuleGuard {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::module_put(self.0) };
    }
}

/// Adds an exporter to the registry.
///
/// # Safety
///
/// As `dma_buf_interconnect_register_exporter()` demands.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_register_exporter(
    exporter: *const ext_bindings::dma_buf_interconnect_exporter,
) -> c_int {
    let Some(exporter) = NonNull::new(exporter.cast_mut()) else {
        return EINVAL.to_errno();
    };

    // SAFETY: By the safety requirements it is valid.
    if unsafe { exporter.as_ref() }.match_interconnects.is_none() {
        return EINVAL.to_errno();
    }
    // SAFETY: By the safety requirements.
    kernel::error::from_result(|| unsafe { register(exporter) }.map(|()| 0))
}

/// Takes an exporter out of the registry.
///
/// # Safety
///
/// None; `extern "C"` functions of the API are uniformly unsafe.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_unregister_exporter(
    exporter: *const ext_bindings::dma_buf_interconnect_exporter,
) {
    if let Some(exporter) = NonNull::new(exporter.cast_mut()) {
        unregister(exporter);
    }
}

/// Adds an importer to the registry.
///
/// # Safety
///
/// As `dma_buf_interconnect_register_importer()` demands.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_register_importer(
    importer: *const ext_bindings::dma_buf_interconnect_importer,
) -> c_int {
    let Some(importer) = NonNull::new(importer.cast_mut()) else {
        return EINVAL.to_errno();
    };

    // SAFETY: By the safety requirements it is valid.
    if unsafe { importer.as_ref() }.name.is_null() {
        return EINVAL.to_errno();
    }
    // SAFETY: By the safety requirements.
    kernel::error::from_result(|| unsafe { register(importer) }.map(|()| 0))
}

/// Takes an importer out of the registry.
///
/// # Safety
///
/// None; `extern "C"` functions of the API are uniformly unsafe.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_unregister_importer(
    importer: *const ext_bindings::dma_buf_interconnect_importer,
) {
    if let Some(importer) = NonNull::new(importer.cast_mut()) {
        unregister(importer);
    }
}
