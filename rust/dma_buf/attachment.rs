// SPDX-License-Identifier: GPL-2.0

//! Using memory that others share.

use super::{
    importer::Vtable,
    interconnect::{
        negotiation::{
            dma_buf_interconnect_detach,
            Raw as RawInterconnect, //
        },
        Sgt, //
    },
    DmaBuf,
    Importer, //
};
use crate::dma_resv::Guard;
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    devres::Devres,
    dma::DataDirection,
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi::c_void,
    module::this_module,
    prelude::*,
    scatterlist::{
        SGTable,
        SGTableIter, //
    },
    sync::{
        aref::ARef,
        Arc, //
    },
};

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ptr::{
        from_ref,
        NonNull, //
    },
};

mod negotiated;

use negotiated::Negotiated;

/// A device that is attached to a buffer, on behalf of `I`.
///
/// It owns a reference on the buffer, on the device and on the module of `I`, so the callback
/// always finds its code and its data. It detaches when it is dropped or when the driver is
/// unbound from the device, whichever comes first: a mapping that exists then is undone, and
/// buffers that are pinned are unpinned. The driver must have stopped the device's access by
/// then; for unbinding that is what its `unbind` is for.
///
/// Dropping it takes the reservation lock, which must therefore not be held.
///
/// An attachment has at most one mapping at a time.
pub struct Attachment<I: Importer> {
    /// Detaches, unless unbinding has done so.
    _teardown: Devres<Teardown<I>>,
    inner: Arc<Inner<I>>,
}

/// What the importer's pointer to private data in the C structure points to.
#[pin_data]
pub(super) struct Inner<I: Importer> {
    dma_buf: ARef<DmaBuf>,
    device: ARef<Device>,
    /// Protected by the reservation lock of `dma_buf`.
    state: UnsafeCell<State>,
    negotiated: Negotiated,
    #[pin]
    pub(super) importer: I,
    _module: ModuleRef<I>,
}

/// # Invariants
///
/// `mapping` is a mapping of `raw`, and so many pins are held with it. Without `raw` there is
/// neither.
struct State {
    /// `None` before it is attached, and after it is detached.
    raw: Option<NonNull<bindings::dma_buf_attachment>>,
    mapping: Option<Mapped>,
    pins: u32,
}

/// A mapping of some kind.
///
/// # Invariants
///
/// `mapping` came from the `map()` to which `unmap` belongs, in this direction.
#[derive(Clone, Copy)]
struct Mapped {
    mapping: NonNull<c_void>,
    direction: DataDirection,
    /// `None` for a scatterlist of an attachment that was not negotiated.
    unmap: Option<UnmapFn>,
}

/// Undoes a mapping of a type, see
/// [`Type::unmap`](super::interconnect::Type::unmap).
type UnmapFn = unsafe fn(*mut RawInterconnect, NonNull<c_void>, DataDirection);

// SAFETY: `I: Send`, and the state may be accessed by any thread that has the lock.
unsafe impl<I: Importer> Send for Inner<I> {}

// SAFETY: `I: Sync`, and the state is protected by the reservation lock.
unsafe impl<I: Importer> Sync for Inner<I> {}

/// A reference on the module of `I`.
struct ModuleRef<I: Importer>(PhantomData<I>);

impl<I: Importer> ModuleRef<I> {
    fn get() -> Result<Self> {
        // SAFETY: `THIS_MODULE` is valid while code of the module runs.
        if unsafe { bindings::try_module_get(this_module::<I::OwnerModule>().as_ptr()) } {
            Ok(Self(PhantomData))
        } else {
            Err(ENODEV)
        }
    }
}

impl<I: Importer> Drop for ModuleRef<I> {
    fn drop(&mut self) {
        // SAFETY: The reference was taken in `get()`. What drops it is code of the module, or of
        // the driver core on behalf of a device that the module drives; it is waited for when
        // the module exits.
        unsafe { bindings::module_put(this_module::<I::OwnerModule>().as_ptr()) };
    }
}

/// Detaches when it is dropped.
struct Teardown<I: Importer>(Arc<Inner<I>>);

impl<I: Importer> Drop for Teardown<I> {
    fn drop(&mut self) {
        self.0.detach();
    }
}

impl<I: Importer> Attachment<I> {
    /// Attaches `device` to `dma_buf`.
    ///
    /// Sleeps; takes the reservation lock. C: `dma_buf_dynamic_attach()`.
    ///
    /// # Errors
    ///
    /// - Those of the exporter: by convention `EOPNOTSUPP` if the device cannot access the memory,
    ///   `EBUSY` if it could were the memory elsewhere, `ENODEV` if the memory has gone.
    /// - `ENODEV`: the module of `I` is being unloaded.
    /// - `ENOMEM`, and those of `importer`.
    pub fn new<Err>(
        dma_buf: &DmaBuf,
        device: &Device<Bound>,
        importer: impl PinInit<I, Err>,
    ) -> Result<Self>
    where
        Error: From<Err>,
    {
        let inner = Self::prepare(dma_buf, device, importer)?;

        // SAFETY: The buffer and the device are valid, and the references in `inner` keep them.
        // The operations are those of `I`, and static. Their private data is `inner`, which lives
        // until it is detached: by `Teardown`, which holds a reference on it.
        let raw = from_err_ptr(unsafe {
            bindings::dma_buf_dynamic_attach(
                inner.dma_buf.as_raw(),
                from_ref(device).cast_mut().cast(),
                Vtable::<I>::OPS,
                Arc::as_ptr(&inner).cast_mut().cast(),
            )
        })?;

        Self::finish(device, inner, raw)
    }

