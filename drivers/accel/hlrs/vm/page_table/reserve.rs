// SPDX-License-Identifier: GPL-2.0

//! Memory for changes, reserved before and given back after.

use kernel::prelude::*;

use super::{
    entry::{
        shift,
        Place,
        VaRange,
        LEVELS, //
    },
    node::Node,
    segments::Mapping, //
};

/// Parts of a mapping for each table that it could need, from which on the parts are not looked
/// at one by one: nearly all tables are needed then.
const PARTS_PER_TABLE: u64 = 16;

/// What operations need at worst, whatever the tables are like when they are carried out.
///
/// The operations are carried out in the order in which they are named here. Between them there
/// may be calls of [`PageTable::clear`](super::PageTable::clear), but no other operations on the
/// same page tables.
pub(crate) struct Reserve {
    /// Tables at each level but that of the root.
    count: [usize; LEVELS - 1],
    /// For each level the number of a table that is there when the next operation comes; or what
    /// was reserved for it is.
    present: [Option<u64>; LEVELS - 1],
}

impl Reserve {
    /// For no operation.
    pub(crate) const fn new() -> Self {
        Self {
            count: [0; LEVELS - 1],
            present: [None; LEVELS - 1],
        }
    }

    /// Adds a mapping.
    pub(crate) fn map(&mut self, mapping: &Mapping<'_>) {
        let va = mapping.va();

        for level in 0..LEVELS - 1 {
            let present = self.present[level].take();
            let tables = numbers(va, level);

            // At the highest level each table is needed, since there are no leaves above it. Below
            // it is the same for memory in many pieces.
            let many = PARTS_PER_TABLE.saturating_mul(tables.1 - tables.0 + 1);
            let found = if level == LEVELS - 2 || mapping.parts() as u64 > many {
                Found::all(tables)
            } else {
                needed(mapping, level)
            };

            self.count[level] += found.count;
            if present.is_some() && present == found.first {
                self.count[level] -= 1;
            }
            self.present[level] = found.last;
        }
    }

    /// Adds a mapping of memory that is not known yet: the range is mapped to something, or
    /// [vacated](super::PageTable::vacate).
    pub(crate) fn map_any(&mut self, va: VaRange) {
        for level in 0..LEVELS - 1 {
            let (first, last) = numbers(va, level);
            let shared = self.present[level] == Some(first);

            self.count[level] += Found::all((first, last)).count - usize::from(shared);
            // Of the tables that this operation reserves, each is made, or it was there already,
            // or it is left over; and if the table is there no more, it is left over, too. So the
            // last one is there for what comes next. One that was reserved before is so only if
            // it cannot be taken out now: that is what happens to those that a large leaf
            // replaces, or that have become empty, if the range covers them.
            self.present[level] = if shared && first == last && covers(va, level, last) {
                None
            } else {
                Some(last)
            };
        }
    }

    /// Adds the unmapping of a range.
    pub(crate) fn unmap(&mut self, va: VaRange) {
        // A leaf is split by each end that lies within it. There are none above level 2.
        for level in 0..LEVELS - 2 {
            let inside = |va: u64| va & ((1 << shift(level + 1)) - 1) != 0;
            let (first, last) = numbers(va, level);
            let (start, end) = (inside(va.start()), inside(va.end()));

            self.count[level] += if first == last {
                usize::from(start || end)
            } else {
                usize::from(start) + usize::from(end)
            };
        }
        self.present = [None; LEVELS - 1];
    }

    /// The number of tables.
    #[allow(dead_code, reason = "for the tests on the host")]
    pub(crate) fn tables(&self) -> usize {
        self.count.iter().sum()
    }

    /// Allocates them. `alloc` is called [`Reserve::tables`] times and returns memory for a table;
    /// what is in it does not matter. It is told how many tables for one level are still to come,
    /// this one included, and may prepare for that. Sleeps.
    ///
    /// Fails with `ENOMEM`, or as `alloc` does. What was allocated is given back then.
    pub(crate) fn allocate<T>(
        &self,
        mut alloc: impl FnMut(usize) -> Result<T>,
    ) -> Result<Update<T>> {
        let mut update = Update::empty();

        for (level, count) in self.count.into_iter().enumerate() {
            for left in (1..=count).rev() {
                let node = Node::new(alloc(left)?, level > 0)?;
                update.spare(level).push(node);
            }
        }
        Ok(update)
    }
}

/// The numbers of the first and the last table at `level` that translate `va`.
fn numbers(va: VaRange, level: usize) -> (u64, u64) {
    let shift = shift(level + 1);

    (va.start() >> shift, (va.end() - 1) >> shift)
}

