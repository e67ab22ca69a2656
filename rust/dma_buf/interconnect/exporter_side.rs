// SPDX-License-Identifier: GPL-2.0

//! What Rust exporters say about the types that they offer, and how the core maps them.

use super::{
    exporter::Maps,
    iov,
    negotiation::Raw,
    private::{
        Ops,
        Private,
        PrivateType,
        RawExporter, //
    },
    sgt,
    types::{
        Iov,
        IovRanges,
        NativeType,
        Type, //
    },
};
use crate::{
    dma_buf::{
        self,
        direction_from_raw,
        ExportedAttachment, //
    },
    dma_resv::Guard,
};
use kernel::{
    bindings,
    dma::DataDirection,
    pci,
    prelude::*, //
};

use core::{
    marker::PhantomData,
    ptr::{
        from_ref,
        NonNull, //
    },
};

/// What an exporter says about one type.
///
/// # Safety
///
/// `as_raw()` must return the structure that the type demands of exporters, and the operations that
/// it names be those of `E`.
pub unsafe trait ExporterSide<E> {
    /// The structure.
    fn as_raw(&self) -> &ext_bindings::dma_buf_interconnect;
}

/// A scatterlist, mapped by [`dma_buf::Exporter::map`].
pub struct SgtExporter(ext_bindings::dma_buf_sgt_interconnect);

impl SgtExporter {
    /// `peer2peer` says that the memory has no struct pages, so that only importers match that can
    /// do without.
    pub fn new(peer2peer: bool) -> Self {
        Self(sgt::side(peer2peer))
    }
}

// SAFETY: As the type demands; the operations are the ordinary ones.
unsafe impl<E: dma_buf::Exporter> ExporterSide<E> for SgtExporter {
    fn as_raw(&self) -> &ext_bindings::dma_buf_interconnect {
        &self.0.base
    }
}

/// Memory of a VF, mapped by [`Maps<Iov>`].
pub struct IovExporter<'a, E>(
    ext_bindings::dma_buf_iov_exporter,
    PhantomData<&'a pci::Device>,
    PhantomData<fn(E)>,
);

impl<'a, E: Maps<Iov>> IovExporter<'a, E> {
    /// The memory behind BAR `bar` of `vf`.
    pub fn new(vf: &'a pci::Device, bar: u32) -> Self {
        Self(
            ext_bindings::dma_buf_iov_exporter {
                base: ext_bindings::dma_buf_interconnect {
                    type_: iov::descriptor(),
                },
                // CAST: `pci::Device` is a transparent wrapper of the structure.
                vf: from_ref(vf).cast_mut().cast(),
                bar,
                ops: &const {
                    ext_bindings::dma_buf_iov_ops {
                        map_interconnect: Some(iov_map::<E>),
                        unmap_interconnect: Some(iov_unmap::<E>),
                    }
                },
            },
            PhantomData,
            PhantomData,
        )
    }
}

// SAFETY: As the type demands, with the operations of `E`.
unsafe impl<E: Maps<Iov>> ExporterSide<E> for IovExporter<'_, E> {
    fn as_raw(&self) -> &ext_bindings::dma_buf_interconnect {
        &self.0.base
    }
}

/// A private type, mapped by [`Maps<Private<T>>`].
pub struct PrivateExporter<'a, T: PrivateType, E>(
    RawExporter<T>,
    PhantomData<&'a T::Exporter>,
    PhantomData<fn(E)>,
);

impl<'a, T: PrivateType, E: Maps<Private<T>>> PrivateExporter<'a, T, E> {
    const OPS: &'static Ops<T> = &Ops {
        map: map::<Private<T>, E>,
        unmap: unmap::<Private<T>, E>,
    };

    /// What the exporter says about itself.
    pub fn new(said: &'a T::Exporter) -> Self {
        Self(
            RawExporter {
                base: ext_bindings::dma_buf_interconnect {
                    type_: T::descriptor().raw(),
                },
                ops: Self::OPS,
                said,
            },
            PhantomData,
            PhantomData,
        )
    }
}

// SAFETY: As the type demands, with the operations of `E`.
unsafe impl<T: PrivateType, E: Maps<Private<T>>> ExporterSide<E> for PrivateExporter<'_, T, E> {
    fn as_raw(&self) -> &ext_bindings::dma_buf_interconnect {
        &self.0.base
    }
}

/// Calls `f` for an attachment of which a mapping is made or undone.
///
/// # Safety
///
/// `ica` must have been negotiated to be of `T`, with `E`, and the reservation lock be held.
unsafe fn locked<T: Type, E: dma_buf::Exporter, R>(
    ica: *mut Raw,
    f: impl FnOnce(&E, &mut Guard<'_>, &ExportedAttachment<E>, &T::Match) -> R,
) -> R {
    // SAFETY: By the safety requirements. Who can map has attached, so that `E` has accepted.
    unsafe {
        let dma_buf = (*ica).dmabuf;
        let mut guard = Guard::assume_held((*dma_buf).resv);

        f(
            dma_buf::data_from_raw(dma_buf),
            &mut guard,
            ExportedAttachment::from_raw((*ica).attach),
            T::match_from_raw((*ica).match_),
        )
    }
}

/// # Safety
///
/// As [`locked`].
unsafe fn map<T: NativeType, E: Maps<T>>(
    ica: *mut Raw,
    direction: DataDirection,
) -> Result<T::Owned> {
    // SAFETY: By the safety requirements.
    unsafe {
        locked::<T, E, _>(ica, |data, guard, importer, matched| {
            data.map_interconnect(guard, importer, matched, direction)
        })
    }
}

/// # Safety
///
/// As [`locked`].
unsafe fn unmap<T: NativeType, E: Maps<T>>(
    ica: *mut Raw,
    mapping: T::Owned,
    direction: DataDirection,
) {
    // SAFETY: By the safety requirements.
    unsafe {
        locked::<T, E, _>(ica, |data, guard, importer, matched| {
            data.unmap_interconnect(guard, importer, matched, mapping, direction)
        })
    };
}

/// # Safety
///
/// As [`locked`].
unsafe extern "C" fn iov_map<E: Maps<Iov>>(
    ica: *mut Raw,
    direction: bindings::dma_data_direction,
) -> *mut iov::RawRanges {
    // SAFETY: By the safety requirements.
    match unsafe { map::<Iov, E>(ica, direction_from_raw(direction)) } {
        Ok(ranges) => ranges.into_raw(),
        Err(err) => err.to_ptr(),
    }
}

/// # Safety
///
/// As [`locked`]; `ranges` must be what [`iov_map`] returned.
unsafe extern "C" fn iov_unmap<E: Maps<Iov>>(
    ica: *mut Raw,
    ranges: *mut iov::RawRanges,
    direction: bindings::dma_data_direction,
) {
    // SAFETY: By the safety requirements.
    unsafe {
        unmap::<Iov, E>(
            ica,
            IovRanges::from_raw(NonNull::new_unchecked(ranges)),
            direction_from_raw(direction),
        )
    };
}
