// SPDX-License-Identifier: MIT OR Apache-2.0
//! An importer in the name of a physical function, which negotiates: the kernel
//! module `hlrs_test_iov`.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use hlrs::DmaBuf;

use super::driver;
use super::importer::parse;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::raw;
use crate::raw::iov as sys;

/// The module.
pub const MODULE: &str = "hlrs_test_iov";
const NODE: &str = "/dev/hlrs-test-iov";

/// The module, for as long as this exists: it uses the modules under test.
pub struct Loaded;

impl Loaded {
    pub fn new() -> Outcome<Loaded> {
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

/// A file of the node, with which one device can be attached to one dma-buf.
/// What it has ends when this is dropped.
pub struct Importer {
    file: File,
    arg: sys::Attach,
}

impl Importer {
    /// For the device at a PCI address, which knows memory of functions by a BAR.
    /// It is not attached yet.
    pub fn open(dmabuf: &DmaBuf, address: &str, bar: u32) -> Outcome<Importer> {
        let (domain, bus, devfn) =
            parse(address).ok_or_else(|| Stop::failed(format!("{address:?} is no PCI address")))?;
        let file = File::options().read(true).write(true).open(NODE)?;
        let arg = sys::Attach {
            fd: dmabuf.as_fd().as_raw_fd(),
            domain,
            bus,
            devfn,
            bar,
            ..Default::default()
        };
        Ok(Importer { file, arg })
    }

    /// One that is attached.
    pub fn attached(dmabuf: &DmaBuf, address: &str, bar: u32) -> Outcome<Importer> {
        let importer = Self::open(dmabuf, address, bar)?;
        importer.attach().map_err(Stop::failed)?;
        Ok(importer)
    }

    pub fn attach(&self) -> raw::Result {
        sys::attach(&self.file, &mut self.arg.clone())
    }

    /// Maps, if it is not mapped, and says what there is.
    pub fn map(&self) -> raw::Result<sys::Map> {
        sys::map(&self.file)
    }

    pub fn state(&self) -> raw::Result<sys::State> {
        sys::state(&self.file)
    }
}
