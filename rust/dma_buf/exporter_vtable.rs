// SPDX-License-Identifier: GPL-2.0

//! The operations of an exporter, as the C side calls them.

use super::{
    direction_from_raw,
    export::{
        data_from_raw,
        release, //
    },
    interconnect::BufferState,
    slot::Slot,
    DmaBuf,
    ExportedAttachment,
    Exporter,
    KernelMap,
    NewAttachment,
    SgTable, //
};
use crate::{
    dma_resv::Guard,
    slab::SlabBox, //
};
use kernel::{
    bindings,
    error::from_result,
    mm::virt::VmaNew,
    prelude::*, //
};

use core::{
    marker::PhantomData,
    ptr::{
        null_mut,
        NonNull, //
    },
};

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

pub(super) struct Vtable<E: Exporter>(PhantomData<E>);

impl<E: Exporter> Vtable<E> {
    pub(super) const OPS: &'static bindings::dma_buf_ops = &bindings::dma_buf_ops {
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

    /// # Safety
    ///
    /// `dma_buf` must be one of `E`, and `attachment` a new one to it.
    unsafe extern "C" fn attach(
        dma_buf: *mut bindings::dma_buf,
        attachment: *mut bindings::dma_buf_attachment,
    ) -> c_int {
        from_result(|| {
            let slot = SlabBox::into_raw(Slot::<E::AttachmentData>::new()?);

            // SAFETY: The C side passes a dma-buf of `E` and a new attachment to it, of which the
            // field is for the exporter to use; it has a slot now.
            let data = unsafe {
                (*attachment).priv_ = slot.cast();
                data_from_raw::<E>(dma_buf).attach(NewAttachment::from_raw(attachment))
            };

            match data {
                Ok(data) => {
                    // SAFETY: The slot has room for the data, and nobody else uses it yet.
                    // INVARIANT: The data is initialised.
                    unsafe { (*slot).data().write(data) };
                    Ok(0)
                }
                Err(err) => {
                    // SAFETY: The slot came out of a box, and nobody else has seen it.
                    unsafe {
                        (*attachment).priv_ = null_mut();
                        drop(SlabBox::from_raw(slot));
                    }
                    Err(err)
                }
            }
        })
    }

    /// # Safety
    ///
    /// `dma_buf` must be one of `E`, and `attachment` one that `E` has accepted; it is not used
    /// afterwards.
    unsafe extern "C" fn detach(
        dma_buf: *mut bindings::dma_buf,
        attachment: *mut bindings::dma_buf_attachment,
    ) {
        // SAFETY: The C side passes a dma-buf of `E` and an attachment to it, which was accepted,
        // as otherwise the C side does not call this.
        unsafe { data_from_raw::<E>(dma_buf).detach(ExportedAttachment::from_raw(attachment)) };

        // SAFETY: The private data is a slot with data, which `attach()` made. The attachment is
        // not used any more by anyone else.
        unsafe {
            let slot = SlabBox::from_raw((*attachment).priv_.cast::<Slot<E::AttachmentData>>());

            slot.data().drop_in_place();
        }
    }

    /// Calls `f` for an attachment whose buffer is locked.
    ///
    /// # Safety
    ///
    /// `attachment` must be one that `E` has accepted, and the lock of its buffer must be held
    /// during `'a`.
    unsafe fn locked<'a, R>(
        attachment: *mut bindings::dma_buf_attachment,
        f: impl FnOnce(&E, &mut Guard<'_>, &'a ExportedAttachment<E>) -> R,
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

    /// The state by which the buffer is revoked, if `E` left that to the interconnects.
    ///
    /// # Safety
    ///
    /// `dma_buf` must be one of `E`, valid during `'a`.
    #[inline]
    unsafe fn buffer<'a>(dma_buf: *mut bindings::dma_buf) -> Option<&'a BufferState> {
        // SAFETY: By the safety requirements.
        E::interconnects().and_then(|ops| unsafe { ops.buffer_of(dma_buf) })
    }

    /// # Safety
    ///
    /// `attachment` must be one that `E` has accepted, and the lock of its buffer must be held.
    unsafe extern "C" fn pin(attachment: *mut bindings::dma_buf_attachment) -> c_int {
        from_result(|| {
            // SAFETY: The C side calls this with the lock held.
            unsafe { Self::locked(attachment, |data, guard, info| data.pin(guard, info)) }?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// As `pin()`.
    unsafe extern "C" fn unpin(attachment: *mut bindings::dma_buf_attachment) {
        // SAFETY: The C side calls this with the lock held.
        unsafe { Self::locked(attachment, |data, guard, info| data.unpin(guard, info)) };
    }

    /// # Safety
    ///
    /// As `pin()`.
    unsafe extern "C" fn map(
        attachment: *mut bindings::dma_buf_attachment,
        direction: bindings::dma_data_direction,
    ) -> *mut bindings::sg_table {
        // SAFETY: The buffer is one of `E`.
        let buffer = unsafe { Self::buffer((*attachment).dmabuf) };

        if let Some(buffer) = buffer {
            // SAFETY: The C side calls this with the lock held.
            if let Err(err) = unsafe { buffer.map() } {
                return err.to_ptr();
            }
        }

        // SAFETY: As above.
        let table = unsafe {
            Self::locked(attachment, |data, guard, info| {
                data.map(guard, info, direction_from_raw(direction))
            })
        };

        match table {
            Ok(table) => table.into_raw(),
            Err(err) => {
                if let Some(buffer) = buffer {
                    // SAFETY: As above; it was counted.
                    unsafe { buffer.unmap() };
                }
                err.to_ptr()
            }
        }
    }

    /// # Safety
    ///
    /// As `pin()`; `table` must have come from `map()`, and is not used afterwards.
    unsafe extern "C" fn unmap(
        attachment: *mut bindings::dma_buf_attachment,
        table: *mut bindings::sg_table,
        direction: bindings::dma_data_direction,
    ) {
        // SAFETY: The C side gives back what `map()` returned, and calls this with the lock held.
        unsafe {
            Self::locked(attachment, |data, guard, info| {
                let table = SgTable::from_raw(NonNull::new_unchecked(table), info.slot());

                data.unmap(guard, info, table, direction_from_raw(direction));
            });
            if let Some(buffer) = Self::buffer((*attachment).dmabuf) {
                buffer.unmap();
            }
        }
    }

    /// # Safety
    ///
    /// `dma_buf` must be one of `E`.
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

    /// # Safety
    ///
    /// `dma_buf` must be one of `E`.
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

    /// # Safety
    ///
    /// `dma_buf` must be one of `E`, and `vma` an area that is being set up.
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

    /// # Safety
    ///
    /// `dma_buf` must be one of `E` whose lock is held, and `map` a valid place.
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

    /// # Safety
    ///
    /// As `vmap()`; `map` must be what that has returned.
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
