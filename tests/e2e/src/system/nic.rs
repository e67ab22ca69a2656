// SPDX-License-Identifier: MIT OR Apache-2.0
//! The NIC's driver and its nodes.

use std::fs::File;
use std::fs::OpenOptions;
use std::os::fd::AsFd;
use std::path::Path;
use std::path::PathBuf;

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

/// Loads the module, if it is not there. That takes seconds, in which it tests
/// itself; so it stays, and the last test of a suite removes it.
pub fn load() -> Outcome {
    driver::program("modprobe", &["hlrs_nic"])
}

/// Removes the module.
pub fn unload() -> Outcome {
    driver::program("rmmod", &["hlrs_nic"])
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

/// As [`open`], with other options.
pub fn open_with(node: &Node, options: &OpenOptions) -> Outcome<File> {
    let path = path(node);
    wait_until(&format!("{}", path.display()), REACTION, || path.exists())?;
    Ok(options.open(path)?)
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
