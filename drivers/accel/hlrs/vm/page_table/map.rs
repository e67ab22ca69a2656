// SPDX-License-Identifier: GPL-2.0

//! Mapping.

use super::{
    entry::{
        index,
        size,
        stride,
        VaRange,
        PAGE_SIZE, //
    },
    node::{
        note,
        write_run,
        Node, //
    },
    reserve::Update,
    segments::Cursor,
    Access,
    Table, //
};

impl<T: Table> Node<T> {
    /// Maps what `cursor` gives to `va`, which is within this table.
    pub(super) fn map(
        &mut self,
        level: usize,
        va: VaRange,
        cursor: &mut Cursor<'_>,
        memory: &impl Access<T>,
        update: &mut Update<T>,
    ) {
        if level == 0 {
            return self.map_pages(va, cursor, memory, update);
        }

        let mut at = va.start();
        while at < va.end() {
            let count = cursor.leaves(level, at, va.end());

            at = if count > 0 {
                self.map_leaves(level, at, count, cursor, memory, update)
            } else {
                let end = va.end().min((at | (size(level) - 1)) + 1);

                self.map_below(level, VaRange::between(at, end), cursor, memory, update);
                end
            };
        }
    }

    /// Maps leaves of 4 KiB.
    fn map_pages(
        &mut self,
        va: VaRange,
        cursor: &mut Cursor<'_>,
        memory: &impl Access<T>,
        update: &mut Update<T>,
    ) {
        let first = index(va.start(), 0);
        // CAST: A table maps 2 MiB.
        let count = (va.size() / PAGE_SIZE) as usize;
        let end = first + count;

        if let Some((from, to)) = self.occupied(first, end) {
            let start = va.start() + (from - first) as u64 * PAGE_SIZE;
            note(
                &mut update.stale,
                start,
                start + (to - from) as u64 * PAGE_SIZE,
            );
        }

        if cursor.has(va.size()) {
            let entry = cursor.entry();

            write_run(memory, &self.table, first, count, entry, stride(entry, 0));
            cursor.advance(va.size());
        } else if let Some(mut pages) = cursor.take_pages(count) {
            memory.write(&self.table, first, count, || pages.next().unwrap_or(0));
        } else {
            // A copy, which the compiler can keep in registers.
            let mut pages = *cursor;

            memory.write(&self.table, first, count, || pages.next_page());
            *cursor = pages;
        }
        self.leaves.set(first, end);
    }

    /// Maps `count` leaves of this level from `at` on; returns where they end.
    fn map_leaves(
        &mut self,
        level: usize,
        at: u64,
        count: usize,
        cursor: &mut Cursor<'_>,
        memory: &impl Access<T>,
        update: &mut Update<T>,
    ) -> u64 {
        let first = index(at, level);
        let bytes = count as u64 * size(level);
        let entry = cursor.entry();

        if let Some((from, to)) = self.occupied(first, first + count) {
            let start = at + (from - first) as u64 * size(level);

            note(
                &mut update.stale,
                start,
                start + (to - from) as u64 * size(level),
            );
            self.forget(level, first, first + count, &mut update.freed);
        }
        write_run(
            memory,
            &self.table,
            first,
            count,
            entry,
            stride(entry, level),
        );
        self.add_leaves(first, count, entry);
        cursor.advance(bytes);
        at + bytes
    }

    /// Maps `va`, which is within one entry, by the table below, which may have to be made.
    fn map_below(
        &mut self,
        level: usize,
        va: VaRange,
        cursor: &mut Cursor<'_>,
        memory: &impl Access<T>,
        update: &mut Update<T>,
    ) {
        let at = index(va.start(), level);

        if let Some(child) = self.child_mut(at) {
            return child.map(level - 1, va, cursor, memory, update);
        }

        let Some(mut child) = update.take(level - 1) else {
            // Not reserved. No entry at all is safe, and in a new table it must be written.
            let base = va.start() & !(size(level) - 1);

            self.drop_entries(level, (at, at + 1), base, memory, update.outcome());
            write_run(memory, &self.table, at, 1, 0, 0);
            return cursor.skip(va.size());
        };

        match self.leaf(level, at) {
            Some(entry) => child.fill(level - 1, entry, memory),
            None => child.blank(level - 1, va, memory),
        }
        child.map(level - 1, va, cursor, memory, update);
        self.forget_leaves(level, at, at + 1);
        self.link(memory, at, child);
    }
}
