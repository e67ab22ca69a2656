// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of an export when its exporter goes, and what debugfs tells
//! about it.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use hlrs::Access;
use hlrs::Buffer;
use hlrs::Device;
use hlrs::DmaBuf;
use hlrs::Exported;
use hlrs::Node;

use super::inode;
use super::part;
use super::random_buffer;
use super::PAGE;
use super::PLACES;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::skip;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::role;
use crate::system::role::Role;
use crate::system::wait_until;
use crate::system::MIB;
use crate::system::REACTION;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        the_handle_is_closed,
        the_file_is_closed,
        the_process_is_killed: 120,
        debugfs_lists_exports,
    ]
}

/// Memory that was exported, by an import that the exporter does not know.
struct Kept<'a> {
    window: Buffer,
    bytes: &'a [u8],
    /// LMEM in use before the buffer was created.
    used: u64,
    size: u64,
}

impl Kept<'_> {
    /// The importer is whole although the exporter is gone; then it goes, too,
    /// and the memory is free, and zero for the next one.
    fn check(self, exporter: &Device) -> Outcome {
        let size = self.window.size();
        cards::settles(exporter, self.used + self.size)?;
        // What is created meanwhile lies elsewhere.
        for _ in 0..4 {
            Place::Visible
                .create(exporter, MIB)?
                .fill(0, MIB, u64::MAX)?;
        }
        let crc = hlrs::crc32c(0, self.bytes);
        check_eq!(self.window.crc32c(0, size)?, crc, "what is left");
        self.window.fill(0, size, 0x5ec4_e75e_c4e7_5ec4)?;
        cards::holds_pattern("what is left", &self.window, 0x5ec4_e75e_c4e7_5ec4)?;
        drop(self.window);
        cards::settles(exporter, self.used)?;
        if self.size == 0 {
            return Ok(());
        }
        let lmem = exporter.lmem()?;
        let rest = lmem.cpu_visible - lmem.cpu_visible_used;
        let next = Place::Visible.create(exporter, rest)?;
        cards::holds_pattern("the next owner's memory", &next, 0)?;
        drop(next);
        cards::settles(exporter, self.used)
    }
}

fn the_handle_is_closed(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let used = cards::used(&a)?;
        let (buffer, bytes) = random_buffer(&a, place, MIB, &mut random)?;
        let dmabuf = buffer.dma_buf().range(MIB / 4, MIB / 2).create()?;
        drop(buffer);
        let window = b.import(&dmabuf)?;
        drop(dmabuf);
        let kept = Kept {
            window,
            bytes: part(&bytes, MIB / 4, MIB / 2),
            used,
            size: lmem_of(place),
        };
        kept.check(&a)?;
    }
    Ok(())
}

/// LMEM that a buffer of one MiB takes.
fn lmem_of(place: Place) -> u64 {
    match place {
        Place::System => 0,
        _ => MIB,
    }
}

fn the_file_is_closed(context: &Context) -> Outcome {
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    for place in PLACES {
        let used = cards::used(&a)?;
        let (dmabuf, bytes) = {
            let file = cards::first()?;
            let (buffer, bytes) = random_buffer(&file, place, MIB, &mut random)?;
            (buffer.dma_buf().range(PAGE, 9 * PAGE).create()?, bytes)
        };
        // The first importer comes after the file has gone.
        let window = b.import(&dmabuf)?;
        drop(dmabuf);
        let kept = Kept {
            window,
            bytes: part(&bytes, PAGE, 9 * PAGE),
            used,
            size: lmem_of(place),
        };
        kept.check(&a)?;
    }
    Ok(())
}

