// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a mapping costs: attach, map, unmap and detach, of as many ranges as
//! asked for, against the exporter of vfio-pci with the same ranges.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use hlrs_sys as sys;

use crate::call::Segment;
use crate::measure::{alone, settle};
use crate::node::{bar_start, open_node, open_pair, Node};
use crate::vfio::{Request, Vfio};
use crate::{line, LMEM_BAR};

/// Size of a range.
const PIECE: u64 = 4096;

/// What fills the rest of the memory, from large to small.
const FILLERS: [u64; 6] = [64 << 20, 8 << 20, 1 << 20, 128 << 10, 16 << 10, PIECE];

/// Entries that the mappings of a batch have altogether, at most, and mappings.
/// Bounded because the kernel's `dma_buf_free_sgt()` does not free the entries.
const BATCH_ENTRIES: u32 = 16384;
const BATCH_ROUNDS: u32 = 400;

/// `ranges` ranges of one piece each.
pub fn vs_vfio(ranges: usize) -> io::Result<String> {
    let peer_node = open_node("hlrs-bench-peer")?;
    let (node, importer) = open_pair()?;
    let function = node.function()?;
    let importer = importer.address()?;

    let handle = scattered_buffer(&node, ranges)?;
    let dma_buf = node.export(handle, 0)?;
    let (ours, segments) = cost(&peer_node, dma_buf.as_fd(), importer, ranges)?;
    drop((dma_buf, node));

    let mut request = Request::new(LMEM_BAR as u32, bar_start(&function, LMEM_BAR)?, &segments);
    let vfio = Vfio::take(&function)?;
    let dma_buf = vfio.export(&mut request)?;
    let (peer, peer_segments) = cost(&peer_node, dma_buf.as_fd(), importer, ranges)?;
    drop(dma_buf);

    if peer_segments != segments {
        return Err(io::Error::other(
            "vfio-pci maps the ranges to other addresses",
        ));
    }
    Ok(line(ours, peer, "vfio-pci", "instructions"))
}

/// The cost of a mapping, and its segments.
fn cost(
    peer: &Node,
    dma_buf: BorrowedFd<'_>,
    importer: u32,
    ranges: usize,
) -> io::Result<(f64, Vec<Segment>)> {
    let rounds = (BATCH_ENTRIES / ranges as u32).clamp(1, BATCH_ROUNDS);
    let (_, segments) = peer.map(dma_buf, importer, 0, ranges)?;

    if segments.len() != ranges {
        return Err(io::Error::other(format!(
            "{} segments instead of {ranges}",
            segments.len()
        )));
    }

    let cost = alone(|| {
        let (cost, _) = peer.map(dma_buf, importer, rounds, ranges)?;
        settle();
        Ok(cost)
    })?;
    Ok((cost, segments))
}

/// A buffer of pieces no two of which are neighbours: every second piece of a
/// memory that is full otherwise.
pub fn scattered_buffer(node: &Node, pieces: usize) -> io::Result<u32> {
    let mut handles = Vec::with_capacity(2 * pieces);

    for _ in 0..2 * pieces {
        handles.push(node.create(PIECE, 0)?);
    }
    for size in FILLERS {
        while let Some(_filler) = create_if_room(node, size)? {}
    }
    for handle in handles.into_iter().skip(1).step_by(2) {
        node.close(handle)?;
    }
    node.create(pieces as u64 * PIECE, 0)
}

fn create_if_room(node: &Node, size: u64) -> io::Result<Option<u32>> {
    match node.create(size, sys::DRM_HLRS_MEM_CONTIGUOUS) {
        Ok(handle) => Ok(Some(handle)),
        Err(e) if e.kind() == io::ErrorKind::StorageFull => Ok(None),
        Err(e) => Err(e),
    }
}
