// SPDX-License-Identifier: MIT OR Apache-2.0
//! Nodes, what there is on them, and the PCI functions that they belong to.

use std::fs::{read_dir, read_link, read_to_string, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use hlrs_sys as sys;

use crate::call::{self, BenchExport, BenchHurry, BenchMap, BenchStore, Call, Segment};
use crate::LMEM_BAR;

/// An open accel node.
pub struct Node {
    pub file: File,
    index: u32,
}

/// All nodes of a driver, in the order of their numbers.
pub fn nodes(driver: &str) -> io::Result<Vec<Node>> {
    let mut found = Vec::new();

    for index in 0..64 {
        let path = format!("/dev/accel/accel{index}");
        let Ok(file) = File::options().read(true).write(true).open(path) else {
            continue;
        };
        if call::driver_name(&file)? == driver {
            found.push(Node { file, index });
        }
    }
    Ok(found)
}

/// The first node of a driver.
pub fn open_node(driver: &str) -> io::Result<Node> {
    let first = nodes(driver)?.into_iter().next();

    first.ok_or_else(|| io::Error::other(format!("there is no accel node of {driver}")))
}

/// The accelerator that exports, and the one that imports.
pub fn open_pair() -> io::Result<(Node, Node)> {
    match <[Node; 2]>::try_from(nodes("hlrs")?) {
        Ok([exporter, importer]) => Ok((exporter, importer)),
        Err(_) => Err(io::Error::other("there are not two accelerators")),
    }
}

impl Node {
    /// The PCI function, as sysfs names it: `DDDD:BB:DD.F`.
    pub fn function(&self) -> io::Result<String> {
        let device = read_link(format!("/sys/class/accel/accel{}/device", self.index))?;
        let name = device.file_name().map(|name| name.to_string_lossy());

        name.map(String::from)
            .ok_or_else(|| io::Error::other("a node without a device"))
    }

    /// The PCI function as ioctls take it.
    pub fn address(&self) -> io::Result<u32> {
        let name = self.function()?;
        let fields: Vec<u32> = name
            .split([':', '.'])
            .filter_map(|field| u32::from_str_radix(field, 16).ok())
            .collect();

        match fields[..] {
            [domain, bus, device, function] => {
                Ok((domain << 16) | (bus << 8) | (device << 3) | function)
            }
            _ => Err(io::Error::other(format!("{name} is not a PCI function"))),
        }
    }

    /// A buffer in LMEM; the handle.
    pub fn create(&self, size: u64, flags: u32) -> io::Result<u32> {
        let mut create = sys::drm_hlrs_mem_create {
            size,
            flags,
            region: 1,
            ..Default::default()
        };
        create.call(&self.file)?;
        Ok(create.handle)
    }

    /// Closes a handle.
    pub fn close(&self, handle: u32) -> io::Result<()> {
        sys::drm_gem_close {
            handle,
            ..Default::default()
        }
        .call(&self.file)
    }

    /// A dma-buf of the first `size` bytes of a buffer; of all of it if that is 0.
    pub fn export(&self, handle: u32, size: u64) -> io::Result<OwnedFd> {
        let mut export = sys::drm_hlrs_mem_export {
            handle,
            size,
            fd_flags: sys::O_RDWR | sys::O_CLOEXEC,
            ..Default::default()
        };
        export.call(&self.file)?;
        // SAFETY: The ioctl has made the descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(export.fd) })
    }

    /// The peer's dma-buf with nothing behind it.
    pub fn bare_export(&self, size: u64) -> io::Result<OwnedFd> {
        let mut export = BenchExport {
            size,
            fd_flags: sys::O_RDWR | sys::O_CLOEXEC,
            fd: -1,
        };
        export.call(&self.file)?;
        // SAFETY: The ioctl has made the descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(export.fd) })
    }

    /// Has the peer attach, map, unmap and detach for another device: what a
    /// round takes, nanoseconds, and the segments.
    pub fn map(
        &self,
        dma_buf: BorrowedFd<'_>,
        importer: u32,
        rounds: u32,
        max_segments: usize,
    ) -> io::Result<(f64, Vec<Segment>)> {
        let mut segments = vec![Segment::default(); max_segments];
        let mut map = BenchMap {
            fd: dma_buf.as_raw_fd(),
            importer,
            rounds,
            max_segments: segments.len() as u32,
            segments: segments.as_mut_ptr() as u64,
            ..Default::default()
        };

        map.call(&self.file)?;
        if map.num_segments as usize > segments.len() {
            return Err(io::Error::other(format!(
                "{} segments instead of at most {max_segments}",
                map.num_segments
            )));
        }
        segments.truncate(map.num_segments as usize);
        Ok((map.ns as f64 / f64::from(rounds.max(1)), segments))
    }

    /// Has the peer store page-table entries to memory of another device, `offset`
    /// bytes from its beginning: what it takes, nanoseconds.
    pub fn store(&self, device: u32, offset: u64, count: u64) -> io::Result<f64> {
        let mut store = BenchStore {
            device,
            offset,
            count,
            ..Default::default()
        };

        store.call(&self.file)?;
        Ok(store.ns as f64)
    }

    /// Has the peer let another device take no time for what it does.
    pub fn hurry(&self, device: u32) -> io::Result<()> {
        BenchHurry { device, pad: 0 }.call(&self.file)
    }

    /// Where a buffer, which is in one piece, is in the BAR of the device's memory.
    pub fn lmem_offset(&self, peer: &Self, handle: u32) -> io::Result<u64> {
        let (_, importer) = open_pair()?;
        let dma_buf = self.export(handle, 0)?;
        let (_, segments) = peer.map(dma_buf.as_fd(), importer.address()?, 0, 1)?;
        let start = bar_start(&self.function()?, LMEM_BAR)?;

        Ok(segments[0].address - start)
    }
}

/// Where a BAR of a function begins on the bus.
pub fn bar_start(function: &str, bar: usize) -> io::Result<u64> {
    let resources = read_to_string(format!("/sys/bus/pci/devices/{function}/resource"))?;
    let start = resources
        .lines()
        .nth(bar)
        .and_then(|line| line.split_whitespace().next())
        .and_then(|start| u64::from_str_radix(start.trim_start_matches("0x"), 16).ok());

    start.ok_or_else(|| io::Error::other(format!("{function} has no BAR {bar}")))
}

/// Commands that all devices have run so far.
pub fn device_commands() -> io::Result<u64> {
    let mut sum = 0;

    for entry in read_dir("/sys/kernel/debug")? {
        let path = entry?.path();
        if !path.to_string_lossy().contains("/hlrs-") {
            continue;
        }
        for line in read_to_string(path.join("counters"))?.lines() {
            if let Some(value) = line.strip_prefix("commands ") {
                sum += value.parse().unwrap_or(0);
            }
        }
    }
    Ok(sum)
}
