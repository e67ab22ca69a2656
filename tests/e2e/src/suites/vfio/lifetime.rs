// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of exports when the function goes.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::thread;
use std::time::Duration;

use hlrs::DmaBuf;
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
use crate::suites::faults::inject::Injected;
use crate::suites::faults::inject::Injection;
use crate::system::cards;
use crate::system::descriptors;
use crate::system::driver;
use crate::system::importer::Attachment;
use crate::system::importer::Importers;
use crate::system::importer::Kind;
use crate::system::role;
use crate::system::role::Role;
use crate::system::socket::inheritable;
use crate::system::vfio;
use crate::system::vfio::Driver;
use crate::system::vfio::Function;
use crate::system::wait_until;
use crate::system::REACTION;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        closing_ends_all_exports,
        unbinding_waits_for_the_user,
        the_pf_takes_the_function_away,
        a_killed_user,
        the_module_stays_as_long_as_exports,
        failing_allocations: 120,
        many_times: 120,
    ]
}

/// An importer was told, has unmapped, and gets nothing any more.
fn has_nothing(setting: &Setting, dmabuf: &DmaBuf, importer: &Attachment<'_>) -> Outcome {
    let state = importer.state()?;
    check!(
        !state.mapped && state.invalidations > 0,
        "an importer at the end: {state:?}"
    );
    check_errno!(importer.map(), NODEV, "mapping after the end");
    let late = setting
        .importers
        .attach(dmabuf, &setting.peer, Kind::Dynamic)?;
    check_errno!(late.map(drop), NODEV, "attaching after the end");
    Ok(())
}

fn closing_ends_all_exports(_: &Context) -> Outcome {
    let setting = Setting::with(Driver::Ours)?;
    let function = setting.taken.open()?;
    let dmabuf = function.export(LMEM, &[(0, PAGE)]).map_err(Stop::failed)?;
    let other = function
        .export(LMEM, &[(0, PAGE), (8 * PAGE, PAGE)])
        .map_err(Stop::failed)?;
    let importer = setting
        .importers
        .map(&dmabuf, &setting.peer, Kind::Dynamic)?;
    let idle = setting
        .importers
        .attach(&other, &setting.peer, Kind::Dynamic)?
        .map_err(Stop::failed)?;
    let (a, b) = cards::two()?;
    let windows = [a.import(&dmabuf)?, b.import(&dmabuf)?];
    for window in &windows {
        window.fill(0, PAGE, 7)?;
    }
    drop(function);
    has_nothing(&setting, &dmabuf, &importer)?;
    check_errno!(idle.map(), NODEV, "mapping what was not mapped before");
    for window in &windows {
        check_errno!(window.crc32c(0, PAGE), NODEV, "an accelerator");
    }

    // What the next user exports is something else.
    let function = setting.taken.open()?;
    check_errno!(importer.map(), NODEV, "in the next session");
    let again = function.export(LMEM, &[(0, PAGE)]).map_err(Stop::failed)?;
    setting
        .importers
        .map(&again, &setting.peer, Kind::Dynamic)?;
    function.map(LMEM, 0, PAGE)?.write(&[3; 8]);
    check_eq!(
        b.import(&again)?.crc32c(0, 8)?,
        hlrs::crc32c(0, &[3; 8]),
        "the next export"
    );
    Ok(())
}

/// A thread takes the function away while it is open; returns after it has been
/// seen to wait.
fn while_it_goes(
    setting: &Setting,
    function: Function,
    go: impl FnOnce() -> Outcome + Send,
) -> Outcome {
    let dmabuf = function.export(LMEM, &[(0, PAGE)]).map_err(Stop::failed)?;
    let importer = setting
        .importers
        .map(&dmabuf, &setting.peer, Kind::Dynamic)?;
    thread::scope(|scope| -> Outcome {
        let going = scope.spawn(go);
        thread::sleep(Duration::from_millis(200));
        let waits = !going.is_finished();
        // The user still has what he had.
        let usable = function.export(LMEM, &[(0, PAGE)]).map(drop);
        drop(function);
        going
            .join()
            .map_err(|_| Stop::failed("a thread has panicked"))??;
        check!(waits, "nobody has waited for the user");
        usable.map_err(Stop::failed)
    })?;
    has_nothing(setting, &dmabuf, &importer)
}

fn unbinding_waits_for_the_user(_: &Context) -> Outcome {
    let setting = Setting::with(Driver::Ours)?;
    let address = &setting.taken.address;
    while_it_goes(&setting, setting.taken.open()?, || vfio::give(address, ""))?;
    check_eq!(vfio::driver_of(address), "hlrs");
    driver::wait_node(address).map(drop)
}

fn the_pf_takes_the_function_away(_: &Context) -> Outcome {
    let setting = Setting::with(Driver::Ours)?;
    let pf = &setting.taken.vfs.pf;
    while_it_goes(&setting, setting.taken.open()?, || Ok(pf.set_num_vfs(0)?))?;
    check!(
        !driver::pci(&setting.taken.address).exists(),
        "the function is still there"
    );
    Ok(())
}

