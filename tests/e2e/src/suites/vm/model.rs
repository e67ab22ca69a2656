// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an address space must look like after a sequence of operations, page by
//! page.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use hlrs::BindOp;
use hlrs::Buffer;

use crate::system::space::PAGE;

/// Checksums of consecutive pages put together, without their contents.
pub struct Checksums {
    /// What becomes of each bit of a checksum when a page of zeros follows.
    shifted: [u32; 32],
}

impl Checksums {
    pub fn new() -> Checksums {
        let zeros = [0; PAGE as usize];
        let affine = hlrs::crc32c(0, &zeros);
        let mut shifted = [0; 32];
        for (bit, shifted) in shifted.iter_mut().enumerate() {
            *shifted = hlrs::crc32c(1 << bit, &zeros) ^ affine;
        }
        Checksums { shifted }
    }

    /// The checksum of pages one after the other, from those of each.
    pub fn of_pages(&self, pages: impl IntoIterator<Item = u32>) -> u32 {
        pages.into_iter().fold(0, |before, page| {
            let bits = (0..32).filter(|bit| (before >> bit) & 1 != 0);
            bits.fold(page, |sum, bit| sum ^ self.shifted[bit])
        })
    }
}

/// What is behind a page of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    Nothing,
    /// A page of one of the buffers.
    Page {
        buffer: usize,
        page: u64,
    },
}

/// A page that is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    pub behind: Behind,
    pub read_only: bool,
}

/// A buffer and the checksums of its pages.
pub struct Content {
    pub buffer: Buffer,
    pub pages: Vec<u32>,
}

impl Content {
    /// A buffer with these contents.
    pub fn new(buffer: Buffer, bytes: &[u8]) -> Content {
        let pages = bytes.chunks(PAGE as usize);
        let pages = pages.map(|page| hlrs::crc32c(0, page)).collect();
        Content { buffer, pages }
    }
}

/// An operation.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    Map {
        va: u64,
        buffer: usize,
        page: u64,
        pages: u64,
        read_only: bool,
    },
    Null {
        va: u64,
        pages: u64,
        read_only: bool,
    },
    Unmap {
        va: u64,
        pages: u64,
    },
}

impl Op {
    /// What the kernel is given.
    pub fn bind<'a>(&self, contents: &'a [Content]) -> BindOp<'a> {
        let (op, read_only) = match *self {
            Op::Map {
                va,
                buffer,
                page,
                pages,
                read_only,
            } => {
                let (offset, size) = (page * PAGE, pages * PAGE);
                let buffer = &contents[buffer].buffer;
                (BindOp::map_range(va, buffer, offset, size), read_only)
            }
            Op::Null {
                va,
                pages,
                read_only,
            } => (BindOp::map_null(va, pages * PAGE), read_only),
            Op::Unmap { va, pages } => (BindOp::unmap(va, pages * PAGE), false),
        };
        match read_only {
            true => op.read_only(),
            false => op,
        }
    }
}

/// The pages of an address space, by their addresses.
#[derive(Default, Clone)]
pub struct Model {
    pages: BTreeMap<u64, Mapped>,
}

impl Model {
    /// Does an operation.
    pub fn apply(&mut self, op: &Op) {
        let (va, pages) = match *op {
            Op::Map { va, pages, .. } | Op::Null { va, pages, .. } | Op::Unmap { va, pages } => {
                (va, pages)
            }
        };
        for n in 0..pages {
            let at = va + n * PAGE;
            let mapped = match *op {
                Op::Map {
                    buffer,
                    page,
                    read_only,
                    ..
                } => Mapped {
                    behind: Behind::Page {
                        buffer,
                        page: page + n,
                    },
                    read_only,
                },
                Op::Null { read_only, .. } => Mapped {
                    behind: Behind::Nothing,
                    read_only,
                },
                Op::Unmap { .. } => {
                    self.pages.remove(&at);
                    continue;
                }
            };
            self.pages.insert(at, mapped);
        }
    }

    /// What is mapped at a page.
    pub fn at(&self, va: u64) -> Option<Mapped> {
        self.pages.get(&va).copied()
    }

    /// Bytes that are mapped.
    pub fn mapped(&self) -> u64 {
        self.pages.len() as u64 * PAGE
    }

    /// All pages in order.
    pub fn pages(&self) -> impl Iterator<Item = (u64, Mapped)> + '_ {
        self.pages.iter().map(|(va, mapped)| (*va, *mapped))
    }

    /// Ranges without a hole, as the addresses of their pages.
    pub fn runs(&self) -> Vec<Vec<u64>> {
        let mut runs: Vec<Vec<u64>> = Vec::new();
        for va in self.pages.keys().copied() {
            match runs.last_mut() {
                Some(run) if run.last() == Some(&(va - PAGE.min(va))) => run.push(va),
                _ => runs.push(vec![va]),
            }
        }
        runs
    }

    /// The least and the largest number of page tables, besides the root, that
    /// these pages can need: with leaves as large as can be, and with pages only.
    pub fn tables(&self) -> (u64, u64) {
        let at = |shift: u32| -> BTreeMap<u64, u64> {
            let mut count = BTreeMap::new();
            for va in self.pages.keys() {
                *count.entry(va >> shift).or_default() += 1;
            }
            count
        };
        let (huge, large, small) = (at(39), at(30), at(21));
        // What is mapped in part cannot be a leaf of that size.
        let partial: BTreeSet<_> = small.iter().filter(|(_, n)| **n < 512).collect();
        let least = huge.len() + large.iter().filter(|(_, n)| **n < 512 * 512).count();
        let most = huge.len() + large.len() + small.len();
        ((least + partial.len()) as u64, most as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_pages_put_together() {
        let bytes: Vec<u8> = (0..5 * PAGE as u32).map(|n| ((n * n) >> 7) as u8).collect();
        let pages = bytes.chunks(PAGE as usize);
        let pages: Vec<_> = pages.map(|page| hlrs::crc32c(0, page)).collect();
        let sums = Checksums::new();
        assert_eq!(
            sums.of_pages(pages.iter().copied()),
            hlrs::crc32c(0, &bytes)
        );
        assert_eq!(sums.of_pages([]), 0);
        assert_eq!(sums.of_pages([pages[3]]), pages[3]);
    }

    #[test]
    fn the_last_operation_counts() {
        let mut model = Model::default();
        let map = |va, page, pages| Op::Map {
            va,
            buffer: 0,
            page,
            pages,
            read_only: false,
        };
        model.apply(&map(0x10000, 0, 8));
        model.apply(&Op::Unmap {
            va: 0x12000,
            pages: 1,
        });
        model.apply(&map(0x14000, 100, 1));
        assert_eq!(model.mapped(), 7 * PAGE);
        assert_eq!(model.at(0x12000), None);
        let behind = |va| model.at(va).map(|mapped| mapped.behind);
        let page = |page| Some(Behind::Page { buffer: 0, page });
        assert_eq!(behind(0x14000), page(100));
        assert_eq!(behind(0x15000), page(5));
        let runs: Vec<_> = model.runs().iter().map(Vec::len).collect();
        assert_eq!(runs, [2, 5]);
        assert_eq!(model.tables(), (3, 3));
    }

    #[test]
    fn large_leaves_need_no_table() {
        let mut model = Model::default();
        model.apply(&Op::Null {
            va: 1 << 30,
            pages: 1024,
            read_only: true,
        });
        assert_eq!(model.tables(), (2, 4));
    }
}
