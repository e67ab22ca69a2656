// SPDX-License-Identifier: GPL-2.0

//! Attachments as the exporter sees them.

use super::{
    interconnect,
    slot::{
        Common,
        Slot, //
    },
    DmaBuf,
    Exporter, //
};
use crate::{
    dma_resv::Guard,
    p2pdma::{
        MapType,
        Provider,
        Refusal, //
    },
};
use kernel::{
    bindings,
    device::Device,
    prelude::*,
    types::Opaque, //
};

use core::{
    marker::PhantomData,
    ops::Deref, //
};

/// What an exporter can learn about an importer.
///
/// # Invariants
///
/// The underlying `struct dma_buf_attachment` is initialised, except for the private data of the
/// exporter.
#[repr(transparent)]
pub struct AttachmentInfo(Opaque<bindings::dma_buf_attachment>);

impl AttachmentInfo {
    /// Creates a reference from a pointer.
    ///
    /// # Safety
    ///
    /// `ptr` must point to an initialised `struct dma_buf_attachment` that is not freed during
    /// `'a`.
    #[inline]
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::dma_buf_attachment) -> &'a Self {
        // SAFETY: By the safety requirements; `AttachmentInfo` is a transparent wrapper.
        unsafe { &*ptr.cast() }
    }

    /// Returns the raw pointer.
    #[inline]
    pub fn as_raw(&self) -> *mut bindings::dma_buf_attachment {
        self.0.get()
    }

    /// The buffer.
    #[inline]
    pub fn dma_buf(&self) -> &DmaBuf {
        // SAFETY: By the type invariant the attachment is initialised. The importer holds a
        // reference on the dma-buf as long as it is attached.
        unsafe { DmaBuf::from_raw((*self.as_raw()).dmabuf) }
    }

    /// The device that wants to access the memory.
    ///
    /// The importer keeps it bound to its driver as long as it is attached.
    #[inline]
    pub fn device(&self) -> &Device {
        // SAFETY: By the type invariant the attachment is initialised, and the importer keeps the
        // device.
        unsafe { Device::from_raw((*self.as_raw()).dev) }
    }

    /// Name of the driver of the importing device, for messages.
    pub fn driver_name(&self) -> &CStr {
        // SAFETY: The device is valid, and bound to its driver as long as it is attached. The C
        // function returns a string of the driver, the bus, or an empty one.
        unsafe { CStr::from_char_ptr(bindings::dev_driver_string((*self.as_raw()).dev)) }
    }

    /// Whether the importer can use peer-to-peer memory, which has no struct pages.
    #[inline]
    pub fn allows_peer2peer(&self) -> bool {
        // SAFETY: By the type invariant the attachment is initialised.
        unsafe { (*self.as_raw()).peer2peer }
    }

    /// Whether the importer has operations, waits for fences itself and does not have the buffer
    /// pinned by each mapping. It may still be unable to let go of a mapping, see
    /// [`AttachmentInfo::is_revocable`]. C: `dma_buf_attachment_is_dynamic()`.
    #[inline]
    pub fn is_dynamic(&self) -> bool {
        // SAFETY: By the type invariant the attachment is initialised.
        !unsafe { (*self.as_raw()).importer_ops }.is_null()
    }

    /// Whether the importer promises to unmap in bounded time when mappings are invalidated.
    /// C: `dma_buf_attach_revocable()`.
    #[inline]
    pub fn is_revocable(&self) -> bool {
        // SAFETY: By the type invariant the attachment is initialised.
        unsafe { bindings::dma_buf_attach_revocable(self.as_raw()) }
    }

    /// What was negotiated, if that is of the type `T`. Does not sleep.
    ///
    /// Known from [`Exporter::attach`] on. See [`interconnect`](super::interconnect).
    pub fn negotiated<T: interconnect::Type>(&self) -> Option<&T::Match> {
        // SAFETY: By the type invariant the attachment is initialised, and it is not detached while
        // there are references to it.
        let record = unsafe { interconnect::record::find(self.as_raw()) }?;

        if !core::ptr::eq(record.ty(), T::descriptor()) {
            return None;
        }
        // SAFETY: The match is of the type, and lives as long as the attachment.
        Some(unsafe { T::match_from_raw(record.public.match_) })
    }

    /// Name of the negotiated type and number of mappings, for messages; [`None`] for an importer
    /// that has not negotiated. Does not sleep.
    pub fn interconnect(&self) -> Option<(&CStr, u32)> {
        // SAFETY: As in `negotiated()`.
        let record = unsafe { interconnect::record::find(self.as_raw()) }?;

        // SAFETY: The name is a string, in static data of a module on which there is a reference.
        let name = unsafe { CStr::from_char_ptr(record.ty().name) };

        Some((name, record.mappings()))
    }

    /// The attachment with the exporter's data, if the buffer was exported by `E`.
    ///
    /// Only for attachments that `E` has accepted, such as those of [`DmaBuf::attachments`].
    fn as_exported<E: Exporter>(&self) -> Option<&ExportedAttachment<E>> {
        self.dma_buf().exported_by::<E>()?;

        // SAFETY: The private data of an accepted attachment is what `E` returned.
        Some(unsafe { ExportedAttachment::from_raw(self.as_raw()) })
    }
}

/// An attachment that is being made: the exporter is asked whether the importer may attach.
///
/// # Invariants
///
/// As [`AttachmentInfo`], and the private data of the exporter is a [`Slot`] without data.
#[repr(transparent)]
pub struct NewAttachment(AttachmentInfo);

