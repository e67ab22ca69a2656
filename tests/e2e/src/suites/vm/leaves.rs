// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page tables: large leaves where they are possible, and no table that is not
//! needed. A VM tells how many bytes of tables it has.

use hlrs::BindOp;
use hlrs::Vm;

use super::contiguous;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::space::Space;
use crate::system::space::LARGE;
use crate::system::space::PAGE;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        contiguous_memory_needs_few_tables,
        large_mappings_of_nothing,
        tables_go_when_they_are_empty,
        a_large_leaf_that_is_split,
        unmapping_far_and_wide,
        one_invalidation_for_a_bind,
    ]
}

/// Tables beyond those of an empty VM.
struct Tables<'a> {
    vm: &'a Vm,
    empty: u64,
}

impl<'a> Tables<'a> {
    fn of(vm: &'a Vm) -> Outcome<Tables<'a>> {
        let empty = vm.state()?.page_tables;
        Ok(Tables { vm, empty })
    }

    fn count(&self) -> Outcome<u64> {
        let bytes = self.vm.state()?.page_tables;
        check!(bytes >= self.empty, "fewer tables than an empty VM has");
        Ok((bytes - self.empty) / PAGE)
    }

    fn are(&self, what: &str, expected: u64) -> Outcome {
        check_eq!(self.count()?, expected, "page tables, {what}");
        Ok(())
    }
}

fn contiguous_memory_needs_few_tables(_: &Context) -> Outcome {
    let device = cards::first()?;
    let vm = device.vm().create()?;
    let tables = Tables::of(&vm)?;
    let buffer = contiguous(&device, 4 * LARGE)?;
    let size = buffer.size();
    // One for 512 GiB and one for 1 GiB, none of pages.
    vm.map(BASE, &buffer)?;
    tables.are("aligned as memory is", 2)?;
    vm.unmap(BASE, size)?;
    tables.are("all unmapped", 0)?;
    // Pages at both ends, large leaves between.
    let op = BindOp::map_range(BASE + PAGE, &buffer, PAGE, size - 2 * PAGE);
    vm.bind().op(op).submit()?;
    tables.are("without the first and the last page", 2 + 2)?;
    vm.unmap(BASE, 1 << 30)?;
    // Addresses that do not fit the memory: pages only.
    vm.map(BASE + PAGE, &buffer)?;
    tables.are("not aligned as memory is", 2 + 5)?;
    vm.unmap(BASE, 1 << 30)?;
    // At a border of 512 GiB.
    vm.map((1 << 39) - LARGE, &buffer)?;
    tables.are("across 512 GiB", 4)?;
    vm.unmap(0, 1 << 40)?;
    tables.are("in the end", 0)
}

fn large_mappings_of_nothing(_: &Context) -> Outcome {
    let vm = cards::first()?.vm().create()?;
    let tables = Tables::of(&vm)?;
    let null = |va, size| vm.bind().op(BindOp::map_null(va, size)).submit();
    null(BASE, 1 << 30)?;
    tables.are("1 GiB", 1)?;
    null(BASE, 1 << 39)?;
    tables.are("512 GiB", if BASE % (1 << 39) == 0 { 1 } else { 2 })?;
    vm.unmap(BASE, 1 << 39)?;
    tables.are("unmapped", 0)?;
    null(BASE + LARGE, 1 << 30)?;
    tables.are("1 GiB in leaves of 2 MiB", 3)?;
    vm.unmap(BASE, 1 << 39)?;
    null(BASE + PAGE, LARGE)?;
    tables.are("2 MiB in pages", 4)?;
    vm.unmap(BASE, 1 << 39)?;
    tables.are("in the end", 0)
}

fn tables_go_when_they_are_empty(context: &Context) -> Outcome {
    let device = cards::first()?;
    let before = cards::used(&device)?;
    {
        let vm = device.vm().create()?;
        let tables = Tables::of(&vm)?;
        let buffer = Place::Lmem.create(&device, PAGE)?;
        let used = cards::used(&device)?;
        for _ in context.each(2, 100) {
            // A table of each level for every page.
            let vas = (0..32).map(|n| (n << 39) | (n << 30) | (n << 21) | (n << 12));
            let ops = vas.clone().map(|va| BindOp::map(va, &buffer));
            vm.bind().ops(ops).submit()?;
            tables.are("32 pages far apart", 32 * 3)?;
            check_eq!(
                cards::used(&device)?,
                used + 32 * 3 * PAGE,
                "LMEM in use with these tables"
            );
            for (n, va) in vas.enumerate() {
                vm.unmap(va, PAGE)?;
                tables.are("fewer pages", 3 * (31 - n as u64))?;
            }
            cards::settles(&device, used)?;
        }
    }
    cards::settles(&device, before)
}

/// Splitting a large leaf makes a table; mapping all again unmakes it.
fn a_large_leaf_that_is_split(_: &Context) -> Outcome {
    let space = Space::first()?;
    let buffer = contiguous(&space.device, 2 * LARGE)?;
    buffer.fill(0, 2 * LARGE, 0x4321)?;
    for n in [0, 1, 255, 511] {
        space.vm.map(BASE, &buffer)?;
        let one = Tables::of(&space.vm)?;
        space.vm.unmap(BASE + n * PAGE, PAGE)?;
        one.are("with a hole in a large leaf", 1)?;
        space.vm.map(BASE, &buffer)?;
        one.are("mapped anew", 0)?;
        // A page with other rights is another leaf.
        let op = BindOp::map_range(BASE + n * PAGE, &buffer, n * PAGE, PAGE).read_only();
        space.vm.bind().op(op).submit()?;
        one.are("with a read-only page", 1)?;
        space.holds("all of it", BASE, 2 * LARGE, 0x4321)?;
        space.vm.map(BASE, &buffer)?;
    }
    Ok(())
}

/// Ranges that are much larger than what is mapped in them.
fn unmapping_far_and_wide(_: &Context) -> Outcome {
    let device = cards::first()?;
    let vm = device.vm().create()?;
    let tables = Tables::of(&vm)?;
    let buffer = contiguous(&device, LARGE)?;
    for (va, from, size) in [
        (BASE, 0, crate::system::space::END),
        (BASE + 7 * PAGE, BASE, 1 << 30),
        (BASE, BASE - (1 << 30), 1 << 40),
    ] {
        vm.map(va, &buffer)?;
        vm.unmap(from, size)?;
        tables.are("after a wide unmap", 0)?;
        check_eq!(vm.state()?.mapped, 0, "bytes mapped");
    }
    Ok(())
}

/// However many operations and pages a bind has, the device is told once what
/// it has to forget.
fn one_invalidation_for_a_bind(_: &Context) -> Outcome {
    const COUNT: u64 = 40;
    let node = cards::first_node()?;
    let space = Space::new(&node.open()?)?;
    let buffer = Place::Lmem.create(&space.device, 2 * COUNT * PAGE)?;
    buffer.fill(0, buffer.size(), 0x0dd)?;
    let invalidations = || -> Outcome<u64> {
        let counters = node.counters();
        counters
            .and_then(|counters| counters.get("tlb_invalidate"))
            .ok_or_else(|| Stop::failed("the driver shows no counter tlb_invalidate"))
    };
    // Other pages of the buffer than before, and holes between them.
    let pages = |odd: u64| (0..COUNT).map(move |n| (BASE + 2 * n * PAGE, (2 * n + odd) * PAGE));
    for (what, odd) in [("new", 0), ("replaced", 1)] {
        let before = invalidations()?;
        let ops = pages(odd).map(|(va, at)| BindOp::map_range(va, &buffer, at, PAGE));
        space.vm.bind().ops(ops).submit()?;
        let told = invalidations()? - before;
        check!(told <= 1, "{told} invalidations for {COUNT} pages, {what}");
        space.holds(what, BASE + 2 * (COUNT - 1) * PAGE, PAGE, 0x0dd)?;
    }
    let before = invalidations()?;
    space
        .vm
        .bind()
        .ops(pages(0).map(|(va, _)| BindOp::unmap(va, PAGE)))
        .submit()?;
    check_eq!(
        invalidations()? - before,
        1,
        "invalidations for {COUNT} pages that are gone"
    );
    Ok(())
}