    fn prepare<Err>(
        dma_buf: &DmaBuf,
        device: &Device<Bound>,
        importer: impl PinInit<I, Err>,
    ) -> Result<Arc<Inner<I>>>
    where
        Error: From<Err>,
    {
        let module = ModuleRef::get()?;

        Arc::pin_init::<Error>(
            try_pin_init!(Inner {
                dma_buf: dma_buf.into(),
                device: device.into(),
                // INVARIANT: Not attached yet.
                state: UnsafeCell::new(State {
                    raw: None,
                    mapping: None,
                    pins: 0,
                }),
                negotiated: Negotiated::none(),
                importer <- importer,
                _module: module,
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Makes the attachment that was just made the one of `inner`.
    fn finish(
        device: &Device<Bound>,
        inner: Arc<Inner<I>>,
        raw: *mut bindings::dma_buf_attachment,
    ) -> Result<Self> {
        let teardown = Teardown(inner.clone());

        inner.with_state(&inner.dma_buf.resv().lock(), |state| {
            // INVARIANT: Neither mapped nor pinned yet.
            state.raw = NonNull::new(raw);
        })?;

        Ok(Self {
            _teardown: Devres::new(device, teardown)?,
            inner,
        })
    }

    /// The buffer.
    #[inline]
    pub fn dma_buf(&self) -> &DmaBuf {
        &self.inner.dma_buf
    }

    /// The device.
    #[inline]
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    /// The private data.
    #[inline]
    pub fn importer(&self) -> &I {
        &self.inner.importer
    }

    /// Maps the buffer for the device, if it is not mapped already.
    ///
    /// Before the device accesses the memory it has to wait for the fences of
    /// [`Usage::Kernel`](crate::dma_resv::Usage::Kernel), unless the buffer is pinned; and for
    /// those of others as implicit synchronisation demands.
    ///
    /// Sleeps. C: `dma_buf_map_attachment()`.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: there is a mapping, in another direction.
    /// - `ENODEV`: detached, since the driver was unbound; or the memory was revoked.
    /// - `EINVAL`: `guard` is that of another reservation object.
    /// - Those of the exporter.
    pub fn map<'g>(
        &'g self,
        guard: &'g mut Guard<'_>,
        direction: DataDirection,
    ) -> Result<Mapping<'g>> {
        if !self.inner.negotiated.get().is_null() {
            self.map_as::<Sgt>(guard, direction)?;
            return self.mapping(guard)?.ok_or(ENODEV);
        }
        let (raw, mapping) = self
            .inner
            .with_state(guard, |state| (state.raw, state.mapping))?;
        let raw = raw.ok_or(ENODEV)?;

        match mapping {
            Some(mapped) if mapped.direction != direction => return Err(EBUSY),
            Some(_) => {}
            None => {
                // The exporter may come back through `invalidate_mappings` meanwhile, so nothing
                // of the state is borrowed here.
                //
                // SAFETY: The attachment is valid, as it is detached with the lock held only.
                let table = from_err_ptr(unsafe {
                    bindings::dma_buf_map_attachment(raw.as_ptr(), direction.into())
                })?;

                self.inner.with_state(guard, |state| {
                    // INVARIANT: Mapped just now.
                    state.mapping = NonNull::new(table).map(|table| Mapped {
                        mapping: table.cast(),
                        direction,
                        unmap: None,
                    });
                })?;
            }
        }
        self.mapping(guard)?.ok_or(ENODEV)
    }

    /// The scatterlist that is mapped, if any. Does not sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `guard` is that of another reservation object; or another type was negotiated.
    pub fn mapping<'g>(&'g self, guard: &'g Guard<'_>) -> Result<Option<Mapping<'g>>> {
        let mapping = self.inner.with_state(guard, |state| state.mapping)?;

        if !self.inner.negotiated.get().is_null() && self.negotiated::<Sgt>().is_none() {
            return Err(EINVAL);
        }
        Ok(mapping.map(|mapped| Mapping {
            // SAFETY: It is a scatterlist, as that is all this attachment can map. The mapping is
            // undone by functions that need the guard exclusively, or take the lock. Neither can
            // happen during `'g`.
            table: unsafe { SGTable::from_raw(mapped.mapping.as_ptr().cast()) },
            direction: mapped.direction,
        }))
    }

    /// Whether there is a mapping, of whatever type. Does not sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `guard` is that of another reservation object.
    pub fn is_mapped(&self, guard: &Guard<'_>) -> Result<bool> {
        self.inner
            .with_state(guard, |state| state.mapping.is_some())
    }

