// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which accel nodes this machine has.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::counters::Counters;
use crate::device::Device;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::exports;
use crate::exports::Exported;
use crate::sriov::PhysicalFunction;

/// What a PCI function is in SR-IOV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Function {
    /// A physical function.
    Physical,
    /// A virtual function.
    Virtual {
        /// PCI address of the physical function that it belongs to.
        parent: String,
        /// Its number, from 1.
        number: u32,
    },
}

/// An accel node that the driver hlrs made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The device node.
    pub path: PathBuf,
    /// Number in its name.
    pub index: u32,
    /// PCI address, for instance `0000:03:00.0`.
    pub address: String,
    /// Physical or virtual function.
    pub function: Function,
}

impl Node {
    /// Opens the node.
    pub fn open(&self) -> Result<Device> {
        Device::open(&self.path)
    }

    /// The physical function, if this is one.
    pub fn physical(&self) -> Option<PhysicalFunction> {
        match self.function {
            Function::Physical => Some(PhysicalFunction::new(&self.address)),
            Function::Virtual { .. } => None,
        }
    }

    /// The hardware's counters, if the driver offers them to this process.
    pub fn counters(&self) -> Option<Counters> {
        Counters::of(&self.address)
    }

    /// The dma-bufs that were made of the function's memory, of all processes, if
    /// the driver tells this process.
    pub fn exports(&self) -> Option<Vec<Exported>> {
        exports::of(&self.address)
    }
}

/// Finds the accel nodes of the driver hlrs, in the order of their PCI
/// addresses, so that the order does not depend on which was probed first.
pub fn list() -> Result<Vec<Node>> {
    let class = Path::new("/sys/class/accel");
    let failed = |err: io::Error| Error::io(Operation::List, class.display().to_string(), &err);
    let entries = match fs::read_dir(class) {
        // Without any accel driver the class does not exist.
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut nodes = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let index = name
            .to_str()
            .and_then(|n| n.strip_prefix("accel"))
            .and_then(|n| n.parse().ok());
        if let Some(index) = index {
            nodes.extend(node(index, &entry.path().join("device")));
        }
    }
    nodes.sort_by(|a, b| a.address.cmp(&b.address));
    Ok(nodes)
}

/// Name of what a symbolic link points to.
pub(crate) fn link_name(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
}

/// Describes one node; `None` if it is another driver's, or has just gone.
fn node(index: u32, device: &Path) -> Option<Node> {
    if link_name(&device.join("driver"))? != "hlrs" {
        return None;
    }
    let address = link_name(device)?;
    let function = match link_name(&device.join("physfn")) {
        None => Function::Physical,
        Some(parent) => {
            let number = PhysicalFunction::new(&parent).vf_number(&address)?;
            Function::Virtual { parent, number }
        }
    };
    let path = PathBuf::from(format!("/dev/accel/accel{index}"));
    Some(Node {
        path,
        index,
        address,
        function,
    })
}
