// SPDX-License-Identifier: MIT OR Apache-2.0
//! What takes the memory away from importers, and gives it back.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use hlrs::Errno;

use super::Setting;
use super::LMEM;
use super::PAGE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::raw;
use crate::suites::iov::is_native;
use crate::system::cards;
use crate::system::driver;
use crate::system::importer::Kind;
use crate::system::importer::Usage;
use crate::system::log::Log;
use crate::system::random::Random;
use crate::system::space::Space;
use crate::system::timing::Slow;
use crate::system::vfio::Driver;
use crate::system::vfio::Function;
use crate::system::write;
use crate::system::JOB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        causes_are_those_of_vfio_pci: 120,
        a_reset_by_others: 120,
        every_kind_of_importer,
        who_does_not_let_go: 120,
        calls_while_an_engine_works: 120,
    ]
}

/// Something that a user does.
type Step = fn(&Function) -> raw::Result;

/// What vfio-pci does not see: it has mappings handed out of what is exported in
/// low power.
const STRICTER: &str = "low power again";

/// Its name, whether it takes the memory away, and what it is.
const STEPS: [(&str, bool, Step); 10] = [
    ("VFIO_DEVICE_RESET", true, Function::reset),
    ("the FLR bit", true, Function::flr),
    ("memory off", true, |f| f.set_memory(false)),
    ("memory off again", true, |f| f.set_memory(false)),
    ("memory on", false, |f| f.set_memory(true)),
    ("memory on again", false, |f| f.set_memory(true)),
    ("low power", true, |f| f.low_power(true)),
    ("low power again", true, |f| f.low_power(true)),
    ("full power", false, |f| f.low_power(false)),
    ("full power again", false, |f| f.low_power(false)),
];

/// What there is to be seen of a step.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    result: raw::Result,
    told: bool,
    attach: raw::Result,
}

/// Does a step, with an importer that is attached if it can be. With our driver
/// it has the memory mapped; vfio-pci does not free the table of a mapping.
fn observe(setting: &Setting, driver: Driver, function: &Function, step: Step) -> Outcome<Seen> {
    let dmabuf = function.export(LMEM, &[(0, PAGE)]).map_err(Stop::failed)?;
    let attach = || {
        setting
            .importers
            .attach(&dmabuf, &setting.peer, Kind::Dynamic)
    };
    let importer = attach()?;
    let mapped = match &importer {
        Ok(importer) if driver == Driver::Ours => {
            importer.map().map_err(Stop::failed)?;
            true
        }
        _ => false,
    };
    let result = step(function);
    let attach = attach()?.map(drop);
    let mut told = false;
    if let Ok(importer) = importer {
        let state = importer.state()?;
        told = state.invalidations > 0;
        check_eq!(state.mapped, mapped && !told, "mapped after the step");
        if mapped && told {
            check_eq!(importer.map().map(drop), attach, "mapping after the step");
        }
    }
    Ok(Seen {
        result,
        told,
        attach,
    })
}

fn causes_are_those_of_vfio_pci(_: &Context) -> Outcome {
    let setting = Setting::with(Driver::Theirs)?;
    let mut seen = Vec::new();
    for driver in Driver::BOTH {
        setting.taken.give(driver)?;
        let function = setting.taken.open()?;
        let each = |(_, _, step): &(_, _, Step)| observe(&setting, driver, &function, *step);
        seen.push(STEPS.iter().map(each).collect::<Outcome<Vec<_>>>()?);
        // For a function of an SR-IOV device there is no hot reset by itself.
        let hot = function.hot_reset();
        check!(hot.is_err(), "{driver:?}: a hot reset of one function");
        seen.push(vec![Seen {
            result: hot,
            ..observe(&setting, driver, &function, |_| Ok(()))?
        }]);
    }
    let ours = seen.split_off(2);
    for (theirs, ours) in seen.iter().zip(&ours) {
        for ((name, _, _), (theirs, ours)) in STEPS.iter().zip(theirs.iter().zip(ours)) {
            println!("{name}: {ours:?}");
            if *name == STRICTER {
                check_eq!(ours.result, theirs.result, "{name}");
                check_eq!(ours.attach, Err(Errno::NODEV), "{name}");
                continue;
            }
            check!(ours == theirs, "{name}: {ours:?}, vfio-pci: {theirs:?}");
        }
    }
    // The comparison is worth what it has met.
    for ((name, takes, _), ours) in STEPS.iter().zip(&ours[0]) {
        check!(
            !takes || ours.told || ours.attach.is_err(),
            "{name}: {ours:?}"
        );
    }
    Ok(())
}

/// Where the PF has the memory.
const BASE: u64 = 1 << 40;

