// SPDX-License-Identifier: MIT OR Apache-2.0
//! Modules, drivers and devices that go while a VM is registered.

use std::thread;
use std::time::Duration;

use super::exported;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::suites::reset::reset;
use crate::system::cards;
use crate::system::consumer;
use crate::system::consumer::Consumer;
use crate::system::consumer::LONG;
use crate::system::driver;
use crate::system::driver::Unbound;
use crate::system::machine::Slot;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        modules_stay,
        the_user_is_unbound: 120,
        the_user_is_unbound_while_it_is_told: 120,
        the_accelerator_is_unbound: 120,
        the_accelerator_is_reset: 120,
        the_accelerator_is_pulled_out: 180,
    ]
}

fn modules_stay(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let consumer = Consumer::open(&node)?;
    let before = consumer::references()?;
    let (space, fd) = exported(&node.open()?)?;
    let user = consumer.register(&fd).map_err(Stop::failed)?;
    check_eq!(consumer::references()?, before + 1, "registered");
    check!(consumer::unload().is_err(), "the user was unloaded");
    for module in ["hlrs", "dma_buf_ic"] {
        let unloaded = driver::program("rmmod", &[module]);
        check!(unloaded.is_err(), "{module} was unloaded");
    }
    drop((space, fd));
    check_eq!(consumer::references()?, before + 1, "revoked");
    check_eq!(user.unregister(), Ok(()));
    check_eq!(consumer::references()?, before, "unregistered");
    drop(consumer);
    consumer::unload()
}

/// Every call on an open file whose driver was unbound.
fn all_gone(consumer: &Consumer, fd: &hlrs::VmFd, id: u32) -> Outcome {
    check_errno!(consumer.register(fd), NODEV);
    check_errno!(consumer.access(&[id], LONG), NOENT);
    Ok(())
}

fn the_user_is_unbound(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    for _ in context.each(3, 200) {
        let consumer = Consumer::open(&node)?;
        let (space, fd) = exported(&device)?;
        let user = consumer.register(&fd).map_err(Stop::failed)?;
        check_eq!(user.access(LONG), Ok(true));
        consumer::unbind(&node)?;
        let result = all_gone(&consumer, &fd, user.id);
        let registered = space.vm.state()?.registered;
        consumer::bind(&node)?;
        result?;
        check!(!registered, "registered by a driver that is gone");
        let again = Consumer::open(&node)?;
        let user = again.register(&fd).map_err(Stop::failed)?;
        check_eq!(user.access(LONG), Ok(true));
    }
    Ok(())
}

fn the_user_is_unbound_while_it_is_told(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let consumer = Consumer::open(&node)?;
    let (space, fd) = exported(&node.open()?)?;
    let slow = Duration::from_millis(300);
    let user = consumer.register_with(&fd, 0, slow).map_err(Stop::failed)?;
    check_eq!(user.access(LONG), Ok(true));
    let unbound = thread::scope(|scope| {
        scope.spawn(|| drop(space));
        thread::sleep(slow / 4);
        consumer::unbind(&node)
    });
    consumer::bind(&node)?;
    Ok(unbound?)
}

fn the_accelerator_is_unbound(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let consumer = Consumer::open(&node)?;
    let (space, fd) = exported(&node.open()?)?;
    let user = consumer.register(&fd).map_err(Stop::failed)?;
    check_eq!(user.access(LONG), Ok(true));
    let bound = Unbound(&node.address);
    driver::unbind(&node.address)?;
    check!(!consumer::path(&node).exists(), "without the accelerator");
    all_gone(&consumer, &fd, user.id)?;
    drop(bound);
    let node = driver::wait_node(&node.address)?;
    let again = Consumer::open(&node)?;
    // The VM is one of a device that is no more, and closing it tells nobody.
    check_errno!(again.register(&fd), XDEV, "of the device that was");
    drop(space);
    check_errno!(again.register(&fd), NOENT, "closed");
    let (_space, fd) = exported(&node.open()?)?;
    let user = again.register(&fd).map_err(Stop::failed)?;
    check_eq!(user.access(LONG), Ok(true));
    Ok(())
}

/// The context is the same, and is set up again.
fn the_accelerator_is_reset(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let consumer = Consumer::open(&node)?;
    let (space, fd) = exported(&node.open()?)?;
    let user = consumer.register(&fd).map_err(Stop::failed)?;
    for _ in context.each(2, 100) {
        check_eq!(user.access(LONG), Ok(true));
        reset(&node.address)?;
        check_eq!(user.counts()?, (0, 0, 1), "nothing was revoked");
        check_eq!(user.signal(), Ok(()));
        check_eq!(user.access(LONG), Ok(true));
        check_eq!(user.signal(), Ok(()));
        let again = consumer.register(&fd).map_err(Stop::failed)?;
        check_eq!(again.is_same(&user), Ok(true));
        check_eq!(again.context, user.context);
        check_eq!(again.unregister(), Ok(()));
    }
    drop(space);
    check_eq!(user.counts()?, (1, 1, 0), "closed");
    Ok(())
}

fn the_accelerator_is_pulled_out(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let slot = Slot::of(&node)?;
    let consumer = Consumer::open(&node)?;
    let (space, fd) = exported(&node.open()?)?;
    let user = consumer.register(&fd).map_err(Stop::failed)?;
    check_eq!(user.access(LONG), Ok(true));
    slot.yank()?;
    all_gone(&consumer, &fd, user.id)?;
    drop((space, fd));
    let node = slot.plug()?;
    let again = Consumer::open(&node)?;
    let (_space, fd) = exported(&node.open()?)?;
    let user = again.register(&fd).map_err(Stop::failed)?;
    check_eq!(user.access(LONG), Ok(true));
    Ok(())
}
