// SPDX-License-Identifier: MIT OR Apache-2.0
//! Jobs that something else ends: a reset, the end of the device, of the driver
//! or of the process.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hlrs::BindOp;
use hlrs::Command;
use hlrs::Errno;
use hlrs::FenceStatus;
use hlrs::Queue;
use hlrs::SyncFile;

use super::empties;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::suites::reset::reset;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::driver::Unbound;
use crate::system::machine::Slot;
use crate::system::random::Random;
use crate::system::role;
use crate::system::role::Role;
use crate::system::socket;
use crate::system::space::Space;
use crate::system::sw_sync::Timeline;
use crate::system::timing::Slow;
use crate::system::vfs::Vfs;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        a_reset: 120,
        resets_at_random_moments: 180,
        work_that_waits_during_a_reset: 120,
        a_reset_of_a_virtual_function: 180,
        jobs_of_a_killed_process_are_cancelled,
        the_driver_is_taken_off: 120,
        the_device_is_pulled_out: 180,
        the_process_is_killed: 180,
    ]
}

/// A job that never ends, one behind it, and one in another queue that waits for
/// a fence. They are known by files, which can be asked when the device is gone.
struct Stuck {
    hang: SyncFile,
    behind: SyncFile,
    gated: SyncFile,
    /// Dropping it would cancel its job.
    _queue: Queue,
}

impl Stuck {
    fn new(space: &Space, gate: &hlrs::Syncobj) -> Outcome<Stuck> {
        let hang = space.queue.job().command(Command::Hang).start()?;
        let behind = space.queue.job().fence(space.result_va(1), 1).start()?;
        let queue = space.vm.queue()?;
        let gated = queue.job().fence(space.result_va(2), 1);
        let stuck = Stuck {
            hang: hang.sync_file()?,
            behind: behind.sync_file()?,
            gated: gated.wait_for(gate).start()?.sync_file()?,
            _queue: queue,
        };
        // The one that hangs shall be at it.
        std::thread::sleep(Duration::from_millis(50));
        check!(!hang.is_done()?, "the job that never ends has ended");
        Ok(stuck)
    }
}

/// Waits for the end of a job, and says how it has ended.
fn ended(file: &SyncFile) -> Outcome<FenceStatus> {
    file.wait(JOB)?;
    Ok(file.status()?)
}

/// It was done, or cancelled.
fn done_or_cancelled(what: &str, file: &SyncFile) -> Outcome {
    let status = ended(file)?;
    check!(
        [FenceStatus::Done, FenceStatus::Failed(Errno::CANCELED)].contains(&status),
        "{what}: {status:?}"
    );
    Ok(())
}

/// It was cancelled.
fn cancelled(what: &str, file: &SyncFile) -> Outcome {
    check_eq!(ended(file)?, FenceStatus::Failed(Errno::CANCELED), "{what}");
    Ok(())
}

fn a_reset(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let space = Space::first()?;
    let timeline = Timeline::new()?;
    let buffer = Place::Lmem.create(&space.device, MIB)?;
    buffer.fill(0, MIB, 0x77)?;
    space.vm.map(BASE, &buffer)?;
    for _ in context.each(2, 50) {
        let gate = timeline.syncobj(&space.device)?;
        let stuck = Stuck::new(&space, &gate)?;
        reset(&node.address)?;
        cancelled("the job in flight", &stuck.hang)?;
        // Those that had not begun may run afterwards, or not.
        timeline.advance(1)?;
        done_or_cancelled("the job behind it", &stuck.behind)?;
        done_or_cancelled("the job that waited", &stuck.gated)?;
        let state = space.vm.state()?;
        check!(!state.banned && state.fault.is_none(), "{state:?}");
        check!(!space.queue.state()?.banned, "the queue is banned");
        space.holds("what was mapped", BASE, MIB, 0x77)?;
        empties(&space.queue)?;
    }
    Ok(())
}

fn resets_at_random_moments(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let mut random = Random::new(context.seed);
    let spaces = [Space::first()?, Space::first()?];
    for space in &spaces {
        let buffer = Place::Lmem.create(&space.device, 4 * MIB)?;
        space.vm.map(BASE, &buffer)?;
    }
    for round in 0..u64::from(context.rounds(3, 200)) {
        let mut works = Vec::new();
        for n in 0..30 {
            for space in &spaces {
                let work = space.queue.job().fill(BASE, 4 * MIB, n).start()?;
                works.push(work.sync_file()?);
            }
        }
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        reset(&node.address)?;
        for work in &works {
            done_or_cancelled(&format!("round {round}"), work)?;
        }
        for space in &spaces {
            space.fill(BASE, 4 * MIB, round)?;
            space.holds("after a reset", BASE, 4 * MIB, round)?;
        }
    }
    Ok(())
}

