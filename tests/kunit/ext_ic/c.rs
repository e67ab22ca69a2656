// SPDX-License-Identifier: GPL-2.0

//! The exporter and the importer in C, see `tests/interconnect/ic_test.h`.

use crate::support::TestDevice;
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::aref::ARef, //
};
use kernel_ext::dma_buf::DmaBuf;

use core::ptr::NonNull;

#[repr(C)]
struct RawImporter {
    _opaque: [u8; 0],
}

/// `struct ic_test_buffer_info`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Info {
    pub(crate) node: u32,
    pub(crate) windows: u32,
    pub(crate) match_error: i32,
    pub(crate) map_error: i32,
}

impl Info {
    /// A buffer of `node` in `windows` windows.
    pub(crate) const fn new(node: u32, windows: u32) -> Self {
        Self {
            node,
            windows,
            match_error: 0,
            map_error: 0,
        }
    }
}

/// `struct dma_buf_interconnect_left`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) mappings: u32,
    pub(crate) negotiated: u32,
    pub(crate) fences: bool,
}

/// `enum ic_test_kind`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    OwnOnly,
    OwnAndSgt,
    SgtOnly,
    Plain,
}

#[expect(improper_ctypes)] // Pointers to types of the kernel, as its bindings have them.
extern "C" {
    fn ic_test_export(info: *const Info) -> *mut bindings::dma_buf;
    fn ic_test_revoke(dmabuf: *mut bindings::dma_buf, ms: c_uint, left: *mut Left) -> c_int;
    fn ic_test_restore(dmabuf: *mut bindings::dma_buf);
    fn ic_test_visit(dmabuf: *mut bindings::dma_buf) -> c_uint;
    fn ic_test_attach(
        dmabuf: *mut bindings::dma_buf,
        dev: *mut bindings::device,
        kind: Kind,
        node: u32,
        unmaps: bool,
    ) -> *mut RawImporter;
    fn ic_test_map(importer: *mut RawImporter, sum: *mut u64) -> c_int;
    fn ic_test_unmap(importer: *mut RawImporter);
    fn ic_test_detach(importer: *mut RawImporter);
    fn ic_test_register_exporter(on: bool) -> c_int;
    fn ic_test_register_importer(on: bool) -> c_int;
    fn ic_test_exporter_references() -> c_int;
    fn ic_test_importer_references() -> c_int;
    fn ic_test_type_references() -> c_int;
    fn ext_ic_test_arguments(dev: *mut bindings::device) -> c_int;
}

/// See `arguments_test.c`: 0, or the line of the check that has failed.
pub(crate) fn wrong_arguments(dev: &TestDevice) -> i32 {
    // SAFETY: The device is valid.
    unsafe { ext_ic_test_arguments(dev.raw()) }
}

/// Exports a buffer of a page.
pub(crate) fn export(info: Info) -> Result<ARef<DmaBuf>> {
    // SAFETY: The argument is valid.
    let raw = from_err_ptr(unsafe { ic_test_export(&info) })?;

    let raw = NonNull::new(raw.cast()).ok_or(ENOMEM)?;

    // SAFETY: The C function returns a reference.
    Ok(unsafe { ARef::from_raw(raw) })
}

/// Revokes a buffer of [`export`].
pub(crate) fn revoke(dma_buf: &DmaBuf, ms: u32) -> Result<(), Left> {
    let mut left = Left::default();

    // SAFETY: The buffer is one of the exporter, and the place valid.
    match to_result(unsafe { ic_test_revoke(dma_buf.as_raw(), ms, &mut left) }) {
        Ok(()) => Ok(()),
        Err(_) => Err(left),
    }
}

/// Undoes [`revoke`].
pub(crate) fn restore(dma_buf: &DmaBuf) {
    // SAFETY: The buffer is one of the exporter.
    unsafe { ic_test_restore(dma_buf.as_raw()) };
}

/// Mappings of all negotiated attachments, of any buffer.
pub(crate) fn visit(dma_buf: &DmaBuf) -> u32 {
    // SAFETY: The buffer is valid.
    unsafe { ic_test_visit(dma_buf.as_raw()) }
}

/// References on a module each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct References {
    pub(crate) exporter: i32,
    pub(crate) importer: i32,
    pub(crate) ty: i32,
}

impl References {
    /// Those that there are now, without those of files that were put.
    pub(crate) fn now() -> Self {
        crate::support::flush_files();
        // SAFETY: No requirements.
        unsafe {
            Self {
                exporter: ic_test_exporter_references(),
                importer: ic_test_importer_references(),
                ty: ic_test_type_references(),
            }
        }
    }

    /// So many more.
    pub(crate) fn and(self, exporter: i32, importer: i32, ty: i32) -> Self {
        Self {
            exporter: self.exporter + exporter,
            importer: self.importer + importer,
            ty: self.ty + ty,
        }
    }
}

/// A side that is not registered until this is dropped.
pub(crate) struct Unregistered(unsafe extern "C" fn(bool) -> c_int);

impl Unregistered {
    pub(crate) fn exporter() -> Self {
        Self::new(ic_test_register_exporter)
    }

    pub(crate) fn importer() -> Self {
        Self::new(ic_test_register_importer)
    }

    fn new(register: unsafe extern "C" fn(bool) -> c_int) -> Self {
        // SAFETY: No requirements. This does not fail.
        unsafe { register(false) };
        Self(register)
    }

    /// Registers the side again.
    pub(crate) fn again(self) -> Result {
        let register = self.0;

        core::mem::forget(self);
        // SAFETY: No requirements.
        to_result(unsafe { register(true) })
    }
}

impl Drop for Unregistered {
    fn drop(&mut self) {
        // A failure makes the tests after this fail.
        // SAFETY: No requirements.
        unsafe { (self.0)(true) };
    }
}

/// An importer; detached when dropped.
pub(crate) struct Importer {
    raw: *mut RawImporter,
    _dma_buf: ARef<DmaBuf>,
}

// SAFETY: The importer locks.
unsafe impl Send for Importer {}

// SAFETY: As above.
unsafe impl Sync for Importer {}

impl Importer {
    pub(crate) fn attach(
        dma_buf: &DmaBuf,
        dev: &TestDevice,
        kind: Kind,
        node: u32,
        unmaps: bool,
    ) -> Result<Self> {
        // SAFETY: The buffer and the device are valid.
        let raw = from_err_ptr(unsafe {
            ic_test_attach(dma_buf.as_raw(), dev.raw(), kind, node, unmaps)
        })?;

        Ok(Self {
            raw,
            _dma_buf: dma_buf.into(),
        })
    }

    /// See `ic_test_map()`.
    pub(crate) fn map(&self) -> Result<u64> {
        let mut sum = 0;

        // SAFETY: It is attached.
        to_result(unsafe { ic_test_map(self.raw, &mut sum) })?;
        Ok(sum)
    }

    pub(crate) fn unmap(&self) {
        // SAFETY: It is attached.
        unsafe { ic_test_unmap(self.raw) };
    }
}

impl Drop for Importer {
    fn drop(&mut self) {
        // SAFETY: It is attached, and not used any more.
        unsafe { ic_test_detach(self.raw) };
    }
}
