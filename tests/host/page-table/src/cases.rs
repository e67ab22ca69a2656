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
    let tables = PageTable::new(memory.alloc().unwrap()).unwrap();
    tables.blank(memory);
    tables
}

/// Maps as a bind does.
fn map(
    tables: &mut PageTable<Page>,
    memory: &Memory,
    mapping: Mapping<'_>,
) -> (Option<VaRange>, Freed<Page>) {
    let mut reserve = Reserve::new();
    reserve.map(&mapping);
    let mut update = reserve.allocate(|_| memory.alloc()).unwrap();

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
    let mut update = reserve.allocate(|_| memory.alloc()).unwrap();

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

#[test]
fn what_is_reserved_is_what_is_needed() {
    let needs = |start, size, address| {
        let segments = local(address, size);
        let mut reserve = Reserve::new();
        reserve.map(&Mapping::memory(va(start, size), &segments, 0, true).unwrap());
        reserve.tables()
    };
    // Level 2, 1, 0.
    assert_eq!(needs(0, PAGE, 0), 3);
    assert_eq!(needs(0, MIB_2, 0), 2);
    assert_eq!(needs(0, MIB_2, PAGE), 3);
    assert_eq!(needs(PAGE, MIB_2, PAGE), 1 + 1 + 2);
    assert_eq!(needs(0, GIB, 0), 1);
    assert_eq!(needs(0, GIB, MIB_2), 2);
    assert_eq!(needs(MIB_2, GIB, MIB_2), 1 + 2);
    assert_eq!(needs(PAGE, GIB, PAGE), 1 + 2 + 2);
    assert_eq!(needs(0, GIB, PAGE), 1 + 1 + 512);
    assert_eq!(needs(511 * GIB, 2 * GIB, 0), 2);

    let unmaps = |start, size| {
        let mut reserve = Reserve::new();
        reserve.unmap(va(start, size));
        reserve.tables()
    };
    assert_eq!(unmaps(0, GIB), 0);
    assert_eq!(unmaps(0, MIB_2), 1);
    assert_eq!(unmaps(0, PAGE), 2);
    assert_eq!(unmaps(PAGE, GIB), 4);
    assert_eq!(unmaps(GIB - PAGE, 2 * PAGE), 4);
    assert_eq!(unmaps(0, VA_END), 0);

    // Neighbours share tables, also with what splits them.
    let segments = local(0, 1024 * PAGE);
    let mut reserve = Reserve::new();
    for n in 0..1024 {
        let at = va(n * PAGE, PAGE);
        reserve.map(&Mapping::memory(at, &segments, n * PAGE, true).unwrap());
    }
    assert_eq!(reserve.tables(), 1 + 1 + 2);
    reserve.map_any(va(0, PAGE));
    assert_eq!(reserve.tables(), 1 + 1 + 2 + 1);

    // Also if it is not known what is mapped. What covers a table may take it out.
    let mut reserve = Reserve::new();
    for n in 0..1024 {
        reserve.map_any(va(n * PAGE, PAGE));
    }
    assert_eq!(reserve.tables(), 1 + 1 + 2);
    let mut reserve = Reserve::new();
    for _ in 0..4 {
        reserve.map_any(va(0, MIB_2));
    }
    assert_eq!(reserve.tables(), 1 + 1 + 2);
    reserve.unmap(va(0, GIB));
    reserve.map_any(va(0, PAGE));
    assert_eq!(reserve.tables(), 1 + 1 + 2 + 3);

    // Many pieces are not looked at one by one.
    let mut scattered = Segments::new();
    for n in 0..GIB / PAGE {
        let place = Place::bus(2 * n * PAGE).unwrap();
        scattered.push(place, PAGE).unwrap();
    }
    let mut reserve = Reserve::new();
    reserve.map(&Mapping::memory(va(0, GIB), &scattered, 0, true).unwrap());
    assert_eq!(reserve.tables(), 1 + 1 + 512);
}

#[test]
fn pieces_that_happen_to_adjoin_are_one() {
    let memory = Memory::default();
    let mut tables = empty(&memory);
    let mut segments = Segments::new();

    for n in 0..GIB / MIB_2 {
        let place = Place::local(GIB + n * MIB_2).unwrap();
        segments.push(place, MIB_2).unwrap();
    }
    let mapping = Mapping::memory(va(GIB, GIB), &segments, 0, false).unwrap();
    drop(map(&mut tables, &memory, mapping));
    let leaf = translate(&memory, tables.root(), 2 * GIB - 1);
    assert_eq!(leaf.unwrap().unwrap().size, GIB);

    // Not if the spaces differ.
    let mut segments = local(0, MIB_2 / 2);
    let place = Place::bus(MIB_2 / 2).unwrap();
    segments.push(place, MIB_2 / 2).unwrap();
    let mapping = Mapping::memory(va(0, MIB_2), &segments, 0, false).unwrap();
    drop(map(&mut tables, &memory, mapping));
    for (at, space) in [(0, Space::Local), (MIB_2 - 1, Space::Bus)] {
        let leaf = translate(&memory, tables.root(), at).unwrap().unwrap();
        assert_eq!((leaf.size, leaf.space), (PAGE, space));
    }
}

#[test]
fn memory_that_runs_out_is_given_back() {
    let memory = Memory::default();
    let mut reserve = Reserve::new();
    reserve.unmap(va(PAGE, GIB));

    // Device memory.
    for most in 0..reserve.tables() {
        let mut left = most;
        let result = reserve.allocate(|_| {
            left = left.checked_sub(1).ok_or(ENOSPC)?;
            memory.alloc()
        });
        assert_eq!(result.err(), Some(ENOSPC));
        assert_eq!(memory.tables(), 0);
    }

    // The CPU's.
    let before = allocations();
    drop(reserve.allocate(|_| memory.alloc()).unwrap());
    let count = allocations() - before;
    for after in 0..count {
        fail_allocation(after);
        let result = reserve.allocate(|_| memory.alloc());
        fail_allocation(u64::MAX);
        assert_eq!(result.err(), Some(ENOMEM));
        assert_eq!(memory.tables(), 0);
    }

    fail_allocation(0);
    assert!(PageTable::new(memory.alloc().unwrap()).is_err());
    fail_allocation(0);
    let place = Place::bus(0).unwrap();
    assert_eq!(Segments::new().push(place, PAGE).err(), Some(ENOMEM));
    fail_allocation(u64::MAX);
    assert_eq!(memory.tables(), 0);
}

/// An error of the caller must not leave entries that show what they should not.
#[test]
fn without_reserve_nothing_is_mapped() {
    let memory = Memory::default();
    let mut tables = empty(&memory);
    let segments = local(0, 2 * GIB);
    let nothing = || Reserve::new().allocate(|_| memory.alloc()).unwrap();

    let mut update = nothing();
    let mapping = Mapping::memory(va(0, PAGE), &segments, 0, true).unwrap();
    tables.map(&memory, &mapping, &mut update);
    assert!(update.ran_short());
    assert_eq!(translate(&memory, tables.root(), 0), Ok(None));
    drop(update);

    // Enough for the table at level 2, but not for what is around the leaf of 1 GiB.
    let around = Mapping::memory(va(GIB - MIB_2, GIB + MIB_2), &segments, 0, true).unwrap();
    let mut reserve = Reserve::new();
    reserve.map(&Mapping::null(va(0, GIB), true));
    let mut update = reserve.allocate(|_| memory.alloc()).unwrap();
    tables.map(&memory, &around, &mut update);
    assert!(update.ran_short());
    drop(update.finish());
    for at in [GIB - MIB_2, GIB, 2 * GIB - PAGE] {
        assert_eq!(translate(&memory, tables.root(), at), Ok(None));
    }

    // A leaf that cannot be split goes as a whole.
    let mapping = Mapping::memory(va(0, 2 * GIB), &segments, 0, true).unwrap();
    drop(map(&mut tables, &memory, mapping));
    let mut update = nothing();
    tables.unmap(&memory, va(PAGE, PAGE), &mut update);
    assert!(update.ran_short());
    assert_eq!(update.stale(), Some(va(0, GIB)));
    drop(update.finish());
    assert_eq!(translate(&memory, tables.root(), 0), Ok(None));
    assert!(translate(&memory, tables.root(), GIB).unwrap().is_some());

    let stale = tables.clear(&memory, va(GIB + MIB_2, PAGE));
    assert_eq!(stale, Some(va(GIB, GIB)));
    assert_eq!(translate(&memory, tables.root(), GIB), Ok(None));
}

#[test]
fn a_table_of_many_pieces_is_one_write() {
    let memory = Memory::default();
    let mut tables = empty(&memory);
    let mut segments = Segments::new();
    let (pages, count) = (MIB_2 / PAGE, 3 * MIB_2 / PAGE);
    let address = |n| 2 * n * PAGE;

    // Two tables of single pages, and one of pairs.
    for n in 0..2 * pages {
        segments
            .push(Place::local(address(n)).unwrap(), PAGE)
            .unwrap();
    }
    for n in (2 * pages..count).step_by(2) {
        segments
            .push(Place::local(2 * address(n)).unwrap(), 2 * PAGE)
            .unwrap();
    }
    let before = memory.written();
    let mapping = Mapping::memory(va(0, count * PAGE), &segments, 0, true).unwrap();
    drop(map(&mut tables, &memory, mapping));
    // As for contiguous memory: the leaves, the rest of two tables, what points to five.
    assert_eq!(memory.written().1 - before.1, 3 + 2 + 5);

    for n in 0..count {
        let leaf = translate(&memory, tables.root(), n * PAGE)
            .unwrap()
            .unwrap();
        let expected = if n < 2 * pages {
            address(n)
        } else {
            2 * address(n / 2 * 2) + n % 2 * PAGE
        };
        assert_eq!((leaf.size, leaf.address), (PAGE, expected));
    }
}

#[test]
fn there_are_no_leaves_in_the_root() {
    let memory = Memory::default();
    let mut tables = empty(&memory);
    let tib = va(0, 1024 * GIB);

    assert_eq!(map(&mut tables, &memory, Mapping::null(tib, true)).0, None);
    assert_eq!(memory.tables(), 1 + 2);
    let mut count = 0;
    tables.for_each_leaf(&memory, tib, |at, size, entry| {
        assert_eq!((at, size, entry), (count * GIB, GIB, Some(0x93)));
        count += 1;
    });
    assert_eq!(count, 1024);
    assert_eq!(unmap(&mut tables, &memory, tib).0, Some(tib));
    assert_eq!(memory.tables(), 1);
}

#[test]
fn tables_that_go_are_reserved_anew() {
    let memory = Memory::default();
    let mut tables = empty(&memory);
    let page = va(0, PAGE);
    let mapping = Mapping::null(page, true);

    let mut reserve = Reserve::new();
    for _ in 0..3 {
        reserve.map(&mapping);
        reserve.unmap(page);
    }
    let mut update = reserve.allocate(|_| memory.alloc()).unwrap();
    for _ in 0..3 {
        tables.map(&memory, &mapping, &mut update);
        tables.unmap(&memory, page, &mut update);
    }
    assert!(!update.ran_short());
    // None of them may be used again before the MMU was invalidated.
    let (stale, freed) = update.finish();
    assert_eq!(stale, Some(page));
    assert_eq!(memory.tables(), 1 + 3 * 3);
    drop(freed);
    assert_eq!(memory.tables(), 1);
}
