// SPDX-License-Identifier: GPL-2.0

//! Making a dma-buf of what an exporter has.

use super::{
    export_list::{
        ExportList,
        Link, //
    },
    exporter_vtable::Vtable,
    DmaBuf,
    Exporter, //
};
use crate::dma_resv::DmaResv;
use kernel::{
    bindings,
    error::from_err_ptr,
    module::this_module,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};

use core::{
    any::TypeId,
    ptr::{
        null_mut,
        NonNull, //
    },
};

/// How a buffer is exported.
pub struct ExportInfo {
    size: usize,
    flags: u32,
    resv: *mut bindings::dma_resv,
    ops: Option<NonNull<bindings::dma_buf_ops>>,
}

impl ExportInfo {
    /// A buffer of `size` bytes. `flags` are those of the file: the access mode (`O_RDONLY`,
    /// `O_WRONLY`, `O_RDWR`).
    pub fn new(size: usize, flags: u32) -> Self {
        Self {
            size,
            flags,
            resv: null_mut(),
            ops: None,
        }
    }

    /// Makes the buffer use `resv` instead of a reservation object of its own.
    ///
    /// Where the owner of `resv` is known as a type, [`DmaBuf::export_listed`] does the same safely.
    ///
    /// # Safety
    ///
    /// `resv` must live until the private data with which the buffer is exported is dropped. (That
    /// data holds a reference on the object that has `resv`.)
    pub unsafe fn with_resv(self, resv: &DmaResv) -> Self {
        Self {
            resv: resv.as_raw(),
            ..self
        }
    }

    /// Uses operations that are embedded in a larger structure, by whose address others recognise
    /// what more the exporter can do.
    ///
    /// # Safety
    ///
    /// `ops` must be what [`vtable`](super::vtable) returns for the type that is exported, and be
    /// valid until the module of that type is unloaded.
    pub unsafe fn with_ops(self, ops: NonNull<bindings::dma_buf_ops>) -> Self {
        Self {
            ops: Some(ops),
            ..self
        }
    }
}

/// Something that has a reservation object, which lives as long as it does.
///
/// # Safety
///
/// [`ResvOwner::resv`] must return the same object each time, also after the implementor has been
/// moved, and the object must be valid until the implementor is dropped.
pub unsafe trait ResvOwner: Send + Sync + 'static {
    /// The reservation object.
    fn resv(&self) -> &DmaResv;
}

/// What the private data of all Rust exporters begins with.
pub(super) struct Header {
    type_id: TypeId,
    /// Drops and frees the allocation.
    drop: unsafe fn(NonNull<Header>),
    /// The place in the list of its exporter, if there is one.
    pub(super) link: Link,
}

/// The allocation that the private pointer of an exported `struct dma_buf` points to.
///
/// `O` owns the reservation object, and is not known to those who look for `data`; its field comes
/// last, so that it does not matter where `data` is, and is dropped last.
#[repr(C)]
#[pin_data]
struct Export<E: Exporter, O> {
    header: Header,
    #[pin]
    data: E,
    owner: O,
}

impl DmaBuf {
    /// Makes a dma-buf.
    ///
    /// Sleeps (allocates). C: `dma_buf_export()`.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the size is 0 or no multiple of the page size.
    /// - `ENOMEM`.
    /// - `ENODEV`: the module of `E` is being unloaded.
    /// - Those of `data`.
    pub fn export<E: Exporter, Err>(
        info: &ExportInfo,
        data: impl PinInit<E, Err>,
    ) -> Result<ARef<Self>>
    where
        Error: From<Err>,
    {
        // SAFETY: By the safety requirements of `ExportInfo::with_resv()` the private data keeps
        // the reservation object, if one was given.
        unsafe { Self::export_with(info, (), info.resv, data) }
    }

    /// Makes a dma-buf that uses the reservation object of `owner`, and keeps `owner`; it is in
    /// `list` as long as it exists.
    ///
    /// `prepare` is called when it exists and is not in the list yet, so that nobody else can have
    /// a reference to it. As [`DmaBuf::export`], and fails with the errors of `prepare`.
    pub fn export_listed<O: ResvOwner, E: Exporter, Err>(
        list: &Arc<ExportList>,
        info: &ExportInfo,
        owner: O,
        data: impl PinInit<E, Err>,
        prepare: impl FnOnce(&Self) -> Result,
    ) -> Result<ARef<Self>>
    where
        Error: From<Err>,
    {
        let resv = owner.resv().as_raw();

        // SAFETY: `owner` keeps the reservation object, and is dropped after `data`.
        let dma_buf = unsafe { Self::export_with(info, owner, resv, data) }?;

        prepare(&dma_buf)?;
        // SAFETY: The dma-buf is new, and was made by `export_with()`.
        unsafe { list.add(&dma_buf) };
        Ok(dma_buf)
    }

