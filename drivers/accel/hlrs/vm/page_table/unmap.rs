// SPDX-License-Identifier: GPL-2.0

//! Unmapping.

use super::{
    entry::{
        index,
        size,
        VaRange, //
    },
    node::{
        note,
        write_run,
        Node, //
    },
    reserve::Update,
    Access,
    Table, //
};

/// What becomes of tables that have no valid entry any more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    /// They are taken out.
    Remove,
    /// They stay, unless all that they translate is unmapped.
    Keep,
}

impl<T: Table> Node<T> {
    /// Unmaps `va`, which is within this table.
    pub(super) fn unmap(
        &mut self,
        level: usize,
        va: VaRange,
        empty: Empty,
        memory: &impl Access<T>,
        update: &mut Update<T>,
    ) {
        let whole = size(level) - 1;
        // The entries between these are in the range as a whole.
        let (first, last) = ((va.start() + whole) & !whole, va.end() & !whole);

        if first > last {
            // The range is within one entry and touches neither of its ends.
            return self.unmap_part(level, va, empty, memory, update);
        }

        if va.start() < first {
            let part = VaRange::between(va.start(), first);
            self.unmap_part(level, part, empty, memory, update);
        }
        if first < last {
            // The last address decides: the end may be beyond the table.
            let entries = (index(first, level), index(last - 1, level) + 1);
            self.drop_entries(level, entries, first, memory, update.outcome());
        }
        if last < va.end() {
            let part = VaRange::between(last, va.end());
            self.unmap_part(level, part, empty, memory, update);
        }
    }

    /// Unmaps `va`, which is a part of what one entry translates.
    fn unmap_part(
        &mut self,
        level: usize,
        va: VaRange,
        empty: Empty,
        memory: &impl Access<T>,
        update: &mut Update<T>,
    ) {
        let at = index(va.start(), level);
        let base = va.start() & !(size(level) - 1);

        if let Some(child) = self.child_mut(at) {
            child.unmap(level - 1, va, empty, memory, update);
            if empty == Empty::Remove && child.is_empty() {
                write_run(memory, &self.table, at, 1, 0, 0);
                self.forget(level, at, at + 1, &mut update.freed);
                // Also if it was empty before.
                note(&mut update.stale, va.start(), va.end());
            }
        } else if let Some(entry) = self.leaf(level, at) {
            let Some(mut child) = update.take(level - 1) else {
                // Not reserved. No entry at all is safe.
                return self.drop_entries(level, (at, at + 1), base, memory, update.outcome());
            };

            child.fill(level - 1, entry, memory);
            child.unmap(level - 1, va, empty, memory, update);
            self.forget_leaves(level, at, at + 1);
            self.link(memory, at, child);
        }
    }

    /// Unmaps the leaves that overlap `va`, which is within this table, and leaves tables.
    pub(super) fn clear_leaves(
        &mut self,
        level: usize,
        va: VaRange,
        memory: &impl Access<T>,
        stale: &mut Option<VaRange>,
    ) {
        let (first, end) = (index(va.start(), level), index(va.end() - 1, level) + 1);
        let base = va.start() & !(size(level) - 1);
        let address = |index: usize| base + (index - first) as u64 * size(level);

        let mut from = first;
        while let Some(leaf) = self.leaves.first(from, end) {
            let to = self.leaves.first_missing(leaf, end);

            write_run(memory, &self.table, leaf, to - leaf, 0, 0);
            self.forget_leaves(level, leaf, to);
            note(stale, address(leaf), address(to));
            from = to;
        }

        if let Some(directory) = &mut self.directory {
            let indices = *directory.children.set();
            let mut from = first;

            for child in directory.children.range_mut(first, end) {
                let Some(at) = indices.first(from, end) else {
                    break;
                };
                let part =
                    VaRange::between(address(at).max(va.start()), address(at + 1).min(va.end()));

                child.clear_leaves(level - 1, part, memory, stale);
                from = at + 1;
            }
        }
    }
}
