// SPDX-License-Identifier: GPL-2.0

//! Tests of page tables as this kernel compiles them: what entries look like, and splits. The
//! properties are tested on the host, see `tests/host/page-table`.

use core::cell::Cell;

use kernel::prelude::*;

use super::{
    Access,
    Table,
    ENTRIES, //
};

/// A table in the memory of the kernel.
struct Page {
    address: u64,
    entries: KVec<Cell<u64>>,
}

impl Table for Page {
    fn address(&self) -> u64 {
        self.address
    }
}

/// Hands out tables, and counts what is written to them.
struct Memory {
    next: Cell<u64>,
    writes: Cell<usize>,
}

impl Memory {
    fn new() -> Self {
        Self {
            next: Cell::new(0x10_0000),
            writes: Cell::new(0),
        }
    }

    fn alloc(&self) -> Result<Page> {
        let mut entries = KVec::with_capacity(ENTRIES, GFP_KERNEL)?;

        for _ in 0..ENTRIES {
            entries.push(Cell::new(u64::MAX), GFP_KERNEL)?;
        }
        let address = self.next.get();
        self.next.set(address + 0x1000);
        Ok(Page { address, entries })
    }
}

impl Access<Page> for Memory {
    fn write(&self, table: &Page, first: usize, count: usize, mut next: impl FnMut() -> u64) {
        for entry in &table.entries[first..first + count] {
            entry.set(next());
        }
        self.writes.set(self.writes.get() + 1);
    }

    fn barrier(&self) {}

    fn read(&self, table: &Page, index: usize) -> Option<u64> {
        table.entries.get(index).map(|entry| entry.get())
    }
}

#[kunit_tests(hlrs_page_table)]
mod suite {
    use super::{
        super::*,
        Memory,
        Page, //
    };

    const MIB_2: u64 = 2 << 20;
    const GIB: u64 = 1 << 30;

    /// Maps and returns what the MMU may have cached before.
    fn map(
        tables: &mut PageTable<Page>,
        memory: &Memory,
        mapping: &Mapping<'_>,
    ) -> Result<Option<VaRange>> {
        let mut reserve = Reserve::new();

        reserve.map(mapping);
        let mut update = reserve.allocate(|_| memory.alloc())?;
        tables.map(memory, mapping, &mut update);
        assert!(!update.ran_short());
        Ok(update.finish().0)
    }

    /// Unmaps; as [`map`].
    fn unmap(
        tables: &mut PageTable<Page>,
        memory: &Memory,
        va: VaRange,
    ) -> Result<Option<VaRange>> {
        let mut reserve = Reserve::new();

        reserve.unmap(va);
        let mut update = reserve.allocate(|_| memory.alloc())?;
        tables.unmap(memory, va, &mut update);
        assert!(!update.ran_short());
        Ok(update.finish().0)
    }

    /// The last entry of the walk and its level.
    fn leaf(tables: &PageTable<Page>, memory: &Memory, va: u64) -> (usize, u64) {
        tables
            .walk(memory, va)
            .steps()
            .last()
            .map_or((9, 0), |step| (step.level, step.entry.unwrap_or(0)))
    }

    fn segments(place: Place, size: u64) -> Result<Segments> {
        let mut segments = Segments::new();

        segments.push(place, size)?;
        Ok(segments)
    }

    #[test]
    fn entries_are_as_specified() -> Result {
        let memory = Memory::new();
        let mut tables = PageTable::new(memory.alloc()?)?;
        tables.blank(&memory);
        let places = [
            (Place::local(0x1000)?, 0x1087, 0x1085),
            (Place::bus(0x1000)?, 0x1083, 0x1081),
            (Place::link(0x1000)?, 0x108b, 0x1089),
        ];

        for (place, writable, read_only) in places {
            let memory_at = segments(place, PAGE_SIZE)?;
            let va = VaRange::new(0x7000, PAGE_SIZE)?;

            map(
                &mut tables,
                &memory,
                &Mapping::memory(va, &memory_at, 0, true)?,
            )?;
            assert_eq!(leaf(&tables, &memory, 0x7000), (0, writable));
            map(
                &mut tables,
                &memory,
                &Mapping::memory(va, &memory_at, 0, false)?,
            )?;
            assert_eq!(leaf(&tables, &memory, 0x7fff), (0, read_only));
        }
        let va = VaRange::new(0, GIB)?;
        map(&mut tables, &memory, &Mapping::null(va, true))?;
        assert_eq!(leaf(&tables, &memory, 0x7000), (2, 0x93));

        // The way there: tables are device-local, and have no other bits.
        let walk = tables.walk(&memory, 0x7000);
        for step in walk.steps().filter(|step| step.level == 3) {
            assert_eq!(step.entry.map(|entry| entry & 0xfff), Some(0x5));
        }
        assert_eq!(tables.root() & 0xfff, 0x4);
        Ok(())
    }

