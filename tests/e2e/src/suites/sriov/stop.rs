// SPDX-License-Identifier: MIT OR Apache-2.0
//! `sriov_admin/vf<N>/stop`: a card takes its engines from a function.

use std::thread;
use std::time::Duration;

use crate::check;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::space::Space;
use crate::system::timing::Slow;
use crate::system::vfs::Vfs;
use crate::system::wait_until;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![stopping_a_function: 120]
}

/// Where jobs find a buffer in their address space.
const BASE: u64 = 0x10_0000_0000;

/// What is not 1 is refused, and stops nothing.
const WRONG: [&str; 9] = ["0", "2", "x", "y", "on", "true", "11", "1 1", "\n"];

/// Jobs of the function end with the error of a reset; everything else stays.
fn stopping_a_function(_: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    let (node, other) = (vfs.vf_node(1)?, vfs.open(2)?);
    let device = node.open()?;
    let file = vfs.pf.directory().join("sriov_admin/vf1/stop");

    let kept = Place::Lmem.create(&other, MIB)?;
    kept.fill(0, MIB, 0x2222)?;
    let buffer = Place::Lmem.create(&device, 16 * MIB)?;
    let mapped = Place::Lmem.create(&device, 16 * MIB)?;
    let space = Space::new(&device)?;
    space.vm.map(BASE, &mapped)?;

    // 16 s each.
    let slow = Slow::lmem(&node.address, Duration::from_millis(1))?;
    let queued = space.queue.job().fill(BASE, 16 * MIB, 3).start()?;
    let (filled, stopped) = thread::scope(|scope| {
        let waiting = scope.spawn(|| buffer.fill(0, 16 * MIB, 4));
        let stop = || -> Outcome {
            wait_until("the job is in flight", JOB, || {
                let ended = buffer.wait(Duration::ZERO);
                ended.is_err_and(|err| err.errno() == Some(hlrs::Errno::TIME))
            })?;
            for text in WRONG {
                check_errno!(system::write(&file, text), INVAL, "{text:?}");
            }
            check!(!queued.is_done()?, "stopped by what is not 1");
            Ok(system::write(&file, "1\n")?)
        };
        let stopped = stop();
        (waiting.join(), stopped)
    });
    stopped?;
    let filled = filled.map_err(|_| Stop::failed("the waiting thread panicked"))?;
    check_errno!(filled, CANCELED, "a job of the kernel's queue");
    check_errno!(queued.wait(JOB), CANCELED, "a job of an own queue");
    drop(slow);

    // The other one notices nothing, and this one works again.
    cards::holds_pattern("the other function's memory", &kept, 0x2222)?;
    buffer.fill(0, buffer.size(), 5)?;
    cards::holds_pattern("its memory", &buffer, 5)?;
    space.fill(BASE, MIB, 6)?;
    space.holds("what its own queue has written", BASE, MIB, 6)
}
