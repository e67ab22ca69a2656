// SPDX-License-Identifier: GPL-2.0

//! Ranges of a BAR as physical addresses.

use kernel::prelude::*;
use kernel_ext::{
    dma_buf::PhysRange,
    p2pdma::Provider,
    vfio::DmaBufRequest, //
};

/// The physical addresses of what a user has asked for, in its order. Sleeps (allocates).
///
/// # Errors
///
/// Those that vfio-pci has:
///
/// - `EOVERFLOW`: an address, or the end of a range, is beyond all addresses.
/// - `EINVAL`: a range goes beyond the BAR.
/// - `ENOMEM`.
pub(crate) fn physical(provider: &Provider, request: &DmaBufRequest) -> Result<KVec<PhysRange>> {
    // The provider has checked that the BAR ends within the address space.
    let limit = provider.phys_start() + provider.size();
    let mut ranges = KVec::with_capacity(request.num_ranges(), GFP_KERNEL)?;

    for range in request.ranges() {
        let start = provider
            .phys_start()
            .checked_add(range.offset)
            .ok_or(EOVERFLOW)?;
        let end = start.checked_add(range.length).ok_or(EOVERFLOW)?;

        if end > limit {
            return Err(EINVAL);
        }
        ranges.push(
            PhysRange {
                start,
                len: range.length,
            },
            GFP_KERNEL,
        )?;
    }
    Ok(ranges)
}