/// Role: exports a part of a buffer and tells the descriptor, then waits.
pub fn share(node: &str, offset: &str, size: &str) -> Outcome {
    let number = |text: &str| text.parse::<u64>().map_err(Stop::failed);
    let device = Device::open(Path::new(node))?;
    let buffer = Place::Visible.create(&device, MIB)?;
    for page in 0..MIB / PAGE {
        buffer.fill(page * PAGE, PAGE, page)?;
    }
    let export = buffer.dma_buf().range(number(offset)?, number(size)?);
    let dmabuf = export.access(Access::ReadWrite).create()?;
    let (pid, fd) = (std::process::id(), dmabuf.as_fd().as_raw_fd());
    role::say(&format!("{pid} {fd}"));
    role::listen().map(drop)
}

/// Another process that has exported something, its number, and the dma-buf.
fn other_process(node: &Node, offset: u64, size: u64) -> Outcome<(Role, u32, DmaBuf)> {
    let path = node.path.display().to_string();
    let mut role = Role::start("share", &[&path, &offset.to_string(), &size.to_string()])?;
    let line = role.line()?;
    let numbers = line
        .split_once(' ')
        .and_then(|(pid, fd)| Some((pid.parse::<u32>().ok()?, fd.parse::<i32>().ok()?)));
    let Some((pid, fd)) = numbers else {
        return Err(Stop::failed(format!("the exporter said {line:?}")));
    };
    let failed = |what| Stop::failed(format!("{what}: {}", std::io::Error::last_os_error()));
    // SAFETY: numbers only; the descriptor is new and nobody else's.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    check!(
        process >= 0,
        "pidfd_open: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: as above.
    let process = unsafe { OwnedFd::from_raw_fd(process as i32) };
    // SAFETY: as above.
    let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) };
    if taken < 0 {
        return Err(failed("pidfd_getfd"));
    }
    // SAFETY: the kernel has just installed this descriptor for us alone.
    let dmabuf = DmaBuf::from(unsafe { OwnedFd::from_raw_fd(taken as i32) });
    Ok((role, pid, dmabuf))
}

fn the_process_is_killed(_: &Context) -> Outcome {
    let nodes = cards::nodes()?;
    let (a, b) = cards::two()?;
    let used = cards::used(&a)?;
    let (offset, size) = (3 * PAGE, 20 * PAGE);
    let start = Instant::now();
    let (mut role, pid, dmabuf) = other_process(&nodes[0], offset, size)?;
    let window = b.import(&dmabuf)?;
    let bytes: Vec<u8> = (3..23u64)
        .flat_map(|page| page.to_le_bytes().repeat(PAGE as usize / 8))
        .collect();
    check_eq!(window.crc32c(0, size)?, hlrs::crc32c(0, &bytes));
    let number = inode(&dmabuf)?;
    role.kill()?;

    // It is still said whose it was.
    if let Some(exports) = nodes[0].exports() {
        let export = find(&exports, number)?;
        check_eq!(export.exporter.pid, pid, "the exporter after its end");
        check_eq!(export.exporter.name, "exe", "its name");
        check_eq!((export.offset, export.size), (offset, size), "{export:?}");
        check_eq!(export.memory, "lmem", "{export:?}");
        check_eq!(export.access, "rw", "{export:?}");
        check_eq!(export.state, "open", "{export:?}");
        check_eq!(export.mappings, 1, "{export:?}");
        check!(export.age <= start.elapsed() + LATE, "{export:?}");
        check_eq!(export.importers.len(), 1, "importers");
        check_eq!(export.importers[0].device, nodes[1].address);
        check_eq!(export.importers[0].process.pid, std::process::id());
    }
    drop(dmabuf);
    let kept = Kept {
        window,
        bytes: &bytes,
        used,
        size: MIB,
    };
    kept.check(&a)?;
    if let Some(exports) = nodes[0].exports() {
        check!(exports.is_empty(), "debugfs still shows {exports:?}");
    }
    Ok(())
}

fn find(exports: &[Exported], number: u64) -> Outcome<&Exported> {
    exports
        .iter()
        .find(|export| export.inode == number)
        .ok_or_else(|| Stop::failed(format!("debugfs shows no dma-buf {number}: {exports:?}")))
}

