// SPDX-License-Identifier: GPL-2.0
//! Random operations. `HLRS_SEED` repeats a run, `HLRS_ROUNDS` is the number of operations;
//! with `HLRS_SOAK=1` there are twenty times as many.

use crate::{
    memory::{Memory, Page},
    mmu::{contents, translate, Space, Tlb},
    model::{Model, View},
    page_table::{PageTable, Reserve, Update, VaRange, VA_END},
    prelude::*,
    random::Random,
};

mod operations;

use operations::Operation;

const PAGE: u64 = 1 << 12;
const MIB_2: u64 = 2 << 20;
const GIB: u64 = 1 << 30;

/// Operations between two looks at all tables.
const BATCH: u64 = 500;

struct Run {
    random: Random,
    memory: Memory,
    tables: PageTable<Page>,
    model: Model,
    tlb: Tlb,
    /// Where tables may be empty.
    cleared: Vec<(u64, u64)>,
    /// What happened, for messages.
    leaves: [u64; 3],
    splits: u64,
    stale: u64,
    freed: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let memory = Memory::default();
        let tables = PageTable::new(memory.alloc().unwrap()).unwrap();
        tables.blank(&memory);

        Run {
            random: Random::new(seed),
            memory,
            tables,
            model: Model::default(),
            tlb: Tlb::default(),
            cleared: Vec::new(),
            leaves: [0; 3],
            splits: 0,
            stale: 0,
            freed: 0,
        }
    }

    /// Engines use some of what is mapped.
    fn touch(&mut self, va: VaRange) {
        for _ in 0..4 {
            let at =
                va.start().saturating_sub(PAGE) + self.random.below(va.size() / PAGE + 2) * PAGE;

            if at < VA_END {
                let leaf = translate(&self.memory, self.tables.root(), at).unwrap();
                if let Some(leaf) = leaf {
                    self.tlb.fill(leaf);
                }
            }
        }
    }

    /// The operation on the model.
    fn mirror(&mut self, operation: &Operation) {
        match operation {
            Operation::Unmap(va) => self.model.unmap(va.start(), va.end()),
            Operation::Null(va, writable) => {
                self.model.unmap(va.start(), va.end());
                let view = View {
                    space: Space::Null,
                    address: 0,
                    writable: *writable,
                };
                self.model.map(va.start(), va.end(), view);
            }
            Operation::Map(va, _, pieces, offset, _) => {
                self.model.unmap(va.start(), va.end());
                let (mut begin, mut at) = (0, va.start());
                for (size, view) in pieces {
                    let position = at - va.start() + offset;
                    let end = begin + size;
                    if end > position && at < va.end() {
                        let len = (end - position).min(va.end() - at);
                        self.model
                            .add(va.start(), at, at + len, view.add(position - begin));
                        at += len;
                    }
                    begin = end;
                }
                assert_eq!(at, va.end());
            }
        }
    }

    /// The leaves of a range that was mapped in one operation are as large as they can be.
    fn check_leaves(&mut self, va: VaRange) {
        let mut at = va.start();

        while at < va.end() {
            let leaf = translate(&self.memory, self.tables.root(), at).unwrap();
            let leaf = leaf.unwrap_or_else(|| panic!("{at:#x} is not mapped"));

            for size in [MIB_2, GIB] {
                if size <= leaf.size || at % size != 0 || at + size > va.end() {
                    continue;
                }
                let fits = self.model.view(at, at + size);
                assert!(
                    !matches!(fits, Some(view) if view.address % size == 0),
                    "{leaf:x?} could be as large as {size:#x}"
                );
            }
            self.leaves[[PAGE, MIB_2, GIB]
                .iter()
                .position(|s| *s == leaf.size)
                .unwrap()] += 1;
            at = leaf.va + leaf.size;
        }
        assert_eq!(at, va.end(), "a leaf goes on behind the range");
    }

    /// A bind: a few operations, one invalidation.
    fn bind(&mut self, mut operations: Vec<Operation>, sequential: bool) {
        if sequential {
            // Neighbours, as a vector of small operations has them, or the same again.
            operations.truncate(1);
            let first = self.va(MIB_2);
            for n in 0..1 + self.random.below(6) {
                let again = self.random.below(2) == 0;
                let page = if again { self.random.below(n + 1) } else { n };
                let start = first.start() + page * PAGE;
                if let Ok(va) = VaRange::new(start, PAGE) {
                    let view = self.view(start, true);
                    operations.push(match self.random.below(8) {
                        0 => Operation::Unmap(va),
                        1 => Operation::Null(va, true),
                        _ => self.pieces(va, 0, vec![(PAGE, view)]),
                    });
                }
            }
        }

        let mut reserve = Reserve::new();
        // Memory that is evicted when the time comes is not mapped. In some binds that can be all.
        let mut evicted = Vec::new();
        let known = if self.random.below(4) == 0 { 1 } else { 8 };
        for operation in &operations {
            let unknown = self.random.below(known) == 0;
            match operation.mapping() {
                Some(mapping) if unknown && mapping.va().size() < 16 * MIB_2 => {
                    reserve.map_any(mapping.va());
                    evicted.push(self.random.below(2) == 0);
                    continue;
                }
                Some(mapping) => reserve.map(&mapping),
                None => {
                    let (Operation::Unmap(va) | Operation::Null(va, _) | Operation::Map(va, ..)) =
                        operation;
                    reserve.unmap(*va);
                }
            }
            evicted.push(false);
        }

        let before = self.memory.tables();
        let memory = self.memory.clone();
        let mut update = reserve.allocate(|_| memory.alloc()).unwrap();
        assert_eq!(self.memory.tables() - before, reserve.tables());

        for (operation, evicted) in operations.iter().zip(evicted) {
            self.step(operation, evicted, &mut update);
        }
        assert!(!update.ran_short(), "too few tables were reserved");

        let (stale, freed) = update.finish();
        let kept = self.memory.tables();
        if let Some(stale) = stale {
            self.stale += 1;
            self.tlb.invalidate(stale.start(), stale.end());
        } else {
            assert!(freed.is_empty());
        }
        self.check_tlb();
        drop(freed);
        self.freed += (kept - self.memory.tables()) as u64;
    }

    fn step(&mut self, operation: &Operation, evicted: bool, update: &mut Update<Page>) {
        let (Operation::Unmap(va) | Operation::Null(va, _) | Operation::Map(va, ..)) = operation;
        // Nothing is mapped, and no table is in the way of a large leaf.
        let free = self.model.is_free(va.start(), va.end())
            && !self
                .cleared
                .iter()
                .any(|(start, size)| *start < va.end() + GIB && va.start() < start + size + GIB);
        let stale = update.stale();
        let allocations = allocations();

        // What is evicted may go between any two operations.
        if self.random.below(16) == 0 {
            self.evict();
        }
        self.touch(*va);
        if self.random.below(16) == 0 {
            self.watch(*va);
        }
        match operation.mapping() {
            Some(mapping) if !evicted => {
                self.tables.map(&self.memory, &mapping, update);
                self.mirror(operation);
                assert_eq!(allocations, crate::prelude::allocations());
                self.check_leaves(*va);
                if free {
                    assert_eq!(stale, update.stale(), "nothing was mapped at {va:x?}");
                }
            }
            _ => {
                let large = |at| {
                    let leaf = translate(&self.memory, self.tables.root(), at).unwrap();
                    matches!(leaf, Some(leaf) if leaf.size > PAGE && leaf.va != at)
                };
                self.splits += u64::from(large(va.start()));
                if evicted {
                    self.tables.vacate(&self.memory, *va, update);
                } else {
                    self.tables.unmap(&self.memory, *va, update);
                }
                assert_eq!(allocations, crate::prelude::allocations());
                self.mirror(&Operation::Unmap(*va));
                self.cleared
                    .retain(|(start, size)| *start < va.start() || start + size > va.end());
                if evicted {
                    self.cleared.push((va.start(), va.size()));
                }
            }
        }
        self.memory.watch(0, core::iter::empty());
        self.touch(*va);
    }

    /// Engines use what is around `va`, and what is mapped elsewhere, all the time.
    fn watch(&mut self, va: VaRange) {
        let mut at = Vec::new();

        for unit in [PAGE, MIB_2, GIB] {
            at.push(va.start().wrapping_sub(1 + self.random.below(unit)));
            at.push(va.end() + self.random.below(unit));
        }
        at.extend(self.model.ranges().take(8).map(|(start, _)| start));
        self.memory.watch(
            self.tables.root(),
            at.into_iter()
                .filter(|at| *at < VA_END && !(va.start()..va.end()).contains(at))
                .map(|at| at / PAGE * PAGE),
        );
    }

    /// Clears what is mapped at some place, from end to end, or a part; then it has to be
    /// invalidated at once.
    fn evict(&mut self) {
        let ranges: Vec<_> = self.model.ranges().collect();
        if ranges.is_empty() {
            return;
        }
        let (start, end) = *self.random.pick(&ranges);
        let va = VaRange::new(start, end - start).unwrap();

        self.touch(va);
        let stale = self.tables.clear(&self.memory, va).expect("it was mapped");
        self.tlb.invalidate(stale.start(), stale.end());
        assert_eq!((stale.start(), stale.end()), (start, end));
        self.model.unmap(start, end);
        assert_eq!(self.tables.clear(&self.memory, va), None);
        self.cleared.push((start, end - start));
    }

    fn check_tlb(&self) {
        for leaf in self.tlb.leaves() {
            assert!(self.model.agrees(leaf), "{leaf:x?} is stale");
        }
    }

    fn check_tables(&mut self) {
        let root = self.tables.root();
        let found = contents(&self.memory, root).unwrap();
        let bytes: u64 = found.leaves.iter().map(|leaf| leaf.size).sum();

        if let Some(leaf) = self.model.disagrees(&found.leaves) {
            panic!("{leaf:x?} should not be there");
        }
        assert_eq!(bytes, self.model.bytes(), "not all is mapped");
        assert_eq!(found.tables, self.memory.tables(), "tables are lost");
        assert_eq!(found.tables, self.tables.tables());

        // The tables are those that have something in them, and those that eviction has left.
        for (start, size) in &found.empty {
            assert!(
                self.cleared
                    .iter()
                    .any(|(first, len)| first < &(start + size) && *start < first + len),
                "the table for {start:#x} is empty"
            );
        }

        let mut leaves = found.leaves.iter();
        let all = VaRange::new(0, VA_END).unwrap();
        self.tables.for_each_leaf(&self.memory, all, |va, size, _| {
            let leaf = leaves.next().expect("a leaf more than there are");
            assert_eq!((va, size), (leaf.va, leaf.size));
        });
        assert!(leaves.next().is_none());
        self.check_tlb();
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;

    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[test]
fn random_operations() {
    let seed = variable("HLRS_SEED").unwrap_or_else(|| {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |time| time.as_nanos() as u64)
    });
    let soak = variable("HLRS_SOAK") == Some(1);
    let rounds = variable("HLRS_ROUNDS").unwrap_or(if soak { 2_000_000 } else { 100_000 });
    println!("HLRS_SEED={seed} HLRS_ROUNDS={rounds}");

    let mut run = Run::new(seed);
    let mut done = 0;
    let mut looked = 0;

    while done < rounds {
        let count = 1 + run.random.below(4);
        let operations = (0..count).map(|_| run.operation()).collect();
        let sequential = run.random.below(4) == 0;

        run.bind(operations, sequential);
        done += count;
        if done - looked >= BATCH {
            looked = done;
            run.check_tables();
            run.random_end();
        }
    }
    run.check_tables();
    println!(
        "leaves of 4 KiB {}, 2 MiB {}, 1 GiB {}; unmapping split {} times; {} invalidations; {} \
         tables given back; {} leaves cached at the end",
        run.leaves[0],
        run.leaves[1],
        run.leaves[2],
        run.splits,
        run.stale,
        run.freed,
        run.tlb.len()
    );
    if rounds >= 10_000 {
        assert!(run.leaves.iter().all(|count| *count > rounds / 100));
        assert!(run.splits > rounds / 100);
    }

    run.unmap_all();
    assert_eq!(run.memory.tables(), 1, "tables are left");
    drop(run.tables);
    assert_eq!(run.memory.tables(), 0);
}

impl Run {
    /// Sometimes everything goes.
    fn random_end(&mut self) {
        if self.random.below(32) == 0 {
            self.unmap_all();
            assert_eq!(self.memory.tables(), 1, "tables are left");
        }
    }

    fn unmap_all(&mut self) {
        let all = VaRange::new(0, VA_END).unwrap();
        let mut reserve = Reserve::new();

        reserve.unmap(all);
        assert_eq!(reserve.tables(), 0);
        let memory = self.memory.clone();
        let mut update = reserve.allocate(|_| memory.alloc()).unwrap();
        self.tables.unmap(&self.memory, all, &mut update);
        let (stale, freed) = update.finish();
        if let Some(stale) = stale {
            self.tlb.invalidate(stale.start(), stale.end());
        }
        self.model.unmap(0, VA_END);
        self.cleared.clear();
        self.check_tlb();
        drop(freed);
    }
}
