// SPDX-License-Identifier: GPL-2.0
//! Choosing operations: often at places where tables begin and end, or something is mapped.

use super::{Run, GIB, MIB_2, PAGE};
use crate::{
    mmu::Space,
    model::View,
    page_table::{Mapping, Place, Segments, VaRange, VA_END},
};

/// Bytes of virtual addresses that are used around each of [`CENTERS`].
const WINDOW: u64 = 4 * GIB;

/// The first addresses, a border of tables of level 2, a border of level 1 elsewhere, the end.
const CENTERS: [u64; 4] = [0, 512 * GIB - 2 * GIB, 77 * GIB - 2 * GIB, VA_END - WINDOW];

/// An operation.
pub(super) enum Operation {
    /// Pieces of memory in the order in which they make up the buffer, and an offset into it.
    Map(VaRange, Segments, Vec<(u64, View)>, u64, bool),
    Null(VaRange, bool),
    Unmap(VaRange),
}

impl Operation {
    /// What is mapped, if anything is.
    pub(super) fn mapping(&self) -> Option<Mapping<'_>> {
        match self {
            Operation::Map(va, segments, _, offset, writable) => {
                Some(Mapping::memory(*va, segments, *offset, *writable).expect("a good mapping"))
            }
            Operation::Null(va, writable) => Some(Mapping::null(*va, *writable)),
            Operation::Unmap(_) => None,
        }
    }
}

impl Run {
    /// A number up to `limit` in which small ones are as likely as large ones.
    fn spread(&mut self, limit: u64) -> u64 {
        let bits = self.random.below(64 - u64::from(limit.leading_zeros()) + 1);

        self.random.below(1 << bits).min(limit)
    }

    /// A range: its ends are often those of large leaves, or of what is mapped.
    pub(super) fn va(&mut self, limit: u64) -> VaRange {
        let unit = *self.random.pick(&[PAGE, PAGE, MIB_2, MIB_2, GIB]);
        let base = *self.random.pick(&CENTERS);
        let mut start = base + self.random.below(WINDOW / unit) * unit;

        if self.random.below(4) == 0 {
            let near: Vec<_> = self.model.ranges().take(64).collect();
            if !near.is_empty() {
                let (first, end) = *self.random.pick(&near);
                start = *self.random.pick(&[first, end]);
            }
        } else if self.random.below(4) == 0 {
            start += self.random.below(4) * PAGE;
        }
        start = start.min(VA_END - PAGE);

        let most = limit.min(VA_END - start);
        let size = (1 + self.spread(most / unit)) * unit;
        VaRange::new(start, size.clamp(PAGE, most)).unwrap()
    }

    /// An address for contiguous memory: often one that allows large leaves.
    pub(super) fn view(&mut self, va: u64, writable: bool) -> View {
        let spaces = [Space::Local, Space::Local, Space::Bus, Space::Link];
        let unit = *self.random.pick(&[PAGE, MIB_2, GIB, GIB]);
        let address = self.random.below(1 << 51) / unit * unit + va % unit;

        View {
            space: *self.random.pick(&spaces),
            address,
            writable,
        }
    }

    /// Any operation.
    pub(super) fn operation(&mut self) -> Operation {
        let writable = self.random.below(2) == 0;

        match self.random.below(8) {
            0..=2 => {
                let limit = *self.random.pick(&[64 * PAGE, 2 * MIB_2, 3 * GIB]);
                Operation::Unmap(self.va(limit))
            }
            3 => {
                let limit = *self.random.pick(&[64 * PAGE, 2 * MIB_2, 3 * GIB]);
                Operation::Null(self.va(limit), writable)
            }
            4 | 5 => {
                let va = self.va(2 * GIB + 2 * MIB_2);
                let mut view = self.view(va.start(), writable);
                // Many leaves of 4 KiB take long, and are as good as a few.
                let va = if view.address % MIB_2 == va.start() % MIB_2 {
                    va
                } else {
                    let most = *self.random.pick(&[16 * PAGE, 16 * PAGE, MIB_2, 3 * MIB_2]);
                    VaRange::new(va.start(), va.size().min(most)).unwrap()
                };
                let offset = self.random.below(4) * PAGE;
                view.address = view.address.max(offset);
                self.pieces(
                    va,
                    offset,
                    vec![(
                        va.size() + offset,
                        View {
                            address: view.address - offset,
                            ..view
                        },
                    )],
                )
            }
            _ => {
                let limit = *self.random.pick(&[16 * PAGE, 16 * PAGE, 4 * MIB_2]);
                let va = self.va(limit);
                let offset = self.random.below(2) * self.random.below(MIB_2 / PAGE) * PAGE;
                let mut pieces: Vec<(u64, View)> = Vec::new();
                let mut left = offset + va.size() + self.random.below(3) * PAGE;

                while left > 0 {
                    let size = ((1 + self.spread(left / PAGE)) * PAGE).min(left);
                    let at = va.start().wrapping_sub(offset) % GIB;
                    // Sometimes contiguous with the one before.
                    let view = match pieces.last() {
                        Some((len, last)) if self.random.below(3) == 0 => last.add(*len),
                        _ => self.view(at, writable),
                    };

                    pieces.push((size, view));
                    left -= size;
                }
                self.pieces(va, offset, pieces)
            }
        }
    }

    /// Maps a buffer of these pieces from byte `offset` on.
    pub(super) fn pieces(&self, va: VaRange, offset: u64, pieces: Vec<(u64, View)>) -> Operation {
        let mut segments = Segments::new();
        let writable = pieces[0].1.writable;

        for (size, view) in &pieces {
            let place = match view.space {
                Space::Local => Place::local(view.address),
                Space::Bus => Place::bus(view.address),
                Space::Link => Place::link(view.address),
                Space::Null => unreachable!(),
            };
            segments.push(place.unwrap(), *size).unwrap();
        }
        Operation::Map(va, segments, pieces, offset, writable)
    }
}
