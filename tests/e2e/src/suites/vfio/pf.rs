// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of a function that VFIO has, as it is in a virtual machine, used by
//! its PF inside the device.

use hlrs::Buffer;
use hlrs::Device;
use hlrs::Errno;
use hlrs::Node;

use super::LMEM;
use super::PAGE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::suites::iov::crc_of;
use crate::suites::iov::is_native;
use crate::suites::iov::leave_granules;
use crate::suites::iov::Bus;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::space::Space;
use crate::system::vfio::Driver;
use crate::system::vfio::Function;
use crate::system::vfio::Taken;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        the_pf_reads_and_writes_it_natively: 120,
        the_pf_lets_go_of_it: 120,
    ]
}

const GRANULE: u64 = 2 * MIB;
const QUOTA: u64 = 4 * GRANULE;
const BASE: u64 = 1 << 40;

/// How the memory of a function lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Contiguous,
    /// In granules that are not neighbours.
    Scattered,
}

/// A function, of those before it the only one with a driver, and its PF.
struct Setting {
    // Closed before the function goes.
    pf: Device,
    node: Node,
    number: u32,
    taken: Taken,
}

impl Setting {
    fn new(number: u32, layout: Layout, random: &mut Random) -> Outcome<Setting> {
        let taken = Taken::when(Driver::Ours, number, |vfs| {
            for other in 1..number {
                vfs.pf.set_quota(other, GRANULE)?;
            }
            vfs.pf.set_quota(number, QUOTA)?;
            let all = QUOTA + u64::from(number - 1) * GRANULE;
            let pf = vfs.node.open()?;
            let granules = match layout {
                Layout::Contiguous => Vec::new(),
                Layout::Scattered => leave_granules(&pf, all, random)?,
            };
            Ok((granules, pf))
        })?;
        let node = taken.vfs.node.clone();
        let pf = node.open()?;
        Ok(Setting {
            pf,
            node,
            number,
            taken,
        })
    }
}

/// Ranges of its memory, in no order, across granules.
fn ranges() -> Vec<(u64, u64)> {
    vec![
        (3 * GRANULE - PAGE, 2 * PAGE),
        (7 * PAGE, PAGE),
        (0, 5 * PAGE),
        (GRANULE + 8 * PAGE, GRANULE),
        (QUOTA - 3 * PAGE, 3 * PAGE),
    ]
}

/// What the CPU of the function's user writes and reads, in the order of a buffer.
struct Contents(Vec<crate::system::vfio::BarMap>, Vec<usize>);

impl Contents {
    fn of(function: &Function, ranges: &[(u64, u64)]) -> Outcome<Contents> {
        let maps = ranges
            .iter()
            .map(|&(offset, len)| function.map(LMEM, offset, len))
            .collect::<Outcome<_>>()?;
        Ok(Contents(
            maps,
            ranges.iter().map(|(_, len)| *len as usize).collect(),
        ))
    }

    fn write(&self, mut bytes: &[u8]) {
        for (map, len) in self.0.iter().zip(&self.1) {
            let (head, tail) = bytes.split_at(*len);
            map.write(head);
            bytes = tail;
        }
    }

    fn read(&self) -> Vec<u8> {
        let parts = self.0.iter().zip(&self.1);
        parts.flat_map(|(map, len)| map.read(*len)).collect()
    }
}

/// Reads and writes by handle and by address, with nothing on the bus.
fn both_ways(
    setting: &Setting,
    window: &Buffer,
    contents: &Contents,
    random: &mut Random,
) -> Outcome {
    let size = window.size();
    let mut bytes = random.bytes(size as usize);
    contents.write(&bytes);
    let target = Place::Lmem.create(&setting.pf, size)?;
    let space = Space::new(&setting.pf)?;
    space
        .vm
        .bind()
        .map(BASE, window)
        .map(2 * BASE, &target)
        .submit()?;
    check_eq!(
        window.crc32c(0, size)?,
        crc_of(&bytes, 0, size),
        "by handle"
    );
    check_eq!(
        space.crc(BASE, size)?,
        crc_of(&bytes, 0, size),
        "by address"
    );

    let bus = Bus::of(vec![setting.node.clone()])?;
    target.copy_from(0, window, 0, size)?;
    space.queue.job().copy(BASE, 2 * BASE, size).run(JOB)?;
    bus.is_silent("two copies", 2 * size)?;
    cards::compare("pulled", &cards::read(&target, 0, size)?, &bytes)?;

    for round in 0..10 {
        let (offset, len) = random.range(size);
        let pattern = random.next();
        if round % 2 == 0 {
            window.fill(offset, len, pattern)?;
        } else {
            space.fill(BASE + offset, len, pattern)?;
        }
        for n in 0..len as usize {
            bytes[offset as usize + n] = pattern.to_le_bytes()[n % 8];
        }
    }
    cards::compare("written by the PF", &contents.read(), &bytes)
}

