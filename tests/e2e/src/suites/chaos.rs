// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory is taken back at random moments, in every way there is, while the
//! other accelerator copies and fills it, and another importer reads and writes
//! it, who may let go early, late or never.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hlrs::Buffer;
use hlrs::Errno;
use hlrs::Node;

use crate::check;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::suites::reset::reset;
use crate::system::breathe;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::driver::Unbound;
use crate::system::importer::Attachment;
use crate::system::importer::Importers;
use crate::system::importer::Kind;
use crate::system::machine::Slot;
use crate::system::random::Random;
use crate::system::vfs::Vfs;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![memory_is_taken_back_at_any_moment: 14_400]
}

const SIZE: u64 = 2 * MIB;

/// What the other importer reads and writes at once.
const PART: u64 = 64 << 10;

/// Made where the memory was: more than a round has on the device.
const OTHER_BUFFERS: usize = 8;
const SHARED: u64 = 0x5155_5155_5155_5155;
const OTHERS: u64 = 0xdead_0bad_dead_0bad;

/// Ways to take memory back.
#[derive(Debug, Clone, Copy)]
enum Event {
    Revoke,
    Reset,
    Unbind,
    /// An attempt to unload the driver, which is in use.
    Unload,
    Yank,
    Unplug,
    /// Of a virtual function that has exported it.
    DisableVfs,
}

impl Event {
    const ALL: [Event; 7] = [
        Event::Revoke,
        Event::Reset,
        Event::Unbind,
        Event::DisableVfs,
        Event::Unload,
        Event::Yank,
        Event::Unplug,
    ];

    /// Each once, then any. Plugging takes seconds, so that it comes less often.
    fn choose(round: u32, random: &mut Random) -> Event {
        if let Some(event) = Event::ALL.get(round as usize) {
            return *event;
        }
        match random.below(18) {
            0..=4 => Event::Revoke,
            5..=8 => Event::Reset,
            9..=11 => Event::Unbind,
            12..=13 => Event::DisableVfs,
            14..=15 => Event::Unload,
            16 => Event::Yank,
            _ => Event::Unplug,
        }
    }

