// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is taken away from copies that are at it: mappings, memory, the right,
//! the address space. Nothing is written any more to what others have then.

use std::time::Duration;

use hlrs::Errno;

use super::close;
use super::done_or;
use super::end;
use super::exhaust;
use super::Heir;
use super::Pair;
use super::Side;
use super::BASE;
use crate::check;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::nic;
use crate::system::random::Random;
use crate::system::timing::Slow;
use crate::system::wait_until;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        unmapped: 120,
        memory_is_taken_back: 120,
        unregistered: 120,
        the_device_file_is_closed: 120,
        the_nic_is_closed: 120,
    ]
}

const SIZE: u64 = 4 * MIB;

/// So long takes the beginning of a copy, and each of its steps.
const STEP: Duration = Duration::from_millis(8);

/// Copies are in flight for a while: before they begin, or between the steps of
/// 256 KiB in which they move, each of which has two sides.
fn slow(address: &str, round: u32) -> Outcome<Slow> {
    match round % 2 {
        0 => Slow::lmem(address, STEP / 512),
        _ => Slow::commands(address, 4 * STEP),
    }
}

/// A moment within the first copies.
fn moment(random: &mut Random) {
    std::thread::sleep(STEP / 4 * random.below(6) as u32);
}

/// Memory that is unmapped and closed is not somebody else's before the copies
/// that might still be at it have ended.
fn unmapped(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let mut random = Random::new(context.seed);
    let pair = Pair::of(&node)?;
    let device = &pair.src.space.device;
    let mut in_flight = false;
    for round in context.each(4, 300) {
        let src = pair.src.buffer(Place::Lmem, SIZE, 0x71)?;
        let dst = pair.dst.buffer(Place::Lmem, SIZE, 0x72)?;
        let rest = exhaust(device);
        let slow = slow(&node.address, round)?;
        let copies = [pair.all(SIZE).start()?, pair.all(SIZE).start()?];
        moment(&mut random);
        pair.src.space.vm.unmap(BASE, SIZE)?;
        pair.dst.space.vm.unmap(BASE, SIZE)?;
        drop((src, dst));
        in_flight |= !copies[1].is_done()?;
        let heirs = [Heir::new(device, SIZE)?, Heir::new(device, SIZE)?];
        for copy in &copies {
            done_or("unmapped", copy, Errno::FAULT)?;
        }
        drop(slow);
        heirs.iter().try_for_each(Heir::is_unharmed)?;
        drop((heirs, rest));
        pair.nobody_is_banned()?;
    }
    check!(in_flight, "no copy was ever in flight");
    pair.works()
}

/// By the exporter, which then has it alone.
fn memory_is_taken_back(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let (_, other) = cards::two()?;
    let mut random = Random::new(context.seed);
    let pair = Pair::of(&node)?;
    let _src = pair.src.buffer(Place::Lmem, SIZE, 0x81)?;
    let exported = Place::Visible.create(&other, SIZE)?;
    let window = pair
        .dst
        .space
        .device
        .import(&exported.dma_buf().create()?)?;
    pair.dst.space.vm.map(BASE, &window)?;
    for round in context.each(4, 300) {
        let slow = slow(&node.address, round)?;
        let copies = [pair.all(SIZE).start()?, pair.all(SIZE).start()?];
        moment(&mut random);
        exported.revoke()?;
        let pattern = random.next();
        exported.fill(0, SIZE, pattern)?;
        drop(slow);
        for copy in &copies {
            // What is waited for succeeds.
            done_or("taken back", copy, Errno::FAULT)?;
        }
        cards::holds_pattern("what was taken back", &exported, pattern)?;
        check_errno!(pair.all(SIZE).start(), FAULT, "round {round}");
        pair.nobody_is_banned()?;
        exported.undo_revoke()?;
        pair.all(SIZE).run(JOB)?;
        cards::holds_pattern("given again", &exported, 0x81)?;
    }
    Ok(())
}

