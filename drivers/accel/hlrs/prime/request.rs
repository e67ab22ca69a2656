// SPDX-License-Identifier: GPL-2.0

//! Making exports.

use core::{
    ops::Range,
    sync::atomic::Ordering, //
};

use kernel::{
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};
use kernel_ext::{
    dma_buf::{
        DmaBuf,
        ExportInfo,
        ExportPlace, //
    },
    p2pdma, //
};

use super::{
    access::Access,
    export::{
        Counted,
        Export,
        Parts, //
    },
};
use crate::{
    client::Client,
    device::{
        BoundDevice,
        HlrsDevice, //
    },
    gem::{
        Backing,
        Buffer, //
    },
    lmem::Allocation,
    ops::when_clear, //
};

/// How long a buffer that has to be moved is waited for, milliseconds. Jobs time out themselves.
const IDLE_TIMEOUT_MS: u32 = 10_000;

/// Makes a dma-buf of a range of a buffer, for the file of `client`. Sleeps.
///
/// The device may be unplugged meanwhile: then the dma-buf is one that nobody can map, as those are
/// that were made before. `range` has been checked to be of whole pages within the buffer. Moves the buffer into the
/// aperture if it has to. Fails with `EOPNOTSUPP` if the buffer was imported or the device has no
/// peer-to-peer memory, `ENXIO` if the range is not in the aperture and the buffer cannot be
/// moved, `EDQUOT` if the file has exported too much, `ENODEV` if the device is gone, `ENOMEM`,
/// and with the errors of a move.
pub(crate) fn export_range(
    dev: &HlrsDevice,
    buffer: ARef<Buffer>,
    range: Range<u64>,
    access: Access,
    client: &Arc<Client>,
) -> Result<ARef<DmaBuf>> {
    let size = range.end - range.start;
    let info = ExportInfo::new(usize::try_from(size)?, access.file_flags());
    let place = ExportPlace::<Export>::new(info)?;
    let pages = match provider(dev, &buffer)? {
        Some(_) => None,
        None => Some(Arc::new(buffer.shmem_pages()?, GFP_KERNEL)?),
    };
    let booking = client.book_export(size, crate::export_limit())?;
    let export = Export::new(Parts {
        buffer: settle(dev, buffer, &range)?,
        offset: range.start,
        access,
        pages,
        booking,
    });

    place.export_listed(
        export,
        |export| {
            let buffer = export.buffer();

            (buffer.resv(), &*buffer.dev().exports.list)
        },
        |export, dma_buf| export.buffer().share_mappings(dma_buf),
    )
}

/// Finds out whether [`export_range`] would succeed, without a change. Sleeps. Fails as that does,
/// but does not wait for jobs, and so not with the errors of a move.
///
/// Room in the aperture is taken for a moment: what is free tells neither how large the pieces are
/// nor how they are aligned.
pub(crate) fn check_range(
    dev: &BoundDevice<'_>,
    buffer: &Buffer,
    range: Range<u64>,
    client: &Arc<Client>,
) -> Result {
    let size = range.end - range.start;

    provider(dev, buffer)?;
    drop(client.book_export(size, crate::export_limit())?);

    match &buffer.backing {
        Backing::Lmem(memory) => {
            if memory.with(|allocation| allocation.is_part_visible(range.start, size)) {
                return Ok(());
            }

            // What has just been freed is room in the aperture.
            dev.queue.drop_ended_jobs();
            memory.with(|allocation| {
                if buffer.exports.load(Ordering::Relaxed) > 0 {
                    return Err(ENXIO);
                }
                memory.place_in_aperture(dev, allocation).map(drop)
            })
        }
        Backing::System(_) | Backing::Imported(_) => Ok(()),
    }
}

/// Who could import `buffer` now, of the device `peer` if that is given: bits
/// `DRM_HLRS_IMPORTER_*`. Sleeps.
pub(crate) fn importers(
    dev: &BoundDevice<'_>,
    buffer: &Buffer,
    client: &Arc<Client>,
    peer: Option<&pci::Device>,
) -> Result<u32> {
    let revocable = hlrs_abi::DRM_HLRS_IMPORTER_REVOCABLE;
    let pinned = hlrs_abi::DRM_HLRS_IMPORTER_PINNED;

    let Some(provider) = provider(dev, buffer)? else {
        return Ok(revocable | pinned | hlrs_abi::DRM_HLRS_IMPORTER_STATIC);
    };
    if peer.is_some_and(|peer| provider.refusal(peer.as_ref()).is_some()) {
        return Ok(0);
    }
    if crate::pinned_importers_may_attach() && dev.ownership.is_owned_by(client) {
        return Ok(revocable | pinned);
    }
    Ok(revocable)
}

/// What peers need to reach a buffer in LMEM; [`None`] for system memory.
fn provider<'a>(dev: &'a HlrsDevice, buffer: &Buffer) -> Result<Option<&'a Arc<p2pdma::Provider>>> {
    match &buffer.backing {
        Backing::Lmem(_) => Ok(Some(dev.p2p.as_ref().ok_or(EOPNOTSUPP)?)),
        Backing::System(_) => Ok(None),
        Backing::Imported(_) => Err(EOPNOTSUPP),
    }
}

/// Makes sure that peers can reach the range, and that it stays where it is as long as the result
/// exists.
///
/// What lies in the aperture stays there, but that a part of it does is not enough: it moves with
/// the rest if that is exported. Hence the buffer is counted with the memory locked.
fn settle(dev: &HlrsDevice, buffer: ARef<Buffer>, range: &Range<u64>) -> Result<Counted> {
    let count = || buffer.exports.fetch_add(1, Ordering::Relaxed);

    match &buffer.backing {
        Backing::Lmem(memory) => {
            let count_if_visible = |allocation: &Allocation| {
                let visible = allocation.is_part_visible(range.start, range.end - range.start);

                if visible {
                    count();
                }
                visible
            };

            if !memory.with(count_if_visible) {
                when_clear(dev, Some(IDLE_TIMEOUT_MS), |dev| {
                    // What has just been freed is room in the aperture.
                    dev.queue.drop_ended_jobs();
                    let guard = buffer.resv().lock_interruptible()?;

                    // Somebody else may have moved it meanwhile.
                    if !memory.with(count_if_visible) {
                        memory.move_into_aperture(dev, &buffer, &guard)?;
                        count();
                    }
                    Ok(())
                })?;
            }
        }
        Backing::System(_) | Backing::Imported(_) => {
            count();
        }
    }
    Ok(Counted::from_counted(buffer))
}

/// Makes a dma-buf of a whole buffer, for PRIME. `flags` are `O_CLOEXEC` and an access mode.
/// Sleeps. Fails as [`export_range`]; the file is the one that has created the buffer.
pub(crate) fn export(buffer: &Buffer, file_flags: u32) -> Result<ARef<DmaBuf>> {
    let client = buffer.creator.as_ref().ok_or(EOPNOTSUPP)?;

    export_range(
        buffer.dev(),
        buffer.into(),
        0..buffer.size() as u64,
        Access::from_file_flags(file_flags)?,
        client,
    )
}
