// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a function has exported, from debugfs.

use std::fs;
use std::time::Duration;

/// A process, as it was when it did what is told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// A dma-buf that was made of memory of a function, and still exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Number of its inode, the same as in `/proc/<pid>/fdinfo` of a descriptor.
    pub inode: u64,
    /// Where in the buffer it begins.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
    /// `lmem` or `system`.
    pub memory: String,
    /// `ro`, `wo` or `rw`.
    pub access: String,
    /// `open`; `revoked`, so that nobody has it; or `quarantined`, when it was
    /// taken back and somebody does not let go.
    pub state: String,
    /// Who has made it. The process may have ended since.
    pub exporter: Process,
    /// How long ago.
    pub age: Duration,
    /// Number of mappings that importers have.
    pub mappings: u64,
    /// Who has it.
    pub importers: Vec<Importer>,
}

/// A device that is attached to a dma-buf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Importer {
    /// Its driver.
    pub driver: String,
    /// The device, a PCI address where it is a PCI function.
    pub device: String,
    /// The process that has made it attach.
    pub process: Process,
    /// How long ago.
    pub age: Duration,
    /// Number of mappings that it has.
    pub mappings: u64,
    /// Whether it was told to let go of some of them, and has not done so.
    pub stale: bool,
    /// Whether it cannot be told to let go.
    pub pinned: bool,
}

/// What the function at a PCI address has exported; `None` if debugfs is not
/// mounted, not readable for this process, or has no such file.
pub(crate) fn of(address: &str) -> Option<Vec<Exported>> {
    let path = format!("/sys/kernel/debug/hlrs-{address}/exports");
    parse(&fs::read_to_string(path).ok()?)
}

/// A line for each dma-buf, below it one, indented, for each importer. Memory
/// that is set aside without one is left out.
fn parse(text: &str) -> Option<Vec<Exported>> {
    let mut exports: Vec<Exported> = Vec::new();
    let exported_still = |line: &&str| !line.starts_with("set aside ");
    for line in text.lines().filter(exported_still) {
        match line.strip_prefix("  importer ") {
            Some(rest) => exports.last_mut()?.importers.push(importer(rest)?),
            None => exports.push(exported(line.strip_prefix("dma-buf ")?)?),
        }
    }
    Some(exports)
}

fn exported(line: &str) -> Option<Exported> {
    let (what, who) = line.split_once(" exporter ")?;
    let words: Vec<&str> = what.split(' ').collect();
    let [inode, "offset", offset, "size", size, memory, access, state] = words[..] else {
        return None;
    };
    let (exporter, age, mappings, "") = user(who)? else {
        return None;
    };
    Some(Exported {
        inode: inode.parse().ok()?,
        offset: u64::from_str_radix(offset.strip_prefix("0x")?, 16).ok()?,
        size: size.parse().ok()?,
        memory: memory.to_owned(),
        access: access.to_owned(),
        state: state.to_owned(),
        exporter,
        age,
        mappings,
        importers: Vec::new(),
    })
}

fn importer(line: &str) -> Option<Importer> {
    let (what, who) = line.split_once(" process ")?;
    let (driver, device) = what.split_once(' ')?;
    let (process, age, mappings, rest) = user(who)?;
    Some(Importer {
        driver: driver.to_owned(),
        device: device.to_owned(),
        process,
        age,
        mappings,
        stale: rest.split(' ').any(|word| word == "stale"),
        pinned: rest.split(' ').any(|word| word == "pinned"),
    })
}

/// `PID (NAME) since SECONDS s mappings COUNT`, and what comes after it. The
/// name of a process may contain anything, so it ends at the last bracket.
fn user(text: &str) -> Option<(Process, Duration, u64, &str)> {
    let (process, rest) = text.rsplit_once(") since ")?;
    let (pid, name) = process.split_once(" (")?;
    let (seconds, rest) = rest.split_once(" s mappings ")?;
    let (mappings, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let process = Process {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
    };
    let age = Duration::from_secs(seconds.parse().ok()?);
    Some((process, age, mappings.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
dma-buf 17 offset 0x1000 size 8192 lmem ro open exporter 120 (a ) since 3 s) since 4 s mappings 1\n  \
  importer hlrs 0000:04:00.0 process 121 (b) since 2 s mappings 1\n  \
  importer vfio-pci 0000:05:00.0 process 9 (qemu) since 0 s mappings 0 pinned\n  \
  importer c 0000:06:00.0 process 9 (d) since 0 s mappings 1 stale\n\
dma-buf 18 offset 0x0 size 4096 system rw revoked exporter 7 (c) since 0 s mappings 0\n\
set aside size 4096 exporter 7 (c) since 0 s: work of x has not ended\n\
set aside offset 0x1000 size 4096 by an earlier binding: x 0000:05:00.0\n";

    #[test]
    fn reads_exports_and_their_importers() {
        let exports = parse(TEXT).unwrap();
        assert_eq!(exports.len(), 2);
        let first = &exports[0];
        assert_eq!((first.inode, first.offset, first.size), (17, 4096, 8192));
        assert_eq!(
            (first.memory.as_str(), first.access.as_str()),
            ("lmem", "ro")
        );
        assert_eq!(first.exporter.pid, 120);
        assert_eq!(first.exporter.name, "a ) since 3 s");
        assert_eq!(first.age, Duration::from_secs(4));
        assert_eq!(first.importers.len(), 3);
        assert_eq!(first.importers[0].device, "0000:04:00.0");
        assert!(!first.importers[0].pinned && first.importers[1].pinned);
        assert!(!first.importers[1].stale && first.importers[2].stale);
        assert_eq!(exports[1].state, "revoked");
        assert!(exports[1].importers.is_empty());
    }

    #[test]
    fn another_form_is_refused() {
        assert_eq!(parse(""), Some(Vec::new()));
        assert_eq!(
            parse("  importer hlrs x process 1 (a) since 0 s mappings 0"),
            None
        );
        assert_eq!(parse("dma-buf 1 size 3"), None);
    }
}
