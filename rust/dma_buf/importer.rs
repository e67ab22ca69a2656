// SPDX-License-Identifier: GPL-2.0

//! What an importer has to tell.

use super::{
    attachment::Inner,
    interconnect::ImporterOps, //
};
use crate::dma_resv::Guard;
use kernel::{
    bindings,
    error::VTABLE_DEFAULT_ERROR,
    ffi::c_void,
    prelude::*, //
};

use core::marker::PhantomData;

/// A driver that uses memory of others; implemented by its private data for one attachment.
///
/// Without [`Importer::invalidate_mappings`] the importer is one that cannot be revoked, and an
/// exporter may refuse it.
#[vtable]
pub trait Importer: Sized + Send + Sync + 'static {
    /// Whether the device can use peer-to-peer memory, of which there are only addresses.
    const ALLOW_PEER2PEER: bool;

    /// The operations for attachments that are negotiated, see
    /// [`Attachment::negotiate`](super::Attachment::negotiate).
    fn interconnects() -> Option<&'static ImporterOps<Self>> {
        None
    }

    /// The exporter is about to move or to take back the memory: do not use the mapping any more.
    ///
    /// Work that is under way may go on until its fences in the reservation object have signalled.
    /// The mapping has to be undone in bounded time: here, by [`Invalidation::unmap`], or soon
    /// after, by [`Attachment::unmap`](super::Attachment::unmap), when the device does not access
    /// it any more. New mappings may be asked for afterwards, and may be refused.
    ///
    /// Called with the reservation lock, possibly before
    /// [`Attachment::new`](super::Attachment::new) has returned. May sleep, but must neither take
    /// another reservation lock nor allocate memory in a way that waits for memory to be freed.
    /// C: `invalidate_mappings`.
    fn invalidate_mappings(&self, _guard: &mut Guard<'_>, _invalidation: &Invalidation<'_, Self>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// An invalidation that is under way, for [`Importer::invalidate_mappings`].
pub struct Invalidation<'a, I: Importer>(&'a Inner<I>);

impl<I: Importer> Invalidation<'_, I> {
    /// Undoes the mapping of the attachment, if there is one.
    ///
    /// The device must not access the memory any more. Sleeps. C: `dma_buf_unmap_attachment()`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `guard` is that of another reservation object.
    pub fn unmap(&self, guard: &mut Guard<'_>) -> Result {
        self.0.unmap(guard)
    }
}

pub(super) struct Vtable<I: Importer>(PhantomData<I>);

impl<I: Importer> Vtable<I> {
    pub(super) const OPS: &'static bindings::dma_buf_attach_ops = &bindings::dma_buf_attach_ops {
        allow_peer2peer: I::ALLOW_PEER2PEER,
        invalidate_mappings: if I::HAS_INVALIDATE_MAPPINGS {
            Some(Self::invalidate_mappings)
        } else {
            None
        },
    };

    /// # Safety
    ///
    /// Called by the C side only, with the lock of the buffer held, for an attachment that
    /// [`Attachment`](super::Attachment) has made for `I`.
    unsafe extern "C" fn invalidate_mappings(attachment: *mut bindings::dma_buf_attachment) {
        // SAFETY: By the safety requirements.
        unsafe { invalidate::<I>(attachment, (*attachment).importer_priv) };
    }
}

/// Tells the importer that its mapping is not valid any more.
///
/// # Safety
///
/// The lock of the buffer of `attachment` must be held, and `private` be the pointer that
/// [`Attachment`](super::Attachment) has given for `I`.
pub(super) unsafe fn invalidate<I: Importer>(
    attachment: *mut bindings::dma_buf_attachment,
    private: *mut c_void,
) {
    // SAFETY: The private data of such an attachment is an `Inner<I>`, which lives until it is
    // off the list of the buffer, and that needs the lock.
    let inner = unsafe { &*private.cast::<Inner<I>>() };

    // SAFETY: The attachment has a reference on its buffer, whose lock is held during this call.
    let mut guard = unsafe { Guard::assume_held((*(*attachment).dmabuf).resv) };

    inner
        .importer
        .invalidate_mappings(&mut guard, &Invalidation(inner));
}
