// SPDX-License-Identifier: GPL-2.0

//! The local memory translation table (LMTT).
//!
//! For each VF the device has a table of granules of 2 MiB; a VF's device-local address selects
//! the entry, which says where in LMEM the granule lies. A table is staged entry by entry and
//! takes effect as a whole.

use kernel::{
    io::Io,
    prelude::*, //
};

use crate::{
    hw::{
        Hw,
        VfId, //
    },
    lmem::Extent,
    regs, //
};

/// Bytes of a granule.
pub(super) const GRANULE: u64 = hlrs_abi::HLRS_LMTT_GRANULE as u64;

/// Gives a VF the memory `extents`, in this order, instead of what it had; none takes it away.
///
/// Starts and lengths are multiples of [`GRANULE`]. The VF is told by an event. Any context.
///
/// Fails with `EINVAL` if the device rejects the table, which then is as before, and with
/// `ENODEV` if the device is gone.
pub(super) fn program(hw: &Hw, vf: VfId, extents: &[Extent]) -> Result {
    let rejected = hw.try_with(|bar| {
        let mut count = 0u32;

        bar.write_reg(regs::LMTT_VF::from(u32::from(vf.number())));
        bar.write_reg(regs::LMTT_INDEX::from(0));
        for extent in extents {
            for address in (extent.start..extent.end()).step_by(GRANULE as usize) {
                let entry = address | u64::from(hlrs_abi::HLRS_LMTT_VALID);
                bar.try_write_reg(regs::LMTT_ENTRY::from(entry))?;
                count += 1;
            }
        }
        bar.write_reg(regs::LMTT_COMMIT::from(count));
        Ok(bar.read(regs::LMTT_STATUS).rejected())
    })?;

    if rejected {
        return Err(EINVAL);
    }
    Ok(())
}
