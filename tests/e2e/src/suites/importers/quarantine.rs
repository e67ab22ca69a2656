// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that an importer does not let go of is not given to anybody else.

use std::thread;
use std::time::Duration;

use hlrs::Access;
use hlrs::Buffer;
use hlrs::Device;
use hlrs::DmaBuf;

use super::Pair;
use super::LONG;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::suites::mem::exhaust;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::driver::Unbound;
use crate::system::importer::Attachment;
use crate::system::importer::Kind;
use crate::system::importer::Usage;
use crate::system::log::Log;
use crate::system::wait_until;
use crate::system::MIB;
use crate::system::REACTION;

const SIZE: u64 = 6 * MIB;
const OTHERS: u64 = 0x0123_4567_89ab_cdef;

/// All memory that there is to be had, filled.
fn take_the_rest(device: &Device) -> Outcome<Vec<Buffer>> {
    let mut all = exhaust(device, Place::Lmem, 2 * MIB)?;
    all.extend(exhaust(device, Place::Lmem, 4096)?);
    for buffer in &all {
        buffer.fill(0, buffer.size(), OTHERS)?;
    }
    Ok(all)
}

/// The importer writes through its stale mapping; nobody else notices.
fn writes_reach_nobody(importer: &Attachment<'_>, others: &[Buffer]) -> Outcome {
    if importer.reads()? {
        for offset in [0, SIZE / 2, SIZE - 4096] {
            importer
                .write(offset, &[0xee; 4096])
                .map_err(Stop::failed)?;
        }
        let seen = importer.read(0, 4096).map_err(Stop::failed)?;
        cards::compare("what it has written", &seen, &[0xee; 4096])?;
    }
    for buffer in others {
        cards::holds_pattern("memory of others", buffer, OTHERS)?;
    }
    Ok(())
}

/// Debugfs says that the export is, and which of its importers are to blame.
fn is_quarantined(pair: &Pair, stale: usize) -> Outcome {
    let exports = pair.exporter.exports();
    let exports = exports.ok_or_else(|| Stop::failed("debugfs shows no exports"))?;
    check!(
        exports.len() == 1
            && exports[0].state == "quarantined"
            && exports[0].importers.len() == stale
            && exports[0].importers.iter().all(|importer| importer.stale),
        "expected {stale} importers to blame: {exports:?}"
    );
    Ok(())
}

/// The lines in debugfs about memory that is kept from others, without an export.
fn set_aside(address: &str) -> Outcome<Vec<String>> {
    let text = std::fs::read_to_string(format!("/sys/kernel/debug/hlrs-{address}/exports"))?;
    let lines = text.lines().filter(|line| line.starts_with("set aside "));
    Ok(lines.map(str::to_owned).collect())
}

/// A fence of an importer that has nothing to do with the buffer it gets into: there is nobody
/// attached, and nothing mapped.
fn worked_on(pair: &Pair, slow: &DmaBuf) -> Outcome<Buffer> {
    let buffer = Place::Visible.create(&pair.device, SIZE)?;
    // Not by PRIME, which keeps a dma-buf as long as there is a handle.
    let dmabuf = buffer.dma_buf().create()?;
    let fence = slow.export_sync_file(Access::Write)?;
    dmabuf.import_sync_file(&fence, Access::Read)?;
    Ok(buffer)
}

pub fn memory_is_kept_until_the_work_on_it_ends(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let (_slow, slow_dmabuf) = pair.shared(MIB)?;
    let importer = pair
        .importers
        .map(&slow_dmabuf, &pair.importer.address, Kind::Dynamic)?;
    importer.fence(LONG, Usage::Write)?;
    let before = cards::used(&pair.device)?;

    let buffer = worked_on(&pair, &slow_dmabuf)?;
    wait_until("it is set aside", REACTION, || {
        set_aside(&pair.exporter.address).is_ok_and(|lines| lines.len() == 1)
    })?;
    drop(buffer);
    // Whatever frees memory late has done so.
    drop(Place::Lmem.create(&pair.device, 4096)?);
    thread::sleep(Duration::from_millis(50));
    check_eq!(
        cards::used(&pair.device)?,
        before + SIZE,
        "memory in use while somebody works on it"
    );
    let lines = set_aside(&pair.exporter.address)?;
    let size = format!("size {SIZE} ");
    check!(
        lines.len() == 1
            && lines[0].contains(&size)
            && lines[0].contains("work of hlrs-test-importer has not ended"),
        "debugfs: {lines:?}"
    );
    importer.signal().map_err(Stop::failed)?;
    cards::settles(&pair.device, before)?;
    check_eq!(set_aside(&pair.exporter.address)?.len(), 0, "in the end");
    Ok(())
}

