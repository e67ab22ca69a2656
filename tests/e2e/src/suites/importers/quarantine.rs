// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that an importer does not let go of is not given to anybody else.

use hlrs::Buffer;
use hlrs::Device;

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
use crate::system::MIB;

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
    // This one has not ended its work.
    let (slow, slow_dmabuf) = pair.shared(MIB)?;
    let slow_importer = map(&slow_dmabuf, Kind::Dynamic)?;
    slow_importer.fence(LONG, Usage::Write)?;

    let mut log = Log::from_now()?;
    let bound = Unbound(address);
    driver::unbind(address)?;
    // The one with the work has not unmapped yet.
    check_eq!(log.count("does not let go"), 3, "reports");
    check!(!good.state()?.mapped, "the good one is still mapped");
    drop((buffer, other, dmabuf, part, other_dmabuf, slow, slow_dmabuf));
    drop(bound);

    let device = driver::wait_node(address)?.open()?;
    cards::settles(&device, SIZE + MIB)?;
    let lines = set_aside(address)?;
    let is_of = |size: u64, who: &str| {
        let sizes = lines
            .iter()
            .filter(|line| line.contains(who))
            .filter_map(|line| line.split(' ').nth(5)?.parse::<u64>().ok());
        sizes.sum::<u64>() == size
    };
    check!(
        is_of(SIZE + MIB, &pair.importer.address),
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
