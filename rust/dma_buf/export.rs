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
use crate::{
    dma_resv::DmaResv,
    slab::SlabBox, //
};
use kernel::{bindings, error::from_err_ptr, module::this_module, prelude::*, sync::aref::ARef};

use core::{
    any::TypeId,
    mem::MaybeUninit,
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
    /// Where the data has it, [`ExportPlace::export_listed`] does the same safely.
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

/// What the private data of all Rust exporters begins with.
pub(super) struct Header {
    kind: &'static Kind,
    /// The place in the list of its exporter, if there is one.
    pub(super) link: Link,
}

/// What there is to know about the type of private data.
struct Kind {
    /// `TypeId::of()`, which is not a constant.
    type_id: fn() -> TypeId,
    /// Drops and frees the allocation.
    drop: unsafe fn(NonNull<Header>),
}

/// The allocation that the private pointer of an exported `struct dma_buf` points to. The header
/// is dropped first.
#[repr(C)]
#[pin_data]
struct Export<E: Exporter> {
    header: Header,
    #[pin]
    data: E,
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
        info: ExportInfo,
        data: impl PinInit<E, Err>,
    ) -> Result<ARef<Self>>
    where
        Error: From<Err>,
    {
        let resv = info.resv;

        // SAFETY: By the safety requirements of `ExportInfo::with_resv()` the private data keeps
        // the reservation object, if one was given.
        unsafe { ExportPlace::new(info)?.export_with(data, |_| resv) }
    }
}

/// Room for the private data of a dma-buf that is to be made.
///
/// An exporter that takes it first has nothing to give back when there is none.
pub struct ExportPlace<E: Exporter> {
    memory: SlabBox<MaybeUninit<Export<E>>>,
    info: ExportInfo,
}

impl<E: Exporter> ExportPlace<E> {
    /// Room for one. Sleeps (allocates).
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the size is 0 or no multiple of the page size.
    /// - `ENOMEM`.
    pub fn new(info: ExportInfo) -> Result<Self> {
        if info.size == 0 || info.size % kernel::page::PAGE_SIZE != 0 {
            return Err(EINVAL);
        }

        Ok(Self {
            memory: SlabBox::new_uninit(GFP_KERNEL)?,
            info,
        })
    }

    /// Makes a dma-buf that uses a reservation object which its data keeps, and is in a list which
    /// its data keeps as long as it exists; `keep` finds both in the data.
    ///
    /// `prepare` is called when the dma-buf exists and is not in the list yet, so that nobody else
    /// can have a reference to it. Sleeps (allocates). C: `dma_buf_export()`.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `ENODEV`: the module of `E` is being unloaded.
    /// - Those of `data` and of `prepare`.
    #[inline]
    pub fn export_listed<Err>(
        self,
        data: impl PinInit<E, Err>,
        keep: impl for<'a> FnOnce(&'a E) -> (&'a DmaResv, &'a ExportList),
        prepare: impl FnOnce(&E, &DmaBuf) -> Result,
    ) -> Result<ARef<DmaBuf>>
    where
        Error: From<Err>,
    {
        let keep = |data: &E| {
            let (resv, exports) = keep(data);

            (resv.as_raw(), NonNull::from(exports))
        };

        // SAFETY: What `keep` returns is valid as long as the data is borrowed, and that is until
        // it is dropped: up to then there are only shared references to it.
        unsafe { self.export_to_list(data, keep, prepare) }
    }

    /// As [`ExportPlace::export_listed`], with a reservation object of the dma-buf's own.
    ///
    /// Sleeps (allocates). C: `dma_buf_export()`.
    ///
    /// # Errors
    ///
    /// Those of [`ExportPlace::export_listed`].
    #[inline]
    pub fn export_listed_alone<Err>(
        self,
        data: impl PinInit<E, Err>,
        keep: impl for<'a> FnOnce(&'a E) -> &'a ExportList,
        prepare: impl FnOnce(&E, &DmaBuf) -> Result,
    ) -> Result<ARef<DmaBuf>>
    where
        Error: From<Err>,
    {
        // SAFETY: As in `export_listed()`; without a reservation object the C side makes one.
        unsafe {
            self.export_to_list(
                data,
                |data| (null_mut(), NonNull::from(keep(data))),
                prepare,
            )
        }
    }

    /// # Safety
    ///
    /// What `keep` returns must be valid until `data` is dropped; the reservation object may be
    /// `NULL`.
    #[inline]
    unsafe fn export_to_list<Err>(
        self,
        data: impl PinInit<E, Err>,
        keep: impl FnOnce(&E) -> (*mut bindings::dma_resv, NonNull<ExportList>),
        prepare: impl FnOnce(&E, &DmaBuf) -> Result,
    ) -> Result<ARef<DmaBuf>>
    where
        Error: From<Err>,
    {
        let mut list = None;
        let resv = |data: &E| {
            let (resv, exports) = keep(data);

            list = Some(exports);
            resv
        };

        // SAFETY: By the safety requirements.
        let dma_buf = unsafe { self.export_with(data, resv) }?;

        // SAFETY: The dma-buf is one of `E`.
        prepare(unsafe { data_from_raw(dma_buf.as_raw()) }, &dma_buf)?;
        if let Some(list) = list {
            // SAFETY: By the safety requirements, and since the header is dropped before the data.
            // The dma-buf is new, and was made by `export_with()`.
            unsafe { ExportList::add(list, &dma_buf) };
        }
        Ok(dma_buf)
    }

    /// # Safety
    ///
    /// `resv` must return `NULL`, or a reservation object that lives until `data` is dropped.
    #[inline]
    unsafe fn export_with<Err>(
        self,
        data: impl PinInit<E, Err>,
        resv: impl FnOnce(&E) -> *mut bindings::dma_resv,
    ) -> Result<ARef<DmaBuf>>
    where
        Error: From<Err>,
    {
        let Self { memory, info } = self;
        let export = memory.write_pin_init(try_pin_init!(Export {
            header: Header {
                kind: Export::<E>::KIND,
                link: Link::new(),
            },
            data <- data,
        }? Error))?;
        let export = NonNull::from(SlabBox::leak(
            // SAFETY: The object is not moved out of its allocation.
            unsafe { Pin::into_inner_unchecked(export) },
        ));

        let exp_info = bindings::dma_buf_export_info {
            exp_name: E::NAME.as_char_ptr(),
            owner: this_module::<E::OwnerModule>().as_ptr(),
            ops: match (info.ops, E::interconnects()) {
                (Some(ops), _) => ops.as_ptr(),
                (None, Some(ops)) => ops.base(),
                (None, None) => Vtable::<E>::OPS,
            },
            size: info.size,
            // CAST: File flags are positive.
            flags: info.flags as i32,
            // SAFETY: The data is initialised.
            resv: resv(unsafe { &(*export.as_ptr()).data }),
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
                unsafe { Export::<E>::drop_raw(export.cast()) };
                // The C function says so when it gets no reference on the module.
                Err(if err == ENOENT { ENODEV } else { err })
            }
        }
    }
}

