// SPDX-License-Identifier: MIT OR Apache-2.0
//! The NIC's driver and its nodes.

use std::fs::File;
use std::fs::OpenOptions;
use std::os::fd::AsFd;
use std::path::Path;
use std::path::PathBuf;

use hlrs::Nic;
use hlrs::Node;
use rustix::event::poll;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;

use super::driver;
use super::wait_until;
use super::write;
use super::REACTION;
use crate::harness::Outcome;

const DRIVER: &str = "/sys/bus/auxiliary/drivers/hlrs_nic.hlrs_nic";

/// Loads the module, if it is not there. It stays, and the last test of a suite
/// removes it.
pub fn load() -> Outcome {
    load_with(&[])
}

/// As [`load`], with module parameters such as `name=value`.
fn load_with(parameters: &[&str]) -> Outcome {
    driver::modprobe(&[&["hlrs_nic"], parameters].concat())
}

/// Removes the module.
pub fn unload() -> Outcome {
    driver::program("rmmod", &["hlrs_nic"])
}

/// As [`unload`], but waits until nothing uses the module any more: a copy in
/// flight does so for a moment after its files are closed.
pub fn unload_soon() -> Outcome {
    wait_until("the NIC's module is unused", REACTION, || unload().is_ok())
}

/// Name of the auxiliary device of an accelerator's NIC.
pub fn device(node: &Node) -> String {
    format!("hlrs.nic.{}", node.index)
}

/// The node of an accelerator's NIC.
pub fn path(node: &Node) -> PathBuf {
    Path::new("/dev").join(format!("hlrs_nic{}", node.index))
}

/// Opens the NIC of an accelerator, once it is there.
pub fn open(node: &Node) -> Outcome<File> {
    open_with(node, OpenOptions::new().read(true).write(true))
}

/// As [`open`], for the crate.
pub fn nic(node: &Node) -> Outcome<Nic> {
    load()?;
    Ok(Nic::from_fd(open(node)?.into())?)
}

/// As [`open`], with other options.
pub fn open_with(node: &Node, options: &OpenOptions) -> Outcome<File> {
    let path = path(node);
    wait_until(&format!("{}", path.display()), REACTION, || path.exists())?;
    Ok(options.open(path)?)
}

/// The module with another time-out of copies, until this is dropped; no NIC may
/// be open, before and after.
pub struct Impatient(());

impl Impatient {
    /// Copies get so many milliseconds.
    pub fn load(timeout_ms: u32) -> Outcome<Impatient> {
        if Path::new("/sys/module/hlrs_nic").exists() {
            unload()?;
        }
        let timeout = format!("copy_timeout_ms={timeout_ms}");
        load_with(&[&timeout])?;
        Ok(Impatient(()))
    }
}

impl Drop for Impatient {
    fn drop(&mut self) {
        if let Err(err) = unload() {
            println!("the NIC's driver could not be unloaded again: {err:?}");
        }
    }
}

/// A NIC without its driver, bound again when this is dropped.
pub struct Unbound<'a>(&'a Node);

impl<'a> Unbound<'a> {
    /// Takes the driver off.
    pub fn new(node: &'a Node) -> Outcome<Unbound<'a>> {
        unbind(node)?;
        Ok(Unbound(node))
    }
}

impl Drop for Unbound<'_> {
    fn drop(&mut self) {
        if let Err(err) = bind(self.0) {
            println!("{} could not be bound again: {err}", device(self.0));
        }
    }
}

/// Takes the driver off a NIC.
pub fn unbind(node: &Node) -> std::io::Result<()> {
    write(format!("{DRIVER}/unbind"), &device(node))
}

/// Gives a NIC to the driver.
pub fn bind(node: &Node) -> std::io::Result<()> {
    write(format!("{DRIVER}/bind"), &device(node))
}

/// What a file is ready for, now.
pub fn readiness(file: impl AsFd) -> Outcome<PollFlags> {
    let mut fds = [PollFd::new(&file, PollFlags::IN | PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default())).map_err(std::io::Error::from)?;
    Ok(fds[0].revents())
}
