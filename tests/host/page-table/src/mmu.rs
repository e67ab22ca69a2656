// SPDX-License-Identifier: GPL-2.0
//! The MMU, written from the section "Address translation" of `docs/hardware.md`. It shares
//! neither code nor constants with what it checks.

use crate::memory::Memory;
use std::collections::HashMap;

const PAGE: u64 = 4096;

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Local,
    Bus,
    Link,
    Null,
}

/// A leaf and what it translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) va: u64,
    pub(crate) size: u64,
    pub(crate) space: Space,
    /// 0 in the space `Null`.
    pub(crate) address: u64,
    pub(crate) writable: bool,
}

fn bit(entry: u64, number: u32) -> bool {
    (entry >> number) & 1 != 0
}

/// The bits from `high` down to `low`.
fn field(entry: u64, high: u32, low: u32) -> u64 {
    entry << (63 - high) >> (63 - high + low) << low
}

fn level_size(level: u32) -> u64 {
    PAGE * 512u64.pow(level)
}

/// What an entry is; an error is what the MMU would call `BAD_ENTRY`.
enum Kind {
    Invalid,
    Table(u64),
    Leaf(Leaf),
}

fn decode(entry: u64, va: u64, level: u32) -> Result<Kind, String> {
    let (dm, link, null) = (bit(entry, 2), bit(entry, 3), bit(entry, 4));
    let address = field(entry, 51, 12);
    let bad = |why: &str| Err(format!("{entry:#x} at level {level} for {va:#x}: {why}"));

    if !bit(entry, 0) {
        // The other bits mean nothing; ours are 0 all the same.
        return if entry == 0 {
            Ok(Kind::Invalid)
        } else {
            bad("was not written")
        };
    }
    if bit(entry, 5) || bit(entry, 6) || field(entry, 11, 8) != 0 || field(entry, 63, 52) != 0 {
        return bad("reserved bits");
    }
    if !bit(entry, 7) {
        if level == 0 {
            return bad("no LEAF");
        }
        if bit(entry, 1) || link || null {
            return bad("bits of leaves in an entry for a table");
        }
        if !dm {
            return bad("a table on the bus");
        }
        return Ok(Kind::Table(address));
    }
    if level > 2 {
        return bad("a leaf");
    }
    let space = match (dm, link, null) {
        (false, false, false) => Space::Bus,
        (true, false, false) => Space::Local,
        (false, true, false) => Space::Link,
        (false, false, true) => Space::Null,
        _ => return bad("more than one space"),
    };
    if address % level_size(level) != 0 {
        return bad("alignment");
    }
    if space == Space::Null && address != 0 {
        return bad("a null leaf with an address");
    }
    Ok(Kind::Leaf(Leaf {
        va,
        size: level_size(level),
        space,
        address,
        writable: bit(entry, 1),
    }))
}

/// The table that an entry points to.
pub(crate) fn table_of(entry: u64) -> Option<u64> {
    (bit(entry, 0) && !bit(entry, 7)).then(|| field(entry, 51, 12))
}

/// What the register of a context says.
fn root_table(root: u64) -> Result<u64, String> {
    if !bit(root, 2) || root & !field(root, 51, 12) != 1 << 2 {
        return Err(format!("{root:#x} is not a root"));
    }
    Ok(field(root, 51, 12))
}

/// Walks the tables for one address.
pub(crate) fn translate(memory: &Memory, root: u64, va: u64) -> Result<Option<Leaf>, String> {
    let mut table = root_table(root)?;

    for level in (0..4).rev() {
        let size = level_size(level);
        let entry = memory
            .load(table + va / size % 512 * 8)
            .ok_or_else(|| format!("{table:#x} at level {level} is no table"))?;

        match decode(entry, va - va % size, level)? {
            Kind::Invalid => return Ok(None),
            Kind::Leaf(leaf) => return Ok(Some(leaf)),
            Kind::Table(next) => table = next,
        }
    }
    Err(String::from("a table below level 0"))
}

/// All that a context can translate.
pub(crate) struct Contents {
    /// In order.
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) tables: usize,
    /// Where tables without a valid entry are: first address and size.
    pub(crate) empty: Vec<(u64, u64)>,
}

