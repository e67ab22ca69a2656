// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies that something else ends: the time, a reset, the end of the device or
//! of a driver.

use std::os::fd::AsFd;
use std::time::Duration;
use std::time::Instant;

use hlrs::Errno;
use hlrs::NicCopy;
use hlrs::Node;
use rustix::event::PollFlags;

use super::done_or;
use super::end;
use super::Pair;
use super::Side;
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
use crate::system::machine::Slot;
use crate::system::nic;
use crate::system::random::Random;
use crate::system::timing::Slow;
use crate::system::vfs::Vfs;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        a_reset: 120,
        the_end_of_a_virtual_function: 180,
        the_nic_is_unbound: 120,
        unbound_while_a_call_waits: 120,
        the_accelerator_is_unbound: 120,
        the_accelerator_is_pulled_out: 180,
        copies_that_take_too_long: 180,
        the_modules_are_unloaded: 180,
    ]
}

const SIZE: u64 = 2 * MIB;

/// Buffers of both sides, with contents.
fn buffers(pair: &Pair) -> Outcome<[hlrs::Buffer; 2]> {
    Ok([
        pair.src.buffer(Place::Lmem, SIZE, 0x11)?,
        pair.dst.buffer(Place::Lmem, SIZE, 0x22)?,
    ])
}

/// Copies of which the first is at it.
fn in_flight(pair: &Pair, random: &mut Random) -> Outcome<Vec<NicCopy>> {
    let copies = (0..4)
        .map(|_| pair.all(SIZE).start())
        .collect::<hlrs::Result<Vec<_>>>()?;
    std::thread::sleep(Duration::from_micros(random.below(40_000)));
    Ok(copies)
}

/// All have ended; how many not with success. Those behind one that has failed
/// have failed.
fn ended(what: &str, copies: &[NicCopy], errno: Errno) -> Outcome<u32> {
    let mut failed = 0;
    for copy in copies {
        let done = done_or(what, copy, errno)?;
        check!(
            !done || failed == 0,
            "{what}: done behind one that has failed"
        );
        failed += u32::from(!done);
    }
    Ok(failed)
}

fn slow(node: &Node) -> Outcome<Slow> {
    Slow::commands(&node.address, Duration::from_millis(25))
}

fn a_reset(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let mut random = Random::new(context.seed);
    let pair = Pair::of(&node)?;
    let mut failed = 0;
    for round in context.each(3, 300) {
        let [_src, dst] = buffers(&pair)?;
        let slow = slow(&node)?;
        let copies = in_flight(&pair, &mut random)?;
        reset(&node.address)?;
        drop(slow);
        dst.fill(0, SIZE, 0x33)?;
        failed += ended(&format!("round {round}"), &copies, Errno::CANCELED)?;
        cards::holds_pattern("after the reset", &dst, 0x33)?;
        pair.all(SIZE).run(JOB)?;
        cards::holds_pattern("copied again", &dst, 0x11)?;
    }
    check!(failed > 0, "no copy was ever in flight");
    pair.nobody_is_banned()?;
    pair.works()
}

/// It is reset by itself, and then goes; the physical function is not affected.
fn the_end_of_a_virtual_function(context: &Context) -> Outcome {
    nic::load()?;
    let vfs = Vfs::enable(1)?;
    let mut random = Random::new(context.seed);
    let physical = Pair::of(&vfs.node)?;
    let [_a, b] = buffers(&physical)?;
    let mut failed = 0;
    for round in context.each(1, 50) {
        let node = vfs.vf_node(1)?;
        let pair = Pair::of(&node)?;
        for part in 0..2 {
            let [_src, dst] = buffers(&pair)?;
            let slow = slow(&node)?;
            let copies = in_flight(&pair, &mut random)?;
            physical.all(SIZE).run(JOB)?;
            if part == 0 {
                reset(&node.address)?;
                drop(slow);
                dst.fill(0, SIZE, 0x33)?;
                failed += ended(&format!("round {round}"), &copies, Errno::CANCELED)?;
                cards::holds_pattern("after the reset", &dst, 0x33)?;
                pair.works()?;
            } else {
                // Its registers are not there any more.
                std::mem::forget(slow);
                vfs.clear()?;
                gone(&pair)?;
            }
        }
        vfs.set(1)?;
        gone(&pair)?;
    }
    check!(failed > 0, "no copy was ever in flight");
    Pair::of(&vfs.vf_node(1)?)?.works()?;
    cards::holds_pattern("of the physical function", &b, 0x11)?;
    physical.nobody_is_banned()?;
    physical.works()
}

