// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that an importer does not let go of is not given to anybody else.

use hlrs::Buffer;
use hlrs::Device;

use super::Pair;
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

pub fn an_importer_keeps_what_it_does_not_let_go_of(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let device = &pair.device;
    let before = cards::used(device)?;
    let (buffer, dmabuf) = pair.shared(SIZE)?;
    let importer = pair
        .importers
        .map(&dmabuf, &pair.importer.address, Kind::NeverUnmap)?;

    let mut log = Log::from_now()?;
    check_errno!(buffer.revoke(), TIMEDOUT, "with an importer that stays");
    check_errno!(buffer.revoke(), TIMEDOUT, "again");
    check_eq!(
        log.count(&format!("{} does not let go", pair.importer.address)),
        1,
        "reports that name the importer"
    );
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

    let mut log = Log::from_now()?;
    let bound = Unbound(address);
    driver::unbind(address)?;
    check_eq!(log.count("does not let go"), 2, "reports");
    check!(!good.state()?.mapped, "the good one is still mapped");
    drop((buffer, other, dmabuf, part, other_dmabuf));
    drop(bound);

    let device = driver::wait_node(address)?.open()?;
    cards::settles(&device, SIZE)?;
    let others = take_the_rest(&device)?;
    writes_reach_nobody(&importer, &others)?;
    drop(others);

    importer.unmap().map_err(Stop::failed)?;
    importer.detach().map_err(Stop::failed)?;
    cards::settles(&device, SIZE)?;
    second.unmap().map_err(Stop::failed)?;
    second.detach().map_err(Stop::failed)?;
    good.detach().map_err(Stop::failed)?;
    // The buffer of the old binding goes with the last of its files.
    drop(pair);
    cards::settles(&device, 0)?;
    let all = exhaust(&device, Place::Visible, SIZE)?;
    for buffer in &all {
        cards::holds_pattern("memory that was set aside", buffer, 0)?;
    }
    Ok(())
}
