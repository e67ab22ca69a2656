// SPDX-License-Identifier: MIT OR Apache-2.0
//! An exporter that speaks for a virtual function and says what a test wants:
//! the kernel module `hlrs_test_exporter`.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::path::Path;

use hlrs::DmaBuf;

use super::driver;
use super::importer::parse;
use super::wait_until;
use super::REACTION;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::raw;
use crate::raw::exporter as sys;

/// The module.
pub const MODULE: &str = "hlrs_test_exporter";
const NODE: &str = "/dev/hlrs-test-exporter";

/// The BAR through which a function reaches its memory.
pub const BAR: u32 = 2;

/// A range of that BAR.
pub const fn range(offset: u64, len: u64) -> sys::Range {
    sys::Range {
        offset,
        len,
        bar: BAR,
        pad: 0,
    }
}

/// An open file of the module, which is unloaded when this is dropped: nothing
/// of what it has exported may be attached any more.
pub struct Exporter(Option<File>);

impl Exporter {
    /// Loads the module.
    pub fn load() -> Outcome<Exporter> {
        if !Path::new(NODE).exists() {
            driver::program("modprobe", &[MODULE])?;
        }
        let file = File::options().read(true).write(true).open(NODE)?;
        Ok(Exporter(Some(file)))
    }

    fn file(&self) -> Outcome<&File> {
        self.0.as_ref().ok_or_else(|| Stop::failed("no exporter"))
    }

    /// Makes a dma-buf of so many bytes, which is said to be those ranges of a
    /// BAR of the function at a PCI address.
    pub fn export_bar(
        &self,
        address: &str,
        bar: u32,
        size: u64,
        ranges: &[sys::Range],
    ) -> Outcome<DmaBuf> {
        let (domain, bus, devfn) =
            parse(address).ok_or_else(|| Stop::failed(format!("{address:?} is no PCI address")))?;
        let mut arg = sys::Export {
            size,
            bar,
            domain,
            bus,
            devfn,
            fd: -1,
            ..Default::default()
        };
        raw::exporter::export(self.file()?, &mut arg, ranges).map_err(Stop::failed)?;
        // SAFETY: the kernel has just installed this descriptor for us alone.
        Ok(DmaBuf::from(unsafe { OwnedFd::from_raw_fd(arg.fd) }))
    }

    /// As [`export_bar`](Self::export_bar), of the right BAR.
    pub fn export(&self, address: &str, size: u64, ranges: &[sys::Range]) -> Outcome<DmaBuf> {
        self.export_bar(address, BAR, size, ranges)
    }

    /// Has the dma-buf consist of other ranges, with or without telling the
    /// importers; returns how many mappings there are.
    pub fn change(&self, dmabuf: &DmaBuf, silent: bool, ranges: &[sys::Range]) -> Outcome<u32> {
        let mut arg = sys::Change {
            fd: dmabuf.as_fd().as_raw_fd(),
            silent: silent.into(),
            ..Default::default()
        };
        raw::exporter::change(self.file()?, &mut arg, ranges).map_err(Stop::failed)?;
        Ok(arg.mappings)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.0 = None;
        // A file of a dma-buf may be closed a little later.
        let unloaded = wait_until("unloading the exporter", REACTION, || {
            driver::program("rmmod", &[MODULE]).is_ok()
        });
        if let Err(err) = unloaded {
            println!("{err:?}");
        }
    }
}
