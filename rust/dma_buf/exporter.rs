// SPDX-License-Identifier: GPL-2.0

//! Sharing memory with others.

use super::{
    export_list::{
        ExportList,
        Listed, //
    },
    direction_from_raw,
    AttachmentInfo,
    DmaBuf,
    ExportedAttachment,
    KernelMap,
    SgTable, //
};
use crate::dma_resv::{
    DmaResv,
    Guard, //
};
use kernel::{
    bindings,
    dma::DataDirection,
    error::{
        from_err_ptr,
        from_result,
        VTABLE_DEFAULT_ERROR, //
    },
    mm::virt::VmaNew,
    module::this_module,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    types::ForeignOwnable, //
};

use core::{
    any::TypeId,
    marker::PhantomData,
    ptr::NonNull, //
};

/// A driver that shares memory; implemented by its private data for one dma-buf.
///
/// The value is made by [`DmaBuf::export`], and dropped when the last reference to the dma-buf has
/// gone, in process context and without locks. Its module stays until then.
///
/// Where the C side has the reservation lock, the functions get it as a [`Guard`]. They get it
/// exclusively, so that they may call [`DmaBuf::invalidate_mappings`].
///
/// # Examples
///
/// An exporter of memory in a BAR, to peers that can be made to let go of it:
///
/// ```ignore
/// struct Export {
///     memory: Arc<DeviceMemory>,
///     provider: Arc<p2pdma::Provider>,
/// }
///
/// #[vtable]
/// impl dma_buf::Exporter for Export {
///     type AttachmentData = ();
///     const NAME: &'static CStr = c"mydriver";
///
///     fn attach(&self, importer: &AttachmentInfo) -> Result {
///         if !importer.allows_peer2peer() || !importer.is_revocable() {
///             return Err(EOPNOTSUPP);
///         }
///         match self.provider.refusal(importer.device()) {
///             None => Ok(()),
///             Some(_) => Err(EOPNOTSUPP),
///         }
///     }
///
///     fn map(
///         &self,
///         guard: &mut Guard<'_>,
///         importer: &ExportedAttachment<Self>,
///         direction: DataDirection,
///     ) -> Result<SgTable> {
///         SgTable::from_mmio(importer, &self.provider, self.memory.ranges(guard)?, direction)
///     }
/// }
///
/// let dma_buf = DmaBuf::export(&ExportInfo::new(size, O_RDWR), Export { memory, provider })?;
/// let fd = dma_buf.fd(O_CLOEXEC)?;
/// ```
#[vtable]
pub trait Exporter: Sized + Send + Sync + 'static {
    /// What the exporter keeps for each attachment: `()` if nothing.
    type AttachmentData: ForeignOwnable + Send + Sync + 'static;

    /// Name of the exporter, for debugfs and `fdinfo`.
    const NAME: &'static CStr;

    /// An importer wants to attach: decide whether its device can access the memory.
    ///
    /// Called without the reservation lock, and before the attachment is on the list of the
    /// buffer. May sleep. C: `attach`.
    ///
    /// # Errors
    ///
    /// By convention `EOPNOTSUPP` if the device cannot access the memory, `EBUSY` if it could
    /// were the memory elsewhere, and `ENODEV` if the memory has gone.
    fn attach(&self, importer: &AttachmentInfo) -> Result<Self::AttachmentData>;

    /// An importer detaches. It has no mappings any more.
    ///
    /// Called without the reservation lock, when the attachment is off the list. May sleep.
    /// C: `detach`.
    fn detach(&self, _importer: &AttachmentInfo, data: Self::AttachmentData) {
        drop(data);
    }

    /// Keep the memory where the importer can access it, until [`Exporter::unpin`].
    ///
    /// Moves and clears must have finished when it returns. An exporter that has this is dynamic:
    /// its memory may move while it is not pinned. May sleep. C: `pin`.
    fn pin(&self, _guard: &mut Guard<'_>, _importer: &ExportedAttachment<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Undo one [`Exporter::pin`]. C: `unpin`.
    fn unpin(&self, _guard: &mut Guard<'_>, _importer: &ExportedAttachment<Self>) {}

    /// Map the memory for the importer's device.
    ///
    /// Has to check again what [`Exporter::attach`] found, if that can change: the memory may have
    /// been revoked meanwhile. May sleep. C: `map_dma_buf`.
    ///
    /// # Errors
    ///
    /// By convention `ENODEV` if the memory was revoked, and those of [`SgTable`].
    fn map(
        &self,
        guard: &mut Guard<'_>,
        importer: &ExportedAttachment<Self>,
        direction: DataDirection,
    ) -> Result<SgTable>;

    /// Undo one [`Exporter::map`]: `table` is what it returned.
    ///
    /// May be called from within [`DmaBuf::invalidate_mappings`]. May sleep. C: `unmap_dma_buf`.
    fn unmap(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &ExportedAttachment<Self>,
        table: SgTable,
        _direction: DataDirection,
    ) {
        drop(table);
    }

    /// Map the memory into the address space of a process.
    ///
    /// Called without the reservation lock, with the memory map of the process locked. The C side
    /// has checked that the area is within the size of the buffer. C: `mmap`.
    fn mmap(&self, _dma_buf: &DmaBuf, _vma: &VmaNew) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Map the memory into the address space of the kernel. The C side counts and calls this for
    /// the first user only. May sleep. C: `vmap`.
    ///
    /// An error is reported with a warning by the C side.
    fn vmap(&self, _guard: &mut Guard<'_>, _dma_buf: &DmaBuf) -> Result<KernelMap> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Undo [`Exporter::vmap`], after the last user. C: `vunmap`.
    fn vunmap(&self, _guard: &mut Guard<'_>, _dma_buf: &DmaBuf, _map: KernelMap) {}

    /// Make the memory coherent for the CPU. May sleep. C: `begin_cpu_access`.
    ///
    /// `direction` is seen from the device: [`DataDirection::FromDevice`] if the CPU reads.
    fn begin_cpu_access(&self, _dma_buf: &DmaBuf, _direction: DataDirection) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Make what the CPU has written visible to devices. May sleep. C: `end_cpu_access`.
    fn end_cpu_access(&self, _dma_buf: &DmaBuf, _direction: DataDirection) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// How a buffer is exported.
pub struct ExportInfo {
    size: usize,
    flags: u32,
    resv: Option<NonNull<bindings::dma_resv>>,
    ops: Option<NonNull<bindings::dma_buf_ops>>,
}

impl ExportInfo {
    /// A buffer of `size` bytes. `flags` are those of the file: the access mode (`O_RDONLY`,
    /// `O_WRONLY`, `O_RDWR`).
    pub fn new(size: usize, flags: u32) -> Self {
        Self {
            size,
            flags,
            resv: None,
            ops: None,
        }
    }

    /// Makes the buffer use `resv` instead of a reservation object of its own.
    ///
    /// # Safety
    ///
    /// `resv` must live until the private data with which the buffer is exported is dropped. (That
    /// data holds a reference on the object that has `resv`.)
    pub unsafe fn with_resv(self, resv: &DmaResv) -> Self {
        Self {
            resv: NonNull::new(resv.as_raw()),
            ..self
        }
    }

    /// Uses operations that are embedded in a larger structure, by whose address others recognise
    /// what more the exporter can do.
    ///
    /// # Safety
    ///
    /// `ops` must be what [`vtable`] returns for the type that is exported, and be valid until the
    /// module of that type is unloaded.
    pub unsafe fn with_ops(self, ops: NonNull<bindings::dma_buf_ops>) -> Self {
        Self {
            ops: Some(ops),
            ..self
        }
    }
}

/// The allocation that the private pointer of an exported `struct dma_buf` points to.
#[repr(C)]
#[pin_data]
struct Export<E: Exporter> {
    header: Header,
    #[pin]
    data: E,
}

/// Something that has a reservation object, which lives as long as it does.
///
/// # Safety
///
/// [`ResvOwner::resv`] must return the same object each time, and the object must be valid until
/// the implementor is dropped.
pub unsafe trait ResvOwner: Send + Sync + 'static {
    /// The reservation object.
    fn resv(&self) -> &DmaResv;
}

/// What the private data of all Rust exporters begins with.
struct Header {
    /// Takes the dma-buf off the list of its exporter's.
    _listed: Option<Listed>,
    /// Keeps the reservation object, where it is that of somebody else.
    _resv_owner: Option<KBox<dyn ResvOwner>>,
    type_id: TypeId,
    /// Drops and frees the allocation.
    drop: unsafe fn(NonNull<Header>),
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
        Self::export_inner(info, None, None, data)
    }

    /// As [`DmaBuf::export`], with the reservation object of `owner`, which the dma-buf keeps.
    ///
    /// The dma-buf is in `list` as long as it exists.
    pub fn export_listed<O: ResvOwner, E: Exporter, Err>(
        list: &Arc<ExportList>,
        info: &ExportInfo,
        owner: O,
        data: impl PinInit<E, Err>,
    ) -> Result<ARef<Self>>
    where
        Error: From<Err>,
    {
        let entry = list.prepare()?;
        let listed = entry.listed();
        let owner = KBox::new(owner, GFP_KERNEL)?;
        let dma_buf = Self::export_inner(info, Some(owner), Some(listed), data)?;

        // SAFETY: The private data of the dma-buf owns the `Listed`.
        unsafe { entry.fill(&dma_buf) };
        Ok(dma_buf)
    }

    fn export_inner<E: Exporter, Err>(
        info: &ExportInfo,
        resv_owner: Option<KBox<dyn ResvOwner>>,
        listed: Option<Listed>,
        data: impl PinInit<E, Err>,
    ) -> Result<ARef<Self>>
    where
        Error: From<Err>,
    {
        if info.size == 0 || info.size % kernel::page::PAGE_SIZE != 0 {
            return Err(EINVAL);
        }

        let resv = match &resv_owner {
            Some(owner) => owner.resv().as_raw(),
            None => info.resv.map_or(core::ptr::null_mut(), NonNull::as_ptr),
        };
        let export = KBox::pin_init::<Error>(
            try_pin_init!(Export {
                header: Header {
                    _listed: listed,
                    _resv_owner: resv_owner,
                    type_id: TypeId::of::<E>(),
                    drop: Export::<E>::drop_raw,
                },
                data <- data,
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
        // module, the private data is what they expect, and the reservation object lives as long
        // as the private data.
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
    /// # Safety
    ///
    /// `header` must be that of an `Export<E>` made by [`DmaBuf::export`], which is not used
    /// afterwards.
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
/// Called by the C side only, once, for a dma-buf made by [`DmaBuf::export`].
#[inline(never)]
unsafe extern "C" fn release(dma_buf: *mut bindings::dma_buf) {
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

    // SAFETY: With this `release` the private data begins with a header.
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
    // SAFETY: By the safety requirements.
    unsafe { &(*(*dma_buf).priv_.cast::<Export<E>>()).data }
}

/// The operations for buffers exported by `E`, for [`ExportInfo::with_ops`].
pub const fn vtable<E: Exporter>() -> bindings::dma_buf_ops {
    *Vtable::<E>::OPS
}

/// Chooses `$function` if `$has`, as an operation that may be missing.
macro_rules! optional {
    ($has:expr, $function:expr) => {
        if $has {
            Some($function)
        } else {
            None
        }
    };
}

struct Vtable<E: Exporter>(PhantomData<E>);

/// # Safety
///
/// All functions are called by the C side only, for dma-bufs exported by `E` and attachments to
/// them, in the states and with the locks that `struct dma_buf_ops` documents.
impl<E: Exporter> Vtable<E> {
    const OPS: &'static bindings::dma_buf_ops = &bindings::dma_buf_ops {
        attach: Some(Self::attach),
        detach: Some(Self::detach),
        pin: optional!(E::HAS_PIN, Self::pin),
        unpin: optional!(E::HAS_PIN, Self::unpin),
        map_dma_buf: Some(Self::map),
        unmap_dma_buf: Some(Self::unmap),
        release: Some(release),
        begin_cpu_access: optional!(E::HAS_BEGIN_CPU_ACCESS, Self::begin_cpu_access),
        end_cpu_access: optional!(E::HAS_END_CPU_ACCESS, Self::end_cpu_access),
        mmap: optional!(E::HAS_MMAP, Self::mmap),
        vmap: optional!(E::HAS_VMAP, Self::vmap),
        vunmap: optional!(E::HAS_VMAP, Self::vunmap),
    };

    unsafe extern "C" fn attach(
        dma_buf: *mut bindings::dma_buf,
        attachment: *mut bindings::dma_buf_attachment,
    ) -> c_int {
        // SAFETY: The C side passes a dma-buf of `E` and a new attachment to it.
        let (data, info) = unsafe {
            (
                data_from_raw::<E>(dma_buf),
                AttachmentInfo::from_raw(attachment),
            )
        };

        from_result(|| {
            let data = data.attach(info)?;

            // SAFETY: The field is for the exporter to use.
            unsafe { (*attachment).priv_ = data.into_foreign() };
            Ok(0)
        })
    }

    unsafe extern "C" fn detach(
        dma_buf: *mut bindings::dma_buf,
        attachment: *mut bindings::dma_buf_attachment,
    ) {
        // SAFETY: The attachment was accepted, as otherwise the C side does not call this. It is
        // not used any more by anyone else.
        let data = unsafe { E::AttachmentData::from_foreign((*attachment).priv_) };

        // SAFETY: The C side passes a dma-buf of `E` and an attachment to it.
        unsafe { data_from_raw::<E>(dma_buf).detach(AttachmentInfo::from_raw(attachment), data) };
    }

    /// Calls `f` for an attachment whose buffer is locked.
    ///
    /// # Safety
    ///
    /// `attachment` must be one that `E` has accepted, and the lock of its buffer must be held.
    unsafe fn locked<R>(
        attachment: *mut bindings::dma_buf_attachment,
        f: impl FnOnce(&E, &mut Guard<'_>, &ExportedAttachment<E>) -> R,
    ) -> R {
        // SAFETY: By the safety requirements.
        unsafe {
            let dma_buf = (*attachment).dmabuf;
            let mut guard = Guard::assume_held((*dma_buf).resv);

            f(
                data_from_raw(dma_buf),
                &mut guard,
                ExportedAttachment::from_raw(attachment),
            )
        }
    }

    unsafe extern "C" fn pin(attachment: *mut bindings::dma_buf_attachment) -> c_int {
        from_result(|| {
            // SAFETY: The C side calls this with the lock held.
            unsafe { Self::locked(attachment, |data, guard, info| data.pin(guard, info)) }?;
            Ok(0)
        })
    }

    unsafe extern "C" fn unpin(attachment: *mut bindings::dma_buf_attachment) {
        // SAFETY: The C side calls this with the lock held.
        unsafe { Self::locked(attachment, |data, guard, info| data.unpin(guard, info)) };
    }

    unsafe extern "C" fn map(
        attachment: *mut bindings::dma_buf_attachment,
        direction: bindings::dma_data_direction,
    ) -> *mut bindings::sg_table {
        // SAFETY: The C side calls this with the lock held.
        let table = unsafe {
            Self::locked(attachment, |data, guard, info| {
                data.map(guard, info, direction_from_raw(direction))
            })
        };

        match table {
            Ok(table) => table.into_raw(),
            Err(err) => err.to_ptr(),
        }
    }

    unsafe extern "C" fn unmap(
        attachment: *mut bindings::dma_buf_attachment,
        table: *mut bindings::sg_table,
        direction: bindings::dma_data_direction,
    ) {
        // SAFETY: The C side gives back what `map()` returned, and calls this with the lock held.
        unsafe {
            let table = SgTable::from_raw(table);

            Self::locked(attachment, |data, guard, info| {
                data.unmap(guard, info, table, direction_from_raw(direction))
            });
        }
    }

    unsafe extern "C" fn begin_cpu_access(
        dma_buf: *mut bindings::dma_buf,
        direction: bindings::dma_data_direction,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The C side passes a dma-buf of `E`.
            unsafe {
                data_from_raw::<E>(dma_buf)
                    .begin_cpu_access(DmaBuf::from_raw(dma_buf), direction_from_raw(direction))
            }?;
            Ok(0)
        })
    }

    unsafe extern "C" fn end_cpu_access(
        dma_buf: *mut bindings::dma_buf,
        direction: bindings::dma_data_direction,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The C side passes a dma-buf of `E`.
            unsafe {
                data_from_raw::<E>(dma_buf)
                    .end_cpu_access(DmaBuf::from_raw(dma_buf), direction_from_raw(direction))
            }?;
            Ok(0)
        })
    }

    unsafe extern "C" fn mmap(
        dma_buf: *mut bindings::dma_buf,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The C side passes a dma-buf of `E`, and an area that is being set up.
            unsafe {
                data_from_raw::<E>(dma_buf).mmap(DmaBuf::from_raw(dma_buf), VmaNew::from_raw(vma))
            }?;
            Ok(0)
        })
    }

    unsafe extern "C" fn vmap(
        dma_buf: *mut bindings::dma_buf,
        map: *mut bindings::iosys_map,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The C side passes a dma-buf of `E` whose lock is held, and a place for the
            // result.
            unsafe {
                let mut guard = Guard::assume_held((*dma_buf).resv);
                let data = data_from_raw::<E>(dma_buf);

                *map = data.vmap(&mut guard, DmaBuf::from_raw(dma_buf))?.into_raw();
            }
            Ok(0)
        })
    }

    unsafe extern "C" fn vunmap(dma_buf: *mut bindings::dma_buf, map: *mut bindings::iosys_map) {
        // SAFETY: The C side passes a dma-buf of `E` whose lock is held, and what `vmap()`
        // returned.
        unsafe {
            let mut guard = Guard::assume_held((*dma_buf).resv);

            data_from_raw::<E>(dma_buf).vunmap(
                &mut guard,
                DmaBuf::from_raw(dma_buf),
                KernelMap::from_raw(&*map),
            );
        }
    }
}
