// SPDX-License-Identifier: GPL-2.0

//! Page tables of the MMU.
//!
//! Pure code: it knows how tables look and how they change, and leaves to its user where they are
//! in memory ([`Table`]), how they are written ([`Access`]) and when the MMU's cache is
//! invalidated. It is also built for the host, and tested there (`tests/host/page-table`).
//!
//! # Use
//!
//! ```text
//! let mut reserve = Reserve::new();           what the operations need at worst
//! reserve.map(&mapping);
//! reserve.unmap(range);
//! let mut update = reserve.allocate(alloc)?;  the last thing that can fail
//!
//! tables.unmap(&memory, range, &mut update);
//! tables.map(&memory, &mapping, &mut update);
//!
//! let (stale, freed) = update.finish();       gives back what was not needed
//! // invalidate `stale`, wait for what may still walk the old tables, drop `freed`
//! ```
//!
//! Operations neither allocate nor free nor fail, and do not sleep unless [`Access`] does. What
//! the MMU may have cached is collected over any number of operations, for one invalidation.
//!
//! # What is guaranteed
//!
//! - Leaves are the largest that virtual address, address and contiguity allow, for each
//!   operation by itself: what two operations map is never joined.
//! - A table other than the root has an entry that is valid, unless [`PageTable::clear`] or
//!   [`PageTable::vacate`] took the last one.
//! - The MMU may walk at any time. A table is linked when all its entries have been written, and
//!   nothing is written to a table that is no longer linked. An address that an operation does
//!   not cover shows the same before, during and after it, also when a large leaf is split.
//!
//! # Memory
//!
//! The CPU does not read tables. For those at level 0 it keeps which entries are valid, for those
//! above runs of leaves, each with the value of its first, and the tables below. The contents of
//! new tables do not matter; each entry is written once before the table is linked.

mod bits;
mod entry;
mod map;
mod node;
mod reserve;
mod segments;
mod sparse;
mod unmap;
mod walk;

pub(crate) use self::{
    entry::{
        Place,
        VaRange,
        ENTRIES,
        LEVELS,
        PAGE_SIZE,
        VA_END, //
    },
    reserve::{
        Reserve,
        Update, //
    },
    segments::{
        Mapping,
        Segments, //
    },
    walk::Walk,
};

#[allow(unused_imports, reason = "for the tests on the host")]
pub(crate) use self::{
    reserve::Freed,
    walk::Step, //
};

use kernel::prelude::*;

use self::{
    entry::size,
    node::{
        write_run,
        Node, //
    },
    unmap::Empty,
};

/// Memory of one table: [`PAGE_SIZE`] bytes of LMEM that are given back when this is dropped.
pub(crate) trait Table {
    /// The device-local address, a multiple of [`PAGE_SIZE`].
    fn address(&self) -> u64;
}

/// How tables are written and read.
///
/// A table whose memory is gone, because the device is, is written and read all the same;
/// implementations then do nothing.
pub(crate) trait Access<T> {
    /// Writes `count` entries from `first` on, in ascending order, with what `next` returns; calls
    /// it once for each entry. `first + count <= ENTRIES`.
    ///
    /// This is the hot path: an implementation checks once what there is to check, and stores in a
    /// loop that has nothing but `next` inlined. Each entry is stored at once, in little-endian.
    fn write(&self, table: &T, first: usize, count: usize, next: impl FnMut() -> u64);

    /// What was written before is visible to the device before what is written after.
    fn barrier(&self);

    /// Reads an entry; [`None`] if that is not possible.
    fn read(&self, table: &T, index: usize) -> Option<u64>;
}

/// The page tables of one context. Dropping them gives back all tables.
pub(crate) struct PageTable<T> {
    root: KBox<Node<T>>,
}