impl NewAttachment {
    /// # Safety
    ///
    /// As [`AttachmentInfo::from_raw`], and the private data must be a [`Slot`].
    #[inline]
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::dma_buf_attachment) -> &'a Self {
        // SAFETY: By the safety requirements; both types are transparent wrappers.
        // INVARIANT: By the safety requirements.
        unsafe { &*ptr.cast() }
    }

    /// Why the device cannot reach the BAR of `provider`; `None` if it can.
    ///
    /// As [`Provider::refusal`]. The way is remembered for the mappings of the attachment.
    #[inline]
    pub fn refusal(&self, provider: &Provider) -> Option<Refusal> {
        // SAFETY: By the type invariants.
        let slot = unsafe { slot_of(&self.0) };

        provider.known_route(self.device(), &slot.route).err()
    }
}

impl Deref for NewAttachment {
    type Target = AttachmentInfo;

    #[inline]
    fn deref(&self) -> &AttachmentInfo {
        &self.0
    }
}

/// # Safety
///
/// The private data of `info` must be a [`Slot`].
#[inline]
unsafe fn slot_of(info: &AttachmentInfo) -> &Common {
    // SAFETY: By the safety requirements; the part is at offset 0.
    unsafe { &*(*info.as_raw()).priv_.cast::<Common>() }
}

/// An attachment that `E` has accepted, with the data that `E` has for it.
///
/// # Invariants
///
/// As [`AttachmentInfo`], and the private data of the exporter is a [`Slot`] with an
/// `E::AttachmentData`.
#[repr(transparent)]
pub struct ExportedAttachment<E: Exporter>(AttachmentInfo, PhantomData<E>);

impl<E: Exporter> ExportedAttachment<E> {
    /// # Safety
    ///
    /// As [`AttachmentInfo::from_raw`], and [`Exporter::attach`] of `E` must have accepted the
    /// attachment, and the data that it returned not have been dropped.
    #[inline]
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::dma_buf_attachment) -> &'a Self {
        // SAFETY: By the safety requirements; both types are transparent wrappers.
        unsafe { &*ptr.cast() }
    }

    /// What [`Exporter::attach`] returned for this attachment.
    #[inline]
    pub fn data(&self) -> &E::AttachmentData {
        // SAFETY: By the type invariant.
        unsafe { &*(*(*self.as_raw()).priv_.cast::<Slot<E::AttachmentData>>()).data() }
    }

    /// What there is besides the data.
    #[inline]
    pub(super) fn slot(&self) -> &Common {
        // SAFETY: By the type invariant.
        unsafe { slot_of(&self.0) }
    }

    /// How the device reaches the BAR of `provider`; never [`MapType::NotSupported`].
    #[inline]
    pub(super) fn route_to(&self, provider: &Provider) -> Result<MapType, Refusal> {
        provider.known_route(self.device(), &self.slot().route)
    }

    /// The private data of the buffer.
    pub fn exporter(&self) -> &E {
        // SAFETY: An attachment that `E` has accepted is one to a buffer that `E` has exported.
        unsafe { super::export::data_from_raw((*self.as_raw()).dmabuf) }
    }
}

impl<E: Exporter> Deref for ExportedAttachment<E> {
    type Target = AttachmentInfo;

    #[inline]
    fn deref(&self) -> &AttachmentInfo {
        &self.0
    }
}

/// The attachments of a buffer; from [`DmaBuf::attachments`].
///
/// # Invariants
///
/// The reservation lock of the buffer is held during `'a`, and `pos` is an entry of its list or
/// the list's head.
pub struct Attachments<'a> {
    dma_buf: &'a DmaBuf,
    pos: *mut bindings::list_head,
    _guard: PhantomData<&'a Guard<'a>>,
}

impl<'a> Attachments<'a> {
    /// The caller has checked that the guard belongs to the buffer.
    pub(super) fn new(dma_buf: &'a DmaBuf, _guard: &'a Guard<'_>) -> Self {
        Self {
            dma_buf,
            // SAFETY: The dma-buf is initialised, and its list is protected by the lock.
            // INVARIANT: The lock is held during `'a`.
            pos: unsafe { (*dma_buf.as_raw()).attachments.next },
            _guard: PhantomData,
        }
    }

    /// The attachments with the data of `E`; none if the buffer was not exported by `E`.
    pub fn of<E: Exporter>(self) -> impl Iterator<Item = &'a ExportedAttachment<E>> {
        self.filter_map(AttachmentInfo::as_exported)
    }
}

impl<'a> Iterator for Attachments<'a> {
    type Item = &'a AttachmentInfo;

    fn next(&mut self) -> Option<&'a AttachmentInfo> {
        // SAFETY: Only the address is taken.
        let head = unsafe { &raw mut (*self.dma_buf.as_raw()).attachments };

        if self.pos == head {
            return None;
        }

        // SAFETY: By the type invariant `pos` is an entry of the list.
        let attachment =
            unsafe { kernel::container_of!(self.pos, bindings::dma_buf_attachment, node) };
        // SAFETY: As above; the list does not change while the lock is held.
        self.pos = unsafe { (*self.pos).next };

        // SAFETY: Entries are not freed while the lock is held.
        Some(unsafe { AttachmentInfo::from_raw(attachment) })
    }
}
