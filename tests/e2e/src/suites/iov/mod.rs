// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of virtual functions, used by their physical function where it is.

mod content;
mod failures;
mod fallback;
mod hostile;
mod lifetime;
mod random;

use hlrs::Buffer;
use hlrs::Counters;
use hlrs::Device;
use hlrs::Node;
use hlrs::Path;

use crate::check;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::random::Random;
use crate::system::vfs::Vfs;
use crate::system::wait_until;
use crate::system::MIB;
use crate::system::REACTION;

pub fn tests() -> Vec<Test> {
    let mut tests = content::tests();
    tests.extend(fallback::tests());
    tests.extend(hostile::tests());
    tests.extend(lifetime::tests());
    tests.extend(failures::tests());
    tests.extend(random::tests());
    tests
}

/// What the LMTT maps as a whole.
const GRANULE: u64 = 2 * MIB;

/// Bytes that results and fences of jobs may take on the bus.
const RESULTS: u64 = 256;

/// Virtual functions with quotas, and the physical function, open.
struct Card {
    vfs: Vfs,
    pf: Device,
}

impl Card {
    /// One virtual function for each quota, wherever the driver likes.
    fn new(quotas: &[u64]) -> Outcome<Card> {
        let vfs = Vfs::none()?;
        let pf = vfs.node.open()?;
        let card = Card { vfs, pf };
        card.enable(quotas)?;
        Ok(card)
    }

    /// As [`new`](Self::new), with memory in granules of which no two
    /// that follow each other are neighbours, and not in the order of their
    /// addresses.
    fn scattered(quotas: &[u64], random: &mut Random) -> Outcome<Card> {
        let vfs = Vfs::none()?;
        let pf = vfs.node.open()?;
        let _taken = leave_granules(&pf, quotas.iter().sum(), random)?;
        let card = Card { vfs, pf };
        card.enable(quotas)?;
        Ok(card)
    }

    fn enable(&self, quotas: &[u64]) -> Outcome {
        for (number, &quota) in (1..).zip(quotas) {
            self.vfs.pf.set_quota(number, quota)?;
        }
        self.vfs.set(quotas.len() as u32)
    }

    fn vf(&self, number: u32) -> Outcome<Device> {
        self.vfs.open(number)
    }
}

/// Takes all memory but `size` bytes, which are granules of which no two that
/// follow each other are neighbours.
pub fn leave_granules(pf: &Device, size: u64, random: &mut Random) -> Outcome<Vec<Buffer>> {
    let needed = size / GRANULE;
    let mut pieces = (0..2 * needed + 8)
        .map(|_| pf.buffer(GRANULE).contiguous().create())
        .collect::<hlrs::Result<Vec<_>>>()?;
    let lmem = pf.lmem()?;
    // The device clears it first, which takes a while.
    let mut rest = Vec::new();
    let mut left = lmem.total - lmem.used;
    while left > 0 {
        let size = left.min(16 * MIB);
        rest.push(cards::Place::Lmem.create(pf, size)?);
        left -= size;
    }
    // About every other one is free.
    for _ in 0..needed {
        let n = random.below(pieces.len() as u64) as usize;
        pieces.remove(n);
        if n < pieces.len() && random.below(4) > 0 {
            pieces[n..].rotate_left(1);
        }
    }
    pieces.append(&mut rest);
    Ok(pieces)
}

/// Fails unless the memory is that of this function, and used natively;
/// returns ranges and extents.
pub fn is_native(buffer: &Buffer, number: u32) -> Outcome<(u32, u32)> {
    match buffer.path()? {
        Path::Iov {
            vf,
            ranges,
            extents,
        } if vf == number => Ok((ranges, extents)),
        path => Err(Stop::failed(format!(
            "reached by {path}, expected function {number}'s memory"
        ))),
    }
}

/// Counters of functions.
pub struct Bus {
    nodes: Vec<Node>,
    before: Vec<Counters>,
}

impl Bus {
    /// From now on.
    pub fn of(nodes: Vec<Node>) -> Outcome<Bus> {
        let before = Self::now(&nodes)?;
        Ok(Bus { nodes, before })
    }

    fn now(nodes: &[Node]) -> Outcome<Vec<Counters>> {
        let none = || Stop::failed("the driver shows no counters in debugfs");
        nodes
            .iter()
            .map(|node| node.counters().ok_or_else(none))
            .collect()
    }

    /// By how much the sum of a counter of all functions grew.
    pub fn grew(&self, name: &str) -> Outcome<u64> {
        let mut sum = 0;
        for (now, before) in Self::now(&self.nodes)?.iter().zip(&self.before) {
            let missing = || Stop::failed(format!("no counter {name}"));
            sum += now.since(before, name).ok_or_else(missing)?;
        }
        Ok(sum)
    }

    /// Nothing but results of jobs has crossed the bus, and `bytes` were read
    /// from LMEM.
    pub fn is_silent(&self, what: &str, bytes: u64) -> Outcome {
        let (read, written) = (self.grew("bus_read")?, self.grew("bus_write")?);
        check!(
            read < RESULTS && written < RESULTS,
            "{what}: {read} bytes were read over the bus, and {written} written"
        );
        let local = self.grew("lmem_read")?;
        check!(
            local >= bytes,
            "{what}: {local} bytes were read from LMEM, expected {bytes}"
        );
        Ok(())
    }
}

/// CRC-32C of a part of some bytes.
pub fn crc_of(bytes: &[u8], offset: u64, size: u64) -> u32 {
    hlrs::crc32c(0, &bytes[offset as usize..(offset + size) as usize])
}

/// A buffer of a function, with random contents, and what its physical
/// function makes of it.
fn shared(
    card: &Card,
    vf: &Device,
    size: u64,
    random: &mut Random,
) -> Outcome<(Buffer, Buffer, Vec<u8>)> {
    let buffer = cards::Place::Visible.create(vf, size)?;
    let bytes = cards::randomize(&buffer, random)?;
    let window = card.pf.import(&buffer.export()?)?;
    Ok((buffer, window, bytes))
}

/// The lines of `imports` in debugfs of a function: what follows the name of the
/// exporter.
fn listed(node: &Node) -> Outcome<Vec<String>> {
    let file = format!("/sys/kernel/debug/hlrs-{}/imports", node.address);
    let text =
        std::fs::read_to_string(&file).map_err(|err| Stop::failed(format!("{file}: {err}")))?;
    // dma-buf INODE size SIZE exporter NAME PATH
    let path = |line: &str| line.splitn(7, ' ').nth(6).map(str::to_owned);
    Ok(text.lines().filter_map(path).collect())
}

/// Fails unless a function has these imports. One that was closed goes when the
/// kernel is done with its last job.
fn has_imports(node: &Node, expected: &[String]) -> Outcome {
    let mut found = listed(node)?;
    wait_until("the list of imports", REACTION, || {
        found = listed(node).unwrap_or_default();
        found == expected
    })
    .map_err(|stop| stop.during(format!("{found:?} instead of {expected:?}")))
}