    /// Undoes the mapping, if there is one. The device must not access the memory any more.
    ///
    /// Sleeps. C: `dma_buf_unmap_attachment()`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `guard` is that of another reservation object.
    pub fn unmap(&self, guard: &mut Guard<'_>) -> Result {
        self.inner.unmap(guard)
    }

    /// Keeps the exporter from moving the buffer. Not for what userspace can ask for without
    /// limit. Sleeps. C: `dma_buf_pin()`.
    ///
    /// # Errors
    ///
    /// - `ENODEV`: detached, since the driver was unbound.
    /// - `EINVAL`: `guard` is that of another reservation object.
    /// - Those of the exporter.
    pub fn pin(&self, guard: &mut Guard<'_>) -> Result {
        let raw = self
            .inner
            .with_state(guard, |state| state.raw)?
            .ok_or(ENODEV)?;

        // SAFETY: The attachment is valid, as it is detached with the lock held only.
        to_result(unsafe { bindings::dma_buf_pin(raw.as_ptr()) })?;
        self.inner.with_state(guard, |state| {
            // INVARIANT: Pinned once more.
            state.pins += 1;
        })
    }

    /// Undoes one [`Attachment::pin`]. C: `dma_buf_unpin()`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the buffer is not pinned with this attachment, or `guard` is that of another
    /// reservation object.
    pub fn unpin(&self, guard: &mut Guard<'_>) -> Result {
        if self.inner.unpin(guard)? {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }
}

impl<I: Importer> Inner<I> {
    /// Calls `f` with the state, which `guard` protects. `f` must not call out.
    fn with_state<R>(&self, guard: &Guard<'_>, f: impl FnOnce(&mut State) -> R) -> Result<R> {
        if !guard.protects(self.dma_buf.resv()) {
            return Err(EINVAL);
        }

        // SAFETY: The lock is held by this task, and `f` does not come back here, so this is the
        // only reference.
        Ok(f(unsafe { &mut *self.state.get() }))
    }

    pub(super) fn unmap(&self, guard: &mut Guard<'_>) -> Result {
        // INVARIANT: What is taken out here is undone below.
        let (raw, mapping) = self.with_state(guard, |state| (state.raw, state.mapping.take()))?;

        if let (Some(raw), Some(mapped)) = (raw, mapping) {
            let Mapped {
                mapping,
                direction,
                unmap,
            } = mapped;

            // SAFETY: By the type invariants it is a mapping of this attachment, which is valid
            // as it is detached with the lock held only.
            unsafe {
                match unmap {
                    Some(unmap) => unmap(self.negotiated.get(), mapping, direction),
                    None => bindings::dma_buf_unmap_attachment(
                        raw.as_ptr(),
                        mapping.as_ptr().cast(),
                        direction.into(),
                    ),
                }
            };
        }
        Ok(())
    }

    /// Undoes one pin, if there is any.
    fn unpin(&self, guard: &mut Guard<'_>) -> Result<bool> {
        let raw = self.with_state(guard, |state| {
            // INVARIANT: Undone below.
            state.pins = state.pins.checked_sub(1)?;
            state.raw
        })?;

        if let Some(raw) = raw {
            // SAFETY: By the type invariants there was a pin of this attachment, which is valid as
            // it is detached with the lock held only.
            unsafe { bindings::dma_buf_unpin(raw.as_ptr()) };
        }
        Ok(raw.is_some())
    }

    /// Undoes everything. Takes the reservation lock.
    fn detach(&self) {
        let raw = {
            let mut guard = self.dma_buf.resv().lock();

            // The guard is the right one, so these do not fail.
            let _ = self.unmap(&mut guard);
            while self.unpin(&mut guard) == Ok(true) {}

            // INVARIANT: Neither mapped nor pinned any more.
            self.with_state(&guard, |state| state.raw.take())
        };

        if let Ok(Some(raw)) = raw {
            let ica = self.negotiated.get();

            // SAFETY: The attachment is valid, and it was taken out of the state, so nobody uses
            // it any more. A negotiated one has the reference that is dropped with it, besides
            // that of `Negotiated`.
            unsafe {
                if ica.is_null() {
                    bindings::dma_buf_detach(self.dma_buf.as_raw(), raw.as_ptr());
                } else {
                    dma_buf_interconnect_detach(ica);
                }
            }
        }
    }
}

/// The addresses at which a device can access a buffer.
///
/// Borrowed from the reservation lock: without it the exporter may take the mapping away, so what
/// is read here has to be in the device's page tables, and removable from there, before the lock
/// is released.
#[derive(Clone, Copy)]
pub struct Mapping<'g> {
    table: &'g SGTable,
    direction: DataDirection,
}

impl<'g> Mapping<'g> {
    /// The segments, in the order of the buffer.
    ///
    /// For memory of a peer there are no pages, and [`SGEntry`](kernel::scatterlist::SGEntry)
    /// shows none.
    pub fn iter(&self) -> SGTableIter<'g> {
        self.table.iter()
    }

    /// The direction of the transfers for which it was made.
    pub fn direction(&self) -> DataDirection {
        self.direction
    }
}
