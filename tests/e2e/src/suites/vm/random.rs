// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random operations, compared with a model after each batch: the page tables
//! are read, the device computes checksums through them, and the kernel tells
//! how much is mapped.

use std::collections::HashMap;

use hlrs::BindOp;
use hlrs::Device;
use hlrs::FaultReason;
use hlrs::Node;

use super::contiguous;
use super::foreign;
use super::model::Behind;
use super::model::Checksums;
use super::model::Content;
use super::model::Mapped;
use super::model::Model;
use super::model::Op;
use super::scattered;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Progress;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::page_tables;
use crate::system::random::Random;
use crate::system::space::Space;
use crate::system::space::LARGE;
use crate::system::space::PAGE;
use crate::system::space::RESULTS;
use crate::system::space::RESULTS_SIZE;
use crate::system::sw_sync::Timeline;
use crate::system::vfs::Vfs;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![random_operations: 120, random_operations_of_a_virtual_function: 180]
}

/// Operations with one address space.
const LIFE: u32 = 2000;
/// Where operations happen: the ends of tables of every level lie within.
const WINDOWS: [u64; 4] = [
    0,
    BASE - 2 * LARGE,
    (1 << 39) - 2 * LARGE,
    3 * (1 << 30) - 2 * LARGE,
];
/// Bytes of each window.
const WINDOW: u64 = 4 * LARGE;

/// Everything that random operations need.
struct Run<'a> {
    space: Space,
    contents: &'a mut [Content],
    model: Model,
    sums: &'a Checksums,
    random: Random,
    /// Tables of an empty VM and of the results.
    own_tables: u64,
    /// The function, as PCI knows it.
    address: &'a str,
}

/// Buffers of every kind, with random contents.
fn contents(device: &Device, other: &Device, random: &mut Random) -> Outcome<Vec<Content>> {
    let buffers = [
        contiguous(device, 2 * LARGE)?,
        contiguous(device, LARGE)?,
        scattered(device, LARGE / 4)?,
        Place::Lmem.create(device, 3 * MIB + PAGE)?,
        Place::System.create(device, MIB)?,
        foreign(device, other, Place::Visible, MIB)?.1,
    ];
    let mut contents = Vec::new();
    for buffer in buffers {
        let bytes = cards::randomize(&buffer, random)?;
        contents.push(Content::new(buffer, &bytes));
    }
    Ok(contents)
}

