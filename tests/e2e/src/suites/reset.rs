// SPDX-License-Identifier: MIT OR Apache-2.0
//! Resets, hanging jobs, lost interrupts, errors in memory.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

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
use crate::system::driver::Parameters;
use crate::system::log::Log;
use crate::system::role::Role;
use crate::system::space::PAGE;
use crate::system::timing::Slow;
use crate::system::vfs::Vfs;
use crate::system::wait_until;
use crate::system::MIB;
use crate::system::REACTION;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        reset_when_idle: 120,
        reset_with_jobs_in_flight: 180,
        reset_with_mappings: 120,
        mappings_are_torn_down: 120,
        mappings_of_a_virtual_function: 120,
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
    for _ in context.each(2, 100) {
        let buffer = Place::Lmem.create(&device, 16 * MIB)?;
        // 160 ms for each job. The reset ends this, too.
        let slow = Slow::lmem(&node.address, Duration::from_micros(10))?;
        let job = (0..32).map(|n| buffer.fill_async(0, buffer.size(), n));
        let job = job.last().ok_or_else(|| Stop::failed("no jobs"))??;
        let ended = std::thread::scope(|scope| -> Outcome<_> {
            let waiting = scope.spawn(|| buffer.fill(0, buffer.size(), 1));
            check!(!job.is_done()?, "no job is in flight");
            reset(&node.address)?;
            waiting
                .join()
                .map_err(|_| Stop::failed("the waiting thread panicked"))
        })?;
        drop(slow);
        if let Err(err) = ended {
            check!(
                err.errno().is_some_and(|e| DOCUMENTED.contains(&e)),
                "{err}"
            );
        }
        // The jobs were cancelled, and nothing runs any more after the wait.
        check_errno!(buffer.wait(system::JOB), IO, "waiting for the jobs");
        buffer.wait(Duration::ZERO)?;
        works(&device)?;
    }
    Ok(())
}

/// Memory keeps its contents over a reset, and mappings show it again.
fn reset_with_mappings(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let path = node.path.display().to_string();
    let mut role = Role::start("hold", &[&path, "visible"])?;
    role.expect("ready")?;
    reset(&node.address)?;
    works(&node.open()?)?;
    role.tell("read")?;
    role.expect("[52, 18, 0, 0, 0, 0, 0, 0]")?;
    role.tell("end")?;
    role.succeeds()
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

/// A reset of the PF takes its VFs along: meanwhile the CPU sees their memory, or
/// all ones where no device answers, but never somebody else's memory.
fn mappings_of_a_virtual_function(_: &Context) -> Outcome {
    let vfs = Vfs::enable(1)?;
    let pf = vfs.node.open()?;
    let others = Place::Lmem.create(&pf, 16 * MIB)?;
    others.fill(0, others.size(), 0x2222)?;
    let buffer = Place::Visible.create(&vfs.open(1)?, MIB)?;
    buffer.fill(0, MIB, 0x1111)?;
    let map = buffer.map()?;
    let word = |offset: usize| -> Outcome<u64> {
        let bytes = map.to_vec(offset, 8)?.try_into();
        Ok(u64::from_le_bytes(
            bytes.map_err(|_| Stop::failed("no word"))?,
        ))
    };

    let over = AtomicBool::new(false);
    let (reset, seen) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| -> Outcome<[u64; 2]> {
            let mut seen = [0; 2];
            while !over.load(Ordering::Relaxed) {
                for offset in (0..MIB as usize).step_by(65536) {
                    match word(offset)? {
                        0x1111 => seen[0] += 1,
                        u64::MAX => seen[1] += 1,
                        other => check!(false, "{other:#x} at {offset:#x}"),
                    }
                }
            }
            Ok(seen)
        });
        let reset = reset(&vfs.node.address);
        over.store(true, Ordering::Relaxed);
        (reset, reading.join())
    });
    reset?;
    let seen = seen.map_err(|_| Stop::failed("the reading thread panicked"))??;
    println!("{} words were there, {} were not", seen[0], seen[1]);
    check_eq!(word(0)?, 0x1111, "its memory after the reset");
    cards::holds_pattern("the PF's memory", &others, 0x2222)
}