/// Work is looked after now and then from the moment on at which it could be
/// done, also when it waits for its turn; and if that is during a reset, when
/// the function does not answer.
fn work_that_waits_during_a_reset(context: &Context) -> Outcome {
    /// How often it is looked after.
    const PERIOD: Duration = Duration::from_millis(250);
    /// More than the function has for user space, twice.
    const QUEUES: u32 = 32;
    let node = cards::first_node()?;
    let space = Space::first()?;
    for round in context.each(2, 50) {
        // The reset ends it.
        let _slow = Slow::commands(&node.address, 2 * PERIOD)?;
        let mut works = Vec::new();
        for n in 0..QUEUES {
            let queue = space.vm.queue()?;
            let job = queue.job().fence(space.result_va(0), n.into());
            works.push((job.start()?.sync_file()?, queue));
            // Each at another moment of the period.
            if n >= QUEUES / 2 {
                std::thread::sleep(PERIOD / (QUEUES / 2));
            }
        }
        reset(&node.address)?;
        let mut waited = 0;
        for (work, _) in &works {
            match ended(work)? {
                FenceStatus::Done => waited += 1,
                status => check_eq!(status, FenceStatus::Failed(Errno::CANCELED)),
            }
        }
        check!(waited > 0, "round {round}: nothing had to wait");
        space.queue.job().fence(space.result_va(1), 1).run(JOB)?;
    }
    Ok(())
}

fn a_reset_of_a_virtual_function(_: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    let (space, neighbour) = (Space::new(&vfs.open(1)?)?, Space::new(&vfs.open(2)?)?);
    let timeline = Timeline::new()?;
    let buffer = Place::Lmem.create(&space.device, MIB)?;
    buffer.fill(0, MIB, 0x78)?;
    space.vm.map(BASE, &buffer)?;
    let stuck = Stuck::new(&space, &timeline.syncobj(&space.device)?)?;
    let job = neighbour.queue.job().fence(neighbour.result_va(0), 5);
    let beside = job
        .wait_for(&timeline.syncobj(&neighbour.device)?)
        .start()?;
    reset(&vfs.vf_node(1)?.address)?;
    timeline.advance(2)?;
    cancelled("the job in flight", &stuck.hang)?;
    beside.wait(JOB)?;
    space.holds("what was mapped", BASE, MIB, 0x78)
}

/// The jobs of a process that is gone are of no use: nobody waits for them.
fn jobs_of_a_killed_process_are_cancelled(_: &Context) -> Outcome {
    let node = cards::first_node()?.path.display().to_string();
    let (socket, theirs) = UnixStream::pair()?;
    socket::inheritable(theirs.as_fd())?;
    let mut role = Role::start("stuck", &[&node, &theirs.as_raw_fd().to_string()])?;
    drop(theirs);
    let received = || Ok::<_, Stop>(SyncFile::from(socket::receive(&socket)?));
    let (hang, behind, gated) = (received()?, received()?, received()?);
    role.kill()?;
    cancelled("the job in flight", &hang)?;
    cancelled("the job behind it", &behind)?;
    // Its fence may end before the queue: both are files of that process.
    done_or_cancelled("the job that waited", &gated)
}

/// Role: has jobs that do not end, and sends their fences over a socket.
pub fn stuck(node: &str, fd: &str) -> Outcome {
    let space = Space::new(&hlrs::Device::open(Path::new(node))?)?;
    let timeline = Timeline::new()?;
    let jobs = Stuck::new(&space, &timeline.syncobj(&space.device)?)?;
    let socket = socket::inherited(fd)?;
    for file in [jobs.hang, jobs.behind, jobs.gated] {
        socket::send(&socket, OwnedFd::from(file).as_fd())?;
    }
    role::listen().map(drop)
}

/// Every call of an open file whose device is gone, and the jobs it had.
fn gone(space: &mut Space, stuck: &Stuck) -> Outcome {
    for (what, file) in [
        ("the job in flight", &stuck.hang),
        ("the job behind it", &stuck.behind),
        ("the job that waited", &stuck.gated),
    ] {
        check_eq!(ended(file)?, FenceStatus::Failed(Errno::NODEV), "{what}");
    }
    let job = space.queue.job().fence(space.result_va(0), 1);
    check_errno!(job.submit(), NODEV);
    check_errno!(space.vm.state(), NODEV);
    check_errno!(space.vm.unmap(BASE, MIB), NODEV);
    check_errno!(space.vm.queue(), NODEV);
    check_errno!(space.vm.export(), NODEV);
    check_errno!(space.queue.state(), NODEV);
    check_errno!(space.queue.destroy(), NODEV);
    check_errno!(space.vm.destroy(), NODEV);
    check_errno!(space.device.vm().create(), NODEV);
    Ok(())
}

