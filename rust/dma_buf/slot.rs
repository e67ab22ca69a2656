// SPDX-License-Identifier: GPL-2.0

//! What an exporter keeps for an attachment, in one allocation.
//!
//! Importers attach and map again and again, most of them with one mapping at a time. So there is
//! room for one table beside the exporter's own data, and the way to the memory is remembered.

use super::sg_table::Table;
use crate::{
    p2pdma::KnownRoute,
    slab::SlabBox, //
};
use kernel::{
    prelude::*,
    types::Opaque, //
};

use core::{
    cell::Cell,
    ptr::NonNull, //
};

/// What the exporter's pointer in an attachment points to; `D` is the exporter's own data.
///
/// # Invariants
///
/// `data` is initialised, except while the exporter is asked whether the importer may attach.
#[repr(C)]
pub(super) struct Slot<D> {
    /// At offset 0, since it is used by those who do not know `D`.
    pub(super) common: Common,
    data: Opaque<D>,
}

/// The part that is the same for all exporters.
///
/// It is used by one thread at a time: the one that attaches or detaches, or that has the
/// reservation lock.
pub(super) struct Common {
    pub(super) route: KnownRoute,
    /// Whether a table is in the place for one.
    taken: Cell<bool>,
    place: Opaque<Table>,
}

impl<D> Slot<D> {
    /// A slot without data. Sleeps (allocates).
    pub(super) fn new() -> Result<SlabBox<Self>> {
        SlabBox::init(
            init!(Self {
                common: Common {
                    route: KnownRoute::none(),
                    taken: Cell::new(false),
                    place: Opaque::uninit(),
                },
                data: Opaque::uninit(),
            }),
            GFP_KERNEL,
        )
    }

    /// Where the data is.
    pub(super) fn data(&self) -> *mut D {
        self.data.get()
    }
}

impl Common {
    /// The place for a table, until [`Common::release`], unless another has it.
    #[inline]
    pub(super) fn claim(&self) -> Option<NonNull<Table>> {
        (!self.taken.replace(true)).then(|| NonNull::from(&self.place).cast())
    }

    /// Whether `table` is in the place here.
    #[inline]
    pub(super) fn has(&self, table: NonNull<Table>) -> bool {
        core::ptr::eq(self.place.get(), table.as_ptr())
    }

    /// Nothing is in the place any more.
    #[inline]
    pub(super) fn release(&self) {
        self.taken.set(false);
    }
}
