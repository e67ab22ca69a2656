// SPDX-License-Identifier: MIT OR Apache-2.0
//! What it costs the physical function to use memory of a virtual one: to
//! attach to it, to map it, and to read it.

use std::fs::read_to_string;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use hlrs_sys as sys;

use crate::call::{BenchIcAttach, BenchIcMap, Call, Import, Segment};
use crate::line;
use crate::map::scattered_buffer;
use crate::measure::in_turn;
use crate::node::{bar_start, open_node, Node};
use crate::vf::Vf;
use crate::vfio::{Request, Vfio};
use crate::LMEM_BAR;

/// Memory of the virtual function; the rest is the physical one's.
const QUOTA: u64 = 96 << 20;

/// Forms of a mapping, as the peer numbers them.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Iov = 0,
    Xarray = 1,
    Scatterlist = 2,
}

/// Ranges that the mappings of a batch have altogether, and mappings, at most.
const BATCH_RANGES: u32 = 65536;
const BATCH_ROUNDS: u32 = 400;

/// Attachments of a batch.
const ATTACHMENTS: u32 = 400;

/// Ranges of the function's BAR, against an xarray of them.
pub fn map_vs_xarray(ranges: usize) -> io::Result<String> {
    map_vs(ranges, Form::Xarray, "xarray")
}

/// The same, against a scatterlist for another device, behind an IOMMU.
pub fn map_vs_scatterlist(ranges: usize) -> io::Result<String> {
    if std::fs::read_dir("/sys/kernel/iommu_groups")?
        .next()
        .is_none()
    {
        return Err(io::Error::other("this machine has no IOMMU"));
    }
    map_vs(ranges, Form::Scatterlist, "sg_table+IOMMU")
}

fn map_vs(ranges: usize, form: Form, name: &str) -> io::Result<String> {
    let peer = open_node("hlrs-bench-peer")?;
    let vf = Vf::enable(QUOTA)?;
    let node = vf.open()?;
    let handle = scattered_buffer(&node, ranges)?;
    let dma_buf = node.export(handle, 0)?;
    let rounds = (BATCH_RANGES / ranges as u32).clamp(1, BATCH_ROUNDS);
    let pf = vf.pf.address()?;
    let other = vf.other.address()?;
    let cost = |form: Form| {
        let importer = if form == Form::Scatterlist { other } else { pf };
        let mut map = BenchIcMap {
            fd: dma_buf.as_raw_fd(),
            importer,
            rounds,
            form: form as u32,
            ..Default::default()
        };

        map.call(&peer.file)?;
        // An IOMMU may make one range of all.
        if form != Form::Scatterlist && map.count as usize != ranges {
            return Err(io::Error::other(format!(
                "{} ranges instead of {ranges}",
                map.count
            )));
        }
        Ok(map.ns as f64 / f64::from(rounds))
    };

    let (ours, peer) = in_turn(|| cost(Form::Iov), || cost(form))?;
    Ok(line(ours, peer, name, "instructions"))
}

/// Negotiation, against attaching without.
pub fn attach() -> io::Result<String> {
    let peer = open_node("hlrs-bench-peer")?;
    let vf = Vf::enable(QUOTA)?;
    let node = vf.open()?;
    let dma_buf = node.export(node.create(1 << 20, 0)?, 0)?;
    let importer = vf.pf.address()?;
    let cost = |negotiate: bool| {
        let mut attach = BenchIcAttach {
            fd: dma_buf.as_raw_fd(),
            importer,
            rounds: ATTACHMENTS,
            negotiate: negotiate.into(),
            ..Default::default()
        };

        attach.call(&peer.file)?;
        Ok(attach.ns as f64 / f64::from(ATTACHMENTS))
    };

    let (ours, peer) = in_turn(|| cost(true), || cost(false))?;
    Ok(line(ours, peer, "dma_buf_dynamic_attach", "instructions"))
}

/// Bytes that the physical function copies out of the virtual one's memory.
const PULLED: u64 = 64 << 20;

/// What a copy took.
struct Pulled {
    /// Time of the device, which is all but that of the software: nanoseconds.
    time: f64,
    /// Bytes that went over the bus.
    bus: f64,
}

/// A copy inside the device, against one by the scatterlist of vfio-pci.
fn pull() -> io::Result<(Pulled, Pulled)> {
    let vf = Vf::enable(QUOTA)?;
    let target = vf.pf.create(PULLED, 0)?;
    let ours = {
        let node = vf.open()?;
        let source = node.create(PULLED, 0)?;
        let dma_buf = node.export(source, 0)?;

        copy(&vf.pf, dma_buf.as_fd(), target)?
    };

    let function = vf.address()?;
    let start = bar_start(&function, LMEM_BAR)?;
    let range = Segment {
        address: start,
        length: PULLED,
    };
    let mut request = Request::new(LMEM_BAR as u32, start, &[range]);
    let vfio = Vfio::take(&function)?;
    let dma_buf = vfio.export(&mut request)?;
    let peer = copy(&vf.pf, dma_buf.as_fd(), target)?;

    drop(dma_buf);
    drop(vfio);
    if ours.bus * 1000.0 > PULLED as f64 || peer.bus < PULLED as f64 {
        return Err(io::Error::other(format!(
            "{} bytes over the bus where there should be none, {} by the scatterlist",
            ours.bus, peer.bus
        )));
    }
    Ok((ours, peer))
}

pub fn pull_time() -> io::Result<String> {
    let (ours, peer) = pull()?;
    Ok(line(ours.time, peer.time, "vfio-pci", "ns"))
}

pub fn pull_bus() -> io::Result<String> {
    let (ours, peer) = pull()?;
    Ok(line(ours.bus, peer.bus, "vfio-pci", "bytes"))
}

/// Imports and copies; the second of two copies counts.
fn copy(node: &Node, dma_buf: BorrowedFd<'_>, target: u32) -> io::Result<Pulled> {
    let mut import = Import(sys::drm_prime_handle {
        fd: dma_buf.as_raw_fd(),
        ..Default::default()
    });
    import.call(&node.file)?;
    let source = import.0.handle;

    let mut result = None;
    for _ in 0..2 {
        let bus = bus_bytes(node)?;
        let start = Instant::now();
        sys::drm_hlrs_mem_copy {
            src_handle: source,
            dst_handle: target,
            size: PULLED,
            ..Default::default()
        }
        .call(&node.file)?;
        sys::drm_hlrs_mem_wait {
            handle: target,
            timeout_ns: 60_000_000_000,
            ..Default::default()
        }
        .call(&node.file)?;
        result = Some(Pulled {
            time: start.elapsed().as_nanos() as f64,
            bus: (bus_bytes(node)? - bus) as f64,
        });
    }
    node.close(source)?;
    result.ok_or_else(|| io::Error::other("no copy"))
}

/// Bytes that a function has moved over the bus so far.
fn bus_bytes(node: &Node) -> io::Result<u64> {
    let counters = read_to_string(format!(
        "/sys/kernel/debug/hlrs-{}/counters",
        node.function()?
    ))?;
    let value = |name: &str| -> u64 {
        counters
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(found, _)| *found == name)
            .filter_map(|(_, value)| value.trim().parse::<u64>().ok())
            .sum()
    };

    Ok(value("bus_read") + value("bus_write"))
}