/// Whether `va` is all that table `number` at `level` translates, or more.
fn covers(va: VaRange, level: usize, number: u64) -> bool {
    let shift = shift(level + 1);

    va.start() <= number << shift && (number + 1) << shift <= va.end()
}

/// Tables that are needed.
struct Found {
    count: usize,
    first: Option<u64>,
    last: Option<u64>,
}

impl Found {
    /// All of `first..=last`.
    fn all((first, last): (u64, u64)) -> Self {
        Self {
            // CAST: There are fewer than 2^27 tables.
            count: (last - first + 1) as usize,
            first: Some(first),
            last: Some(last),
        }
    }

    fn add(&mut self, first: u64, last: u64) {
        // Two parts may meet in one table.
        let first = match self.last {
            Some(known) => first.max(known + 1),
            None => first,
        };

        if first <= last {
            // CAST: As above.
            self.count += (last - first + 1) as usize;
            self.first.get_or_insert(first);
            self.last = Some(last);
        }
    }
}

/// The tables at `level` that `mapping` needs: all but those in whose place there is a leaf.
fn needed(mapping: &Mapping<'_>, level: usize) -> Found {
    let above = level + 1;
    let whole = (1u64 << shift(above)) - 1;
    let mut found = Found {
        count: 0,
        first: None,
        last: None,
    };

    mapping.for_each_part(|va: VaRange, place: Option<Place>| {
        let (first, last) = numbers(va, level);
        // The numbers of the leaves of the level above, up to the one that is none.
        let leaves = (va.start() + whole) >> shift(above)..va.end() >> shift(above);

        if leaves.is_empty() || !place.is_none_or(|place| place.is_congruent(va.start(), above)) {
            return found.add(first, last);
        }
        if first < leaves.start {
            found.add(first, first);
        }
        if leaves.end <= last {
            found.add(last, last);
        }
    });
    found
}

/// Nodes that are not linked.
pub(super) struct List<T>(Option<KBox<Node<T>>>);

impl<T> List<T> {
    const fn new() -> Self {
        Self(None)
    }

    /// Adds a node, with what is below it.
    pub(super) fn push(&mut self, mut node: KBox<Node<T>>) {
        node.next = self.0.take();
        self.0 = Some(node);
    }

    fn pop(&mut self) -> Option<KBox<Node<T>>> {
        let mut node = self.0.take()?;

        self.0 = node.next.take();
        Some(node)
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        // One by one: a list is long, and would be dropped by as many nested calls.
        while self.pop().is_some() {}
    }
}

/// Changes of page tables: tables for them, and what they leave behind.
///
/// Dropping it gives back all of that at once; after the first operation it is to be ended by
/// [`Update::finish`].
pub(crate) struct Update<T> {
    /// Tables for level 0.
    pages: List<T>,
    /// Tables for other levels.
    directories: List<T>,
    pub(super) freed: List<T>,
    pub(super) stale: Option<VaRange>,
    short: bool,
}

impl<T> Update<T> {
    const fn empty() -> Self {
        Self {
            pages: List::new(),
            directories: List::new(),
            freed: List::new(),
            stale: None,
            short: false,
        }
    }

    fn spare(&mut self, level: usize) -> &mut List<T> {
        if level == 0 {
            &mut self.pages
        } else {
            &mut self.directories
        }
    }

    /// A table for `level`, whose contents are unknown.
    pub(super) fn take(&mut self, level: usize) -> Option<KBox<Node<T>>> {
        let node = self.spare(level).pop();

        self.short |= node.is_none();
        node
    }

    /// What operations add to.
    pub(super) fn outcome(&mut self) -> (&mut Option<VaRange>, &mut List<T>) {
        (&mut self.stale, &mut self.freed)
    }

    /// What the MMU may have cached of what was valid before, since the start.
    pub(crate) fn stale(&self) -> Option<VaRange> {
        self.stale
    }

    /// Whether operations needed more than was reserved. That is an error of the caller; entries
    /// that could not be written are not valid.
    pub(crate) fn ran_short(&self) -> bool {
        self.short
    }

    /// Gives back what was not needed, and returns [`Update::stale`] and the tables that are not
    /// in use any more; there are none if nothing is stale. Sleeps if dropping a table does.
    pub(crate) fn finish(self) -> (Option<VaRange>, Freed<T>) {
        (self.stale, Freed(self.freed))
    }
}

/// Tables that are not linked any more.
///
/// They must not be dropped before the MMU was invalidated, nor while a command that runs may
/// still walk them.
pub(crate) struct Freed<T>(#[allow(dead_code, reason = "it is there to be dropped")] List<T>);

impl<T> Freed<T> {
    /// Whether there is none.
    #[allow(dead_code, reason = "for the tests on the host")]
    pub(crate) fn is_empty(&self) -> bool {
        self.0 .0.is_none()
    }
}