/// After the call nothing is written any more, although the memory is there.
fn unregistered(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let nic = nic::nic(&node)?;
    let mut random = Random::new(context.seed);
    let (stays, third) = (
        Side::new(&nic, &node.open()?)?,
        Side::new(&nic, &node.open()?)?,
    );
    let _a = stays.buffer(Place::Lmem, SIZE, 0x91)?;
    let c = third.buffer(Place::Lmem, SIZE, 0x93)?;
    let mut cancelled = 0;
    for round in context.each(4, 300) {
        let goes = Side::new(&nic, &node.open()?)?;
        let b = goes.buffer(Place::Lmem, SIZE, 0x92)?;
        c.fill(0, SIZE, 0x93)?;
        let slow = slow(&node.address, round)?;
        let copies = [
            nic.copy(&stays.vm, BASE, &goes.vm, BASE, SIZE).start()?,
            nic.copy(&goes.vm, BASE, &third.vm, BASE, SIZE).start()?,
            nic.copy(&stays.vm, BASE, &goes.vm, BASE, SIZE).start()?,
        ];
        let between = nic.copy(&stays.vm, BASE, &third.vm, BASE, SIZE).start()?;
        moment(&mut random);
        let number = goes.vm.number();
        goes.vm.unregister()?;
        drop(slow);
        b.fill(0, SIZE, 0x94)?;
        for copy in &copies {
            cancelled += u32::from(!done_or("unregistered", copy, Errno::CANCELED)?);
        }
        check!(
            end(&between)?.is_none(),
            "another copy: {:?}",
            end(&between)?
        );
        cards::holds_pattern("of the one that is unregistered", &b, 0x94)?;
        cards::holds_pattern("of the others", &c, 0x91)?;
        let mut arg = hlrs_sys::hlrs_nic_copy {
            src_vm: number,
            dst_vm: stays.vm.number(),
            size: 8,
            ..Default::default()
        };
        check_errno!(crate::raw::nic::copy(&nic, &mut arg), NOENT);
        // Nobody has it any more: it can be destroyed.
        let mut space = goes.space;
        space.queue.destroy()?;
        space.vm.destroy()?;
    }
    check!(cancelled > 0, "no copy was ever in flight");
    Ok(())
}

/// Of the owner of an address space: its memory is free when that returns, and
/// nobody's copy writes there.
fn the_device_file_is_closed(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let nic = nic::nic(&node)?;
    let stays = Side::new(&nic, &node.open()?)?;
    let b = stays.buffer(Place::Lmem, SIZE, 0xa1)?;
    let device = &stays.space.device;
    let before = cards::used(device)?;
    let mut random = Random::new(context.seed);
    let mut cancelled = 0;
    for round in context.each(4, 300) {
        let Side { vm, space } = Side::new(&nic, &node.open()?)?;
        let buffer = Place::Lmem.create(&space.device, SIZE)?;
        buffer.fill(0, SIZE, 0xa2)?;
        space.vm.map(BASE, &buffer)?;
        drop(buffer);
        let rest = exhaust(device);
        let slow = slow(&node.address, round)?;
        let copies = [
            nic.copy(&stays.vm, BASE, &vm, BASE, SIZE).start()?,
            nic.copy(&stays.vm, BASE, &vm, BASE, SIZE).start()?,
            nic.copy(&vm, BASE, &stays.vm, BASE, SIZE).start()?,
        ];
        moment(&mut random);
        drop(space);
        let heir = Heir::new(device, SIZE)?;
        let what = format!("round {round}");
        let refused = nic.copy(&stays.vm, BASE, &vm, BASE, 8).start();
        check_errno!(refused, STALE, "{what}: to it");
        let refused = nic.copy(&vm, BASE, &stays.vm, BASE, 8).start();
        check_errno!(refused, STALE, "{what}: from it");
        for copy in &copies {
            cancelled += u32::from(!done_or(&what, copy, Errno::CANCELED)?);
        }
        drop(slow);
        heir.is_unharmed()?;
        drop((heir, rest));
        cards::settles(device, before)?;
        // The registration is still there, to be removed.
        vm.unregister()?;
        b.fill(0, SIZE, 0xa1)?;
    }
    check!(cancelled > 0, "no copy was ever in flight");
    check!(!stays.space.vm.state()?.banned, "the other one is banned");
    Ok(())
}

/// What its copies were is gone with it.
fn the_nic_is_closed(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let (one, two) = (node.open()?, node.open()?);
    let mut random = Random::new(context.seed);
    for round in context.each(4, 300) {
        let nic = nic::nic(&node)?;
        let (src, dst) = (Side::new(&nic, &one)?, Side::new(&nic, &two)?);
        let _a = src.buffer(Place::Lmem, SIZE, 0xb1)?;
        let b = dst.buffer(Place::Lmem, SIZE, 0xb2)?;
        let slow = slow(&node.address, round)?;
        for _ in 0..3 {
            let _copy = nic.copy(&src.vm, BASE, &dst.vm, BASE, SIZE).start()?;
        }
        moment(&mut random);
        let (src, dst) = {
            close(&nic)?;
            (src.space, dst.space)
        };
        drop(slow);
        b.fill(0, SIZE, 0xb3)?;
        cards::holds_pattern("after the NIC was closed", &b, 0xb3)?;
        for mut space in [src, dst] {
            // The copies that were cancelled have it until it would be their turn.
            wait_until("it is not registered any more", JOB, || {
                space.vm.state().is_ok_and(|state| !state.registered)
            })?;
            space.queue.destroy()?;
            space.vm.destroy()?;
        }
    }
    Ok(())
}