    /// # Safety
    ///
    /// `resv` must be `NULL`, or a reservation object that lives until `data` is dropped.
    unsafe fn export_with<O: Send + Sync + 'static, E: Exporter, Err>(
        info: &ExportInfo,
        owner: O,
        resv: *mut bindings::dma_resv,
        data: impl PinInit<E, Err>,
    ) -> Result<ARef<Self>>
    where
        Error: From<Err>,
    {
        if info.size == 0 || info.size % kernel::page::PAGE_SIZE != 0 {
            return Err(EINVAL);
        }

        let export = KBox::pin_init::<Error>(
            try_pin_init!(Export {
                header: Header {
                    type_id: TypeId::of::<E>(),
                    drop: Export::<E, O>::drop_raw,
                    link: Link::new(),
                },
                data <- data,
                owner,
            }? Error),
            GFP_KERNEL,
        )?;
        let export = NonNull::from(KBox::leak(
            // SAFETY: The object is not moved out of its allocation.
            unsafe { Pin::into_inner_unchecked(export) },
        ));

        let exp_info = bindings::dma_buf_export_info {
            exp_name: E::NAME.as_char_ptr(),
            owner: this_module::<E::OwnerModule>().as_ptr(),
            ops: info
                .ops
                .map_or(&raw const *Vtable::<E>::OPS, |ops| ops.as_ptr()),
            size: info.size,
            // CAST: File flags are positive.
            flags: info.flags as i32,
            resv,
            priv_: export.as_ptr().cast(),
        };

        // SAFETY: `exp_info` is complete: the operations are those of `E` and stay as long as its
        // module, the private data is what they expect, and it contains what keeps the
        // reservation object.
        match from_err_ptr(unsafe { bindings::dma_buf_export(&exp_info) }) {
            // SAFETY: On success the C function returns a new reference, never `NULL`.
            Ok(ptr) => Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(ptr.cast())) }),
            Err(err) => {
                // SAFETY: Without a dma-buf the private data is still ours.
                unsafe { Export::<E, O>::drop_raw(export.cast()) };
                // The C function says so when it gets no reference on the module.
                Err(if err == ENOENT { ENODEV } else { err })
            }
        }
    }
}

impl<E: Exporter, O> Export<E, O> {
    /// # Safety
    ///
    /// `header` must be that of an `Export<E, O>` made by [`DmaBuf::export_with`], which is not
    /// used afterwards.
    unsafe fn drop_raw(header: NonNull<Header>) {
        // SAFETY: By the safety requirements; the header is at offset 0, and the allocation came
        // out of a `KBox`.
        drop(Pin::from(unsafe {
            KBox::from_raw(header.cast::<Self>().as_ptr())
        }));
    }
}

/// Drops the private data of any Rust exporter.
///
/// There is one instance of this function, so its address tells that the private data of a
/// dma-buf begins with a [`Header`].
///
/// # Safety
///
/// Called by the C side only, once, for a dma-buf made by [`DmaBuf::export_with`].
#[inline(never)]
pub(super) unsafe extern "C" fn release(dma_buf: *mut bindings::dma_buf) {
    // SAFETY: By the safety requirements the private data is an `Export`.
    unsafe {
        let header = NonNull::new_unchecked((*dma_buf).priv_.cast::<Header>());

        (header.as_ref().drop)(header)
    };
}

/// The private data of `dma_buf`, if it was exported by `E`.
pub(super) fn data_of<E: Exporter>(dma_buf: &DmaBuf) -> Option<&E> {
    // SAFETY: The dma-buf is initialised, and its operations stay while it lives.
    let ops = unsafe { &*(*dma_buf.as_raw()).ops };
    let ours = release as unsafe extern "C" fn(_);

    if !ops
        .release
        .is_some_and(|release| core::ptr::fn_addr_eq(release, ours))
    {
        return None;
    }

    // SAFETY: With this `release` the private data begins with a header, of which the type is
    // never written to.
    if unsafe { (*(*dma_buf.as_raw()).priv_.cast::<Header>()).type_id } != TypeId::of::<E>() {
        return None;
    }

    // SAFETY: Checked just now.
    Some(unsafe { data_from_raw(dma_buf.as_raw()) })
}

/// # Safety
///
/// `dma_buf` must point to a dma-buf exported by `E` that is not released during `'a`.
pub(super) unsafe fn data_from_raw<'a, E: Exporter>(dma_buf: *mut bindings::dma_buf) -> &'a E {
    // SAFETY: By the safety requirements; `data` is at the same place whatever comes after it.
    unsafe { &(*(*dma_buf).priv_.cast::<Export<E, ()>>()).data }
}

/// The header of the private data of `dma_buf`.
///
/// # Safety
///
/// `dma_buf` must point to a dma-buf made by [`DmaBuf::export_with`] that is not released
/// entirely.
pub(super) unsafe fn header_of(dma_buf: NonNull<bindings::dma_buf>) -> NonNull<Header> {
    // SAFETY: By the safety requirements.
    unsafe { NonNull::new_unchecked((*dma_buf.as_ptr()).priv_.cast()) }
}
