// SPDX-License-Identifier: MIT OR Apache-2.0
//! A virtual function of the first accelerator.

use std::fs::{canonicalize, write};
use std::io;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use crate::node::{nodes, Node};

/// How long a node may take to appear.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// An accelerator with one virtual function, until this is dropped.
pub struct Vf {
    /// The physical function.
    pub pf: Node,
    /// Another accelerator.
    pub other: Node,
    /// PCI address of the physical function.
    function: String,
}

fn device(function: &str) -> PathBuf {
    PathBuf::from("/sys/bus/pci/devices").join(function)
}

impl Vf {
    /// Enables a function with `quota` bytes of memory.
    pub fn enable(quota: u64) -> io::Result<Self> {
        let (pf, other) = crate::node::open_pair()?;
        let function = pf.function()?;
        let sysfs = device(&function);

        write(
            sysfs.join("sriov_admin/vf1/profile/vram_quota"),
            quota.to_string(),
        )?;
        write(sysfs.join("sriov_numvfs"), "1")?;
        Ok(Self {
            pf,
            other,
            function,
        })
    }

    /// PCI address of the function.
    pub fn address(&self) -> io::Result<String> {
        let link = canonicalize(device(&self.function).join("virtfn0"))?;
        let name = link.file_name().map(|name| name.to_string_lossy());

        name.map(String::from)
            .ok_or_else(|| io::Error::other("a function without a name"))
    }

    /// Its node, open.
    pub fn open(&self) -> io::Result<Node> {
        let address = self.address()?;

        for _ in 0..TRIES {
            for node in nodes("hlrs")? {
                if node.function()? == address {
                    return Ok(node);
                }
            }
            sleep(PAUSE);
        }
        Err(io::Error::other(format!("{address} has no node")))
    }
}

impl Drop for Vf {
    fn drop(&mut self) {
        if let Err(e) = write(device(&self.function).join("sriov_numvfs"), "0") {
            eprintln!("hlrs-bench: the virtual function stays: {e}");
        }
    }
}