/// Everything about an open file whose NIC is gone.
fn gone(pair: &Pair) -> Outcome {
    check_errno!(pair.all(8).start(), NODEV);
    check_errno!(pair.nic.info(), NODEV);
    check_errno!(pair.nic.pending(1).wait(JOB), NODEV);
    let ready = nic::readiness(&pair.nic)?;
    check_eq!(ready, PollFlags::HUP | PollFlags::ERR, "readiness");
    Ok(())
}

/// What an eventfd has been told by now.
fn told(eventfd: &std::os::fd::OwnedFd) -> u64 {
    let mut bytes = [0; 8];
    match rustix::io::read(eventfd, &mut bytes) {
        Ok(_) => u64::from_ne_bytes(bytes),
        Err(_) => 0,
    }
}

/// The address spaces are not affected, and can be registered again.
fn the_nic_is_unbound(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let mut random = Random::new(context.seed);
    for round in context.each(3, 300) {
        let pair = Pair::of(&node)?;
        let [_src, dst] = buffers(&pair)?;
        let slow = slow(&node)?;
        let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK)
            .map_err(|errno| Stop::failed(format!("eventfd: {errno}")))?;
        let _told = pair.all(SIZE).eventfd(eventfd.as_fd()).start()?;
        let copies = in_flight(&pair, &mut random)?;
        // Who waits is told.
        let waiting = std::thread::spawn({
            let last = copies[3].clone();
            move || last.wait(JOB)
        });
        std::thread::sleep(Duration::from_millis(2));
        let unbound = nic::Unbound::new(&node)?;
        drop(slow);
        dst.fill(0, SIZE, 0x33)?;
        gone(&pair)?;
        let waited = waiting.join().map_err(|_| Stop::failed("a panic"))?;
        check_errno!(waited, NODEV, "round {round}: who waited");
        check_eq!(told(&eventfd), 1, "what an eventfd was told");
        check_errno!(node.open_nic(), NODEV);
        for side in [&pair.src, &pair.dst] {
            check!(!side.space.vm.state()?.registered, "still registered");
            side.space.fill(BASE, SIZE, 0x33)?;
        }
        cards::holds_pattern("of the address space", &dst, 0x33)?;
        drop(unbound);
        gone(&pair)?;
        let nic = nic::nic(&node)?;
        let (src, dst) = (
            nic.register(pair.src.space.vm.export()?)?,
            nic.register(pair.dst.space.vm.export()?)?,
        );
        pair.src.space.fill(BASE, SIZE, 0x44)?;
        nic.copy(&src, BASE, &dst, BASE, SIZE).run(JOB)?;
        pair.dst.space.holds("registered again", BASE, SIZE, 0x44)?;
    }
    Ok(())
}

/// For a bind, which waits for somebody else.
fn unbound_while_a_call_waits(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let pair = Pair::of(&node)?;
    let [_src, dst] = buffers(&pair)?;
    let timeline = crate::system::sw_sync::Timeline::new()?;
    let gate = timeline.syncobj(&pair.dst.space.device)?;
    let bind = pair.dst.space.vm.bind().map(2 * BASE, &dst);
    bind.wait_for(&gate).submit()?;
    std::thread::scope(|scope| -> Outcome {
        let copying = scope.spawn(|| pair.all(SIZE).start().map(drop));
        std::thread::sleep(Duration::from_millis(30));
        check!(!copying.is_finished(), "the copy has not waited");
        // In case it does not work.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            let _ = receiver.recv_timeout(Duration::from_secs(10));
            timeline.advance(1)
        });
        let start = Instant::now();
        let unbound = nic::Unbound::new(&node)?;
        let took = start.elapsed();
        drop(sender);
        check!(took < Duration::from_secs(5), "unbinding took {took:?}");
        let refused = copying.join().map_err(|_| Stop::failed("a panic"))?;
        check_errno!(refused, NODEV, "the call that waited");
        drop(unbound);
        Ok(())
    })
}

fn the_accelerator_is_unbound(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let mut random = Random::new(context.seed);
    for _ in context.each(1, 100) {
        let pair = Pair::of(&node)?;
        let _buffers = buffers(&pair)?;
        let slow = slow(&node)?;
        let copies = in_flight(&pair, &mut random)?;
        let bound = driver::Unbound(&node.address);
        driver::unbind(&node.address)?;
        gone(&pair)?;
        check_errno!(copies[0].wait(JOB), NODEV);
        std::mem::forget(slow);
        drop(bound);
        driver::wait_node(&node.address)?;
        gone(&pair)?;
        drop((pair, _buffers));
        Pair::first()?.works()?;
    }
    Ok(())
}

