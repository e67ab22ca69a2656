// SPDX-License-Identifier: MIT OR Apache-2.0
//! Resets, hanging jobs, lost interrupts, errors in memory.

use std::io;

use hlrs::Errno;
use hlrs::Node;

use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::role::Role;
use crate::system::space::PAGE;
use crate::system::vfs::Vfs;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        reset_when_idle: 120,
        reset_with_jobs_in_flight: 180,
        reset_with_mappings: 120,
        mappings_are_torn_down: 120,
        reset_of_a_virtual_function: 180,
        reset_with_virtual_functions: 180,
        a_job_that_hangs: 180,
        a_lost_interrupt: 120,
        an_error_in_memory: 120,
    ]
}

/// What a call may say that a reset met.
const DOCUMENTED: [Errno; 3] = [Errno::CANCELED, Errno::TIMEDOUT, Errno::IO];

pub fn reset(address: &str) -> Outcome {
    let file = driver::pci(address).join("reset");
    system::need(&file, "a reset of the function")?;
    system::write(&file, "1").map_err(|err| Stop::failed(format!("reset of {address}: {err}")))
}

/// New memory and new jobs work.
fn works(device: &hlrs::Device) -> Outcome {
    for place in Place::ALL {
        let buffer = place.create(device, 2 * MIB)?;
        cards::holds_pattern("new memory", &buffer, 0)?;
        buffer.fill(0, buffer.size(), 0x1234_5678_9abc_def0)?;
        cards::holds_pattern("new memory, filled", &buffer, 0x1234_5678_9abc_def0)?;
    }
    Ok(())
}

fn reset_when_idle(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    for _ in context.each(3, 100) {
        reset(&node.address)?;
        works(&device)?;
    }
    Ok(())
}

fn reset_with_jobs_in_flight(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    for _ in context.each(3, 100) {
        let buffer = Place::Lmem.create(&device, 16 * MIB)?;
        for n in 0..32 {
            let _job = buffer.fill_async(0, buffer.size(), n)?;
        }
        let ended = std::thread::scope(|scope| -> Outcome<_> {
            let waiting = scope.spawn(|| buffer.fill(0, buffer.size(), 1));
            reset(&node.address)?;
            waiting
                .join()
                .map_err(|_| Stop::failed("the waiting thread panicked"))
        })?;
        if let Err(err) = ended {
            check!(
                err.errno().is_some_and(|e| DOCUMENTED.contains(&e)),
                "{err}"
            );
        }
        // Whatever became of the jobs, nothing runs any more after the wait.
        if let Err(err) = buffer.wait(system::JOB) {
            check!(err.errno() == Some(Errno::IO), "{err}");
        }
        works(&device)?;
    }
    Ok(())
}

/// Memory that a reset takes away is gone; what is not taken away is intact.
fn reset_with_mappings(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let path = node.path.display().to_string();
    let mut role = Role::start("hold", &[&path, "visible"])?;
    role.expect("ready")?;
    reset(&node.address)?;
    works(&node.open()?)?;
    role.tell("read")?;
    if let Ok(line) = role.line() {
        check!(
            line == "[52, 18, 0, 0, 0, 0, 0, 0]",
            "after a reset a mapping shows {line}"
        );
        role.tell("end")?;
        return role.succeeds();
    }
    role.ends_by_signal(libc::SIGBUS)
}

/// Whether this process's page tables have an entry for a page of a mapping.
fn is_present(page: *mut u8) -> Outcome<bool> {
    let mut present = 0;
    // SAFETY: one byte is written for one page.
    let result = unsafe { libc::mincore(page.cast(), PAGE as usize, &raw mut present) };
    if result != 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(present & 1 != 0)
}

/// The CPU meets no entry of before a reset: its next access asks the driver.
fn mappings_are_torn_down(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let buffer = Place::Visible.create(&node.open()?, 2 * PAGE)?;
    let mut map = buffer.map()?;
    check!(!is_present(map.as_ptr())?, "an entry before it is used");
    map.write(0, b"before")?;
    check!(is_present(map.as_ptr())?, "no entry after it was used");
    reset(&node.address)?;
    check!(
        !is_present(map.as_ptr())?,
        "the entry of before the reset is still there"
    );
    check_eq!(map.to_vec(0, 6)?, b"before");
    check!(
        is_present(map.as_ptr())?,
        "no entry after it was used again"
    );
    Ok(())
}

fn reset_of_a_virtual_function(_: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    let (node, other) = (vfs.vf_node(1)?, vfs.open(2)?);
    let kept = Place::Lmem.create(&other, 4 * MIB)?;
    kept.fill(0, kept.size(), 0x2222)?;
    let device = node.open()?;
    let buffer = Place::Lmem.create(&device, 4 * MIB)?;
    for n in 0..16 {
        let _job = buffer.fill_async(0, buffer.size(), n)?;
    }
    reset(&node.address)?;
    // It waits for the jobs, or says that they were lost.
    if let Err(err) = buffer.wait(system::JOB) {
        check!(err.errno() == Some(Errno::IO), "{err}");
    }
    works(&device)?;
    works(&other)?;
    cards::holds_pattern("the other function's memory", &kept, 0x2222)
}

fn reset_with_virtual_functions(_: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    // The reset of the PF takes its VFs along; what they say meanwhile is
    // open, but afterwards everything can be had again.
    let device = vfs.open(1)?;
    let _buffer = Place::Lmem.create(&device, MIB)?;
    reset(&vfs.node.address)?;
    works(&vfs.node.open()?)?;
    drop((_buffer, device));
    vfs.clear()?;
    vfs.set(2)?;
    works(&vfs.open(1)?)
}

/// Asks the hardware, through debugfs, to misbehave.
pub fn inject(node: &Node, what: &str) -> Outcome {
    let file = format!("/sys/kernel/debug/hlrs-{}/inject", node.address);
    system::need(&file, "error injection")?;
    system::write(&file, what).map_err(|err| Stop::failed(format!("injecting {what}: {err}")))
}

fn a_job_that_hangs(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    let bystander = Place::Lmem.create(&device, MIB)?;
    bystander.fill(0, MIB, 0x99)?;
    for _ in context.each(1, 20) {
        inject(&node, "hang")?;
        // Behind it or beside it: done in time, or refused with the reason.
        let buffer = Place::System.create(&device, MIB)?;
        if let Err(err) = buffer.fill(0, MIB, 1) {
            check!(
                err.errno().is_some_and(|e| DOCUMENTED.contains(&e)),
                "{err}"
            );
        }
        works(&device)?;
        cards::holds_pattern("memory that was not in use", &bystander, 0x99)?;
    }
    Ok(())
}

fn a_lost_interrupt(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    let buffer = Place::Lmem.create(&device, MIB)?;
    for n in 0..u64::from(context.rounds(3, 100)) {
        inject(&node, "lose-irq")?;
        // The job is done although nobody says so: the driver must look.
        buffer.fill(0, MIB, n)?;
        cards::holds_pattern("after a lost interrupt", &buffer, n)?;
    }
    Ok(())
}

fn an_error_in_memory(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    let lmem = device.lmem()?;
    check!(lmem.used == 0, "{} bytes of LMEM are in use", lmem.used);
    let all = Place::Lmem.create(&device, lmem.total)?;
    all.fill(0, 4 * MIB, 3)?;
    inject(&node, "lmem-error 0x100000")?;
    let refused = all.crc32c(0, all.size());
    inject(&node, "clear")?;
    check_errno!(refused, IO, "reading memory with an uncorrectable error");
    drop(all);
    works(&device)
}
