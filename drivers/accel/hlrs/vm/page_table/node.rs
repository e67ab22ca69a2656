// SPDX-License-Identifier: GPL-2.0

//! A table and what the CPU remembers of it.

use kernel::prelude::*;

use super::{
    bits::Bits,
    entry::{
        index,
        size,
        stride,
        VaRange,
        ENTRIES, //
    },
    reserve::List,
    sparse::Sparse,
    Access,
    Table, //
};

/// Writes `count` entries from `first` on: `entry`, and each `step` more than the one before.
pub(super) fn write_run<T>(
    memory: &impl Access<T>,
    table: &T,
    first: usize,
    count: usize,
    entry: u64,
    step: u64,
) {
    let mut next = entry;

    memory.write(table, first, count, move || {
        let entry = next;
        next = next.wrapping_add(step);
        entry
    });
}

/// Widens `stale` so that it contains `start..end`.
pub(super) fn note(stale: &mut Option<VaRange>, start: u64, end: u64) {
    let range = VaRange::between(start, end);

    *stale = Some(stale.map_or(range, |stale| stale.hull(range)));
}

/// What a table above level 0 has besides.
///
/// # Invariants
///
/// `runs` is a subset of the node's leaves, `children` has none of them. Each leaf belongs to the
/// run that begins at it or before it, with all leaves in between.
pub(super) struct Directory<T> {
    /// The entries of leaves that begin a run; those that follow differ by the stride.
    pub(super) runs: Sparse<u64>,
    /// The tables that entries point to.
    pub(super) children: Sparse<KBox<Node<T>>>,
}

/// A table.
///
/// The level is not stored: it is known on the way from the root.
pub(super) struct Node<T> {
    /// The memory.
    pub(super) table: T,
    /// The entries that are valid leaves.
    pub(super) leaves: Bits,
    /// For tables above level 0.
    pub(super) directory: Option<KBox<Directory<T>>>,
    /// The next in a list of nodes that are not linked.
    pub(super) next: Option<KBox<Node<T>>>,
}

impl<T> Node<T> {
    /// An empty table in the memory `table`, which is not written. Fails with `ENOMEM`.
    pub(super) fn new(table: T, directory: bool) -> Result<KBox<Self>> {
        let directory = if directory {
            Some(KBox::new(
                Directory {
                    runs: Sparse::new()?,
                    children: Sparse::new()?,
                },
                GFP_KERNEL,
            )?)
        } else {
            None
        };

        Ok(KBox::new(
            Self {
                table,
                leaves: Bits::new(),
                directory,
                next: None,
            },
            GFP_KERNEL,
        )?)
    }

    /// Whether no entry is valid.
    pub(super) fn is_empty(&self) -> bool {
        self.leaves.is_empty()
            && self
                .directory
                .as_ref()
                .is_none_or(|directory| directory.children.set().is_empty())
    }

    /// The first of the entries `first..end` that is valid, and the one after the last.
    pub(super) fn occupied(&self, first: usize, end: usize) -> Option<(usize, usize)> {
        let leaves = self
            .leaves
            .first(first, end)
            .zip(self.leaves.last(first, end));
        let tables = self.directory.as_ref().and_then(|directory| {
            let set = directory.children.set();
            set.first(first, end).zip(set.last(first, end))
        });

        match (leaves, tables) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1) + 1)),
            (a, b) => a.or(b).map(|(first, last)| (first, last + 1)),
        }
    }

    /// The leaf at `index` of this table, which is above level 0.
    pub(super) fn leaf(&self, level: usize, index: usize) -> Option<u64> {
        if !self.leaves.has(index) {
            return None;
        }
        let (start, entry) = self.directory.as_ref()?.runs.at_or_below(index)?;

        Some(entry.wrapping_add((index - start) as u64 * stride(*entry, level)))
    }

    /// The table at `index`.
    pub(super) fn child(&self, index: usize) -> Option<&Self> {
        self.directory
            .as_ref()?
            .children
            .get(index)
            .map(|child| &**child)
    }

    /// As [`Node::child`].
    pub(super) fn child_mut(&mut self, index: usize) -> Option<&mut Self> {
        self.directory
            .as_mut()?
            .children
            .get_mut(index)
            .map(|child| &mut **child)
    }

    /// Remembers the leaves that were written: `count` from `first` on, a run.
    pub(super) fn add_leaves(&mut self, first: usize, count: usize, entry: u64) {
        self.leaves.set(first, first + count);
        if let Some(directory) = &mut self.directory {
            directory.runs.insert(first, entry);
        }
    }

    /// Remembers that the leaves `first..end` are not valid any more.
    pub(super) fn forget_leaves(&mut self, level: usize, first: usize, end: usize) {
        // What is left of the run that reaches beyond the end is a run.
        let behind = if end < ENTRIES {
            self.leaf(level, end)
        } else {
            None
        };

        if let Some(directory) = &mut self.directory {
            if let Some(entry) = behind {
                directory.runs.insert(end, entry);
            }
            directory.runs.remove(first, end, |_| {});
        }
        self.leaves.clear(first, end);
    }

    /// Remembers that the entries `first..end` are not valid any more. Tables go to `freed`.
    pub(super) fn forget(&mut self, level: usize, first: usize, end: usize, freed: &mut List<T>) {
        self.forget_leaves(level, first, end);
        if let Some(directory) = &mut self.directory {
            directory
                .children
                .remove(first, end, |child| freed.push(child));
        }
    }

    /// The number of tables from this one on.
    pub(super) fn tables(&self) -> usize {
        let below = self.directory.as_ref().map_or(0, |directory| {
            let children = directory.children.values();
            children.iter().map(|child| child.tables()).sum()
        });

        1 + below
    }
}

impl<T: Table> Node<T> {
    /// Makes the entry at `index` point to `child`, all of whose entries are written.
    pub(super) fn link(&mut self, memory: &impl Access<T>, index: usize, child: KBox<Self>) {
        let entry = super::entry::table(child.table.address());

        memory.barrier();
        write_run(memory, &self.table, index, 1, entry, 0);
        if let Some(directory) = &mut self.directory {
            directory.children.insert(index, child);
        }
    }

    /// Fills this table, which is at `level`, with leaves that show what `entry` shows, a leaf of
    /// the level above.
    pub(super) fn fill(&mut self, level: usize, entry: u64, memory: &impl Access<T>) {
        write_run(memory, &self.table, 0, ENTRIES, entry, stride(entry, level));
        self.add_leaves(0, ENTRIES, entry);
    }

    /// Writes all entries of this new table but those that `va` touches.
    pub(super) fn blank(&self, level: usize, va: VaRange, memory: &impl Access<T>) {
        let first = index(va.start(), level);
        let end = index(va.end() - 1, level) + 1;

        if first > 0 {
            write_run(memory, &self.table, 0, first, 0, 0);
        }
        if end < ENTRIES {
            write_run(memory, &self.table, end, ENTRIES - end, 0, 0);
        }
    }

    /// Invalidates the entries `first..end`, of which the first is for `base`.
    pub(super) fn drop_entries(
        &mut self,
        level: usize,
        (first, end): (usize, usize),
        base: u64,
        memory: &impl Access<T>,
        (stale, freed): (&mut Option<VaRange>, &mut List<T>),
    ) {
        let Some((from, to)) = self.occupied(first, end) else {
            return;
        };
        let start = base + (from - first) as u64 * size(level);

        write_run(memory, &self.table, from, to - from, 0, 0);
        self.forget(level, from, to, freed);
        note(stale, start, start + (to - from) as u64 * size(level));
    }
}