impl Run<'_> {
    /// An address in one of the windows and a number of pages that fit there,
    /// often at or around borders of large leaves.
    fn place(&mut self) -> (u64, u64) {
        let window = *self.random.pick(&WINDOWS);
        let pages = WINDOW / PAGE;
        let first = match self.random.below(4) {
            0 => self.random.below(WINDOW / LARGE) * (LARGE / PAGE),
            1 => (self.random.below(WINDOW / LARGE) * (LARGE / PAGE) + pages - 1) % pages,
            _ => self.random.below(pages),
        };
        let most = pages - first;
        let count = match self.random.below(4) {
            0 => 1,
            1 => (1 + self.random.below(16)).min(most),
            2 => (LARGE / PAGE).min(most),
            _ => 1 + self.random.below(most),
        };
        (window + first * PAGE, count)
    }

    fn op(&mut self) -> Op {
        let (va, pages) = self.place();
        let read_only = self.random.below(5) == 0;
        match self.random.below(10) {
            0..=2 => Op::Unmap { va, pages },
            3 => Op::Null {
                va,
                pages,
                read_only,
            },
            _ => {
                let buffer = self.random.below(self.contents.len() as u64) as usize;
                let size = self.contents[buffer].pages.len() as u64;
                let pages = pages.min(size);
                // Often where a large leaf is possible.
                let page = match self.random.below(2) {
                    0 => 0,
                    _ => self.random.below(size - pages + 1),
                };
                Op::Map {
                    va,
                    buffer,
                    page,
                    pages,
                    read_only,
                }
            }
        }
    }

    /// One call with several operations; sometimes after a fence, sometimes with
    /// one that cannot be done.
    fn batch(&mut self, count: u64) -> Outcome {
        let ops: Vec<_> = (0..count).map(|_| self.op()).collect();
        let binds: Vec<_> = ops.iter().map(|op| op.bind(self.contents)).collect();
        let vm = &self.space.vm;
        match self.random.below(8) {
            0 => {
                let at = self.random.below(count + 1) as usize;
                let mut wrong = binds;
                wrong.insert(at, BindOp::unmap(PAGE / 2, PAGE));
                let refused = vm.bind().ops(wrong).submit();
                let index = refused.err().and_then(|err| err.failed_op());
                check_eq!(index, Some(at), "the index of what cannot be done");
                return Ok(());
            }
            1 => {
                let timeline = Timeline::new()?;
                let start = timeline.syncobj(vm.device())?;
                vm.bind().ops(binds).wait_for(&start).submit()?;
                timeline.advance(1)?;
            }
            _ => vm.bind().ops(binds).submit()?,
        }
        for op in &ops {
            self.model.apply(op);
        }
        Ok(())
    }

    /// Checksum of what is behind a page.
    fn crc_of(&self, mapped: Mapped) -> u32 {
        match mapped.behind {
            Behind::Nothing => cards::crc_of_pattern(0, PAGE),
            Behind::Page { buffer, page } => self.contents[buffer].pages[page as usize],
        }
    }

    /// Compares everything that is mapped, in ranges as long as they go and in
    /// single pages.
    fn verify(&mut self) -> Outcome {
        let mut ranges = Vec::new();
        for run in self.model.runs() {
            // Also from somewhere to somewhere.
            let from = self.random.below(run.len() as u64) as usize;
            let len = 1 + self.random.below((run.len() - from) as u64) as usize;
            ranges.push(run[from..from + len].to_vec());
            ranges.push(run);
        }
        let asked: Vec<_> = ranges
            .iter()
            .map(|pages| (pages[0], pages.len() as u64 * PAGE))
            .collect();
        let found = self.space.crcs(&asked)?;
        for (pages, crc) in ranges.iter().zip(found) {
            let each = pages.iter().filter_map(|va| self.model.at(*va));
            let expected = self.sums.of_pages(each.map(|mapped| self.crc_of(mapped)));
            if crc != expected {
                self.find(pages)?;
                check!(
                    false,
                    "{} pages at {:#x} are right one by one, but not together",
                    pages.len(),
                    pages[0]
                );
            }
        }
        self.tables()?;
        self.counts()
    }

    /// Says which of some pages is wrong.
    fn find(&mut self, pages: &[u64]) -> Outcome {
        let asked: Vec<_> = pages.iter().map(|va| (*va, PAGE)).collect();
        for (va, crc) in pages.iter().zip(self.space.crcs(&asked)?) {
            let Some(mapped) = self.model.at(*va) else {
                continue;
            };
            let expected = self.crc_of(mapped);
            check!(
                crc == expected,
                "the page at {va:#x} has CRC32C {crc:#x}, not {expected:#x} of {mapped:?}"
            );
        }
        Ok(())
    }

    /// Compares what the kernel tells of the VM.
    fn counts(&self) -> Outcome {
        let state = self.space.vm.state()?;
        check_eq!(
            state.mapped,
            self.model.mapped() + RESULTS_SIZE,
            "bytes mapped"
        );
        let tables = state.page_tables / PAGE - self.own_tables;
        let (least, most) = self.model.tables();
        check!(
            (least..=most).contains(&tables),
            "{tables} page tables, not {least} to {most}"
        );
        Ok(())
    }

    /// Compares the page tables with what they have to show: no page more, no
    /// page less, with the same rights, and the same memory wherever the same
    /// part of a buffer is mapped, and nowhere else.
    fn tables(&self) -> Outcome {
        let mut entries = page_tables::read(self.address, &self.space.vm)?;
        entries.retain(|va, _| !(RESULTS..RESULTS + RESULTS_SIZE).contains(va));
        let mut places = HashMap::new();
        let mut parts = HashMap::new();
        for (va, mapped) in self.model.pages() {
            let Some(entry) = entries.remove(&va) else {
                check!(false, "no entry for {va:#x}, {mapped:?}");
                continue;
            };
            check_eq!(entry.writable, !mapped.read_only, "{va:#x}, {mapped:?}");
            let (part, place) = match (mapped.behind, entry.place) {
                (Behind::Nothing, None) => continue,
                (Behind::Page { buffer, page }, Some(place)) => ((buffer, page), place),
                _ => {
                    check!(false, "{entry:?} for {va:#x}, {mapped:?}");
                    continue;
                }
            };
            check_eq!(*places.entry(part).or_insert(place), place, "{va:#x}");
            check_eq!(*parts.entry(place).or_insert(part), part, "{va:#x}");
        }
        if let Some((va, entry)) = entries.first_key_value() {
            let count = entries.len();
            check!(
                false,
                "{count} pages too many, the first at {va:#x}: {entry:x?}"
            );
        }
        Ok(())
    }

    /// Writes some pages through the VM. What is behind them is known
    /// afterwards, also at the other addresses where it is mapped.
    fn scribble(&mut self) -> Outcome {
        let pages: Vec<_> = self.model.pages().collect();
        for _ in 0..4 {
            if pages.is_empty() {
                return Ok(());
            }
            let (va, mapped) = *self.random.pick(&pages);
            if mapped.read_only {
                continue;
            }
            let pattern = self.random.next();
            self.space.fill(va, PAGE, pattern)?;
            if let Behind::Page { buffer, page } = mapped.behind {
                let bytes = pattern.to_le_bytes().repeat(PAGE as usize / 8);
                self.contents[buffer].pages[page as usize] = hlrs::crc32c(0, &bytes);
            }
        }
        Ok(())
    }

    /// What is not mapped cannot be accessed, and what may only be read not be
    /// written. This ends the VM.
    fn fault(&mut self) -> Outcome {
        for _ in 0..1000 {
            let (va, _) = self.place();
            let write = self.random.below(2) == 0;
            let reason = match self.model.at(va) {
                None => FaultReason::NotPresent,
                Some(mapped) if mapped.read_only && write => FaultReason::ReadOnly,
                Some(_) => continue,
            };
            return self.space.faults_at(va, write, reason);
        }
        Ok(())
    }

    /// All is unmapped, and no table is left.
    fn clear(&mut self) -> Outcome {
        for va in WINDOWS {
            self.space.vm.unmap(va, WINDOW)?;
        }
        self.model = Model::default();
        self.tables()?;
        self.counts()
    }
}

