// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory for the PF of the function, which needs no bus: ranges of the BAR.

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
use crate::system::iov::Importer;
use crate::system::iov::Loaded;
use crate::system::vfio::Driver;
use crate::system::vfio::Function;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![the_pf_gets_ranges_of_the_bar]
}

fn the_pf_gets_ranges_of_the_bar(_: &Context) -> Outcome {
    let _module = Loaded::new()?;
    let setting = Setting::with(Driver::Ours)?;
    let function = setting.taken.open()?;
    let pf = setting.taken.vfs.pf.address();
    let ranges = [(9 * PAGE, PAGE), (0, 2 * PAGE), (2 * PAGE, PAGE)];
    let dmabuf = function.export(LMEM, &ranges).map_err(Stop::failed)?;

    let native = Importer::attached(&dmabuf, pf, LMEM)?
        .map()
        .map_err(Stop::failed)?;
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
        let importer = Importer::attached(&dmabuf, address, bar)?;
        let map = importer.map().map_err(Stop::failed)?;
        check_eq!(map.native, 0, "{address}, BAR {bar}");
    }
    drop(dmabuf);
    revoked_like_a_scatterlist(function, pf)
}

fn revoked_like_a_scatterlist(function: Function, pf: &str) -> Outcome {
    let dmabuf = function.export(LMEM, &[(0, PAGE)]).map_err(Stop::failed)?;
    let importer = Importer::attached(&dmabuf, pf, LMEM)?;
    for round in 1..=3 {
        importer.map().map_err(Stop::failed)?;
        match round {
            1 => function.reset(),
            2 => function.flr(),
            _ => function.low_power(true),
        }
        .map_err(Stop::failed)?;
        let state = importer.state().map_err(Stop::failed)?;
        check!(
            state.mapped == 0 && state.invalidations >= round,
            "round {round}: {state:?}"
        );
    }
    check_errno!(importer.map().map(drop), NODEV, "in low power");
    function.low_power(false).map_err(Stop::failed)?;
    importer.map().map_err(Stop::failed)?;
    drop(function);
    let state = importer.state().map_err(Stop::failed)?;
    check_eq!(state.mapped, 0, "after the close");
    check_errno!(importer.map().map(drop), NODEV, "after the close");
    Ok(())
}
