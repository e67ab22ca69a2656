// SPDX-License-Identifier: GPL-2.0

//! What is mapped: memory in pieces, or nothing at all.

use kernel::prelude::*;

use super::entry::{
    self,
    Place,
    VaRange,
    PAGE_SIZE, //
};

/// A contiguous part of memory.
#[derive(Clone, Copy)]
struct Piece {
    /// The first byte of the buffer after the piece.
    end: u64,
    /// Where the piece begins.
    place: Place,
}

/// The memory of a buffer as an engine sees it, from byte 0 to its end.
///
/// # Invariants
///
/// Each piece ends behind the one before it, at a multiple of [`PAGE_SIZE`], has addresses that
/// entries can hold, and does not continue the one before it.
pub(crate) struct Segments(KVVec<Piece>);

impl Segments {
    /// An empty buffer. Does not allocate.
    pub(crate) const fn new() -> Self {
        Self(KVVec::new())
    }

    /// Adds `size` bytes at `place` to the end of the buffer. Neighbours are merged, so that the
    /// order in which memory happens to be in pieces does not matter. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `size` is 0 or not a multiple of [`PAGE_SIZE`].
    /// - `ERANGE`: addresses would have more than 52 bits.
    /// - `EOVERFLOW`: the size of the buffer would have more than 64 bits.
    /// - `ENOMEM`.
    pub(crate) fn push(&mut self, place: Place, size: u64) -> Result {
        if size == 0 || size % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        if !place.holds(size) {
            return Err(ERANGE);
        }

        let start = self.size();
        let end = start.checked_add(size).ok_or(EOVERFLOW)?;
        let before = match self.0.len() {
            0 | 1 => 0,
            len => self.0[len - 2].end,
        };

        match self.0.last_mut() {
            // A piece that would end with the address space cannot be continued: what follows
            // it begins with other bits than those of an address. Looked at last, as it is rare
            // that pieces meet at all.
            Some(last)
                if last.place.add(start - before) == place && last.place.holds(end - before) =>
            {
                last.end = end;
            }
            _ => self.0.push(Piece { end, place }, GFP_KERNEL)?,
        }
        Ok(())
    }

    /// Bytes of the buffer.
    pub(crate) fn size(&self) -> u64 {
        self.0.last().map_or(0, |piece| piece.end)
    }
}

/// What a range of virtual addresses is to show.
#[derive(Clone, Copy)]
enum Source<'a> {
    Memory { segments: &'a Segments, offset: u64 },
    Null,
}

/// A range of virtual addresses and what it is to show.
///
/// # Invariants
///
/// Memory is as long as the range at least.
#[derive(Clone, Copy)]
pub(crate) struct Mapping<'a> {
    va: VaRange,
    source: Source<'a>,
    writable: bool,
}

impl<'a> Mapping<'a> {
    /// Shows the memory of a buffer from byte `offset` on.
    ///
    /// Fails with `EINVAL` if `offset` is not a multiple of [`PAGE_SIZE`], and with `ERANGE` if
    /// the buffer ends before the range does.
    pub(crate) fn memory(
        va: VaRange,
        segments: &'a Segments,
        offset: u64,
        writable: bool,
    ) -> Result<Self> {
        if offset % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        if !matches!(segments.size().checked_sub(offset), Some(left) if left >= va.size()) {
            return Err(ERANGE);
        }

        // INVARIANT: Checked above.
        Ok(Self {
            va,
            source: Source::Memory { segments, offset },
            writable,
        })
    }

    /// Reads as zeros. Writes are dropped, or fault if it is not `writable`.
    pub(crate) fn null(va: VaRange, writable: bool) -> Self {
        Self {
            va,
            source: Source::Null,
            writable,
        }
    }

    /// The range.
    pub(crate) fn va(&self) -> VaRange {
        self.va
    }

    /// The leaves that show it.
    pub(super) fn cursor(&self) -> Cursor<'a> {
        let bits = entry::leaf_bits(self.writable);