fn the_pf_reads_and_writes_it_natively(context: &Context) -> Outcome {
    let random = &mut Random::new(context.seed);
    for number in 1..=7 {
        for layout in [Layout::Contiguous, Layout::Scattered] {
            let short = [(1, Layout::Contiguous), (7, Layout::Scattered)];
            if context.soak || short.contains(&(number, layout)) {
                reads_and_writes(number, layout, random)
                    .map_err(|stop| stop.during(format!("VF {number}, {layout:?}")))?;
            }
        }
    }
    Ok(())
}

fn reads_and_writes(number: u32, layout: Layout, random: &mut Random) -> Outcome {
    let setting = Setting::new(number, layout, random)?;
    let function = setting.taken.open()?;
    let mut exported = vec![ranges()];
    if layout == Layout::Scattered {
        exported.push(vec![(0, QUOTA)]);
    }
    for ranges in exported {
        let dmabuf = function.export(LMEM, &ranges).map_err(Stop::failed)?;
        let window = setting.pf.import(&dmabuf)?;
        let (found, extents) = is_native(&window, number)?;
        check_eq!(found as usize, ranges.len(), "ranges");
        // The whole is in pieces if its granules are not neighbours.
        let pieces = extents > found;
        check_eq!(pieces, layout == Layout::Scattered, "{extents} extents");
        let contents = Contents::of(&function, &ranges)?;
        both_ways(&setting, &window, &contents, random)?;
    }
    // For all others the following are buffers like any other.
    for (what, errno, ranges) in [
        (
            "beyond the quota",
            Errno::RANGE,
            [(0, PAGE), (QUOTA - PAGE, 2 * PAGE)],
        ),
        (
            "overlapping",
            Errno::INVAL,
            [(0, 2 * PAGE), (PAGE, 2 * PAGE)],
        ),
    ] {
        let dmabuf = function.export(LMEM, &ranges).map_err(Stop::failed)?;
        let refused = setting.pf.import(&dmabuf).map(drop);
        let found = refused.err().and_then(|err| err.errno());
        check_eq!(found, Some(errno), "{what}");
    }
    Ok(())
}

/// Each cause of a revoke takes the PF's page-table entries away, and what comes
/// back is the same memory.
fn the_pf_lets_go_of_it(context: &Context) -> Outcome {
    let random = &mut Random::new(context.seed);
    let setting = Setting::new(1, Layout::Scattered, random)?;
    let number = setting.number;
    let function = setting.taken.open()?;
    let ranges = ranges();
    let dmabuf = function.export(LMEM, &ranges).map_err(Stop::failed)?;
    let window = setting.pf.import(&dmabuf)?;
    let size = window.size();
    let space = Space::new(&setting.pf)?;
    space.vm.map(BASE, &window)?;
    let refused = |what: &str| -> Outcome {
        check_eq!(is_native(&window, number)?, (0, 0), "{what}: mapped");
        check_errno!(window.crc32c(0, PAGE), NODEV, "{what}, by handle");
        let job = space.queue.job().fence(space.result_va(9), 1).start();
        check_errno!(job, FAULT, "{what}, by address");
        Ok(())
    };
    for round in context.each(1, 20) {
        let mut last = 0;
        for what in ["a reset", "an FLR"] {
            let pattern = random.next();
            for _ in 0..4 {
                let _job = window.fill_async(0, size, pattern)?;
                let _job = space.queue.job().fill(BASE, size, pattern).start()?;
            }
            match what {
                "a reset" => function.reset(),
                _ => function.flr(),
            }
            .map_err(Stop::failed)?;
            let _ = window.wait(JOB);
            space.fill(BASE, size, pattern)?;
            cards::holds_pattern(what, &window, pattern)?;
            let contents = Contents::of(&function, &ranges)?.read();
            check!(
                contents.chunks(8).all(|word| word == pattern.to_le_bytes()),
                "round {round}, {what}: the function does not see what the PF wrote"
            );
            last = pattern;
        }
        function.set_memory(false).map_err(Stop::failed)?;
        // A VF's memory cannot be off: it is taken away, and given back at once.
        check_eq!(is_native(&window, number)?, (0, 0), "memory off: mapped");
        cards::holds_pattern("memory off", &window, last)?;
        function.set_memory(true).map_err(Stop::failed)?;
        space.fill(BASE, size, 0x77)?;
        function.low_power(true).map_err(Stop::failed)?;
        refused("low power")?;
        function.low_power(false).map_err(Stop::failed)?;
        space.fill(BASE, size, 0x78)?;
        cards::holds_pattern("in full power", &window, 0x78)?;
    }
    drop(function);
    refused("closed")
}