pub fn an_importer_keeps_what_it_does_not_let_go_of(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let device = &pair.device;
    let before = cards::used(device)?;
    let (buffer, dmabuf) = pair.shared(SIZE)?;
    let importer = pair
        .importers
        .map(&dmabuf, &pair.importer.address, Kind::NeverUnmap)?;

    let mut log = Log::from_now()?;
    let named = format!("{} does not let go", pair.importer.address);
    check_errno!(buffer.revoke(), TIMEDOUT, "with an importer that stays");
    check_eq!(log.count(&named), 1, "reports that name the importer");
    is_quarantined(&pair, 1)?;
    // It was named; another one that does not let go, later, was not.
    buffer.undo_revoke()?;
    let second = pair
        .importers
        .map(&dmabuf, &pair.importer.address, Kind::NeverUnmap)?;
    check_errno!(buffer.revoke(), TIMEDOUT, "with two that stay");
    check_eq!(
        log.count(&named),
        1,
        "reports that name the second importer"
    );
    is_quarantined(&pair, 2)?;
    second.unmap().map_err(Stop::failed)?;
    second.detach().map_err(Stop::failed)?;
    is_quarantined(&pair, 1)?;
    drop((buffer, dmabuf));
    cards::settles(device, before + SIZE)?;

    let others = take_the_rest(device)?;
    writes_reach_nobody(&importer, &others)?;
    drop(others);
    cards::settles(device, before + SIZE)?;

    importer.unmap().map_err(Stop::failed)?;
    importer.detach().map_err(Stop::failed)?;
    cards::settles(device, before)?;
    let again = exhaust(device, Place::Lmem, SIZE)?;
    for buffer in &again {
        cards::holds_pattern("memory that was written to", buffer, 0)?;
    }
    Ok(())
}

pub fn another_binding_does_not_get_it_either(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let address = &pair.exporter.address;
    let (buffer, dmabuf) = pair.shared(SIZE)?;
    let map = |dmabuf, kind| pair.importers.map(dmabuf, &pair.importer.address, kind);
    let importer = map(&dmabuf, Kind::NeverUnmap)?;
    // Of one buffer there may be several.
    let part = buffer.dma_buf().range(MIB, MIB).create()?;
    let second = map(&part, Kind::NeverUnmap)?;
    // This one lets go, so that nothing of it is set aside.
    let (other, other_dmabuf) = pair.shared(MIB)?;
    let good = map(&other_dmabuf, Kind::Dynamic)?;
    // Nobody has this one any more, but there is work on it that has not ended.
    let (slow, slow_dmabuf) = pair.shared(MIB)?;
    let slow_importer = map(&slow_dmabuf, Kind::Dynamic)?;
    slow_importer.fence(LONG, Usage::Write)?;
    drop(worked_on(&pair, &slow_dmabuf)?);

    let mut log = Log::from_now()?;
    let bound = Unbound(address);
    driver::unbind(address)?;
    // The one with the work has not unmapped yet.
    check_eq!(log.count("does not let go"), 3, "reports");
    check!(!good.state()?.mapped, "the good one is still mapped");
    drop((buffer, other, dmabuf, part, other_dmabuf, slow, slow_dmabuf));
    drop(bound);

    let device = driver::wait_node(address)?.open()?;
    cards::settles(&device, 2 * SIZE + MIB)?;
    let lines = set_aside(address)?;
    let is_of = |size: u64, who: &str| {
        let sizes = lines
            .iter()
            .filter(|line| line.contains(who))
            .filter_map(|line| line.split(' ').nth(5)?.parse::<u64>().ok());
        sizes.sum::<u64>() == size
    };
    check!(
        is_of(SIZE + MIB, &pair.importer.address) && is_of(SIZE, "work that has not ended"),
        "debugfs of another binding: {lines:?}"
    );
    slow_importer.signal().map_err(Stop::failed)?;
    slow_importer.detach().map_err(Stop::failed)?;
    // What had a handle goes with the last of the old binding's files.
    cards::settles(&device, SIZE + MIB)?;
    let others = take_the_rest(&device)?;
    writes_reach_nobody(&importer, &others)?;
    drop(others);

    importer.unmap().map_err(Stop::failed)?;
    importer.detach().map_err(Stop::failed)?;
    cards::settles(&device, SIZE + MIB)?;
    second.unmap().map_err(Stop::failed)?;
    second.detach().map_err(Stop::failed)?;
    good.detach().map_err(Stop::failed)?;
    drop(pair);
    cards::settles(&device, 0)?;
    let all = exhaust(&device, Place::Visible, SIZE)?;
    for buffer in &all {
        cards::holds_pattern("memory that was set aside", buffer, 0)?;
    }
    Ok(())
}
