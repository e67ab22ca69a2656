// SPDX-License-Identifier: GPL-2.0

//! What a device has exported, and whether importers get mappings of it.

use core::{
    ops::Range,
    sync::atomic::{
        AtomicU8,
        Ordering, //
    },
};

use kernel::{
    io::PhysAddr,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};
use kernel_ext::dma_buf::{
    DmaBuf,
    ExportList, //
};

use super::{
    imports::Imports,
    lingering::Lingering,
    owner::Ownership, //
};

/// Why importers get no mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reason {
    /// The owner has revoked the export.
    Owner = 1 << 0,
    /// The function is being reset.
    Reset = 1 << 1,
    /// The driver is being unbound.
    Gone = 1 << 2,
}

/// The reasons that there are now.
///
/// A reason is added before the reservation lock of a buffer is taken for the last time in order
/// to invalidate what is mapped, and mappings are made with that lock held: each mapping either
/// is invalidated or is refused.
pub(crate) struct Blocked(AtomicU8);

impl Blocked {
    pub(super) fn new() -> Self {
        Self(AtomicU8::new(0))
    }

    /// Adds a reason. Any context.
    pub(crate) fn add(&self, reason: Reason) {
        self.0.fetch_or(reason as u8, Ordering::SeqCst);
    }

    /// Takes a reason away. Any context.
    pub(crate) fn remove(&self, reason: Reason) {
        self.0.fetch_and(!(reason as u8), Ordering::SeqCst);
    }

    /// Whether there is this reason.
    pub(super) fn has(&self, reason: Reason) -> bool {
        self.0.load(Ordering::SeqCst) & reason as u8 != 0
    }

    /// Whether there is any reason.
    pub(crate) fn is_blocked(&self) -> bool {
        self.0.load(Ordering::SeqCst) != 0
    }
}

/// What a device has exported.
#[pin_data]
pub(crate) struct Exports {
    pub(super) list: Arc<ExportList>,
    /// What holds for all of it.
    pub(crate) blocked: Blocked,
    /// What is not exported any more, and still worked on.
    #[pin]
    pub(super) lingering: Lingering,
    /// The physical addresses of LMEM.
    pub(super) window: Range<PhysAddr>,
}

impl Exports {
    /// Nothing yet. Sleeps (allocates).
    ///
    /// `window` are the physical addresses at which peers access LMEM.
    pub(crate) fn new(window: Range<PhysAddr>) -> Result<Arc<Self>> {
        let list = ExportList::new()?;

        Arc::pin_init(
            pin_init!(Self {
                list,
                blocked: Blocked::new(),
                lingering <- Lingering::new(),
                window,
            }),
            GFP_KERNEL,
        )
    }

    /// The dma-bufs that exist. Sleeps.
    pub(super) fn iter(&self) -> impl Iterator<Item = ARef<DmaBuf>> + '_ {
        self.list.iter()
    }
}

/// What a device needs to share memory.
pub(crate) struct Sharing {
    pub(crate) exports: Arc<Exports>,
    pub(crate) imports: Arc<Imports>,
    pub(crate) ownership: Arc<Ownership>,
}

impl Sharing {
    /// Nothing is shared, and nobody has the device open. Sleeps (allocates).
    ///
    /// `window` are the physical addresses at which peers access LMEM.
    pub(crate) fn new(window: Range<PhysAddr>) -> Result<Self> {
        Ok(Self {
            exports: Exports::new(window.clone())?,
            imports: Imports::new()?,
            ownership: Ownership::new(window)?,
        })
    }
}
