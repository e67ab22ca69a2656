// SPDX-License-Identifier: GPL-2.0

//! Taking back what importers have.
//!
//! Something keeps new mappings from being made: a call that goes on, the state of the memory, or the
//! end of the session. Then all importers are told, and only then they are waited for, so that it takes no
//! longer than the slowest of them may take.
//!
//! What an importer has that does not let go is the function's memory, which is always the user's
//! own: a call during which it would be inaccessible is refused. When the user has gone, the function
//! cannot be opened by the next until that importer has let go.

use core::sync::atomic::Ordering;

use kernel::{
    pci,
    prelude::*, //
};
use kernel_ext::{
    dma_buf::{
        Deadline,
        DmaBuf, //
    },
    p2pdma, //
};

use crate::{
    export::Export,
    session::Session, //
};

/// Takes everything back that was exported in a session. Sleeps.
///
/// Calls `stuck` for what importers still have when the time is up, and fails with `EBUSY` then.
pub(crate) fn take_back(
    session: &Session,
    pdev: &pci::Device,
    why: &str,
    stuck: impl Fn(&Export),
) -> Result {
    for dma_buf in session.iter() {
        let mut guard = dma_buf.resv().lock();

        // The guard is that of the dma-buf, so that this does not fail.
        let _ = dma_buf.invalidate_mappings(&mut guard);
    }

    let deadline = Deadline::new(crate::revoke_timeout_ms());
    let mut result = Ok(());

    for dma_buf in session.iter() {
        let Some(export) = dma_buf.exported_by::<Export>() else {
            continue;
        };
        let waited = dma_buf.wait_for_importers(|_| true, || export.mappings(), &deadline);

        if waited.is_err() {
            report(pdev, &dma_buf, export, why);
            stuck(export);
            result = Err(EBUSY);
        }
    }
    result
}

/// Says, once for each export, who does not let go.
fn report(pdev: &pci::Device, dma_buf: &DmaBuf, export: &Export, why: &str) {
    if export.reported.swap(true, Ordering::Relaxed) {
        return;
    }

    let guard = dma_buf.resv().lock();
    let Ok(attachments) = dma_buf.attachments(&guard) else {
        return;
    };

    if export.mappings() == 0 {
        dev_err!(
            pdev,
            "{}: work of an importer on {} bytes does not end\n",
            why,
            dma_buf.size()
        );
    }
    for importer in attachments.of::<Export>() {
        if importer.data().load(Ordering::Relaxed) > 0 {
            dev_err!(
                pdev,
                "{}: {} {} does not let go of {} bytes\n",
                why,
                importer.driver_name(),
                importer.device().name(),
                dma_buf.size()
            );
        }
    }
}

/// Fails with `EBUSY` if an importer of an earlier session still has a part of a BAR. Sleeps.
pub(crate) fn check_unused(pdev: &pci::Device<kernel::device::Bound>) -> Result {
    for bar in 0..6 {
        let (Ok(start), Ok(len)) = (pdev.resource_start(bar), pdev.resource_len(bar)) else {
            continue;
        };

        if len > 0 {
            p2pdma::set_aside(start..start + len, |_| Err(EBUSY))?;
        }
    }
    Ok(())
}