fn run(node: &Node, other: &Device, seed: u64, operations: u32) -> Outcome {
    let device = &node.open()?;
    let mut random = Random::new(seed);
    let mut contents = contents(device, other, &mut random)?;
    let sums = Checksums::new();
    let mut left = operations;
    let mut progress = Progress::of(operations);
    while left > 0 {
        let space = Space::new(device)?;
        let own_tables = space.vm.state()?.page_tables / PAGE;
        let mut run = Run {
            space,
            contents: &mut contents,
            model: Model::default(),
            sums: &sums,
            random: Random::new(random.next()),
            own_tables,
            address: &node.address,
        };
        let life = left.min(LIFE);
        left -= life;
        let mut done = 0;
        while done < life {
            let count = 1 + run.random.below(16).min(u64::from(life - done - 1));
            let from = done;
            let what = |stop: Stop| stop.during(format!("after {from} operations"));
            run.batch(count).map_err(what)?;
            run.verify().map_err(what)?;
            run.scribble().map_err(what)?;
            done += count as u32;
            progress.add(count as u32);
            if run.random.below(64) == 0 {
                run.clear().map_err(what)?;
            }
        }
        run.verify()?;
        run.fault()?;
    }
    Ok(())
}

fn random_operations(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let other = cards::two()?.1;
    run(&node, &other, context.seed, context.rounds(120, 100_000))
}

fn random_operations_of_a_virtual_function(context: &Context) -> Outcome {
    let vfs = Vfs::enable(1)?;
    let (node, other) = (vfs.vf_node(1)?, cards::two()?.1);
    run(&node, &other, context.seed, context.rounds(40, 20_000))
}
