// SPDX-License-Identifier: GPL-2.0

//! Memory of the card at the other end of the link.
//!
//! Engines of a PF reach all LMEM of the PF that theirs is linked with, past bus, IOMMU and LMTT.
//! What the two sides exchange are addresses in the exporter's LMEM; nobody else gets them, since
//! the type matches for this one pair of devices only.

use kernel::{
    dma::DataDirection,
    prelude::*,
    seq_file::SeqFile,
    seq_print, //
};
use kernel_ext::{
    dma_buf::{
        interconnect::{
            Descriptor,
            Pair,
            Private,
            PrivateType, //
        },
        Attachment,
        Importer, //
    },
    dma_resv::Guard,
};

use crate::{
    hw::Hw,
    lmem::{
        Extent,
        PAGE_SIZE, //
    }, //
};

static LINK: Descriptor<Link> = Descriptor::new::<crate::LocalModule>(c"hlrs-link");

/// The mapping type.
pub(super) enum Link {}

/// One end, as its own device sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    /// Whose end it is.
    uid: u64,
    /// Whose the other end is.
    peer: u64,
    /// Bytes of LMEM there.
    peer_lmem: u64,
}

impl Port {
    /// The port of a function; [`None`] if it has none, or the link is down. Any context.
    pub(super) fn of(hw: &Hw) -> Option<Self> {
        let peer = hw.link_peer()?;

        Some(Self {
            uid: hw.info.uid,
            peer: peer.uid,
            peer_lmem: peer.lmem_size,
        })
    }
}

/// What was agreed upon.
pub(super) struct Route {
    /// Whose memory it is.
    exporter: u64,
    /// How much there is of it, bytes.
    lmem_size: u64,
}

impl PrivateType for Link {
    type Exporter = Port;
    type Importer = Port;
    type Match = Route;
    type Mapping = KVVec<Extent>;

    fn descriptor() -> &'static Descriptor<Self> {
        &LINK
    }

    fn matches(pair: &Pair<'_, Self>) -> Result {
        let (exporter, importer) = (pair.exporter, pair.importer);

        if exporter.peer != importer.uid || importer.peer != exporter.uid {
            return Err(EOPNOTSUPP);
        }
        Ok(())
    }

    fn finish_match(pair: &Pair<'_, Self>) -> Result<Route> {
        Ok(Route {
            exporter: pair.importer.peer,
            lmem_size: pair.importer.peer_lmem,
        })
    }

    fn debugfs_dump(matched: &Route, seq: &SeqFile) {
        seq_print!(seq, " card={:#x}", matched.exporter);
    }
}

/// Maps the memory if it is not, and returns where in the peer's LMEM it is, in the order of the
/// buffer, which has `size` bytes. Sleeps.
///
/// Fails with the exporter's error, and if he names what is not there: `ERANGE` for a range that
/// ends beyond the peer's LMEM, `EINVAL` for parts of pages and a sum that is not `size`.
pub(super) fn extents<'g, I: Importer>(
    attachment: &'g Attachment<I>,
    guard: &'g mut Guard<'_>,
    direction: DataDirection,
    size: u64,
) -> Result<&'g [Extent]> {
    let route = attachment.negotiated::<Private<Link>>().ok_or(EINVAL)?;
    let limit = route.lmem_size;
    let mapping = attachment.map_as::<Private<Link>>(guard, direction)?;

    check(mapping, limit, size)?;
    Ok(mapping)
}

fn check(extents: &[Extent], limit: u64, size: u64) -> Result {
    let mut sum = 0u64;

    for extent in extents {
        if extent.start % PAGE_SIZE != 0 || extent.len % PAGE_SIZE != 0 || extent.len == 0 {
            return Err(EINVAL);
        }
        let end = extent.start.checked_add(extent.len).ok_or(ERANGE)?;
        if end > limit {
            return Err(ERANGE);
        }
        // No more than `limit` each, and pages of a buffer: this does not overflow.
        sum = sum.saturating_add(extent.len);
    }
    if sum != size {
        return Err(EINVAL);
    }
    Ok(())
}

#[cfg(CONFIG_KUNIT = "y")]
#[path = "../../../../tests/kunit/hlrs/link.rs"]
mod tests;
