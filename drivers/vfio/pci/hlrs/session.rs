// SPDX-License-Identifier: GPL-2.0

//! What was exported while a function is open.

use core::sync::atomic::{
    AtomicBool,
    Ordering, //
};

use kernel::{
    device::Bound,
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        SetOnce, //
    }, //
};
use kernel_ext::{
    dma_buf::{
        DmaBuf,
        ExportList, //
    },
    p2pdma::Provider, //
};

use crate::gate::Gate;

/// Number of BARs.
const BARS: usize = 6;

/// From the first opening of a function to the last close. Each has its own; what was exported in one
/// is of no use in the next.
pub(crate) struct Session {
    gate: Arc<Gate>,
    over: AtomicBool,
    list: Arc<ExportList>,
    providers: [SetOnce<Arc<Provider>>; BARS],
}

impl Session {
    /// Begins one. Sleeps (allocates).
    pub(crate) fn new(gate: Arc<Gate>) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                gate,
                over: AtomicBool::new(false),
                list: ExportList::new()?,
                providers: [const { SetOnce::new() }; BARS],
            },
            GFP_KERNEL,
        )?)
    }

    /// Ends it: importers get no mappings any more. Any context.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Whether it has ended. Any context.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Whether importers get mappings now. Any context.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_over() && self.gate.is_open()
    }

    /// The dma-bufs that exist.
    pub(crate) fn exports(&self) -> &ExportList {
        &self.list
    }

    /// The same, each with a reference. Sleeps.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ARef<DmaBuf>> + '_ {
        self.list.iter()
    }

    /// A BAR as memory for peers; made when it is first asked for. Sleeps (allocates).
    ///
    /// # Errors
    ///
    /// - `EINVAL`: it is not a BAR, or has no memory.
    /// - `ENOMEM`, and those of the PCI core.
    pub(crate) fn provider(&self, pdev: &pci::Device<Bound>, bar: u32) -> Result<Arc<Provider>> {
        let place = self.providers.get(bar as usize).ok_or(EINVAL)?;

        if let Some(provider) = place.as_ref() {
            return Ok(provider.clone());
        }

        let provider = Provider::new(pdev, bar)?;
        // Another one that was quicker serves as well, but this one is as good.
        place.populate(provider.clone());
        Ok(provider)
    }
}