fn a_killed_user(_: &Context) -> Outcome {
    let setting = Setting::with(Driver::Ours)?;
    inheritable(setting.importers.as_fd())?;
    let file = setting.importers.as_fd().as_raw_fd().to_string();
    let mut role = Role::start("vfio", &[&setting.taken.address, &setting.peer, &file])?;
    let line = role.line()?;
    let id = line
        .strip_prefix("mapped ")
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| Stop::failed(format!("the user said {line:?}")))?;
    let importer = setting.importers.attachment(id);
    check!(importer.state()?.mapped, "not mapped");
    role.kill()?;
    let state = importer.wait_unmapped()?;
    check!(state.invalidations > 0, "{state:?}");
    check_errno!(importer.map(), NODEV, "mapping after the kill");
    let function = setting.taken.open()?;
    function
        .export(LMEM, &[(0, PAGE)])
        .map(drop)
        .map_err(Stop::failed)
}

/// Role: exports a page of a function to an importer of an inherited open file,
/// says its number there, and stays.
pub fn user(address: &str, peer: &str, file: &str) -> Outcome {
    let file: i32 = file.parse().map_err(Stop::failed)?;
    // SAFETY: the test lets this process inherit the descriptor, which nothing
    // else here uses.
    let importers = Importers::inherited(unsafe { File::from_raw_fd(file) });
    let function = Function::open(address)?.map_err(Stop::failed)?;
    let dmabuf = function.export(LMEM, &[(0, PAGE)]).map_err(Stop::failed)?;
    let importer = importers.map(&dmabuf, peer, Kind::Dynamic)?;
    role::say(&format!("mapped {}", importer.id()));
    importer.keep();
    role::listen().map(drop)
}

fn the_module_stays_as_long_as_exports(_: &Context) -> Outcome {
    let setting = Setting::with(Driver::Ours)?;
    let function = setting.taken.open()?;
    let dmabuf = function.export(LMEM, &[(0, PAGE)]).map_err(Stop::failed)?;
    let name = Driver::Ours.name();
    check!(
        driver::program("rmmod", &[name]).is_err(),
        "unloaded while a function is open"
    );
    drop(function);
    vfio::give(&setting.taken.address, "")?;
    check!(
        driver::program("rmmod", &[name]).is_err(),
        "unloaded while there is an export"
    );
    drop(dmabuf);
    wait_until("the module can be unloaded", REACTION, || {
        driver::program("rmmod", &[name]).is_ok()
    })
}

fn failing_allocations(_: &Context) -> Outcome {
    let injection = Injection::new()?;
    let setting = Setting::with(Driver::Ours)?;
    let function = setting.taken.open()?;
    let before = descriptors()?;
    let ranges = [(0, PAGE), (4 * PAGE, PAGE), (9 * PAGE, 2 * PAGE)];
    let reasons = [Errno::NOMEM, Errno::FAULT, Errno::NFILE];
    let mut refused = 0;
    for n in 1.. {
        let (result, injected) = injection.run(n, || function.export(LMEM, &ranges).map(drop))?;
        match (result, injected) {
            (Ok(()), Injected::No(_)) => break,
            (Ok(()), Injected::Yes) => {}
            (Err(errno), injected) => {
                check!(
                    injected == Injected::Yes && reasons.contains(&errno),
                    "{errno} with failure {n}, {injected:?}"
                );
                refused += 1;
            }
        }
        check!(n < 1000, "exporting never succeeds");
    }
    check!(refused >= 4, "{refused} failures were reported");
    check_eq!(descriptors()?, before, "descriptors");

    // Taking back must not need memory.
    let dmabuf = function.export(LMEM, &ranges).map_err(Stop::failed)?;
    for n in 1..20 {
        let importer = setting
            .importers
            .map(&dmabuf, &setting.peer, Kind::UnmapInside)?;
        let _ = injection.run(n, || function.reset())?;
        // A reset that could not allocate may have failed; what was taken back
        // was so properly, and can be had again.
        if importer.state()?.mapped {
            importer.unmap().map_err(Stop::failed)?;
        }
        importer.map().map_err(Stop::failed)?;
    }
    Ok(())
}

fn many_times(context: &Context) -> Outcome {
    let setting = Setting::with(Driver::Ours)?;
    let before = descriptors()?;
    for n in context.each(3, 500) {
        let function = setting.taken.open()?;
        let dmabuf = function
            .export(LMEM, &[(u64::from(n) * PAGE, PAGE), (0, PAGE)])
            .map_err(Stop::failed)?;
        let importer = setting
            .importers
            .map(&dmabuf, &setting.peer, Kind::UnmapInside)?;
        match n % 3 {
            0 => drop(function),
            1 => drop(dmabuf),
            _ => drop(importer),
        }
    }
    check_eq!(descriptors()?, before, "descriptors");
    Ok(())
}
