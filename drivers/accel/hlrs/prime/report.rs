// SPDX-License-Identifier: GPL-2.0

//! What is exported, for people: `exports` in debugfs.

use kernel::{
    fmt,
    prelude::*, //
};
use kernel_ext::{
    dma_buf::DmaBuf,
    p2pdma, //
};

use super::{
    access::Access,
    export::Export,
    state::Exports, //
};

/// Writes a line for each dma-buf, and below it one for each importer; then one for all memory that
/// somebody has, or works on, although nothing is left of its dma-buf, or of the driver that has
/// exported it. Sleeps.
pub(crate) fn exports(exports: &Exports, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for dma_buf in exports.iter() {
        if let Some(export) = dma_buf.exported_by::<Export>() {
            one_export(&dma_buf, export, f)?;
        }
    }
    exports.lingering.report(f)?;

    let mut result = Ok(());
    p2pdma::for_each_retained(&exports.window, |range, who| {
        let written = f.write_fmt(fmt!(
            "set aside offset {:#x} size {} by an earlier binding: {}\n",
            range.start - exports.window.start,
            range.end - range.start,
            who,
        ));
        result = result.and(written);
    });
    result
}

fn one_export(dma_buf: &DmaBuf, export: &Export, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let access = match export.access() {
        Access { write: false, .. } => "ro",
        Access { read: false, .. } => "wo",
        _ => "rw",
    };
    let guard = dma_buf.resv().lock();
    let is_stale = dma_buf.attachments(&guard).is_ok_and(|attachments| {
        attachments
            .of::<Export>()
            .any(|importer| importer.data().stale() > 0)
    });
    let state = match (export.is_blocked(), export.mappings()) {
        _ if is_stale => "quarantined",
        (false, _) => "open",
        (true, 0) => "revoked",
        (true, _) => "quarantined",
    };

    f.write_fmt(fmt!(
        "dma-buf {} offset {:#x} size {} {} {} {} exporter {} since {} s mappings {}\n",
        dma_buf.inode_number(),
        export.offset(),
        dma_buf.size(),
        if export.is_lmem() { "lmem" } else { "system" },
        access,
        state,
        export.process(),
        export.since().elapsed(),
        export.mappings(),
    ))?;
    let Ok(attachments) = dma_buf.attachments(&guard) else {
        return Ok(());
    };
    for importer in attachments.of::<Export>() {
        let data = importer.data();

        f.write_fmt(fmt!(
            "  importer {} {} process {} since {} s mappings {}{}{}\n",
            importer.driver_name(),
            importer.device().name(),
            data.process(),
            data.since().elapsed(),
            data.mappings(),
            if data.stale() > 0 { " stale" } else { "" },
            if data.is_pinned() { " pinned" } else { "" },
        ))?;
    }
    Ok(())
}