fn works() -> Outcome {
    let space = Space::first()?;
    let buffer = Place::Lmem.create(&space.device, MIB)?;
    space.vm.map(BASE, &buffer)?;
    space.fill(BASE, MIB, 6)?;
    space.holds("of a new device", BASE, MIB, 6)
}

fn the_driver_is_taken_off(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    for _ in context.each(1, 50) {
        let mut space = Space::first()?;
        let timeline = Timeline::new()?;
        let buffer = Place::Lmem.create(&space.device, MIB)?;
        space.vm.map(BASE, &buffer)?;
        let gate = timeline.syncobj(&space.device)?;
        let stuck = Stuck::new(&space, &gate)?;
        // A bind that waits, too.
        let bound = space.vm.bind().map(2 * BASE, &buffer).wait_for(&gate);
        let done = space.device.syncobj()?;
        bound.signal(&done).submit()?;
        let done = done.binary().sync_file()?;
        let unbound = Unbound(&node.address);
        driver::unbind(&node.address)?;
        timeline.advance(1)?;
        gone(&mut space, &stuck)?;
        done.wait(JOB)?;
        drop(unbound);
        driver::wait_node(&node.address)?;
        gone(&mut space, &stuck)?;
        drop((space, buffer));
        works()?;
    }
    Ok(())
}

fn the_device_is_pulled_out(context: &Context) -> Outcome {
    for _ in context.each(1, 20) {
        let node = cards::first_node()?;
        let mut space = Space::first()?;
        let timeline = Timeline::new()?;
        let buffer = Place::Lmem.create(&space.device, MIB)?;
        space.vm.map(BASE, &buffer)?;
        let stuck = Stuck::new(&space, &timeline.syncobj(&space.device)?)?;
        let slot = Slot::of(&node)?;
        slot.yank()?;
        timeline.advance(1)?;
        gone(&mut space, &stuck)?;
        slot.plug()?;
        drop((space, buffer));
        works()?;
    }
    Ok(())
}

/// With jobs in flight, in queues and behind fences, and with pending binds.
fn the_process_is_killed(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let path = node.path.display().to_string();
    let device = node.open()?;
    let before = cards::used(&device)?;
    let mut random = Random::new(context.seed);
    let space = Space::new(&device)?;
    let kept = cards::used(&device)?;
    for round in context.each(4, 500) {
        // The first of them while everything takes its time.
        let slow = match round % 4 {
            0 => Some(Slow::commands(&node.address, Duration::from_millis(20))?),
            _ => None,
        };
        let mut role = Role::start("labour", &[&path, &random.next().to_string()])?;
        role.expect("started")?;
        std::thread::sleep(Duration::from_micros(random.below(100_000)));
        role.kill()?;
        drop(slow);
        cards::settles(&device, kept)?;
        space.queue.job().fence(space.result_va(0), 1).run(JOB)?;
    }
    drop(space);
    cards::settles(&device, before)
}

/// Role: has jobs and binds of every kind, until it is killed.
pub fn labour(node: &str, seed: &str) -> Outcome {
    let mut random = Random::new(seed.parse().unwrap_or(0));
    let device = hlrs::Device::open(Path::new(node))?;
    let timeline = Timeline::new()?;
    let never = timeline.syncobj(&device)?;
    let mut spaces = Vec::new();
    for _ in 0..4 {
        let space = Space::new(&device)?;
        let buffer = Place::Lmem.create(&device, 4 * MIB)?;
        space.vm.map(BASE, &buffer)?;
        let gated = space.queue.job().fill(BASE, MIB, 1).wait_for(&never);
        gated.submit()?;
        let queue = space.vm.queue()?;
        spaces.push((space, queue, buffer));
    }
    let (last, _, buffer) = spaces.last().ok_or_else(|| Stop::failed("no VM"))?;
    let pending = last.vm.bind().map(3 * BASE, buffer).wait_for(&never);
    pending.submit()?;
    role::say("started");
    loop {
        let (space, queue, buffer) = &spaces[random.below(3) as usize];
        match random.below(4) {
            0 => {
                let va = 2 * BASE + random.below(1 << 30) * 4096;
                space.vm.bind().op(BindOp::map(va, buffer)).submit()?;
            }
            _ => queue.job().fill(BASE, 4 * MIB, 1).submit()?,
        }
    }
}
