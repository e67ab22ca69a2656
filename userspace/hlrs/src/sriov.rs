// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dividing a card: virtual functions and their share of the memory.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::error::Cause;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::node;
use crate::node::Function;
use crate::node::Node;

/// Pause between two looks at sysfs.
const POLL: Duration = Duration::from_millis(10);

/// A physical function, by its directory in sysfs. Changing something takes
/// the rights of root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhysicalFunction {
    address: String,
}

impl PhysicalFunction {
    /// The function at a PCI address, for instance `0000:03:00.0`.
    pub fn new(address: &str) -> Self {
        PhysicalFunction {
            address: address.to_owned(),
        }
    }

    /// PCI address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its directory in sysfs.
    pub fn directory(&self) -> PathBuf {
        PathBuf::from("/sys/bus/pci/devices").join(&self.address)
    }

    fn read(&self, file: &str) -> Result<u64> {
        let what = format!("reading {file} of {}", self.address);
        let text = fs::read_to_string(self.directory().join(file))
            .map_err(|err| Error::io(Operation::Sriov, &what, &err))?;
        text.trim().parse().map_err(|_| {
            let cause = Cause::Malformed(format!("{:?} is not a number", text.trim()));
            Error::new(Operation::Sriov, what, cause)
        })
    }

    fn write(&self, file: &str, value: u64) -> Result<()> {
        fs::write(self.directory().join(file), value.to_string()).map_err(|err| {
            let what = format!("writing {value} to {file} of {}", self.address);
            Error::io(Operation::Sriov, what, &err)
        })
    }

    /// How many virtual functions the card can have.
    pub fn total_vfs(&self) -> Result<u32> {
        self.read("sriov_totalvfs").map(|n| n as u32)
    }

    /// How many virtual functions are enabled.
    pub fn num_vfs(&self) -> Result<u32> {
        self.read("sriov_numvfs").map(|n| n as u32)
    }

    /// Enables that many virtual functions. The kernel refuses to go from one
    /// number to another directly: disable with 0 first.
    pub fn set_num_vfs(&self, count: u32) -> Result<()> {
        self.write("sriov_numvfs", count.into())
    }

    /// PCI address of virtual function `number`, from 1, if it is enabled.
    pub fn vf_address(&self, number: u32) -> Option<String> {
        let index = number.checked_sub(1)?;
        node::link_name(&self.directory().join(format!("virtfn{index}")))
    }

    /// Number of the virtual function at a PCI address.
    pub(crate) fn vf_number(&self, address: &str) -> Option<u32> {
        let total = self.total_vfs().ok()?;
        (1..=total).find(|&n| self.vf_address(n).as_deref() == Some(address))
    }

    /// The accel node of virtual function `number`, if the driver has made it.
    pub fn vf_node(&self, number: u32) -> Result<Option<Node>> {
        Ok(node::list()?.into_iter().find(|node| match &node.function {
            Function::Virtual { parent, number: n } => *parent == self.address && *n == number,
            Function::Physical => false,
        }))
    }

    /// Waits for the accel node of virtual function `number`, until its file in
    /// /dev exists, too.
    pub fn wait_vf_node(&self, number: u32, timeout: Duration) -> Result<Node> {
        let start = Instant::now();
        loop {
            match self.vf_node(number)? {
                Some(node) if node.path.exists() => return Ok(node),
                _ if start.elapsed() >= timeout => {
                    let what = format!("accel node of VF {number} of {}", self.address);
                    return Err(Error::new(Operation::Sriov, what, Cause::TimedOut));
                }
                _ => thread::sleep(POLL),
            }
        }
    }

    fn quota_file(number: u32) -> String {
        format!("sriov_admin/vf{number}/profile/vram_quota")
    }

    /// LMEM of virtual function `number` in bytes: what it has while virtual
    /// functions are enabled, otherwise what it is to get; 0 is a fair share.
    pub fn quota(&self, number: u32) -> Result<u64> {
        self.read(&Self::quota_file(number))
    }

    /// Sets what virtual function `number` gets when it is enabled next: a
    /// multiple of 2 MiB, or 0 for a fair share. Refused with `EBUSY` while
    /// virtual functions are enabled.
    pub fn set_quota(&self, number: u32, bytes: u64) -> Result<()> {
        self.write(&Self::quota_file(number), bytes)
    }
}
