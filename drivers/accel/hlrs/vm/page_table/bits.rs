// SPDX-License-Identifier: GPL-2.0

//! Sets of entries of a table, as bitmaps.

use super::entry::ENTRIES;

const WORD_BITS: usize = u64::BITS as usize;
const WORDS: usize = ENTRIES / WORD_BITS;

/// A set of indices of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bits([u64; WORDS]);

/// The bits of word `word` that are in `first..end`.
#[inline]
fn mask(word: usize, first: usize, end: usize) -> u64 {
    let base = word * WORD_BITS;
    let low = first.saturating_sub(base).min(WORD_BITS);
    let high = end.saturating_sub(base).min(WORD_BITS);

    if low >= high {
        return 0;
    }
    // The number of bits is 1 to 64.
    (u64::MAX >> (WORD_BITS - (high - low))) << low
}

/// The words that `first..end` is in.
#[inline]
fn words(first: usize, end: usize) -> core::ops::Range<usize> {
    first / WORD_BITS..end.div_ceil(WORD_BITS).min(WORDS)
}

impl Bits {
    /// The empty set.
    pub(super) const fn new() -> Self {
        Self([0; WORDS])
    }

    /// Whether there is none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether `index` is one.
    #[inline]
    pub(super) fn has(&self, index: usize) -> bool {
        self.0
            .get(index / WORD_BITS)
            .is_some_and(|word| (word >> (index % WORD_BITS)) & 1 != 0)
    }

    /// Adds `first..end`.
    #[inline]
    pub(super) fn set(&mut self, first: usize, end: usize) {
        for word in words(first, end) {
            self.0[word] |= mask(word, first, end);
        }
    }

    /// Takes `first..end` out.
    #[inline]
    pub(super) fn clear(&mut self, first: usize, end: usize) {
        for word in words(first, end) {
            self.0[word] &= !mask(word, first, end);
        }
    }

    /// The first one of `first..end`.
    #[inline]
    pub(super) fn first(&self, first: usize, end: usize) -> Option<usize> {
        words(first, end).find_map(|word| {
            let bits = self.0[word] & mask(word, first, end);
            (bits != 0).then(|| word * WORD_BITS + bits.trailing_zeros() as usize)
        })
    }

    /// The last one of `first..end`.
    #[inline]
    pub(super) fn last(&self, first: usize, end: usize) -> Option<usize> {
        words(first, end).rev().find_map(|word| {
            let bits = self.0[word] & mask(word, first, end);
            (bits != 0).then(|| word * WORD_BITS + bits.ilog2() as usize)
        })
    }

    /// The first of `first..end` that is not one, or `end`.
    pub(super) fn first_missing(&self, first: usize, end: usize) -> usize {
        words(first, end)
            .find_map(|word| {
                let bits = !self.0[word] & mask(word, first, end);
                (bits != 0).then(|| word * WORD_BITS + bits.trailing_zeros() as usize)
            })
            .unwrap_or(end)
    }

    /// How many are below `index`, that is, the place of `index` if the set is put in order.
    pub(super) fn rank(&self, index: usize) -> usize {
        words(0, index)
            .map(|word| (self.0[word] & mask(word, 0, index)).count_ones() as usize)
            .sum()
    }
}