fn the_accelerator_is_pulled_out(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let mut random = Random::new(context.seed);
    for _ in context.each(1, 30) {
        let pair = Pair::of(&node)?;
        let _buffers = buffers(&pair)?;
        let slow = slow(&node)?;
        let copies = in_flight(&pair, &mut random)?;
        let slot = Slot::of(&node)?;
        let waiting = std::thread::spawn({
            let last = copies[3].clone();
            move || last.wait(JOB)
        });
        slot.yank()?;
        let waited = waiting.join().map_err(|_| Stop::failed("a panic"))?;
        check!(
            waited.as_ref().is_ok_and(|()| true)
                || waited
                    .as_ref()
                    .is_err_and(|err| err.errno() == Some(Errno::NODEV)),
            "who waited: {waited:?}"
        );
        gone(&pair)?;
        // Its registers are not there any more.
        std::mem::forget(slow);
        slot.plug()?;
        gone(&pair)?;
        drop((pair, _buffers));
        Pair::first()?.works()?;
    }
    Ok(())
}

const LIMIT: Duration = Duration::from_millis(300);

/// Those behind one that takes too long are not to blame.
fn copies_that_take_too_long(context: &Context) -> Outcome {
    let _loaded = nic::Impatient::load(LIMIT.as_millis() as u32)?;
    let node = cards::first_node()?;
    {
        let pair = Pair::of(&node)?;
        let other = Pair::of(&node)?;
        for round in context.each(1, 50) {
            let [_src, dst] = buffers(&pair)?;
            let [_a, b] = buffers(&other)?;
            let slow = Slow::commands(&node.address, Duration::from_secs(1))?;
            let start = Instant::now();
            let bad = pair.all(SIZE).start()?;
            let behind = pair.all(SIZE).start()?;
            let found = end(&bad)?;
            let took = start.elapsed();
            check_eq!(found, Some(Errno::TIMEDOUT), "round {round}");
            check!(took >= LIMIT, "after {took:?} already");
            drop(slow);
            // It may be at it already, and is slow then.
            let found = end(&behind)?;
            check!(
                found.is_none() || found == Some(Errno::TIMEDOUT),
                "round {round}: behind: {found:?}"
            );
            pair.all(SIZE).run(JOB)?;
            cards::holds_pattern("after a time-out", &dst, 0x11)?;
            other.all(SIZE).run(JOB)?;
            cards::holds_pattern("of another", &b, 0x11)?;
            pair.nobody_is_banned()?;
        }
        // One that is waited for long, but gets on, does not take too long.
        let [_src, dst] = buffers(&pair)?;
        let _slow = Slow::commands(&node.address, LIMIT / 6)?;
        let copies = (0..6)
            .map(|_| pair.all(SIZE).start())
            .collect::<hlrs::Result<Vec<_>>>()?;
        for copy in &copies {
            check_eq!(end(copy)?, None, "one of many");
        }
        cards::holds_pattern("many", &dst, 0x11)?;
    }
    Ok(())
}

/// Not while a NIC is open; with copies in flight of one that was just closed.
fn the_modules_are_unloaded(context: &Context) -> Outcome {
    let mut random = Random::new(context.seed);
    for _ in context.each(1, 20) {
        let node = cards::first_node()?;
        let (one, two) = (node.open()?, node.open()?);
        let nic = nic::nic(&node)?;
        let (src, dst) = (Side::new(&nic, &one)?, Side::new(&nic, &two)?);
        let pair = Pair { src, dst, nic };
        let [_src, b] = buffers(&pair)?;
        let slow = slow(&node)?;
        let copies = in_flight(&pair, &mut random)?;
        check!(
            nic::unload().is_err(),
            "the NIC's driver went under an open NIC"
        );
        check!(driver::program("rmmod", &["hlrs"]).is_err(), "hlrs went");
        drop(copies);
        let (src, dst) = (pair.src.space, pair.dst.space);
        drop((pair.src.vm, pair.dst.vm, pair.nic));
        // The accelerator's own jobs go on meanwhile.
        nic::unload_soon()?;
        drop(slow);
        b.fill(0, SIZE, 0x55)?;
        dst.holds("after the NIC's driver is gone", BASE, SIZE, 0x55)?;
        src.fill(BASE, SIZE, 0x56)?;
        for mut space in [src, dst] {
            space.queue.destroy()?;
            space.vm.destroy()?;
        }
    }
    Ok(())
}
