// SPDX-License-Identifier: GPL-2.0

//! Taking back what importers have.
//!
//! A reason is set that keeps new mappings from being made. Then all importers are told, and only
//! then they are waited for, so that a revoke takes no longer than the slowest of them may take. An
//! importer that does not let go keeps the memory, and nobody else gets it: while the driver is
//! bound because the dma-buf holds the buffer, and afterwards because of [`p2pdma::Retained`].

use core::sync::atomic::Ordering;

use kernel::{
    fmt,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};
use kernel_ext::{
    dma_buf::{
        Deadline,
        DmaBuf,
        ExportedAttachment, //
    },
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
    let _ = take_back(dev, |_| true, |_, _| {});
}

/// Lets importers map again after a reset. Any context.
pub(crate) fn allow_all(dev: &HlrsDevice) {
    dev.exports.blocked.remove(Reason::Reset);
}

/// Takes everything back for good; used when the driver is unbound. Sleeps.
///
/// Memory that an importer does not let go of, or works on, is kept from those who come later.
pub(crate) fn revoke_all(dev: &HlrsDevice) {
    dev.exports.blocked.add(Reason::Gone);
    let _ = take_back(dev, |_| true, retain);
    dev.exports.lingering.retain();
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
    take_back(dev, |export| is_by(export, buffer, client), |_, _| {})
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
/// The reason why nobody can map anew has been set. All of it together takes no longer than
/// importers may take, but for a lock that somebody else has, and for what an importer does while
/// it is told. Calls `stuck` for those that are left when the time is up, and fails with
/// `ETIMEDOUT` if one of them is of LMEM.
fn take_back(
    dev: &HlrsDevice,
    select: impl Fn(&Export) -> bool,
    stuck: impl Fn(&DmaBuf, &Export),
) -> Result {
    let deadline = Deadline::new(crate::revoke_timeout_ms());

    for dma_buf in exports_of(dev, &select) {
        let mut guard = dma_buf.resv().lock();
        // The guard is that of the dma-buf, so that this does not fail.
        let _ = dma_buf.invalidate_mappings(&mut guard);
        if let Ok(attachments) = dma_buf.attachments(&guard) {
            attachments
                .of::<Export>()
                .for_each(|importer| importer.data().expire());
        }
        drop(guard);

        if let Some(export) = dma_buf.exported_by::<Export>() {
            export.buffer().backing.unmap_cpu(export.buffer());
        }
    }
    for dma_buf in exports_of(dev, &select) {
        if let Some(export) = dma_buf.exported_by::<Export>() {
            export.evict_own_imports(&deadline);
        }
    }

    let mut result = Ok(());
    for dma_buf in exports_of(dev, &select) {
        let Some(export) = dma_buf.exported_by::<Export>() else {
            continue;
        };

        // Importers of system memory have its pages, which nobody else gets anyway.
        // Jobs of this device are nobody else's: they may go on, or have been ended before.
        let waited =
            dma_buf.wait_for_importers(|fence| !dev.is_own(fence), || export.mappings(), &deadline);
        if waited.is_err() && export.is_lmem() {
            report(dev, &dma_buf, export);
            stuck(&dma_buf, export);
            result = Err(ETIMEDOUT);
        }
    }
    result
}

/// Says, once for what each importer has, who does not let go.
fn report(dev: &HlrsDevice, dma_buf: &DmaBuf, export: &Export) {
    let guard = dma_buf.resv().lock();
    let importers = || {
        let attachments = dma_buf.attachments(&guard).into_iter();

        attachments.flat_map(|attachments| attachments.of::<Export>())
    };
    let has_mappings = |importer: &&ExportedAttachment<Export>| importer.data().mappings() > 0;

    for importer in importers().filter(has_mappings) {
        if importer.data().is_news() {
            dev_err!(
                dev.parent(),
                "{} {} does not let go of {} bytes; they are set aside until it does\n",
                importer.driver_name(),
                importer.device().name(),
                dma_buf.size()
            );
        }
    }
    if importers().any(|importer| has_mappings(&importer)) {
        return;
    }

    let Some(work) = guard.find_pending(Usage::Bookkeep, |fence| !dev.is_own(fence)) else {
        return;
    };
    work.with_driver_name(|name| {
        // Whose of them it is, is not known.
        for importer in importers().filter(|importer| importer.data().is_news()) {
            dev_err!(
                dev.parent(),
                "{} {} is attached, and work of {} on {} bytes does not end; they are set aside until it does\n",
                importer.driver_name(),
                importer.device().name(),
                name,
                dma_buf.size()
            );
        }
        if importers().next().is_none() && !export.reported.swap(true, Ordering::Relaxed) {
            dev_err!(
                dev.parent(),
                "work of {} on {} bytes does not end; they are set aside until it does\n",
                name,
                dma_buf.size()
            );
        }
    });
}

/// Notes where the memory is that somebody has although the driver is being unbound.
///
/// It is set aside until nobody has the buffer any more. Sleeps.
fn retain(dma_buf: &DmaBuf, export: &Export) {
    let guard = dma_buf.resv().lock();
    let Ok(attachments) = dma_buf.attachments(&guard) else {
        return;
    };
    let importer = attachments
        .of::<Export>()
        .find(|importer| importer.data().mappings() > 0);

    match importer {
        Some(importer) => retain_for(
            export.buffer(),
            fmt!("{} {}", importer.driver_name(), importer.device().name()),
        ),
        None => retain_for(export.buffer(), fmt!("work that has not ended")),
    }
}

/// As [`retain`], where `who` has the memory. Sleeps.
pub(super) fn retain_for(buffer: &Buffer, who: fmt::Arguments<'_>) {
    let Some(provider) = &buffer.dev().p2p else {
        return;
    };

    // Only one of the exports of a buffer has to.
    if buffer.retained.as_ref().is_some() {
        return;
    }

    if let Backing::Lmem(memory) = &buffer.backing {
        let base = provider.phys_start();
        let retained = memory.with(|allocation| {
            p2pdma::Retained::new(
                who,
                allocation
                    .extents()
                    .iter()
                    .map(|extent| base + extent.start..base + extent.end()),
            )
        });
        buffer.retained.populate(retained);
    }
}
