// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory for the PF of the function, which needs no bus: ranges of the BAR.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::path::Path;

use hlrs::DmaBuf;

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
use crate::raw::iov;
use crate::system::driver;
use crate::system::importer;
use crate::system::vfio::Driver;
use crate::system::vfio::Function;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![the_pf_gets_ranges_of_the_bar]
}

const MODULE: &str = "hlrs_test_iov";
const NODE: &str = "/dev/hlrs-test-iov";

/// The module, for as long as this exists: it uses the modules under test.
struct Loaded;

impl Loaded {
    fn new() -> Outcome<Loaded> {
        driver::program("modprobe", &[MODULE])?;
        Ok(Loaded)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if let Err(err) = driver::program("rmmod", &[MODULE]) {
            println!("{MODULE} could not be unloaded: {err:?}");
        }
    }
}

/// Attaches a device that knows memory of VFs by a BAR.
fn attach(dmabuf: &DmaBuf, address: &str, bar: u32) -> Outcome<File> {
    check!(Path::new(NODE).exists(), "there is no {NODE}");
    let (domain, bus, devfn) = importer::parse(address)
        .ok_or_else(|| Stop::failed(format!("{address:?} is no PCI address")))?;
    let file = File::options().read(true).write(true).open(NODE)?;
    let mut arg = iov::Attach {
        fd: dmabuf.as_fd().as_raw_fd(),
        domain,
        bus,
        devfn,
        bar,
        ..Default::default()
    };
    iov::attach(&file, &mut arg).map_err(Stop::failed)?;
    Ok(file)
}

fn the_pf_gets_ranges_of_the_bar(_: &Context) -> Outcome {
    let _module = Loaded::new()?;
    let setting = Setting::with(Driver::Ours)?;
    let function = setting.taken.open()?;
    let pf = setting.taken.vfs.pf.address();
    let ranges = [(9 * PAGE, PAGE), (0, 2 * PAGE), (2 * PAGE, PAGE)];
    let dmabuf = function.export(LMEM, &ranges).map_err(Stop::failed)?;

    let native = iov::map(attach(&dmabuf, pf, LMEM)?).map_err(Stop::failed)?;
    check_eq!(native.native, 1);
    check_eq!(native.vf_number, 1);
    check_eq!(native.valid, 1);
    let found: Vec<_> = native.ranges[..native.count.min(8) as usize]
        .iter()
        .map(|range| (range.bar, range.offset, range.len))
        .collect();
    let expected: Vec<_> = ranges
        .iter()
        .map(|&(offset, len)| (LMEM, offset, len))
        .collect();
    check_eq!(found, expected);

    // Nobody else does, nor the PF for a BAR that it does not know.
    for (address, bar) in [(setting.peer.as_str(), LMEM), (pf, 0)] {
        let map = iov::map(attach(&dmabuf, address, bar)?).map_err(Stop::failed)?;
        check_eq!(map.native, 0, "{address}, BAR {bar}");
    }
    drop(dmabuf);
    revoked_like_a_scatterlist(function, pf)
}

fn revoked_like_a_scatterlist(function: Function, pf: &str) -> Outcome {
    let dmabuf = function.export(LMEM, &[(0, PAGE)]).map_err(Stop::failed)?;
    let importer = attach(&dmabuf, pf, LMEM)?;
    for round in 1..=3 {
        iov::map(&importer).map_err(Stop::failed)?;
        match round {
            1 => function.reset(),
            2 => function.flr(),
            _ => function.low_power(true),
        }
        .map_err(Stop::failed)?;
        let state = iov::state(&importer).map_err(Stop::failed)?;
        check!(
            state.mapped == 0 && state.invalidations >= round,
            "round {round}: {state:?}"
        );
    }
    check_errno!(iov::map(&importer).map(drop), NODEV, "in low power");
    function.low_power(false).map_err(Stop::failed)?;
    iov::map(&importer).map_err(Stop::failed)?;
    drop(function);
    let state = iov::state(&importer).map_err(Stop::failed)?;
    check_eq!(state.mapped, 0, "after the close");
    check_errno!(iov::map(&importer).map(drop), NODEV, "after the close");
    Ok(())
}
