// SPDX-License-Identifier: GPL-2.0

//! Exporters in Rust.

use super::{
    buffer::{
        BufferState,
        Left, //
    },
    exporter_side::ExporterSide,
    negotiation::{
        self,
        no_match, //
    },
    registry,
    types::NativeType, //
};
use crate::{
    dma_buf::{
        self,
        DmaBuf,
        ExportedAttachment, //
    },
    dma_resv::Guard,
};
use kernel::{
    bindings,
    dma::DataDirection,
    error::{
        from_result,
        to_result, //
    },
    module::this_module,
    prelude::*,
    time::Jiffies, //
};

use core::{
    marker::PhantomData,
    ptr::{
        from_ref,
        null,
        null_mut,
        NonNull, //
    },
};

/// An exporter that has more to offer than a scatterlist.
///
/// It names its operations in [`dma_buf::Exporter::interconnects`], and registers them when its
/// module is loaded:
///
/// ```ignore
/// static OPS: ExporterOps<Export> = ExporterOps::new();
/// ```
pub trait Exporter: dma_buf::Exporter {
    /// Names what the buffer has to offer, best first, by [`Negotiation::offer`].
    ///
    /// Called at each attach of an importer that knows of interconnects, before
    /// [`dma_buf::Exporter::attach`], and without the reservation lock. May sleep. To offer nothing
    /// is no error here: the attach fails with [`no_match`].
    ///
    /// # Errors
    ///
    /// They end the attach. Those of [`Negotiation::offer`] have to be passed on.
    fn match_interconnects(&self, negotiation: &mut Negotiation<'_, Self>) -> Result;

    /// The state by which the buffer can be revoked, see [`revoke`].
    ///
    /// An exporter that has it needs not check nor count anything: all maps, also those of
    /// scatterlists for ordinary importers, fail with `ENODEV` while the buffer is revoked.
    fn buffer(&self) -> Option<&BufferState> {
        None
    }
}

/// An exporter that maps its memory for importers of the type `T`.
pub trait Maps<T: NativeType>: dma_buf::Exporter {
    /// Map the memory, for an attachment that was negotiated as `matched`.
    ///
    /// The memory stays where it is until the mapping is undone or invalidated. May sleep.
    ///
    /// # Errors
    ///
    /// By convention `ENODEV` if the memory was revoked.
    fn map_interconnect(
        &self,
        guard: &mut Guard<'_>,
        importer: &ExportedAttachment<Self>,
        matched: &T::Match,
        direction: DataDirection,
    ) -> Result<T::Owned>;

    /// Undo one [`Maps::map_interconnect`]: `mapping` is what that returned.
    ///
    /// May be called from within [`DmaBuf::invalidate_mappings`]. May sleep.
    fn unmap_interconnect(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &ExportedAttachment<Self>,
        _matched: &T::Match,
        mapping: T::Owned,
        _direction: DataDirection,
    ) {
        drop(mapping);
    }
}

/// The operations of the exporter `E`, with those of interconnects. Has to be a `static`.
#[repr(transparent)]
pub struct ExporterOps<E>(
    ext_bindings::dma_buf_interconnect_exporter,
    PhantomData<fn(E)>,
);

// SAFETY: Never written to; what is pointed to is static.
unsafe impl<E> Sync for ExporterOps<E> {}

impl<E: Exporter> ExporterOps<E> {
    /// The operations of `E`.
    #[expect(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(
            ext_bindings::dma_buf_interconnect_exporter {
                base: dma_buf::vtable::<E>(),
                owner: this_module::<E::OwnerModule>().as_ptr(),
                match_interconnects: Some(Callbacks::<E>::match_interconnects),
                buffer: Some(Callbacks::<E>::buffer),
            },
            PhantomData,
        )
    }

    /// Lets importers find the exporter, until what is returned is dropped. Sleeps (allocates).
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EEXIST` if that was done already.
    pub fn register(&'static self) -> Result<Registration> {
        // SAFETY: It is static data of the module that it names as its owner.
        unsafe { registry::register(NonNull::from(&self.0)) }?;
        Ok(Registration(Registered::Exporter(&self.0)))
    }
}

impl<E: dma_buf::Exporter> ExporterOps<E> {
    /// The ordinary operations, with which buffers are exported.
    pub(in crate::dma_buf) fn base(&'static self) -> *const bindings::dma_buf_ops {
        &self.0.base
    }

    /// The state of a buffer of `E`, if it has one.
    ///
    /// # Safety
    ///
    /// `dma_buf` must be one of `E`, valid during `'a`.
    pub(in crate::dma_buf) unsafe fn buffer_of<'a>(
        &self,
        dma_buf: *mut bindings::dma_buf,
    ) -> Option<&'a BufferState> {
        // SAFETY: By the safety requirements.
        let raw = unsafe { self.0.buffer.map_or(null_mut(), |buffer| buffer(dma_buf)) };

        // SAFETY: What `E` returns lives as long as its buffer.
        (!raw.is_null()).then(|| unsafe { BufferState::from_raw(raw) })
    }
}