/// Through sysfs, of which vfio-pci does not tell its importers: of the function,
/// of its PF, and of the bus that both are on.
fn a_reset_by_others(context: &Context) -> Outcome {
    let random = &mut Random::new(context.seed);
    let setting = Setting::with(Driver::Ours)?;
    let function = setting.taken.open()?;
    let dmabuf = function.export(LMEM, &[(0, PAGE)]).map_err(Stop::failed)?;
    let (a, b) = cards::two()?;
    let (native, window) = (a.import(&dmabuf)?, b.import(&dmabuf)?);
    is_native(&native, 1)?;
    let space = Space::new(&a)?;
    space.vm.map(BASE, &native)?;

    let [vf, pf] = [&setting.taken.address, setting.taken.vfs.pf.address()].map(driver::pci);
    let port = std::fs::canonicalize(&pf)?.join("..");
    // Tells whether the function was restored; the bit is that of the hardware.
    let master = || -> Outcome<bool> {
        let config = std::fs::read(vf.join("config"))?;
        Ok(config.get(4).is_some_and(|command| command & (1 << 2) != 0))
    };
    function.set_master(true).map_err(Stop::failed)?;
    check!(master()?, "no bus master");
    let mut log = Log::from_now()?;
    for (what, file) in [
        ("the function", vf.join("reset")),
        ("its PF", pf.join("reset")),
        ("the bus", port.join("reset_subordinate")),
    ] {
        // Two that work, one of them with more than it can do at once, and one that takes its
        // time.
        let slow = Slow::commands(setting.taken.vfs.pf.address(), Duration::from_millis(20))?;
        for n in 0..16 {
            let _job = native.fill_async(0, PAGE, n)?;
            let _job = window.fill_async(0, PAGE, n)?;
            let _job = space.queue.job().fill(BASE, PAGE, n).start()?;
        }
        let importer = setting.importers.map(
            &dmabuf,
            &setting.peer,
            Kind::UnmapLate(Duration::from_millis(300)),
        )?;
        let start = Instant::now();
        write(file, "1").map_err(|err| Stop::failed(format!("{what}: {err}")))?;
        let took = start.elapsed();
        drop(slow);
        let state = importer.state()?;
        check!(state.invalidations > 0, "{what}: not told: {state:?}");
        check!(!state.mapped, "{what}: the reset did not wait: {state:?}");
        println!("{what}: {took:?}");
        let complaints = log.count("does not");
        check_eq!(complaints, 0, "{what}: messages about importers");

        importer.map().map_err(Stop::failed)?;
        let _ = native.wait(JOB);
        let _ = window.wait(JOB);
        let bytes = random.bytes(PAGE as usize);
        function.map(LMEM, 0, PAGE)?.write(&bytes);
        for (whose, window) in [("the PF", &native), ("the other card", &window)] {
            let sum = window.crc32c(0, PAGE)?;
            check_eq!(sum, hlrs::crc32c(0, &bytes), "{what}, read by {whose}");
        }
        let sum = space.crc(BASE, PAGE)?;
        check_eq!(sum, hlrs::crc32c(0, &bytes), "{what}, by address");
        check!(master()?, "{what}: no bus master any more");
    }
    Ok(())
}

fn every_kind_of_importer(_: &Context) -> Outcome {
    let setting = Setting::with(Driver::Ours)?;
    let function = setting.taken.open()?;
    let dmabuf = function
        .export(LMEM, &[(0, PAGE), (4 * PAGE, PAGE)])
        .map_err(Stop::failed)?;
    for kind in [Kind::NoInvalidate, Kind::Static] {
        let refused = setting.importers.attach(&dmabuf, &setting.peer, kind)?;
        check_errno!(refused.map(drop), OPNOTSUPP, "{kind:?}");
    }
    // The system's own devices cannot reach it: not PCI, or without peer-to-peer.
    let mut without = Kind::Dynamic.attach(std::os::fd::AsFd::as_fd(&dmabuf), &setting.peer)?;
    without.flags = 0;
    let refused = setting.importers.attach_as(&mut without)?;
    check_errno!(refused.map(drop), OPNOTSUPP, "without peer-to-peer");

    let importers = [
        Kind::Dynamic,
        Kind::UnmapInside,
        Kind::UnmapLate(Duration::from_millis(200)),
    ]
    .into_iter()
    .map(|kind| Ok((kind, setting.importers.map(&dmabuf, &setting.peer, kind)?)))
    .collect::<Outcome<Vec<_>>>()?;
    for (name, step) in [("reset", Function::reset as Step), ("FLR", Function::flr)] {
        step(&function).map_err(Stop::failed)?;
        for (kind, importer) in &importers {
            let state = importer.state()?;
            check!(
                !state.mapped && state.invalidations > 0,
                "{name}, {kind:?}: {state:?}"
            );
            importer.map().map_err(Stop::failed)?;
        }
    }
    calls_wait_for_fences(&setting, &function)
}

