// SPDX-License-Identifier: GPL-2.0

//! Looking at page tables.

use super::{
    entry::{
        index,
        size,
        VaRange,
        LEVELS, //
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

    /// Calls `f` with address, level and entry of each leaf that overlaps `va`, which is within
    /// this table.
    #[allow(dead_code, reason = "for the tests on the host")]
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

            if self.leaves.has(at) {
                f(start, level, memory.read(&self.table, at));
            } else if let Some(child) = self.child(at) {
                let part =
                    VaRange::between(start.max(va.start()), va.end().min(start + size(level)));
                child.for_each_leaf(level - 1, part, memory, f);
            }
        }
    }
}
