// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an export costs, in instructions and in memory.
//!
//! The ioctl alone: closing the descriptors is not part of it.

use std::fs::{read_to_string, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use hlrs_sys::DRM_HLRS_MEM_CONTIGUOUS;

use crate::measure::{alone, batch_keeping, in_turn, settle};
use crate::node::{bar_start, open_node, open_pair};
use crate::vfio::{Request, Vfio};
use crate::{line, LMEM_BAR};

const BUFFER_SIZE: u64 = 2 << 20;

/// Exports that exist before memory is looked at for the first time, and how
/// many are added then. What the first ones find free of earlier use does not
/// count, so that only whole new pages do.
const EXISTING: usize = 2048;
const ADDED: usize = 12288;

/// The export ioctl, against a dma-buf whose operations are empty.
pub fn vs_core() -> io::Result<String> {
    let node = open_node("hlrs")?;
    let peer_node = open_node("hlrs-bench-peer")?;
    let handle = node.create(BUFFER_SIZE, DRM_HLRS_MEM_CONTIGUOUS)?;

    let (ours, peer) = in_turn(
        || batch_keeping(&mut || node.export(handle, 0)),
        || batch_keeping(&mut || peer_node.bare_export(BUFFER_SIZE)),
    )?;
    Ok(line(
        ours,
        peer,
        "dma_buf_export+dma_buf_fd",
        "instructions",
    ))
}

/// The export ioctl, against that of vfio-pci for the same memory.
pub fn vs_vfio() -> io::Result<String> {
    compare(
        |export| alone(|| batch_keeping(&mut || export())),
        "instructions",
    )
}

/// Bytes of kernel memory that an export takes, against vfio-pci.
pub fn memory() -> io::Result<String> {
    compare(memory_of, "bytes")
}

type Export<'a> = &'a mut dyn FnMut() -> io::Result<OwnedFd>;

/// What `cost` says about our exports and about those of vfio-pci.
fn compare(cost: impl Fn(Export<'_>) -> io::Result<f64>, unit: &str) -> io::Result<String> {
    let peer_node = open_node("hlrs-bench-peer")?;
    let (node, importer) = open_pair()?;
    let function = node.function()?;
    let handle = node.create(BUFFER_SIZE, DRM_HLRS_MEM_CONTIGUOUS)?;
    let dma_buf = node.export(handle, 0)?;
    let (_, ranges) = peer_node.map(dma_buf.as_fd(), importer.address()?, 0, 1)?;
    drop(dma_buf);

    let ours = cost(&mut || node.export(handle, 0))?;
    drop(node);

    let mut request = Request::new(LMEM_BAR as u32, bar_start(&function, LMEM_BAR)?, &ranges);
    let vfio = Vfio::take(&function)?;
    let peer = cost(&mut || vfio.export(&mut request))?;

    Ok(line(ours, peer, "vfio-pci", unit))
}

fn memory_of(export: Export<'_>) -> io::Result<f64> {
    let mut kept = Vec::with_capacity(EXISTING + ADDED);

    grow_descriptor_table(EXISTING + ADDED)?;
    for _ in 0..EXISTING {
        kept.push(export()?);
    }
    let before = slab_bytes()?;

    for _ in 0..ADDED {
        kept.push(export()?);
    }
    let after = slab_bytes()?;

    drop(kept);
    settle();
    Ok((after - before) as f64 / ADDED as f64)
}

/// The kernel doubles the table when it is full, and keeps it.
fn grow_descriptor_table(descriptors: usize) -> io::Result<()> {
    let any = File::open("/dev/null")?;

    // Room for the few that the program has open anyway.
    rustix::io::fcntl_dupfd_cloexec(&any, (descriptors + 64) as i32)?;
    Ok(())
}

/// Memory of the slab allocator. The counts of each processor have been added
/// up when their timer has expired.
fn slab_bytes() -> io::Result<u64> {
    for _ in 0..20 {
        settle();
    }

    let meminfo = read_to_string("/proc/meminfo")?;
    let kib = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("Slab:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse::<u64>().ok());

    kib.map(|kib| kib << 10)
        .ok_or_else(|| io::Error::other("/proc/meminfo does not tell about slabs"))
}