        match self.source {
            Source::Null => Cursor {
                entry: entry::null(bits),
                position: 0,
                end: self.va.size(),
                step: 0,
                bits,
                pieces: &[],
            },
            Source::Memory { segments, offset } => {
                let first = segments.0.partition_point(|piece| piece.end <= offset);
                let start = match first {
                    0 => 0,
                    _ => segments.0[first - 1].end,
                };
                let mut cursor = Cursor {
                    entry: 0,
                    position: start,
                    end: start,
                    step: u64::MAX,
                    bits,
                    pieces: &segments.0[first..],
                };

                cursor.begin();
                cursor.advance(offset - start);
                cursor
            }
        }
    }

    /// Calls `f` with the parts of the range that are contiguous in memory, in order: their ends,
    /// and where they begin, or [`None`] for a null mapping.
    pub(super) fn for_each_part(&self, mut f: impl FnMut(VaRange, Option<Place>)) {
        let Source::Memory { segments, offset } = self.source else {
            return f(self.va, None);
        };
        let first = segments.0.partition_point(|piece| piece.end <= offset);
        let mut begin = match first {
            0 => 0,
            _ => segments.0[first - 1].end,
        };
        let (mut at, mut position) = (self.va.start(), offset);

        for piece in &segments.0[first..] {
            let end = self.va.end().min(at + (piece.end - position));

            f(
                VaRange::between(at, end),
                Some(piece.place.add(position - begin)),
            );
            (at, position, begin) = (end, piece.end, piece.end);
            if at == self.va.end() {
                break;
            }
        }
    }

    /// The number of parts that [`Mapping::for_each_part`] finds.
    pub(super) fn parts(&self) -> usize {
        let Source::Memory { segments, offset } = self.source else {
            return 1;
        };
        let end = offset + self.va.size();
        let first = segments.0.partition_point(|piece| piece.end <= offset);

        segments.0.partition_point(|piece| piece.end < end) + 1 - first
    }
}

/// A position in what is mapped.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    /// The leaf for the position.
    entry: u64,
    /// The position, and where the piece ends; the same at the end only.
    position: u64,
    end: u64,
    /// What of a distance goes into the address: all bits or none.
    step: u64,
    bits: u64,
    /// The piece, and what follows.
    pieces: &'a [Piece],
}

impl<'a> Cursor<'a> {
    /// The leaf at the position.
    #[inline]
    pub(super) fn entry(&self) -> u64 {
        self.entry
    }

    /// Bytes of the piece from the position on.
    #[inline]
    fn left(&self) -> u64 {
        self.end - self.position
    }

    /// How many leaves at `level` may come next, for virtual addresses from `at` to `end`.
    #[inline]
    pub(super) fn leaves(&self, level: usize, at: u64, end: u64) -> usize {
        if at & (entry::size(level) - 1) != 0 || !entry::may_be_leaf(self.entry, level) {
            return 0;
        }
        // CAST: Virtual addresses have 48 bits.
        (self.left().min(end - at) >> entry::shift(level)) as usize
    }

    /// Whether `bytes` are contiguous.
    #[inline]
    pub(super) fn has(&self, bytes: u64) -> bool {
        self.left() >= bytes
    }

    /// Goes `bytes` on, within the piece or to the start of the next.
    #[inline]
    pub(super) fn advance(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.left());

        // Without checks for overflow, this is the hot path.
        self.entry = self.entry.wrapping_add(bytes & self.step);
        self.position = self.position.wrapping_add(bytes);
        if self.position == self.end {
            self.load();
        }
    }

    /// Returns the leaf at the position in memory, and goes one page on.
    #[inline(always)]
    pub(super) fn next_page(&mut self) -> u64 {
        let entry = self.entry;

        self.entry = entry.wrapping_add(PAGE_SIZE);
        self.position = self.position.wrapping_add(PAGE_SIZE);
        if self.position == self.end {
            self.load();
        }
        entry
    }

    /// Goes `bytes` on, over any number of pieces.
    pub(super) fn skip(&mut self, mut bytes: u64) {
        while bytes > 0 && self.left() > 0 {
            let part = bytes.min(self.left());

            self.advance(part);
            bytes -= part;
        }
    }

    /// If the next `count` pages are as many pieces, returns their leaves, and goes on behind them.
    /// That is quicker than as many calls of [`Cursor::next_page`].
    pub(super) fn take_pages(&mut self, count: usize) -> Option<impl Iterator<Item = u64> + 'a> {
        let (pages, rest) = self.pieces.split_at_checked(count)?;
        let (first, last) = (pages.first()?, pages.last()?);
        let end = self.position + count as u64 * PAGE_SIZE;
        let bits = self.bits;

        // None of them is shorter than a page; so none is longer if together they are so long.
        if self.entry != entry::leaf(first.place, bits) || last.end != end {
            return None;
        }

        self.position = end;
        self.pieces = rest;
        self.begin();
        Some(pages.iter().map(move |page| entry::leaf(page.place, bits)))
    }

    /// Goes to the next piece.
    #[inline(always)]
    fn load(&mut self) {
        self.pieces = self.pieces.get(1..).unwrap_or_default();
        self.begin();
    }

    /// Begins with the first of the pieces.
    #[inline(always)]
    fn begin(&mut self) {
        if let Some(piece) = self.pieces.first() {
            self.entry = entry::leaf(piece.place, self.bits);
            self.end = piece.end;
        } else {
            self.end = self.position;
        }
    }
}
