// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may attach, and what an importer sees and writes.

use std::os::fd::AsFd;

use super::Pair;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::skip;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::importer::Attachment;
use crate::system::importer::Kind;
use crate::system::log::DebugLog;
use crate::system::log::Log;
use crate::system::random::Random;
use crate::system::MIB;

/// What the debug log says of importers that need pages.
const NO_PEER_TO_PEER: &str = "it does not support peer-to-peer memory";

/// Skips the test where contents cannot be seen.
fn need_reads(importer: &Attachment<'_>) -> Outcome {
    if !importer.reads()? {
        skip!("behind an IOMMU the CPU cannot use the importer's addresses");
    }
    Ok(())
}

pub fn a_dynamic_importer_reads_and_writes(context: &Context) -> Outcome {
    let pair = Pair::new()?;
    let mut random = Random::new(context.seed);
    let size = 2 * MIB;
    let (buffer, dmabuf) = pair.shared(size)?;
    let mut bytes = cards::randomize(&buffer, &mut random)?;
    let importer = pair
        .importers
        .map(&dmabuf, &pair.importer.address, Kind::Dynamic)?;
    need_reads(&importer)?;

    // What the engine wrote ...
    let mut seen = importer
        .read(0, size)
        .map_err(crate::harness::Stop::failed)?;
    cards::compare("read by the importer", &seen, &bytes)?;
    for _ in 0..20 {
        let (offset, len) = random.range(size);
        let pattern = random.next();
        buffer.fill(offset, len, pattern)?;
        for n in 0..len as usize {
            bytes[offset as usize + n] = pattern.to_le_bytes()[n % 8];
        }
    }
    // ... and what the CPU wrote ...
    buffer.map()?.write(12_345, b"by the CPU of the exporter")?;
    bytes[12_345..12_345 + 26].copy_from_slice(b"by the CPU of the exporter");
    seen = importer
        .read(0, size)
        .map_err(crate::harness::Stop::failed)?;
    cards::compare("read again", &seen, &bytes)?;

    // ... and the other way round, at odd places.
    for _ in 0..20 {
        let (offset, len) = random.range(size);
        let (start, len) = (offset as usize, len.min(100_000) as usize);
        let new = random.bytes(len);
        importer
            .write(offset, &new)
            .map_err(crate::harness::Stop::failed)?;
        bytes[start..start + len].copy_from_slice(&new);
    }
    check_eq!(
        buffer.crc32c(0, size)?,
        hlrs::crc32c(0, &bytes),
        "the device's checksum of what the importer wrote"
    );
    let state = importer.state()?;
    check!(state.mapped && !state.stale, "{state:?}");
    check_eq!(state.invalidations, 0);
    Ok(())
}

pub fn scattered_memory(context: &Context) -> Outcome {
    let pair = Pair::new()?;
    let mut random = Random::new(context.seed);
    // Free blocks that have no free neighbours: the largest block of the
    // buffer fits into one, and the rest lies elsewhere.
    let mut holes: Vec<_> = (0..8)
        .map(|_| Place::Visible.create(&pair.device, 128 << 10))
        .collect::<hlrs::Result<_>>()?;
    let mut keep = false;
    holes.retain(|_| {
        keep = !keep;
        keep
    });
    let size = 200 << 10;
    let (buffer, dmabuf) = pair.shared(size)?;
    let bytes = cards::randomize(&buffer, &mut random)?;
    let importer = pair
        .importers
        .attach(&dmabuf, &pair.importer.address, Kind::Dynamic)?
        .map_err(crate::harness::Stop::failed)?;
    let segments = importer.map().map_err(crate::harness::Stop::failed)?;
    let sum: u64 = segments.iter().map(|segment| segment.length).sum();
    check_eq!(sum, size, "bytes in the segments");
    check_eq!(importer.state()?.segments as usize, segments.len());
    need_reads(&importer)?;
    check!(
        segments.len() > 1,
        "the memory was to be scattered, but there is one segment"
    );
    for _ in 0..40 {
        let (offset, len) = random.range(size);
        let (start, end) = (offset as usize, (offset + len) as usize);
        let seen = importer
            .read(offset, len)
            .map_err(crate::harness::Stop::failed)?;
        cards::compare(
            &format!("{len} bytes at {offset}"),
            &seen,
            &bytes[start..end],
        )?;
    }
    Ok(())
}

/// The others share the buffer afterwards: a refusal leaves nothing behind.
pub fn an_importer_that_cannot_let_go_is_refused(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let (_buffer, dmabuf) = pair.shared(MIB)?;
    let _debug = DebugLog::on()?;
    let mut log = Log::from_now()?;
    for (kind, reason) in [
        (Kind::NoInvalidate, "it cannot be made to let go"),
        (Kind::Static, NO_PEER_TO_PEER),
    ] {
        let refused = pair
            .importers
            .attach(&dmabuf, &pair.importer.address, kind)?;
        check_errno!(refused, OPNOTSUPP, "{kind:?}");
        check_eq!(log.count(reason), 1, "{kind:?}: messages with the reason");
    }
    pair.importers
        .map(&dmabuf, &pair.importer.address, Kind::Dynamic)
        .map(drop)
}

pub fn an_importer_without_peer_to_peer_is_refused(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let (_buffer, dmabuf) = pair.shared(MIB)?;
    let _debug = DebugLog::on()?;
    let mut log = Log::from_now()?;
    for kind in Kind::REVOCABLE {
        let mut arg = kind.attach(dmabuf.as_fd(), &pair.importer.address)?;
        arg.flags = 0;
        check_errno!(pair.importers.attach_as(&mut arg)?, OPNOTSUPP, "{kind:?}");
        let found = log.count(NO_PEER_TO_PEER);
        check_eq!(found, 1, "{kind:?}: messages with the reason");
    }
    pair.importers
        .map(&dmabuf, &pair.importer.address, Kind::Dynamic)
        .map(drop)
}
