// SPDX-License-Identifier: MIT OR Apache-2.0
//! Allocations that fail while an importer negotiates and maps, and how many
//! there are: those of the core, without a driver on either side that does more
//! than it has to.

use hlrs::DmaBuf;
use hlrs::Errno;

use super::Card;
use super::GRANULE;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::raw;
use crate::raw::exporter::Range;
use crate::suites::faults::inject::Injected;
use crate::suites::faults::Injection;
use crate::system::driver;
use crate::system::exporter;
use crate::system::exporter::range;
use crate::system::exporter::Exporter;
use crate::system::exporter::BAR;
use crate::system::iov;
use crate::system::iov::Importer;
use crate::system::space::PAGE;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![allocations_of_the_core_that_fail: 120]
}

/// Numbers of ranges that are mapped.
const COUNTS: [u64; 3] = [1, 64, 4096];

/// More allocations than there are.
const MANY: u64 = 1000;

/// Pages of which no two that follow each other are neighbours.
fn ranges(count: u64) -> Vec<Range> {
    (0..count)
        .map(|n| range((n * 2 + n % 2) % (2 * count) * PAGE, PAGE))
        .collect()
}

/// What must be the same before and after: references on the modules, lines
/// in debugfs, descriptors.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    references: [String; 3],
    attachments: usize,
    descriptors: usize,
}

impl Held {
    fn now() -> Outcome<Held> {
        let [a, b, c] = ["dma_buf_ic", exporter::MODULE, iov::MODULE]
            .map(|module| std::fs::read_to_string(format!("/sys/module/{module}/refcnt")));
        let text = std::fs::read_to_string("/sys/kernel/debug/dma_buf_ic/attachments")?;
        Ok(Held {
            references: [a?, b?, c?],
            attachments: text.lines().count(),
            descriptors: std::fs::read_dir("/proc/self/fd")?.count(),
        })
    }
}

/// Has each allocation of `call` fail, which is given the number of the one that
/// has to; returns how many calls failed. `check` is called after each of these.
fn each_fails<T>(
    what: &str,
    mut call: impl FnMut(u64) -> Outcome<(raw::Result<T>, Injected)>,
    mut check: impl FnMut() -> Outcome,
) -> Outcome<u32> {
    let mut failures = 0;
    for n in 1..MANY {
        let (result, injected) = call(n)?;
        if let Err(errno) = result {
            check!(
                matches!(errno, Errno::NOMEM | Errno::FAULT),
                "{what}, allocation {n}: {errno:?}"
            );
            failures += 1;
            check().map_err(|stop| stop.during(format!("{what}, allocation {n}: {errno:?}")))?;
        }
        if injected != Injected::Yes {
            return Ok(failures);
        }
    }
    Err(Stop::failed(format!("{what}: no end of allocations")))
}

/// How many allocations a map makes. That the allocator needs a new page itself
/// is possible at any time, but not each time.
fn allocations_of_a_map(
    injection: &Injection,
    exporter: &Exporter,
    dmabuf: &DmaBuf,
    importer: &Importer,
    ranges: &[Range],
) -> Outcome<u64> {
    let mut least = MANY;
    for _ in 0..8 {
        // Tells it, so that it unmaps.
        exporter.change(dmabuf, false, ranges)?;
        let (result, injected) = injection.run(MANY, || importer.map())?;
        result.map_err(Stop::failed)?;
        match injected {
            Injected::No(left) => least = least.min(MANY - left),
            Injected::Yes => return Err(Stop::failed("no end of allocations")),
        }
    }
    Ok(least)
}

fn allocations_of_the_core_that_fail(_: &Context) -> Outcome {
    let card = Card::new(&[8 * GRANULE, GRANULE])?;
    let address = card.vfs.vf_node(1)?.address;
    let pf = &card.vfs.node.address;
    let _module = iov::Loaded::new()?;
    let exporter = Exporter::load()?;
    let injection = Injection::new()?;
    let mut counts = Vec::new();

    for count in COUNTS {
        let ranges = ranges(count);
        let dmabuf = exporter.export(&address, count * PAGE, &ranges)?;
        let before = Held::now()?;
        let open = || Importer::open(&dmabuf, pf, BAR);

        let failures = each_fails(
            "attaching",
            |n| {
                let importer = open()?;
                injection.run(n, || importer.attach())
            },
            || {
                check_eq!(Held::now()?, before);
                Ok(())
            },
        )?;
        check!(failures > 2, "only {failures} failures");
        let importer = open()?;
        importer.attach().map_err(Stop::failed)?;
        let attached = Held::now()?.attachments;
        check_eq!(attached, before.attachments + 1, "attached after all");

        let failures = each_fails(
            "mapping",
            |n| {
                let ran = injection.run(n, || importer.map())?;
                // Tells it, so that it unmaps what it has if nothing failed.
                exporter.change(&dmabuf, false, &ranges)?;
                Ok(ran)
            },
            || {
                let mapped = exporter.change(&dmabuf, true, &ranges)?;
                let state = importer.state().map_err(Stop::failed)?;
                check_eq!((mapped, state.mapped), (0, 0), "mappings");
                Ok(())
            },
        )?;
        check!(failures > 0, "no failure");
        let map = importer.map().map_err(Stop::failed)?;
        check_eq!((map.native, map.valid, u64::from(map.count)), (1, 1, count));
        counts.push(allocations_of_a_map(
            &injection, &exporter, &dmabuf, &importer, &ranges,
        )?);

        // While it is attached nobody goes.
        for module in [exporter::MODULE, iov::MODULE, "dma_buf_ic"] {
            let unloaded = driver::program("rmmod", &[module]);
            check!(unloaded.is_err(), "{module} was unloaded");
        }
        drop(importer);
        check_eq!(Held::now()?, before, "afterwards");
    }
    println!("allocations of a map of {COUNTS:?} ranges: {counts:?}");
    check!(
        counts.iter().all(|n| *n == counts[0]),
        "allocations of a map of {COUNTS:?} ranges: {counts:?}"
    );
    Ok(())
}