fn debugfs_lists_exports(_: &Context) -> Outcome {
    let nodes = cards::nodes()?;
    let (a, b) = cards::two()?;
    let Some(before) = nodes[0].exports() else {
        skip!("debugfs shows no exports to this process");
    };
    check!(before.is_empty(), "before the test: {before:?}");
    let lmem = Place::Visible.create(&a, MIB)?;
    let system = Place::System.create(&a, MIB)?;
    let start = Instant::now();
    let exports = [
        lmem.dma_buf().range(PAGE, 2 * PAGE).create()?,
        lmem.dma_buf().access(Access::Read).create()?,
        system.dma_buf().access(Access::Write).create()?,
        lmem.export()?,
    ];
    let window = b.import(&exports[0])?;
    let _not_used_yet = b.import(&exports[1])?;
    window.fill(0, 8, 0)?;
    let shown = || nodes[0].exports().unwrap_or_default();
    check_eq!(shown().len(), 4, "exports shown");
    let expected = [
        (PAGE, 2 * PAGE, "lmem", "rw", 1, 1),
        (0, MIB, "lmem", "ro", 1, 0),
        (0, MIB, "system", "wo", 0, 0),
        (0, MIB, "lmem", "rw", 0, 0),
    ];
    for (dmabuf, (offset, size, memory, access, importers, mappings)) in
        exports.iter().zip(expected)
    {
        let shown = shown();
        let found = find(&shown, inode(dmabuf)?)?;
        check_eq!((found.offset, found.size), (offset, size), "{found:?}");
        check_eq!(found.memory, memory, "{found:?}");
        check_eq!(found.access, access, "{found:?}");
        check_eq!(found.state, "open", "{found:?}");
        check_eq!(found.exporter.pid, std::process::id(), "{found:?}");
        check_eq!(found.importers.len(), importers, "{found:?}");
        check_eq!(found.mappings, mappings, "{found:?}");
        for importer in &found.importers {
            check_eq!(importer.driver, "hlrs", "{found:?}");
            check_eq!(importer.device, nodes[1].address, "{found:?}");
            check_eq!(importer.mappings, mappings, "{found:?}");
            check!(!importer.pinned, "{found:?}");
        }
    }
    check_eq!(nodes[1].exports(), Some(Vec::new()), "the other device");

    lmem.revoke()?;
    for (dmabuf, state) in exports
        .iter()
        .zip(["revoked", "revoked", "open", "revoked"])
    {
        let shown = shown();
        let found = find(&shown, inode(dmabuf)?)?;
        check_eq!(found.state, state, "after a revoke: {found:?}");
        check_eq!(found.mappings, 0, "after a revoke: {found:?}");
    }
    lmem.undo_revoke()?;
    check!(
        shown().iter().all(|export| export.state == "open"),
        "after the revoke was undone: {:?}",
        shown()
    );
    tells_since_when(&nodes[0], &exports[0], start)
}

/// By how much times in debugfs may be off: they are whole seconds, of a clock
/// that is late when ticks are.
const LATE: Duration = Duration::from_secs(5);

/// An export and its importer are as old as they are, and grow older.
fn tells_since_when(node: &Node, dmabuf: &DmaBuf, start: Instant) -> Outcome {
    let number = inode(dmabuf)?;
    let mut ages = (Duration::ZERO, Duration::ZERO);
    wait_until("a second has passed", REACTION, || {
        let exports = node.exports().unwrap_or_default();
        if let Ok(export) = find(&exports, number) {
            ages = (export.age, export.importers[0].age);
        }
        ages.0.min(ages.1) >= Duration::from_secs(1)
    })?;
    let limit = start.elapsed() + LATE;
    check!(
        ages.0 <= limit && ages.1 <= limit,
        "not {limit:?}: {ages:?}"
    );
    Ok(())
}
