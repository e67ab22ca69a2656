// SPDX-License-Identifier: GPL-2.0

//! Types that Rust drivers define among themselves.

use super::{
    descriptor::StaticType,
    mapping,
    negotiation::Raw,
    types::{
        NativeType,
        Type, //
    },
};
use crate::dma_buf::DmaBuf;
use kernel::{
    bindings,
    device::Device,
    dma::DataDirection,
    error::from_result,
    module::this_module,
    prelude::*,
    seq_file::SeqFile,
    ModuleMetadata, //
};

use core::{
    marker::PhantomData,
    mem::{
        align_of,
        size_of,
        MaybeUninit, //
    },
    ptr::{
        from_ref,
        NonNull, //
    },
};

/// A type of Rust drivers, for [`Private`].
///
/// The core knows nothing of what is exchanged.
///
/// # Examples
///
/// ```ignore
/// struct Link;
///
/// static LINK: Descriptor<Link> = Descriptor::new::<LocalModule>(c"link");
///
/// impl PrivateType for Link {
///     type Exporter = Port;
///     type Importer = Port;
///     type Match = Route;
///     type Mapping = KVec<Window>;
///
///     fn descriptor() -> &'static Descriptor<Self> {
///         &LINK
///     }
///
///     fn matches(pair: &Pair<'_, Self>) -> Result {
///         if pair.exporter.fabric == pair.importer.fabric { Ok(()) } else { Err(EOPNOTSUPP) }
///     }
///
///     fn finish_match(pair: &Pair<'_, Self>) -> Result<Route> {
///         Route::between(pair.exporter, pair.importer)
///     }
/// }
/// ```
pub trait PrivateType: Sized + 'static {
    /// What an exporter says about itself.
    type Exporter;

    /// What an importer says about itself.
    type Importer;

    /// What is negotiated. It is dropped with the last reference to the attachment.
    type Match: Send + Sync + 'static;

    /// What a mapping is: a flat array for instance.
    type Mapping: Send + 'static;

    /// The descriptor, a `static` of the driver that defines the type.
    fn descriptor() -> &'static Descriptor<Self>;

    /// Decides whether the two sides can use the type with each other.
    ///
    /// Called at attach, without the reservation lock; may sleep, but must not wait for the lock of
    /// any buffer. Must not access the exporter's device, which may be on its way out.
    ///
    /// # Errors
    ///
    /// - `EOPNOTSUPP`: they cannot; the next pair is tried.
    /// - Others end the attach with that error.
    fn matches(pair: &Pair<'_, Self>) -> Result;

    /// Makes the result for the pair that [`PrivateType::matches`] has accepted.
    ///
    /// Called as that is. An error ends the attach.
    fn finish_match(pair: &Pair<'_, Self>) -> Result<Self::Match>;

    /// Prints what was negotiated, beginning with a blank and without a newline.
    fn debugfs_dump(_matched: &Self::Match, _seq: &SeqFile) {}
}

/// Two sides that may match. C: `struct dma_buf_interconnect_pair`.
pub struct Pair<'a, T: PrivateType> {
    /// What the exporter says.
    pub exporter: &'a T::Exporter,
    /// What the importer says.
    pub importer: &'a T::Importer,
    /// The buffer.
    pub dma_buf: &'a DmaBuf,
    /// The device that is being attached.
    pub device: &'a Device,
}

/// The descriptor of `T`. It has to be a `static`, as its address is the identity of the type.
#[repr(transparent)]
pub struct Descriptor<T>(StaticType, PhantomData<fn(T)>);

impl<T: PrivateType> Descriptor<T> {
    /// A descriptor that belongs to the module `M`, of which each attachment of the type holds a
    /// reference. `name` is for debugfs.
    pub const fn new<M: ModuleMetadata>(name: &'static CStr) -> Self {
        const {
            assert!(
                align_of::<PrivateMatch<T>>() <= align_of::<usize>(),
                "a match follows something that is aligned to pointers"
            )
        };
        Self(
            StaticType::new(ext_bindings::dma_buf_interconnect_type {
                name: name.to_bytes_with_nul().as_ptr(),
                owner: this_module::<M>().as_ptr(),
                match_size: size_of::<PrivateMatch<T>>(),
                match_: Some(Callbacks::<T>::matches),
                finish_match: Some(Callbacks::<T>::finish_match),
                release_match: Some(Callbacks::<T>::release_match),
                debugfs_dump: Some(Callbacks::<T>::debugfs_dump),
            }),
            PhantomData,
        )
    }