enum Registered {
    Exporter(&'static ext_bindings::dma_buf_interconnect_exporter),
    Importer(&'static ext_bindings::dma_buf_interconnect_importer),
}

/// Operations in the registry; dropping it takes them out. To be kept by the driver's module.
///
/// Attachments that exist stay, with references on the modules.
pub struct Registration(Registered);

impl Registration {
    pub(super) fn of_importer(
        importer: &'static ext_bindings::dma_buf_interconnect_importer,
    ) -> Self {
        Self(Registered::Importer(importer))
    }
}

// SAFETY: The registry has a lock, and the operations are static.
unsafe impl Send for Registration {}

// SAFETY: As above.
unsafe impl Sync for Registration {}

impl Drop for Registration {
    fn drop(&mut self) {
        match self.0 {
            Registered::Exporter(exporter) => registry::unregister(NonNull::from(exporter)),
            Registered::Importer(importer) => registry::unregister(NonNull::from(importer)),
        }
    }
}

struct Callbacks<E>(PhantomData<E>);

impl<E: Exporter> Callbacks<E> {
    /// # Safety
    ///
    /// Called by the core only, with a buffer of `E`.
    unsafe extern "C" fn match_interconnects(
        dma_buf: *mut bindings::dma_buf,
        raw: *mut ext_bindings::dma_buf_interconnect_negotiation,
    ) -> c_int {
        from_result(|| {
            let mut negotiation = Negotiation {
                raw,
                _call: PhantomData,
                _exporter: PhantomData,
            };

            // SAFETY: By the safety requirements.
            unsafe { dma_buf::data_from_raw::<E>(dma_buf) }
                .match_interconnects(&mut negotiation)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// As `match_interconnects()`.
    unsafe extern "C" fn buffer(
        dma_buf: *mut bindings::dma_buf,
    ) -> *mut ext_bindings::dma_buf_interconnect_buffer {
        // SAFETY: By the safety requirements.
        unsafe { dma_buf::data_from_raw::<E>(dma_buf) }
            .buffer()
            .map_or(null_mut(), BufferState::as_raw)
    }
}

/// A negotiation that is under way, for [`Exporter::match_interconnects`].
pub struct Negotiation<'a, E> {
    raw: *mut ext_bindings::dma_buf_interconnect_negotiation,
    _call: PhantomData<&'a ()>,
    _exporter: PhantomData<fn(E)>,
}

/// How many types can be named at once.
pub const MAX_SIDES: usize = 8;

/// Pointers to what `sides` say, and their number.
///
/// Fails with `EINVAL` if there are more than [`MAX_SIDES`].
pub(in crate::dma_buf) fn collect<'a>(
    sides: impl ExactSizeIterator<Item = &'a ext_bindings::dma_buf_interconnect>,
) -> Result<(
    [*const ext_bindings::dma_buf_interconnect; MAX_SIDES],
    c_uint,
)> {
    let mut pointers = [null(); MAX_SIDES];
    // CAST: The number is small, or it is refused.
    let count = sides.len() as c_uint;

    for (index, side) in sides.enumerate() {
        *pointers.get_mut(index).ok_or(EINVAL)? = from_ref(side);
    }
    Ok((pointers, count))
}

impl<E: Exporter> Negotiation<'_, E> {
    /// Offers `sides`, best first. Returns whether a type is found by now; may be called again,
    /// with less preferred ones.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: more than [`MAX_SIDES`].
    /// - `ENOMEM`, and those of the match of a type.
    pub fn offer(&mut self, sides: &[&dyn ExporterSide<E>]) -> Result<bool> {
        let (pointers, count) = collect(sides.iter().map(|side| side.as_raw()))?;

        // SAFETY: The negotiation is under way. A side is what its type demands.
        let result = to_result(unsafe {
            negotiation::dma_buf_match_interconnects(self.raw, pointers.as_ptr(), count)
        });

        match result {
            Ok(()) => Ok(true),
            Err(err) if err == no_match() => Ok(false),
            Err(err) => Err(err),
        }
    }
}

/// The state of a buffer that `E` has exported.
fn state_of<E: Exporter>(dma_buf: &DmaBuf) -> Result<&BufferState> {
    dma_buf
        .exported_by::<E>()
        .and_then(Exporter::buffer)
        .ok_or(EINVAL)
}

/// Takes a buffer of `E` back, in at most `timeout` jiffies: refuses new mappings, tells the
/// importers, waits for the fences of [`Usage::Bookkeep`](crate::dma_resv::Usage::Bookkeep) and
/// then for the mappings to be undone.
///
/// Returns who did not let go in time, so that the memory can be set aside; [`None`] if nobody has
/// it any more. It stays revoked until [`restore`]. May be called again. Sleeps; takes the
/// reservation lock.
///
/// # Errors
///
/// `EINVAL`: the buffer is not one of `E`, or has no [`BufferState`].
pub fn revoke<E: Exporter>(dma_buf: &DmaBuf, timeout: Jiffies) -> Result<Option<Left>> {
    Ok(state_of::<E>(dma_buf)?.revoke(dma_buf, timeout).err())
}

/// Lets importers map a buffer again. Sleeps; takes the reservation lock.
///
/// # Errors
///
/// `EINVAL`: the buffer is not one of `E`, or has no [`BufferState`].
pub fn restore<E: Exporter>(dma_buf: &DmaBuf) -> Result {
    state_of::<E>(dma_buf)?.restore(dma_buf);
    Ok(())
}