    #[test]
    fn what_places_and_ranges_refuse() {
        assert_eq!(Place::local(0x800).err(), Some(EINVAL));
        assert_eq!(Place::bus(1 << 52).err(), Some(ERANGE));
        assert_eq!(VaRange::new(0, 0).err(), Some(EINVAL));
        assert_eq!(VaRange::new(0x800, 0x1000).err(), Some(EINVAL));
        assert_eq!(VaRange::new(VA_END - 0x1000, 0x2000).err(), Some(ERANGE));
        assert_eq!(
            VaRange::new(u64::MAX & !0xfff, 0x2000).err(),
            Some(EOVERFLOW)
        );
        assert!(VaRange::new(VA_END - 0x1000, 0x1000).is_ok());
    }

    #[test]
    fn a_leaf_of_1_gib_is_split_twice() -> Result {
        let memory = Memory::new();
        let mut tables = PageTable::new(memory.alloc()?)?;
        tables.blank(&memory);
        let all = segments(Place::local(4 * GIB)?, GIB)?;
        let va = VaRange::new(GIB, GIB)?;

        assert_eq!(
            map(&mut tables, &memory, &Mapping::memory(va, &all, 0, true)?)?,
            None
        );
        assert_eq!(tables.tables(), 2);
        assert_eq!(leaf(&tables, &memory, GIB), (2, 0x1_0000_0087));

        let page = VaRange::new(GIB + 5 * MIB_2 + 3 * PAGE_SIZE, PAGE_SIZE)?;
        assert_eq!(unmap(&mut tables, &memory, page)?, Some(page));
        assert_eq!(tables.tables(), 4);
        let (start, end) = (page.start(), page.end());
        let level0 = 0x1_00a0_0087;
        assert_eq!(leaf(&tables, &memory, start), (0, 0));
        assert_eq!(
            leaf(&tables, &memory, start - 1),
            (0, level0 + 2 * PAGE_SIZE)
        );
        assert_eq!(leaf(&tables, &memory, end), (0, level0 + 4 * PAGE_SIZE));
        assert_eq!(leaf(&tables, &memory, GIB + 4 * MIB_2), (1, 0x1_0080_0087));
        assert_eq!(leaf(&tables, &memory, GIB + 6 * MIB_2), (1, 0x1_00c0_0087));
        assert_eq!(leaf(&tables, &memory, 2 * GIB - 1), (1, 0x1_3fe0_0087));

        let stale = unmap(&mut tables, &memory, va)?;
        assert_eq!(stale, Some(va));
        assert_eq!(tables.tables(), 1);
        Ok(())
    }

    #[test]
    fn contiguous_leaves_are_one_write() -> Result {
        let memory = Memory::new();
        let mut tables = PageTable::new(memory.alloc()?)?;
        tables.blank(&memory);
        // Not at the same distance from 2 MiB as the address.
        let all = segments(Place::local(PAGE_SIZE)?, MIB_2)?;
        let before = memory.writes.get();

        map(
            &mut tables,
            &memory,
            &Mapping::memory(VaRange::new(0, MIB_2)?, &all, 0, true)?,
        )?;
        // The leaves; the rest of two tables, and what points to three.
        assert_eq!(memory.writes.get() - before, 1 + 2 + 3);
        Ok(())
    }

    #[test]
    fn clearing_leaves_the_tables() -> Result {
        let memory = Memory::new();
        let mut tables = PageTable::new(memory.alloc()?)?;
        tables.blank(&memory);
        let va = VaRange::new(MIB_2 - PAGE_SIZE, 2 * PAGE_SIZE)?;

        map(&mut tables, &memory, &Mapping::null(va, false))?;
        assert_eq!(tables.tables(), 5);
        assert_eq!(tables.clear(&memory, va), Some(va));
        assert_eq!(tables.clear(&memory, va), None);
        assert_eq!(tables.tables(), 5);
        unmap(&mut tables, &memory, va)?;
        assert_eq!(tables.tables(), 1);
        Ok(())
    }
}
