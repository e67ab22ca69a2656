// SPDX-License-Identifier: GPL-2.0

//! Looking at page tables.

use super::{
    entry::{
        index,
        size,
        table,
        VaRange,
        LEVELS,
        VALID, //
    },
    node::Node,
    Access,
    Table, //
};

/// An entry on the way from the root to a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Level of the table: 3 is the root.
    pub(crate) level: usize,
    /// Device-local address of the table.
    pub(crate) table: u64,
    /// Index in the table.
    pub(crate) index: usize,
    /// What is there; [`None`] if it cannot be read.
    pub(crate) entry: Option<u64>,
}

/// The entries that translate an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    steps: [Option<Step>; LEVELS],
}

impl Walk {
    /// From the root on. The last one is a leaf or not valid.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> + '_ {
        self.steps.iter().flatten()
    }
}

impl<T: Table> Node<T> {
    /// The walk for `va` from this table on, which is the root.
    pub(super) fn walk(&self, memory: &impl Access<T>, va: u64) -> Walk {
        let mut steps = [None; LEVELS];
        let mut node = self;

        for (step, level) in steps.iter_mut().zip((0..LEVELS).rev()) {
            let index = index(va, level);

            *step = Some(Step {
                level,
                table: node.table.address(),
                index,
                entry: memory.read(&node.table, index),
            });
            match node.child(index) {
                Some(child) => node = child,
                None => break,
            }
        }
        Walk { steps }
    }

    /// Calls `f` with address, level and entry of each entry in memory that is valid and does not
    /// lead to a table that belongs there, as far as it overlaps `va`, which is within this table.
    /// [`None`] is an entry that should be one and cannot be read.
    pub(super) fn for_each_leaf(
        &self,
        level: usize,
        va: VaRange,
        memory: &impl Access<T>,
        f: &mut impl FnMut(u64, usize, Option<u64>),
    ) {
        let first = index(va.start(), level);
        let base = va.start() & !(size(level) - 1);

        for at in first..=index(va.end() - 1, level) {
            let start = base + (at - first) as u64 * size(level);

            match (memory.read(&self.table, at), self.child(at)) {
                (Some(entry), Some(child)) if entry == table(child.table.address()) => {
                    let part =
                        VaRange::between(start.max(va.start()), va.end().min(start + size(level)));
                    child.for_each_leaf(level - 1, part, memory, f);
                }
                (Some(entry), _) if entry & VALID != 0 => f(start, level, Some(entry)),
                (None, _) if self.leaves.has(at) => f(start, level, None),
                _ => {}
            }
        }
    }
}