    /// Lets it happen; what is needed to undo it is done when this returns.
    /// `stuck` is an importer that does not let go.
    fn happen(self, function: &Function, exported: &Buffer, stuck: bool) -> Outcome {
        let address = function.node.address.as_str();
        match self {
            Event::Revoke => {
                match exported.revoke() {
                    Err(err) if stuck && err.errno() == Some(Errno::TIMEDOUT) => {}
                    result => result?,
                }
                exported.undo_revoke()?;
            }
            Event::Reset => reset(address)?,
            Event::Unbind => {
                let bound = Unbound(address);
                driver::unbind(address)?;
                drop(bound);
                driver::wait_node(address)?;
            }
            Event::Unload => check!(
                driver::unload_now().is_err(),
                "the driver was unloaded while it was in use"
            ),
            Event::Yank | Event::Unplug => {
                let slot = Slot::of(&function.node)?;
                match self {
                    Event::Yank => slot.yank()?,
                    _ => slot.unplug()?,
                }
                slot.plug()?;
            }
            Event::DisableVfs => {
                if let Some(vfs) = &function.vfs {
                    vfs.clear()?;
                    vfs.set(1)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the device is the same afterwards.
    fn spares_the_device(self) -> bool {
        matches!(self, Event::Revoke | Event::Reset | Event::Unload)
    }

    /// Whether the function may be elsewhere on the bus afterwards.
    fn moves_the_device(self) -> bool {
        matches!(self, Event::Yank | Event::Unplug)
    }
}

/// The function whose memory is exported.
struct Function {
    node: Node,
    /// If it is a virtual one.
    vfs: Option<Vfs>,
}

impl Function {
    fn of(event: Event) -> Outcome<Function> {
        let node = cards::first_node()?;
        if !matches!(event, Event::DisableVfs) {
            return Ok(Function { node, vfs: None });
        }
        let vfs = Vfs::enable(1)?;
        Ok(Function {
            node: vfs.vf_node(1)?,
            vfs: Some(vfs),
        })
    }
}

/// How the other importer behaves. One that never lets go keeps the addresses,
/// which must still be those of the device.
fn any_kind(event: Event, random: &mut Random) -> Kind {
    match random.below(8) {
        0 | 1 => Kind::Dynamic,
        2 => Kind::Pin,
        3 | 4 => Kind::UnmapInside,
        7 if !event.moves_the_device() => Kind::NeverUnmap,
        _ => Kind::UnmapLate(Duration::from_millis(1 + random.below(300))),
    }
}

/// What a peer has read is what it was given, or nothing at all.
fn nothing_of_others(bytes: &[u8]) -> Outcome {
    for (n, word) in bytes.chunks_exact(8).enumerate() {
        let word = u64::from_le_bytes(word.try_into().map_err(Stop::failed)?);
        check!(
            word == SHARED || word == 0 || word == u64::MAX,
            "{word:#x} at {:#x} is not what was shared",
            8 * n
        );
    }
    Ok(())
}

/// The other importer reads and writes, through what it has.
fn work(importer: &Attachment<'_>, random: &mut Random, stop: &AtomicBool) -> Outcome {
    let bytes = SHARED.to_le_bytes().repeat(PART as usize / 8);
    while !stop.load(Ordering::Relaxed) {
        let offset = random.below((SIZE - PART) / 8) * 8;
        match importer.write(offset, &bytes) {
            Ok(()) => {}
            Err(Errno::NOTCONN) => thread::sleep(Duration::from_millis(1)),
            Err(errno) => return Err(Stop::failed(format!("an importer writes: {errno}"))),
        }
        if let Ok(bytes) = importer.read(offset, PART) {
            nothing_of_others(&bytes)?;
        }
    }
    Ok(())
}

/// What the other importer has after everything was taken back, or nothing was.
fn afterwards(importer: &Attachment<'_>, kind: Kind, event: Event) -> Outcome {
    match event {
        Event::Unload => check!(!importer.state()?.stale, "taken back for nothing"),
        _ if kind == Kind::NeverUnmap => check!(importer.state()?.stale, "not told"),
        _ => {
            importer.wait_unmapped()?;
            check_errno!(importer.write(0, &[0]), NOTCONN, "after it has let go");
        }
    }
    Ok(())
}

fn one_round(round: u32, random: &mut Random) -> Outcome {
    let nodes = cards::nodes()?;
    check!(nodes.len() > 1, "two accelerators are needed");
    let event = Event::choose(round, random);
    let function = Function::of(event)?;
    let (a, b) = (function.node.open()?, nodes[1].open()?);
    // Somebody else's memory on both sides of what is shared.
    let stranger = function.node.open()?;
    let before = Place::Visible.create(&stranger, SIZE)?;
    let shared = Place::Visible.create(&a, SIZE)?;
    let after = Place::Visible.create(&stranger, SIZE)?;
    before.fill(0, SIZE, OTHERS)?;
    after.fill(0, SIZE, OTHERS)?;
    shared.fill(0, SIZE, SHARED)?;

    let dmabuf = shared.dma_buf().create()?;
    let window = b.import(&dmabuf)?;
    let target = Place::Lmem.create(&b, SIZE)?;
    let importers = Importers::open()?;
    let kind = any_kind(event, random);
    let importer = importers.map(&dmabuf, &nodes[1].address, kind)?;
    let delay = Duration::from_micros(random.below(30_000));
    let mut offsets = Random::new(random.next());
    let stop = AtomicBool::new(false);
    let during = |stop: Stop| {
        stop.during(format!(
            "round {round}, {event:?} after {delay:?}, importer {kind:?}"
        ))
    };
    thread::scope(|scope| -> Outcome {
        let copies = scope.spawn(|| {
            // Errors are as expected: there is nothing to be had for a while.
            while !stop.load(Ordering::Relaxed) {
                breathe(target.copy_from(0, &window, 0, SIZE));
                breathe(window.fill(0, SIZE, SHARED));
            }
        });
        let jobs = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                breathe(shared.fill(0, SIZE, SHARED));
            }
        });
        let works = scope.spawn(|| work(&importer, &mut offsets, &stop));
        thread::sleep(delay);
        let happened = event.happen(&function, &shared, kind == Kind::NeverUnmap);
        stop.store(true, Ordering::Relaxed);
        check!(copies.join().is_ok() && jobs.join().is_ok(), "a panic");
        works.join().map_err(|_| Stop::failed("a panic"))??;
        happened
    })
    .map_err(during)?;

    target.wait(JOB).ok();
    nothing_of_others(&cards::read(&target, 0, SIZE)?).map_err(during)?;
    afterwards(&importer, kind, event).map_err(during)?;
    if event.spares_the_device() {
        for buffer in [&before, &after] {
            cards::holds_pattern("memory of a stranger", buffer, OTHERS).map_err(during)?;
        }
        window.fill(0, SIZE, SHARED)?;
        target.copy_from(0, &window, 0, SIZE)?;
        return cards::holds_pattern("copied again", &target, SHARED).map_err(during);
    }

    // Where the memory was there is that of others now, which the old imports must not reach.
    let device = driver::wait_node(&function.node.address)?.open()?;
    let mut others = Vec::new();
    for _ in 0..OTHER_BUFFERS {
        let other = Place::Visible.create(&device, SIZE)?;
        other.fill(0, SIZE, OTHERS)?;
        others.push(other);
    }
    let reached = target.copy_from(0, &window, 0, SIZE).is_ok()
        || window.fill(0, SIZE, SHARED).is_ok()
        || kind != Kind::NeverUnmap && importer.map().is_ok();
    check!(
        !reached,
        "round {round}: an import works although its device was gone: {event:?} after {delay:?}"
    );
    if kind == Kind::NeverUnmap {
        // Its memory is nobody else's, and is what it reaches.
        let bytes = SHARED.to_le_bytes().repeat(SIZE as usize / 8);
        importer.write(0, &bytes).map_err(Stop::failed)?;
        let found = importer.read(0, SIZE).map_err(Stop::failed)?;
        nothing_of_others(&found).map_err(during)?;
    }
    for other in &others {
        cards::holds_pattern("memory of those who came later", other, OTHERS).map_err(during)?;
    }
    nothing_of_others(&cards::read(&target, 0, SIZE)?).map_err(during)
}

fn memory_is_taken_back_at_any_moment(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    for round in context.each(3, 500) {
        one_round(round, &mut random)?;
    }
    let (a, b) = cards::two()?;
    cards::settles(&a, 0)?;
    cards::settles(&b, 0)
}
