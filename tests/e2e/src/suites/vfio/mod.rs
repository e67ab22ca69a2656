// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual functions that VFIO has: what `hlrs_vfio_pci` exports of them,
//! compared with what vfio-pci does.

mod binding;
mod content;
mod errors;
mod lifetime;
mod native;
mod pf;
mod revoke;

use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::driver;
use crate::system::importer::Importers;
use crate::system::vfio::Driver;
use crate::system::vfio::Taken;

pub use lifetime::user;

/// The BAR with the device's memory.
const LMEM: u32 = 2;

const PAGE: u64 = 4096;

pub fn tests() -> Vec<Test> {
    let mut tests = binding::tests();
    tests.extend(errors::tests());
    tests.extend(content::tests());
    tests.extend(native::tests());
    tests.extend(pf::tests());
    tests.extend(revoke::tests());
    tests.extend(lifetime::tests());
    tests
}

/// A function, and importers for a device that could use its memory.
struct Setting {
    importers: Importers,
    /// Address of the second accelerator.
    peer: String,
    taken: Taken,
}

impl Setting {
    fn with(driver: Driver) -> Outcome<Setting> {
        Ok(Setting {
            importers: Importers::open()?,
            peer: cards::two()
                .and_then(|_| cards::nodes())?
                .swap_remove(1)
                .address,
            taken: Taken::by(driver)?,
        })
    }
}

/// The module with another parameter, for as long as this exists. It must drive
/// nothing, before and after.
struct Parameters;

impl Parameters {
    fn load(parameter: &str) -> Outcome<Parameters> {
        let name = Driver::Ours.name();
        // It may not be loaded.
        let _ = driver::program("rmmod", &[name]);
        driver::program("modprobe", &[name, parameter])?;
        Ok(Parameters)
    }
}

impl Drop for Parameters {
    fn drop(&mut self) {
        if let Err(err) = driver::program("rmmod", &[Driver::Ours.name()]) {
            println!("the module could not be unloaded again: {err:?}");
        }
    }
}