/// The time that importers get in [`who_does_not_let_go`].
const TIMEOUT: Duration = Duration::from_millis(200);

fn who_does_not_let_go(_: &Context) -> Outcome {
    let parameter = format!("revoke_timeout_ms={}", TIMEOUT.as_millis());
    let _parameters = super::Parameters::load(&parameter)?;
    let setting = Setting::with(Driver::Ours)?;
    let function = setting.taken.open()?;
    let dmabuf = function.export(LMEM, &[(0, PAGE)]).map_err(Stop::failed)?;
    let importer = setting
        .importers
        .map(&dmabuf, &setting.peer, Kind::NeverUnmap)?;

    // What would take the memory away is refused, in bounded time.
    for (name, takes, step) in STEPS {
        let start = Instant::now();
        let result = step(&function);
        let took = start.elapsed();
        if takes {
            check_errno!(result, BUSY, "{name}");
            check!(took >= TIMEOUT, "{name} took {took:?}");
        } else {
            check!(result.is_ok(), "{name}: {result:?}");
        }
        check!(took < 10 * TIMEOUT, "{name} took {took:?}");
    }
    // That was for the importer's sake only: others come and go.
    let second = setting
        .importers
        .map(&dmabuf, &setting.peer, Kind::Dynamic)?;
    drop(second);

    // Nor does the next user get what it still has.
    drop(function);
    check_errno!(
        Function::open(&setting.taken.address)?.map(drop),
        BUSY,
        "opening the function"
    );
    importer.unmap().map_err(Stop::failed)?;
    check_errno!(importer.map(), NODEV, "mapping after the close");
    importer.detach().map_err(Stop::failed)?;
    drop(dmabuf);
    crate::system::wait_until("the function can be opened", TIMEOUT * 10, || {
        matches!(Function::open(&setting.taken.address), Ok(Ok(_)))
    })
}

fn calls_wait_for_fences(setting: &Setting, function: &Function) -> Outcome {
    const JOB: Duration = Duration::from_millis(300);
    let dmabuf = function.export(LMEM, &[(0, PAGE)]).map_err(Stop::failed)?;
    let importer = setting
        .importers
        .map(&dmabuf, &setting.peer, Kind::Dynamic)?;
    let start = importer.fence(JOB, Usage::Bookkeep)?;
    function.reset().map_err(Stop::failed)?;
    let took = start.elapsed();
    check!(took >= JOB, "the reset took {took:?}");
    check!(!importer.state()?.mapped, "still mapped");
    Ok(())
}

/// Two threads that take the memory away and give it back, and an accelerator
/// that reads all the while.
fn calls_while_an_engine_works(context: &Context) -> Outcome {
    let setting = Setting::with(Driver::Ours)?;
    let function = &setting.taken.open()?;
    let bytes = Random::new(context.seed).bytes(16 * PAGE as usize);
    function.map(LMEM, 0, 16 * PAGE)?.write(&bytes);
    let dmabuf = function
        .export(LMEM, &[(0, 16 * PAGE)])
        .map_err(Stop::failed)?;
    let (_a, b) = cards::two()?;
    let window = b.import(&dmabuf)?;
    let rounds = context.rounds(10, 1000);
    thread::scope(|scope| -> Outcome {
        let steps: [Step; 2] = [
            |f| f.set_memory(false),
            |f| {
                f.low_power(true)?;
                f.low_power(false)
            },
        ];
        let others: Vec<_> = steps
            .into_iter()
            .map(|step| {
                scope.spawn(move || -> Outcome {
                    for _ in 0..rounds {
                        step(function).map_err(Stop::failed)?;
                        function.set_memory(true).map_err(Stop::failed)?;
                    }
                    Ok(())
                })
            })
            .collect();
        let (mut read, mut refused) = (0, 0);
        while others.iter().any(|other| !other.is_finished()) {
            match window.crc32c(0, window.size()) {
                Ok(crc) => {
                    check_eq!(crc, hlrs::crc32c(0, &bytes));
                    read += 1;
                }
                Err(err) if err.errno() == Some(Errno::NODEV) => refused += 1,
                Err(err) => return Err(err.into()),
            }
        }
        for other in others {
            other
                .join()
                .map_err(|_| Stop::failed("a thread has panicked"))??;
        }
        println!("{read} times read, {refused} times refused");
        Ok(())
    })?;
    check_eq!(
        window.crc32c(0, window.size())?,
        hlrs::crc32c(0, &bytes),
        "afterwards"
    );
    Ok(())
}