    pub(super) fn raw(&'static self) -> &'static ext_bindings::dma_buf_interconnect_type {
        self.0.get()
    }
}

/// What the exporter does, for all exporters of `T`.
pub(super) struct Ops<T: PrivateType> {
    pub(super) map: unsafe fn(*mut Raw, DataDirection) -> Result<KBox<T::Mapping>>,
    pub(super) unmap: unsafe fn(*mut Raw, KBox<T::Mapping>, DataDirection),
}

/// The exporter's side on the wire.
#[repr(C)]
pub(super) struct RawExporter<T: PrivateType> {
    pub(super) base: ext_bindings::dma_buf_interconnect,
    pub(super) ops: &'static Ops<T>,
    pub(super) said: *const T::Exporter,
}

/// The importer's side on the wire.
#[repr(C)]
pub(super) struct RawImporter<T: PrivateType> {
    pub(super) base: ext_bindings::dma_buf_interconnect,
    pub(super) said: *const T::Importer,
}

/// A match of `T`.
#[repr(C)]
struct PrivateMatch<T: PrivateType> {
    base: ext_bindings::dma_buf_interconnect_match,
    ops: &'static Ops<T>,
    data: MaybeUninit<T::Match>,
}

struct Callbacks<T>(PhantomData<T>);

impl<T: PrivateType> Callbacks<T> {
    /// # Safety
    ///
    /// `pair` must be one of `T`, valid during `'a`.
    unsafe fn pair<'a>(pair: *const ext_bindings::dma_buf_interconnect_pair) -> Pair<'a, T> {
        // SAFETY: By the safety requirements. Who names the descriptor of `T` has the structures
        // above, since only the sides of this module name it.
        unsafe {
            Pair {
                exporter: &*(*(*pair).exporter.cast::<RawExporter<T>>()).said,
                importer: &*(*(*pair).importer.cast::<RawImporter<T>>()).said,
                dma_buf: DmaBuf::from_raw((*pair).dmabuf),
                device: Device::from_raw((*pair).dev),
            }
        }
    }

    /// # Safety
    ///
    /// Called by the core only, with a pair of `T`.
    unsafe extern "C" fn matches(pair: *const ext_bindings::dma_buf_interconnect_pair) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements.
            T::matches(&unsafe { Self::pair(pair) })?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the core only, with a pair of `T` and room for a match.
    unsafe extern "C" fn finish_match(
        pair: *const ext_bindings::dma_buf_interconnect_pair,
        matched: *mut ext_bindings::dma_buf_interconnect_match,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements.
            let data = T::finish_match(&unsafe { Self::pair(pair) })?;
            let matched = matched.cast::<PrivateMatch<T>>();

            // SAFETY: By the safety requirements; nobody else has the memory.
            unsafe {
                (&raw mut (*matched).ops).write((*(*pair).exporter.cast::<RawExporter<T>>()).ops);
                (&raw mut (*matched).data).write(MaybeUninit::new(data));
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the core only, once, with what `finish_match()` has filled in.
    unsafe extern "C" fn release_match(matched: *mut ext_bindings::dma_buf_interconnect_match) {
        // SAFETY: By the safety requirements.
        unsafe { (*matched.cast::<PrivateMatch<T>>()).data.assume_init_drop() };
    }

    /// # Safety
    ///
    /// Called by the core only, with what `finish_match()` has filled in.
    unsafe extern "C" fn debugfs_dump(
        seq: *mut bindings::seq_file,
        matched: *const ext_bindings::dma_buf_interconnect_match,
    ) {
        // SAFETY: By the safety requirements.
        unsafe {
            T::debugfs_dump(
                Private::<T>::match_from_raw(matched),
                SeqFile::from_raw(seq),
            )
        };
    }
}

/// A [`PrivateType`] as a [`Type`].
pub struct Private<T>(PhantomData<T>);

// SAFETY: The descriptor is that of `T`, and whoever names it uses the structures above.
unsafe impl<T: PrivateType> Type for Private<T> {
    type Match = T::Match;
    type Mapping = T::Mapping;

    fn descriptor() -> &'static ext_bindings::dma_buf_interconnect_type {
        T::descriptor().raw()
    }

    unsafe fn match_from_raw<'a>(
        matched: *const ext_bindings::dma_buf_interconnect_match,
    ) -> &'a T::Match {
        // SAFETY: By the safety requirements; a match that others see is finished.
        unsafe { (*matched.cast::<PrivateMatch<T>>()).data.assume_init_ref() }
    }

    unsafe fn map(ica: *mut Raw, direction: DataDirection) -> Result<NonNull<T::Mapping>> {
        // SAFETY: By the safety requirements.
        unsafe {
            mapping::typed_map(ica, from_ref(Self::descriptor()), |matched| {
                let mapping = ((*matched.cast::<PrivateMatch<T>>()).ops.map)(ica, direction)?;

                Ok(NonNull::from(KBox::leak(mapping)))
            })
        }
    }

    unsafe fn unmap(ica: *mut Raw, mapping: NonNull<T::Mapping>, direction: DataDirection) {
        // SAFETY: By the safety requirements.
        unsafe {
            mapping::typed_unmap(ica, from_ref(Self::descriptor()), |matched| {
                let mapping = KBox::from_raw(mapping.as_ptr());

                ((*matched.cast::<PrivateMatch<T>>()).ops.unmap)(ica, mapping, direction);
            })
        };
    }
}

impl<T: PrivateType> NativeType for Private<T> {
    type Owned = KBox<T::Mapping>;
}