impl<E: Exporter> Export<E> {
    const KIND: &'static Kind = &Kind {
        type_id: TypeId::of::<E>,
        drop: Self::drop_raw,
    };

    /// # Safety
    ///
    /// `header` must be that of an `Export<E>` made by [`ExportPlace::export_with`], which is not
    /// used afterwards.
    unsafe fn drop_raw(header: NonNull<Header>) {
        // SAFETY: By the safety requirements; the header is at offset 0, and the allocation came
        // out of a box.
        drop(Pin::from(unsafe {
            SlabBox::from_raw(header.cast::<Self>().as_ptr())
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
/// Called by the C side only, once, for a dma-buf made by [`ExportPlace::export_with`].
#[inline(never)]
pub(super) unsafe extern "C" fn release(dma_buf: *mut bindings::dma_buf) {
    // SAFETY: By the safety requirements the private data is an `Export`.
    unsafe {
        let header = NonNull::new_unchecked((*dma_buf).priv_.cast::<Header>());

        (header.as_ref().kind.drop)(header)
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

    // SAFETY: With this `release` the private data begins with a header, of which the kind is
    // never written to.
    let kind = unsafe { (*(*dma_buf.as_raw()).priv_.cast::<Header>()).kind };
    if (kind.type_id)() != TypeId::of::<E>() {
        return None;
    }

    // SAFETY: Checked just now.
    Some(unsafe { data_from_raw(dma_buf.as_raw()) })
}

/// # Safety
///
/// `dma_buf` must point to a dma-buf exported by `E` that is not released during `'a`.
pub(super) unsafe fn data_from_raw<'a, E: Exporter>(dma_buf: *mut bindings::dma_buf) -> &'a E {
    // SAFETY: By the safety requirements.
    unsafe { &(*(*dma_buf).priv_.cast::<Export<E>>()).data }
}

/// The header of the private data of `dma_buf`.
///
/// # Safety
///
/// `dma_buf` must point to a dma-buf made by [`ExportPlace::export_with`] that is not released
/// entirely.
pub(super) unsafe fn header_of(dma_buf: NonNull<bindings::dma_buf>) -> NonNull<Header> {
    // SAFETY: By the safety requirements.
    unsafe { NonNull::new_unchecked((*dma_buf.as_ptr()).priv_.cast()) }
}
