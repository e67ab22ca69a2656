// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the driver binds to.

use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::driver;
use crate::system::vfio;
use crate::system::vfio::Driver;
use crate::system::vfio::Taken;
use crate::system::vfs::Vfs;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        it_takes_nothing_unasked,
        it_takes_virtual_functions,
        it_takes_nothing_else
    ]
}

fn it_takes_nothing_unasked(_: &Context) -> Outcome {
    Driver::Ours.load()?;
    let vfs = Vfs::enable(1)?;
    let address = vfs.vf_node(1)?.address;
    check_eq!(vfio::driver_of(&address), "hlrs");
    // Without a driver that it matches by itself, none is found.
    let _back = driver::Unbound(&address);
    driver::unbind(&address)?;
    let bind = format!("/sys/bus/pci/drivers/{}/bind", Driver::Ours.name());
    check!(
        crate::system::write(bind, &address).is_err(),
        "it was bound without being asked for"
    );
    Ok(())
}

fn it_takes_virtual_functions(_: &Context) -> Outcome {
    let taken = Taken::by(Driver::Ours)?;
    let function = taken.open()?;
    for bar in 0..6 {
        let size = function.region_size(bar)?;
        let resource = driver::pci(&taken.address).join(format!("resource{bar}"));
        let expected = std::fs::metadata(resource).map_or(0, |file| file.len());
        check_eq!(size, expected, "size of BAR {bar}");
    }
    drop(function);
    // And gives them back.
    vfio::give(&taken.address, "")?;
    check_eq!(vfio::driver_of(&taken.address), "hlrs");
    Ok(())
}

fn it_takes_nothing_else(_: &Context) -> Outcome {
    Driver::Ours.load()?;
    let address = cards::nodes()?[1].address.clone();
    let given = vfio::give(&address, Driver::Ours.name());
    let found = vfio::driver_of(&address);
    vfio::give(&address, "")?;
    driver::wait_node(&address)?;
    check!(given.is_ok(), "{given:?}");
    check_eq!(found, "", "the driver of a physical function");
    Ok(())
}
