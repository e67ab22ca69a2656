// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accelerators with no way between them: below root ports of a machine that is
//! not known to forward transfers from one to the other.

use hlrs::Importers;

use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::importer;
use crate::system::importer::Kind;
use crate::system::log::DebugLog;
use crate::system::log::Log;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        lmem_is_refused_with_a_reason,
        a_probe_says_so_before,
        system_memory_needs_no_way,
    ]
}

fn lmem_is_refused_with_a_reason(_: &Context) -> Outcome {
    let nodes = cards::nodes()?;
    let (a, b) = cards::two()?;
    let importers = importer::Importers::open()?;
    let buffer = Place::Visible.create(&a, MIB)?;
    let dmabuf = buffer.export()?;

    let _debug = DebugLog::on()?;
    let mut log = Log::from_now()?;
    check_errno!(b.import(&dmabuf), OPNOTSUPP, "the other accelerator");
    for kind in Kind::REVOCABLE {
        let refused = importers.attach(&dmabuf, &nodes[1].address, kind)?;
        check_errno!(refused, OPNOTSUPP, "{kind:?}");
    }
    check_eq!(
        log.count("no peer-to-peer route"),
        1 + Kind::REVOCABLE.len(),
        "messages with the reason"
    );
    // Nothing went through host memory instead.
    let path = format!("/sys/kernel/debug/hlrs-{}/exports", nodes[0].address);
    let exports = std::fs::read_to_string(path)?;
    check!(!exports.contains("importer"), "attached: {exports}");
    Ok(())
}

fn a_probe_says_so_before(_: &Context) -> Outcome {
    let nodes = cards::nodes()?;
    let device = cards::first()?;
    let buffer = Place::Visible.create(&device, MIB)?;
    let peer = buffer.dma_buf().probe_peer(&nodes[1].address)?;
    check_eq!(peer, Importers::default(), "the other accelerator");
    // Its own function is no way off.
    let own = buffer.dma_buf().probe_peer(&nodes[0].address)?;
    check!(own.revocable, "the device itself: {own:?}");
    Ok(())
}

fn system_memory_needs_no_way(_: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let buffer = Place::System.create(&a, 2 * MIB)?;
    buffer.fill(0, 2 * MIB, 0x5a5a)?;
    let window = b.import(&buffer.export()?)?;
    let target = Place::Lmem.create(&b, 2 * MIB)?;
    target.copy_from(0, &window, 0, 2 * MIB)?;
    cards::holds_pattern("what the other accelerator has read", &target, 0x5a5a)
}
