// SPDX-License-Identifier: GPL-2.0

//! Taking back what importers have.
//!
//! A reason is set that keeps new mappings from being made. Then all importers are told, and only
//! then they are waited for, so that a revoke takes no longer than the slowest of them may take. An
//! importer that does not let go keeps the memory, and nobody else gets it: while the driver is
//! bound because the dma-buf holds the buffer, and afterwards because of [`p2pdma::Retained`].

use core::sync::atomic::Ordering;

use kernel::{
    io::poll::read_poll_timeout,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    time::{
        msecs_to_jiffies,
        Delta,
        Instant,
        Monotonic, //
    },
};
use kernel_ext::{
    dma_buf::DmaBuf,
    dma_resv::Usage,
    p2pdma, //
};

use super::{
    export::Export,
    state::Reason, //
};
use crate::{
    client::Client,
    device::HlrsDevice,
    gem::{
        Backing,
        Buffer, //
    },
};

/// Takes everything back for as long as a reset lasts; [`allow_all`] ends it. Sleeps.
///
/// Returns after all importers have let go, or when the time is up.
pub(crate) fn suspend_all(dev: &HlrsDevice) {
    dev.exports.blocked.add(Reason::Reset);
    let _ = take_back(dev, |_| true);
}

/// Lets importers map again after a reset. Any context.
pub(crate) fn allow_all(dev: &HlrsDevice) {
    dev.exports.blocked.remove(Reason::Reset);
}

/// Takes everything back for good; used when the driver is unbound. Sleeps.
///
/// Memory that an importer does not let go of is kept from those who come later.
pub(crate) fn revoke_all(dev: &HlrsDevice) {
    dev.exports.blocked.add(Reason::Gone);
    if take_back(dev, |_| true).is_err() {
        retain(dev);
    }
}

/// Takes back what the file of `client` has exported of `buffer`. Sleeps.
///
/// Fails with `ETIMEDOUT` if an importer does not let go in time.
pub(crate) fn revoke(buffer: &Buffer, client: &Arc<Client>) -> Result {
    let dev = buffer.dev();

    for dma_buf in exports_of(dev, |export| is_by(export, buffer, client)) {
        if let Some(export) = dma_buf.exported_by::<Export>() {
            export.blocked.add(Reason::Owner);
        }
    }
    take_back(dev, |export| is_by(export, buffer, client))
}

/// Undoes [`revoke`]. Sleeps.
pub(crate) fn allow(buffer: &Buffer, client: &Arc<Client>) {
    for dma_buf in exports_of(buffer.dev(), |export| is_by(export, buffer, client)) {
        if let Some(export) = dma_buf.exported_by::<Export>() {
            export.blocked.remove(Reason::Owner);
        }
    }
}

/// Whether accesses by the CPU through `dma_buf` have to fail. Any context.
pub(crate) fn is_revoked(dma_buf: &DmaBuf) -> bool {
    dma_buf
        .exported_by::<Export>()
        .is_some_and(|export| export.blocked.is_blocked())
}

fn is_by(export: &Export, buffer: &Buffer, client: &Arc<Client>) -> bool {
    core::ptr::eq(&**export.buffer(), buffer) && Arc::ptr_eq(export.client(), client)
}

fn exports_of<'a>(
    dev: &'a HlrsDevice,
    select: impl Fn(&Export) -> bool + 'a,
) -> impl Iterator<Item = ARef<DmaBuf>> + 'a {
    dev.exports
        .iter()
        .filter(move |dma_buf| dma_buf.exported_by::<Export>().is_some_and(&select))
}

/// Invalidates the mappings of the selected exports and waits until they are gone.
///
/// The reason why nobody can map anew has been set. Fails with `ETIMEDOUT` if some are left when
/// the time is up.
fn take_back(dev: &HlrsDevice, select: impl Fn(&Export) -> bool) -> Result {
    for dma_buf in exports_of(dev, &select) {
        let mut guard = dma_buf.resv().lock();
        // The guard is that of the dma-buf, so that this does not fail.
        let _ = dma_buf.invalidate_mappings(&mut guard);
        drop(guard);

        if let Some(export) = dma_buf.exported_by::<Export>() {
            export.buffer().backing.unmap_cpu(export.buffer());
        }
    }

    let deadline = Deadline::new(crate::revoke_timeout_ms());
    let mut result = Ok(());

    for dma_buf in exports_of(dev, &select) {
        let Some(export) = dma_buf.exported_by::<Export>() else {
            continue;
        };

        if let Err(e) = wait_for_importers(&dma_buf, export, &deadline) {
            report(dev, &dma_buf, export);
            if export.is_lmem() {
                result = Err(e);
            }
        }
    }
    result
}

/// A moment until which something may take.
struct Deadline {
    start: Instant<Monotonic>,
    ms: u32,
}

impl Deadline {
    fn new(ms: u32) -> Self {
        Self {
            start: Instant::now(),
            ms,
        }
    }

    /// What is left, milliseconds.
    fn left_ms(&self) -> u32 {
        let gone = u32::try_from(self.start.elapsed().as_millis()).unwrap_or(u32::MAX);

        self.ms.saturating_sub(gone)
    }
}

fn wait_for_importers(dma_buf: &DmaBuf, export: &Export, deadline: &Deadline) -> Result {
    if export.mappings() == 0 {
        return Ok(());
    }

    // What importers still do with the memory has fences here.
    dma_buf.resv().wait_timeout(
        Usage::Bookkeep,
        false,
        msecs_to_jiffies(deadline.left_ms().max(1)),
    )?;

    read_poll_timeout(
        || Ok(export.mappings()),
        |mappings| *mappings == 0,
        Delta::from_millis(1),
        Delta::from_millis(i64::from(deadline.left_ms())),
    )
    .map(|_| ())
}

/// Says, once for each export, who does not let go.
fn report(dev: &HlrsDevice, dma_buf: &DmaBuf, export: &Export) {
    if export.reported.swap(true, Ordering::Relaxed) {
        return;
    }

    let guard = dma_buf.resv().lock();
    let Ok(attachments) = dma_buf.attachments(&guard) else {
        return;
    };

    for importer in attachments.of::<Export>() {
        if importer.data().mappings() > 0 {
            dev_err!(
                dev.parent(),
                "{} {} does not let go of {} bytes; they are set aside until it does\n",
                importer.driver_name(),
                importer.device().name(),
                dma_buf.size()
            );
        }
    }
}

/// Notes where the memory is that importers have although the driver is being unbound.
fn retain(dev: &HlrsDevice) {
    let Some(provider) = &dev.p2p else {
        return;
    };

    for dma_buf in exports_of(dev, |export| export.is_lmem() && export.mappings() > 0) {
        let Some(export) = dma_buf.exported_by::<Export>() else {
            continue;
        };
        let buffer = export.buffer();

        if let Backing::Lmem(memory) = &buffer.backing {
            // Only one of the exports of a buffer has to.
            if buffer.retained.as_ref().is_none() {
                let base = provider.phys_start();
                let retained = memory.with(|allocation| {
                    p2pdma::Retained::new(
                        allocation
                            .extents()
                            .iter()
                            .map(|extent| base + extent.start..base + extent.end()),
                    )
                });
                buffer.retained.populate(retained);
            }
        }
    }
}