/// Reads all tables, with the checks of a walk for every entry.
pub(crate) fn contents(memory: &Memory, root: u64) -> Result<Contents, String> {
    let mut found = Contents {
        leaves: Vec::new(),
        tables: 0,
        empty: Vec::new(),
    };

    read_table(memory, root_table(root)?, 0, 3, &mut found)?;
    Ok(found)
}

fn read_table(
    memory: &Memory,
    table: u64,
    base: u64,
    level: u32,
    found: &mut Contents,
) -> Result<(), String> {
    let entries = memory
        .table(table)
        .ok_or_else(|| format!("{table:#x} at level {level} is no table"))?;
    let mut empty = true;

    found.tables += 1;
    for (va, entry) in (base..).step_by(level_size(level) as usize).zip(entries) {
        if entry == 0 {
            continue;
        }
        match decode(entry, va, level)? {
            Kind::Invalid => continue,
            Kind::Leaf(leaf) => found.leaves.push(leaf),
            Kind::Table(next) => read_table(memory, next, va, level - 1, found)?,
        }
        empty = false;
    }
    if empty && level < 3 {
        found.empty.push((base, level_size(level + 1)));
    }
    Ok(())
}

/// The cache of translations.
#[derive(Default)]
pub(crate) struct Tlb(HashMap<(u64, u64), Leaf>);

impl Tlb {
    /// As many leaves as a context caches.
    const MOST: usize = 1024;

    /// An engine uses the leaf.
    pub(crate) fn fill(&mut self, leaf: Leaf) {
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        // A cached leaf is used until it is invalidated.
        self.0.entry((leaf.va, leaf.size)).or_insert(leaf);
    }

    /// Software invalidates `start..end`: leaves that overlap it are dropped.
    pub(crate) fn invalidate(&mut self, start: u64, end: u64) {
        self.0
            .retain(|_, leaf| leaf.va >= end || leaf.va + leaf.size <= start);
    }

    pub(crate) fn leaves(&self) -> impl Iterator<Item = &Leaf> {
        self.0.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

mod tests {
    use super::*;

    #[test]
    fn entries_that_the_mmu_refuses() {
        let bad = [
            (0x1001, 0, "no LEAF"),
            (0x1001 | (1 << 4), 1, "bits of leaves"),
            (0x1007, 2, "bits of leaves"),
            (0x1001, 3, "on the bus"),
            (0x4000_0081, 3, "a leaf"),
            (0x1081, 1, "alignment"),
            (0x20_0081, 2, "alignment"),
            (0x1081 | (1 << 5), 0, "reserved"),
            (0x1081 | (1 << 6), 0, "reserved"),
            (0x1081 | (1 << 8), 0, "reserved"),
            (0x1081 | (1 << 11), 0, "reserved"),
            (0x1081 | (1 << 52), 0, "reserved"),
            (0x1081 | (1 << 63), 0, "reserved"),
            (0x108d, 0, "more than one"),
            (0x1095, 0, "more than one"),
            (0x1099, 0, "more than one"),
            (0x2, 0, "not written"),
        ];

        for (entry, level, why) in bad {
            match decode(entry, 0, level) {
                Err(text) => assert!(text.contains(why), "{text}, not {why}"),
                Ok(_) => panic!("{entry:#x} at level {level} is accepted"),
            }
        }
        assert!(matches!(decode(0x20_0083, 0, 1), Ok(Kind::Leaf(leaf))
            if leaf.address == 0x20_0000 && leaf.writable && leaf.space == Space::Bus));
        assert!(matches!(decode(0x5005, 0, 3), Ok(Kind::Table(0x5000))));
    }

    #[test]
    fn the_cache_drops_what_overlaps() {
        let mut tlb = Tlb::default();
        let leaf = |va, size| Leaf {
            va,
            size,
            space: Space::Null,
            address: 0,
            writable: false,
        };

        tlb.fill(leaf(0, PAGE));
        tlb.fill(leaf(0x20_0000, 0x20_0000));
        tlb.invalidate(PAGE, 0x20_0000);
        assert_eq!(tlb.len(), 2);
        tlb.invalidate(0x3f_f000, 0x40_0000);
        assert_eq!(tlb.len(), 1);
        tlb.invalidate(0, 1);
        assert_eq!(tlb.len(), 0);
    }
}
