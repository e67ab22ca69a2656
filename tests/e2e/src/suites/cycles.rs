// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loading and unloading of the modules.

use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::driver::Loaded;
use crate::system::log::Log;
use crate::system::vfs::Vfs;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        a_module_in_use_stays: 120,
        unload_with_virtual_functions: 180,
        load_and_unload: 900,
        wrong_parameters_are_refused: 120,
    ]
}

fn a_module_in_use_stays(_: &Context) -> Outcome {
    let count = cards::nodes()?.len();
    let device = cards::first()?;
    check!(
        driver::unload_now().is_err(),
        "the module was removed under an open file"
    );
    let buffer = Place::Visible.create(&device, MIB)?;
    let map = buffer.map()?;
    drop((buffer, device));
    check!(
        driver::unload_now().is_err(),
        "the module was removed under a mapping"
    );
    check_eq!(map.to_vec(0, 8)?, [0; 8]);
    drop(map);
    let dmabuf = Place::Visible.create(&cards::first()?, MIB)?.export()?;
    check!(
        driver::unload_now().is_err(),
        "the module was removed under a dma-buf"
    );
    drop(dmabuf);
    let _loaded = Loaded(count);
    driver::unload()
}

fn unload_with_virtual_functions(_: &Context) -> Outcome {
    let count = cards::nodes()?.len();
    let vfs = Vfs::enable(3)?;
    drop(Place::Lmem.create(&vfs.open(2)?, MIB)?);
    {
        let _loaded = Loaded(count);
        driver::unload()?;
    }
    check_eq!(
        vfs.pf.num_vfs()?,
        0,
        "virtual functions after the driver was unloaded"
    );
    Ok(())
}

fn load_and_unload(context: &Context) -> Outcome {
    let count = cards::nodes()?.len();
    for _ in context.each(3, 100) {
        {
            let device = cards::first()?;
            let buffer = Place::Visible.create(&device, 4 * MIB)?;
            let _job = buffer.fill_async(0, buffer.size(), 1)?;
        }
        driver::unload()?;
        check_eq!(cards::nodes()?.len(), 0, "nodes without a driver");
        driver::load(count)?;
    }
    Ok(())
}

/// They are not taken as something else.
fn wrong_parameters_are_refused(_: &Context) -> Outcome {
    let _loaded = Loaded(cards::nodes()?.len());
    driver::unload()?;
    for (parameter, range) in [
        ("job_timeout_ms=0", "1 to 600000"),
        ("revoke_timeout_ms=60001", "1 to 60000"),
        ("skip_zeroing=2", "0 to 1"),
    ] {
        let mut log = Log::from_now()?;
        if driver::modprobe(&["hlrs", parameter]).is_ok() {
            driver::unload()?;
            check!(false, "{parameter} was taken");
        }
        let said = format!("hlrs: {parameter}: must be {range}");
        // modprobe tries again in another way.
        check!(log.count(&said) > 0, "the log does not say {said:?}");
    }
    Ok(())
}
