// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls of the NIC with each of their allocations failing once.

use std::os::fd::AsFd;

use hlrs::Errno;
use rustix::event::eventfd;
use rustix::event::EventfdFlags;

use super::Pair;
use super::BASE;
use crate::check;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::suites::faults::each;
use crate::suites::faults::Injection;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::nic;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![registering_without_memory: 180, copying_without_memory: 180]
}

fn errno(err: hlrs::Error) -> Errno {
    err.errno().unwrap_or(Errno::IO)
}

fn registering_without_memory(_: &Context) -> Outcome {
    let injection = Injection::new()?;
    let node = cards::first_node()?;
    let path = nic::path(&node);
    let nic = nic::nic(&node)?;
    each("opening", &injection, &mut || {
        hlrs::Nic::open(&path).map(drop).map_err(errno)
    })?;
    let vm = node.open()?.vm().create()?;
    let fd = vm.export()?;
    let mut left = false;
    // Each time in a file of its own, because unregistering may fail, too.
    each("registering", &injection, &mut || {
        let nic = hlrs::Nic::open(&path).map_err(errno)?;
        let registered = nic.register(&fd).map_err(errno);
        left |= registered.is_err() && vm.state().is_ok_and(|state| state.registered);
        registered.map(drop)
    })?;
    check!(!left, "what has failed is registered");
    check!(!vm.state()?.registered, "still registered");
    drop(nic.register(&fd)?);
    Ok(())
}

fn copying_without_memory(_: &Context) -> Outcome {
    let injection = Injection::new()?;
    let pair = Pair::first()?;
    let _src = pair.src.buffer(Place::Lmem, MIB, 0x71)?;
    let dst = pair.dst.buffer(Place::Lmem, MIB, 0)?;
    let told = eventfd(0, EventfdFlags::NONBLOCK)
        .map_err(|errno| Stop::failed(format!("eventfd: {errno}")))?;
    // What is submitted although its number cannot be told ends all the same.
    each("copying", &injection, &mut || {
        let copy = pair.all(MIB).eventfd(told.as_fd());
        copy.start().map(drop).map_err(errno)
    })?;
    pair.nic.wait_idle(JOB)?;
    cards::holds_pattern("what was copied", &dst, 0x71)?;
    let last = pair.all(MIB).start()?;
    each("waiting", &injection, &mut || last.wait(JOB).map_err(errno))?;
    each("copying what faults", &injection, &mut || {
        let copy = pair.copy(3 * BASE, BASE, 8);
        copy.start().map(drop).map_err(errno)
    })?;
    pair.nic.wait_idle(JOB)?;
    pair.nobody_is_banned()?;
    pair.works()
}
