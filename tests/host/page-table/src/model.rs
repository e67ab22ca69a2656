// SPDX-License-Identifier: GPL-2.0
//! What page tables should show: ranges of virtual addresses, none of which overlap, and no word
//! about tables.

use crate::mmu::{Leaf, Space};
use std::collections::BTreeMap;

/// What a virtual address shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) space: Space,
    /// 0 in the space `Null`.
    pub(crate) address: u64,
    pub(crate) writable: bool,
}

impl View {
    /// What a leaf shows at its start.
    pub(crate) fn of(leaf: &Leaf) -> Self {
        Self {
            space: leaf.space,
            address: leaf.address,
            writable: leaf.writable,
        }
    }

    /// What an address shows that is `bytes` further.
    pub(crate) fn add(self, bytes: u64) -> Self {
        let address = match self.space {
            Space::Null => 0,
            _ => self.address + bytes,
        };

        Self { address, ..self }
    }
}

/// The ranges: end, and what the first address shows, by start.
#[derive(Default)]
pub(crate) struct Model(BTreeMap<u64, (u64, View)>);

impl Model {
    /// Makes `at` the border of two ranges, if it is within one.
    fn cut(&mut self, at: u64) {
        if let Some((start, (end, view))) = self.0.range_mut(..at).next_back() {
            if *end > at {
                let behind = (*end, view.add(at - start));

                *end = at;
                self.0.insert(at, behind);
            }
        }
    }

    pub(crate) fn unmap(&mut self, start: u64, end: u64) {
        self.cut(start);
        self.cut(end);

        let gone: Vec<u64> = self.0.range(start..end).map(|(start, _)| *start).collect();
        for start in gone {
            self.0.remove(&start);
        }
    }

    /// `start..end`, of which nothing is mapped, now shows contiguous memory.
    pub(crate) fn map(&mut self, start: u64, end: u64, view: View) {
        self.0.insert(start, (end, view));
    }

    /// As [`Model::map`] for a part of an operation that begins at `first`: continues the part
    /// before it if it can.
    pub(crate) fn add(&mut self, first: u64, start: u64, end: u64, view: View) {
        match self.0.range_mut(first..start).next_back() {
            Some((before, (last, there)))
                if *last == start && there.add(start - before) == view =>
            {
                *last = end;
            }
            _ => self.map(start, end, view),
        }
    }

    /// What the range shows, if all of it is mapped and contiguous: several ranges may adjoin.
    pub(crate) fn view(&self, start: u64, end: u64) -> Option<View> {
        let (first, (_, view)) = self.0.range(..=start).next_back()?;
        let view = view.add(start - first);
        let mut at = start;

        while at < end {
            let (first, (last, there)) = self.0.range(..=at).next_back()?;

            if *last <= at || there.add(at - first) != view.add(at - start) {
                return None;
            }
            at = *last;
        }
        Some(view)
    }

    /// Whether a leaf shows what it should.
    pub(crate) fn agrees(&self, leaf: &Leaf) -> bool {
        self.view(leaf.va, leaf.va + leaf.size) == Some(View::of(leaf))
    }

    /// The first leaf, of those in order, that does not show what it should.
    pub(crate) fn disagrees<'a>(&self, leaves: &'a [Leaf]) -> Option<&'a Leaf> {
        let mut rest = leaves;

        while let Some(first) = rest.first() {
            let view = View::of(first);
            // Leaves that adjoin and continue each other are looked up together.
            let count = rest
                .windows(2)
                .take_while(|pair| {
                    pair[0].va + pair[0].size == pair[1].va
                        && View::of(&pair[1]) == View::of(&pair[0]).add(pair[0].size)
                })
                .count();
            let last = &rest[count];

            if self.view(first.va, last.va + last.size) != Some(view) {
                return rest[..=count]
                    .iter()
                    .find(|leaf| !self.agrees(leaf))
                    .or(Some(first));
            }
            rest = &rest[count + 1..];
        }
        None
    }

    /// Whether nothing of the range is mapped.
    pub(crate) fn is_free(&self, start: u64, end: u64) -> bool {
        !matches!(self.0.range(..end).next_back(), Some((_, (last, _))) if *last > start)
    }

    /// Bytes that are mapped.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|(start, (end, _))| end - start).sum()
    }

    /// The ranges in order: start and end.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(start, (end, _))| (*start, *end))
    }
}
