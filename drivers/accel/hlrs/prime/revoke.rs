// SPDX-License-Identifier: GPL-2.0

//! Taking back what peers have.

use kernel::{
    io::poll::read_poll_timeout,
    prelude::*,
    time::{
        msecs_to_jiffies,
        Delta, //
    },
};
use kernel_ext::{
    dma_buf::DmaBuf,
    dma_resv::Usage, //
};

use super::export::Export;
use crate::device::HlrsDevice;

/// How long an importer may take to finish its jobs, and to unmap.
const TIMEOUT_MS: u32 = 2000;

/// Makes all importers map anew what the device exports; used around a reset. Sleeps.
pub(crate) fn invalidate_all(dev: &HlrsDevice) {
    for_each_export(dev, false);
}

/// Takes all exported memory back for good; used when the driver is unbound. Sleeps.
///
/// Importers get [`TIMEOUT_MS`] to finish what they do, and as long again to unmap.
pub(crate) fn revoke_all(dev: &HlrsDevice) {
    for_each_export(dev, true);
}

fn for_each_export(dev: &HlrsDevice, for_good: bool) {
    for dma_buf in dev.exports.iter() {
        if let Some(export) = dma_buf.exported_by::<Export>() {
            if let Err(e) = revoke(&dma_buf, export, for_good) {
                dev_err!(
                    dev.parent(),
                    "an importer does not let go of {} bytes: {:?}\n",
                    dma_buf.size(),
                    e
                );
            }
        }
    }
}

fn revoke(dma_buf: &DmaBuf, export: &Export, for_good: bool) -> Result {
    let mut guard = dma_buf.resv().lock();

    if for_good {
        export.set_revoked(&guard);
    }
    dma_buf.invalidate_mappings(&mut guard)?;
    guard.wait(Usage::Bookkeep, false, msecs_to_jiffies(TIMEOUT_MS))?;
    drop(guard);

    read_poll_timeout(
        || Ok(export.mappings()),
        |mappings| *mappings == 0,
        Delta::from_millis(1),
        Delta::from_millis(i64::from(TIMEOUT_MS)),
    )
    .map(|_| ())
}