fn reset_of_a_virtual_function(_: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    let (node, other) = (vfs.vf_node(1)?, vfs.open(2)?);
    let kept = Place::Lmem.create(&other, 4 * MIB)?;
    kept.fill(0, kept.size(), 0x2222)?;
    let device = node.open()?;
    let buffer = Place::Lmem.create(&device, 4 * MIB)?;
    // 40 ms for each job.
    let slow = Slow::lmem(&node.address, Duration::from_micros(10))?;
    let job = (0..16).map(|n| buffer.fill_async(0, buffer.size(), n));
    let job = job.last().ok_or_else(|| Stop::failed("no jobs"))??;
    check!(!job.is_done()?, "no job is in flight");
    reset(&node.address)?;
    drop(slow);
    check_errno!(buffer.wait(system::JOB), IO, "waiting for the jobs");
    works(&device)?;
    works(&other)?;
    cards::holds_pattern("the other function's memory", &kept, 0x2222)
}

fn reset_with_virtual_functions(context: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    // The reset of the PF takes its VFs along, which are told and restored.
    let device = vfs.open(1)?;
    let buffer = Place::Lmem.create(&device, MIB)?;
    buffer.fill(0, MIB, 0x5a)?;
    for round in context.each(1, 20) {
        for n in 0..4 {
            let _job = buffer.fill_async(0, MIB, 0x5a + n)?;
        }
        reset(&vfs.node.address)?;
        let _ = buffer.wait(system::JOB);
        works(&vfs.node.open()?).map_err(|stop| stop.during("the PF"))?;
        works(&device).map_err(|stop| stop.during(format!("a VF, round {round}")))?;
    }
    Ok(())
}

/// Asks the hardware, through debugfs, to misbehave.
pub fn inject(node: &Node, what: &str) -> Outcome {
    let file = format!("/sys/kernel/debug/hlrs-{}/inject", node.address);
    system::need(&file, "error injection")?;
    system::write(&file, what).map_err(|err| Stop::failed(format!("injecting {what}: {err}")))
}

fn a_job_that_hangs(context: &Context) -> Outcome {
    // No shorter than the watchdog's period.
    let limit = Duration::from_millis(400);
    let parameter = format!("job_timeout_ms={}", limit.as_millis());
    let _loaded = Parameters::load(&[&parameter])?;
    let node = cards::first_node()?;
    let device = node.open()?;
    let bystander = Place::Lmem.create(&device, MIB)?;
    bystander.fill(0, MIB, 0x99)?;
    for _ in context.each(1, 20) {
        let mut log = Log::from_now()?;
        let start = Instant::now();
        inject(&node, "hang")?;
        // Behind it: done when the queue was reset, as if nothing had happened.
        let buffer = Place::System.create(&device, MIB)?;
        buffer.fill(0, MIB, 1)?;
        let elapsed = start.elapsed();
        check!(elapsed >= limit, "the job behind took {elapsed:?} only");
        check_eq!(
            log.count("copy queue: job did not end within 400 ms"),
            1,
            "times that the log says so"
        );
        cards::holds_pattern("memory of the job behind", &buffer, 1)?;
        works(&device)?;
        cards::holds_pattern("memory that was not in use", &bystander, 0x99)?;
    }
    Ok(())
}

fn a_lost_interrupt(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    let buffer = Place::Lmem.create(&device, MIB)?;
    let lost = || {
        let counters = node.counters();
        counters.and_then(|counters| counters.get("irqs_lost"))
    };
    for n in 0..u64::from(context.rounds(3, 100)) {
        let mut log = Log::from_now()?;
        let before = lost();
        check!(before.is_some(), "no counter of lost interrupts");
        inject(&node, "lose-irq")?;
        // The job is done although nobody says so: the driver must look.
        buffer.fill(0, MIB, n)?;
        check_eq!(lost(), before.map(|n| n + 1), "lost interrupts");
        wait_until("the log says that one was lost", REACTION, || {
            log.count("copy queue: an interrupt was lost") == 1
        })?;
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
