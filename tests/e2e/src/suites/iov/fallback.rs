// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whatever is not memory of a virtual function for its physical function goes
//! over the bus, and says so.

use hlrs::Buffer;
use hlrs::Device;
use hlrs::DmaBuf;
use hlrs::Errno;
use hlrs::Node;
use hlrs::Path;
use hlrs::SgtReason;

use super::crc_of;
use super::has_imports;
use super::Card;
use super::GRANULE;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::suites::prime;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![every_other_pair: 120]
}

/// Imports, and checks the path in the query and in debugfs, and the contents;
/// `None` if the devices cannot reach each other on this machine.
fn goes_by(
    node: &Node,
    device: &Device,
    dmabuf: &DmaBuf,
    bytes: &[u8],
    reason: SgtReason,
) -> Outcome<Option<Buffer>> {
    let window = match device.import(dmabuf) {
        Err(err) if err.errno() == Some(Errno::OPNOTSUPP) => return Ok(None),
        window => window?,
    };
    check_eq!(window.path()?, Path::Sgt(reason));
    has_imports(node, &[Path::Sgt(reason).to_string()])?;
    check_eq!(
        window.crc32c(0, window.size())?,
        crc_of(bytes, 0, window.size()),
        "over the bus"
    );
    Ok(Some(window))
}

fn every_other_pair(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    let card = Card::new(&[8 * GRANULE, 8 * GRANULE])?;
    let nodes = cards::nodes()?;
    let (pf, other) = (&nodes[0], &nodes[1]);
    let (one, two) = (card.vf(1)?, card.vf(2)?);
    let buffer = Place::Visible.create(&one, MIB)?;
    let bytes = cards::randomize(&buffer, &mut random)?;
    let dmabuf = buffer.export()?;

    // The other card, which has virtual functions, too; and a sibling.
    let foreign = goes_by(other, &other.open()?, &dmabuf, &bytes, SgtReason::Unrelated)?;
    drop(foreign);
    let sibling = card.vfs.vf_node(2)?;
    goes_by(&sibling, &two, &dmabuf, &bytes, SgtReason::Importer)?;

    // System memory of a virtual function, and memory of nobody.
    let system = Place::System.create(&one, MIB)?;
    let bytes = cards::randomize(&system, &mut random)?;
    let exported = system.export()?;
    let window = goes_by(pf, &card.pf, &exported, &bytes, SgtReason::Unrelated)?;
    check!(window.is_some(), "system memory cannot be reached");
    drop(window);
    let heap = prime::heap(MIB)?;
    let first = two.import(&heap)?;
    let bytes = cards::randomize(&first, &mut random)?;
    let window = goes_by(pf, &card.pf, &heap, &bytes, SgtReason::Exporter)?;
    check!(window.is_some(), "a heap's memory cannot be reached");
    drop((first, window));

    // Memory of the physical function, for a virtual one, and for itself.
    let buffer = Place::Visible.create(&card.pf, MIB)?;
    let bytes = cards::randomize(&buffer, &mut random)?;
    let dmabuf = buffer.export()?;
    goes_by(&sibling, &two, &dmabuf, &bytes, SgtReason::Importer)?;
    let again = card.vfs.node.open()?.import(&dmabuf)?;
    check_eq!(again.path()?, Path::Own);
    check_eq!(again.crc32c(0, MIB)?, crc_of(&bytes, 0, MIB));
    has_imports(pf, &[])?;
    for place in Place::ALL {
        check_eq!(place.create(&card.pf, MIB)?.path()?, Path::Own, "{place:?}");
    }
    Ok(())
}