impl<T: Table> PageTable<T> {
    /// Makes `table` the root of page tables, which are not to be used before [`PageTable::blank`].
    ///
    /// Sleeps (allocates). Fails with `ENOMEM`.
    pub(crate) fn new(table: T) -> Result<Self> {
        Ok(Self {
            root: Node::new(table, true)?,
        })
    }

    /// Writes the entries of the root, for the first time.
    pub(crate) fn blank(&self, memory: &impl Access<T>) {
        write_run(memory, &self.root.table, 0, ENTRIES, 0, 0);
        memory.barrier();
    }

    /// The value for the register `CTX_ROOT`.
    pub(crate) fn root(&self) -> u64 {
        entry::root(self.root.table.address())
    }

    /// Maps, in place of what the range may show now.
    ///
    /// `update` must have been reserved for it, see [`Reserve`]. Collects there what was valid
    /// before, also tables; nothing if that is nothing.
    pub(crate) fn map(
        &mut self,
        memory: &impl Access<T>,
        mapping: &Mapping<'_>,
        update: &mut Update<T>,
    ) {
        let va = mapping.va();
        let mut cursor = mapping.cursor();

        self.root.map(LEVELS - 1, va, &mut cursor, memory, update);
    }

    /// Unmaps, also what is mapped in part of the range only, and takes out the tables that have
    /// become empty, also those that [`PageTable::clear`] and [`PageTable::vacate`] have left.
    ///
    /// `update` must have been reserved for it, since large leaves at the ends of the range may
    /// have to be split. Collects there what was valid before.
    pub(crate) fn unmap(&mut self, memory: &impl Access<T>, va: VaRange, update: &mut Update<T>) {
        self.root
            .unmap(LEVELS - 1, va, Empty::Remove, memory, update);
    }

    /// Unmaps a range instead of mapping it, because its memory was taken away meanwhile.
    ///
    /// As [`PageTable::unmap`], but tables that become empty stay, unless the range covers all that
    /// they translate. [`Reserve::map_any`] relies on it: what is mapped next finds them there.
    pub(crate) fn vacate(&mut self, memory: &impl Access<T>, va: VaRange, update: &mut Update<T>) {
        self.root.unmap(LEVELS - 1, va, Empty::Keep, memory, update);
    }

    /// Unmaps without splitting leaves or taking out tables, for ranges that are about to be
    /// mapped again or unmapped for good. Returns what was valid before.
    ///
    /// Needs no memory. A range whose ends are those of earlier operations has no leaf that
    /// reaches beyond it; another leaf is unmapped as a whole, and is in what is returned.
    pub(crate) fn clear(&mut self, memory: &impl Access<T>, va: VaRange) -> Option<VaRange> {
        let mut stale = None;

        self.root.clear_leaves(LEVELS - 1, va, memory, &mut stale);
        stale
    }

    /// The entries that the MMU reads to translate `va`, from the root on, as far as there are
    /// tables. They are read from memory. For reports of faults.
    pub(crate) fn walk(&self, memory: &impl Access<T>, va: u64) -> Walk {
        self.root.walk(memory, va)
    }

    /// Calls `f` for each leaf that overlaps `va`, in order: its address, the bytes it maps and
    /// the entry.
    ///
    /// Whatever is valid in memory is a leaf, but for entries that lead to tables which belong
    /// there; [`None`] is a leaf that cannot be read.
    pub(crate) fn for_each_leaf(
        &self,
        memory: &impl Access<T>,
        va: VaRange,
        mut f: impl FnMut(u64, u64, Option<u64>),
    ) {
        self.root
            .for_each_leaf(LEVELS - 1, va, memory, &mut |at, level, entry| {
                f(at, size(level), entry)
            });
    }

    /// The number of tables, the root included. Takes time.
    pub(crate) fn tables(&self) -> usize {
        self.root.tables()
    }
}

#[cfg(CONFIG_KUNIT = "y")]
#[path = "../../../../tests/kunit/hlrs/page_table.rs"]
mod tests;
