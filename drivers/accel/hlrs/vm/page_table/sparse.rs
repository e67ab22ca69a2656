// SPDX-License-Identifier: GPL-2.0

//! Values for some of the entries of a table.

use kernel::prelude::*;

use super::{
    bits::Bits,
    entry::ENTRIES, //
};

/// Values of a set of entries. Room for all is allocated from the start, but not written: that
/// makes a new one cheap, and changes cannot fail.
///
/// # Invariants
///
/// `values` has one element for each index in `set`, in the same order, and capacity for
/// [`ENTRIES`].
pub(super) struct Sparse<V> {
    set: Bits,
    values: KVec<V>,
}

impl<V> Sparse<V> {
    /// No values. Fails with `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        // INVARIANT: Both are empty.
        Ok(Self {
            set: Bits::new(),
            values: KVec::with_capacity(ENTRIES, GFP_KERNEL)?,
        })
    }

    /// The entries that have a value.
    #[inline]
    pub(super) fn set(&self) -> &Bits {
        &self.set
    }

    /// All values, in order.
    pub(super) fn values(&self) -> &[V] {
        &self.values
    }

    /// The value of `index`.
    pub(super) fn get(&self, index: usize) -> Option<&V> {
        if !self.set.has(index) {
            return None;
        }
        self.values.get(self.set.rank(index))
    }

    /// As [`Sparse::get`].
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut V> {
        if !self.set.has(index) {
            return None;
        }
        self.values.get_mut(self.set.rank(index))
    }

    /// The greatest index up to `index` that has a value, and the value.
    pub(super) fn at_or_below(&self, index: usize) -> Option<(usize, &V)> {
        let found = self.set.last(0, index + 1)?;

        Some((found, self.values.get(self.set.rank(found))?))
    }

    /// The values of `first..end`, in order.
    pub(super) fn range_mut(
        &mut self,
        first: usize,
        end: usize,
    ) -> impl Iterator<Item = &mut V> + '_ {
        let (from, to) = (self.set.rank(first), self.set.rank(end));

        self.values.get_mut(from..to).unwrap_or_default().iter_mut()
    }

    /// Gives `index`, below [`ENTRIES`], a value instead of the one it may have.
    pub(super) fn insert(&mut self, index: usize, value: V) {
        let rank = self.set.rank(index);

        if self.set.has(index) {
            if let Some(old) = self.values.get_mut(rank) {
                *old = value;
            }
        } else if self.values.insert_within_capacity(rank, value).is_ok() {
            // INVARIANT: The value is where the index comes in the order. By the invariant there
            // is room, since `index` had none.
            self.set.set(index, index + 1);
        }
    }

    /// Takes out the values of `first..end`, last first, and hands each to `taken`.
    pub(super) fn remove(&mut self, first: usize, end: usize, mut taken: impl FnMut(V)) {
        let (from, to) = (self.set.rank(first), self.set.rank(end));
        if from == to {
            return;
        }

        // The values behind come to the front, what is taken out to the end.
        if let Some(tail) = self.values.get_mut(from..) {
            tail.rotate_left(to - from);
        }
        for _ in from..to {
            if let Some(value) = self.values.pop() {
                taken(value);
            }
        }
        // INVARIANT: What is left has kept its order.
        self.set.clear(first, end);
    }
}
