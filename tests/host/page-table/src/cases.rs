// SPDX-License-Identifier: GPL-2.0
//! Chosen operations.

use crate::{
    memory::{Memory, Page},
    mmu::{translate, Space},
    page_table::{Freed, Mapping, PageTable, Place, Reserve, Segments, Step, VaRange, VA_END},
    prelude::*,
};

const PAGE: u64 = 1 << 12;
const MIB_2: u64 = 2 << 20;
const GIB: u64 = 1 << 30;

fn va(start: u64, size: u64) -> VaRange {
    VaRange::new(start, size).unwrap()
}

fn local(address: u64, size: u64) -> Segments {
    let mut segments = Segments::new();

    segments.push(Place::local(address).unwrap(), size).unwrap();
    segments
}

fn empty(memory: &Memory) -> PageTable<Page> {
    PageTable::new(memory, memory.alloc().unwrap()).unwrap()
}

/// Maps as a bind does.
fn map(
    tables: &mut PageTable<Page>,
    memory: &Memory,
    mapping: Mapping<'_>,
) -> (Option<VaRange>, Freed<Page>) {
    let mut reserve = Reserve::new();
    reserve.map(&mapping);
    let mut update = reserve.allocate(|| memory.alloc()).unwrap();

    tables.map(memory, &mapping, &mut update);
    assert!(!update.ran_short());
    update.finish()
}

fn unmap(
    tables: &mut PageTable<Page>,
    memory: &Memory,
    va: VaRange,
) -> (Option<VaRange>, Freed<Page>) {
    let mut reserve = Reserve::new();
    reserve.unmap(va);
    let mut update = reserve.allocate(|| memory.alloc()).unwrap();

    tables.unmap(memory, va, &mut update);
    assert!(!update.ran_short());
    update.finish()
}

#[test]
fn what_is_refused() {
    assert_eq!(VaRange::new(0, 0).err(), Some(EINVAL));
    assert_eq!(VaRange::new(PAGE / 2, PAGE).err(), Some(EINVAL));
    assert_eq!(VaRange::new(0, PAGE / 2).err(), Some(EINVAL));
    assert_eq!(VaRange::new(VA_END, PAGE).err(), Some(ERANGE));
    assert_eq!(
        VaRange::new(u64::MAX - PAGE + 1, PAGE).err(),
        Some(EOVERFLOW)
    );

    for place in [Place::local, Place::bus, Place::link] {
        assert_eq!(place(1).err(), Some(EINVAL));
        assert_eq!(place(1 << 52).err(), Some(ERANGE));
        assert!(place((1 << 52) - PAGE).is_ok());
    }

    let mut segments = local(0, 3 * PAGE);
    let last = Place::bus((1 << 52) - PAGE).unwrap();
    assert_eq!(segments.push(last, 0).err(), Some(EINVAL));
    assert_eq!(segments.push(last, 1).err(), Some(EINVAL));
    assert_eq!(segments.push(last, 2 * PAGE).err(), Some(ERANGE));
    assert_eq!(segments.size(), 3 * PAGE);
    segments.push(last, PAGE).unwrap();
    assert_eq!(segments.size(), 4 * PAGE);

    let refused =
        |start, size, offset| Mapping::memory(va(start, size), &segments, offset, true).err();
    assert_eq!(refused(0, 4 * PAGE, 0), None);
    assert_eq!(refused(0, PAGE, 1), Some(EINVAL));
    assert_eq!(refused(0, 4 * PAGE, PAGE), Some(ERANGE));
    assert_eq!(refused(0, PAGE, 5 * PAGE), Some(ERANGE));
    assert_eq!(refused(0, PAGE, u64::MAX & !(PAGE - 1)), Some(ERANGE));
}

#[test]
fn a_walk_names_every_entry() {
    let memory = Memory::default();
    let mut tables = empty(&memory);
    let segments = local(GIB, MIB_2);
    let mapping = Mapping::memory(va(VA_END - MIB_2, MIB_2), &segments, 0, true);

    drop(map(&mut tables, &memory, mapping.unwrap()));
    let walk = tables.walk(&memory, VA_END - 1);
    let steps: Vec<Step> = walk.steps().copied().collect();
    assert_eq!(steps.len(), 3);
    assert_eq!(steps[0].table, tables.root() & !0xfff);
    for (step, level) in steps.iter().zip([3, 2, 1]) {
        assert_eq!((step.level, step.index), (level, 511));
    }
    assert_eq!(steps[0].entry, Some(steps[1].table | 5));
    assert_eq!(steps[1].entry, Some(steps[2].table | 5));
    assert_eq!(steps[2].entry, Some(GIB | 0x87));

    let walk = tables.walk(&memory, 0);
    assert_eq!(walk.steps().count(), 1);
    assert_eq!(walk.steps().next().unwrap().entry, Some(0));
}

#[test]
fn entries_are_written_once() {
    let memory = Memory::default();
    let mut tables = empty(&memory);
    let before = memory.written();

    // Not at the same distance from 2 MiB as the address: leaves of 4 KiB. One table at level 2,
    // one at level 1, 512 at level 0.
    let segments = local(PAGE, GIB);
    let mapping = Mapping::memory(va(0, GIB), &segments, 0, true).unwrap();
    drop(map(&mut tables, &memory, mapping));
    let after = memory.written();
    let leaves = GIB / PAGE;
    // The rest of the table at level 2; what points to tables.
    assert_eq!(after.0 - before.0, leaves + 511 + 514);
    assert_eq!(after.1 - before.1, 512 + 1 + 514);

    drop(unmap(&mut tables, &memory, va(0, GIB)));
    assert_eq!(memory.tables(), 1);
}

#[test]
fn the_end_of_one_leaf_is_the_start_of_another() {
    let memory = Memory::default();
    let mut tables = empty(&memory);
    let segments = local(0, 2 * GIB);
    let mapping = Mapping::memory(va(0, 2 * GIB), &segments, 0, true).unwrap();
    drop(map(&mut tables, &memory, mapping));

    // Both leaves of 1 GiB are split, at one page each.
    let (stale, freed) = unmap(&mut tables, &memory, va(GIB - PAGE, 2 * PAGE));
    assert_eq!(stale, Some(va(GIB - PAGE, 2 * PAGE)));
    assert!(freed.is_empty());
    assert_eq!(memory.tables(), 1 + 1 + 2 + 2);
    for at in [0, GIB - 2 * PAGE, GIB + PAGE, 2 * GIB - PAGE] {
        let leaf = translate(&memory, tables.root(), at).unwrap().unwrap();
        assert_eq!(leaf.address, leaf.va);
        assert_eq!(leaf.space, Space::Local);
    }
}
