// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual functions for the time of a test.

use hlrs::Device;
use hlrs::Node;
use hlrs::PhysicalFunction;

use super::cards;
use super::REACTION;
use crate::check_eq;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::skip;

/// Virtual functions of the first accelerator. They are disabled, and their
/// quotas forgotten, when this is dropped.
pub struct Vfs {
    pub pf: PhysicalFunction,
    pub node: Node,
}

impl Vfs {
    /// The first accelerator, with none enabled yet.
    pub fn none() -> Outcome<Vfs> {
        let node = cards::first_node()?;
        let pf = node
            .physical()
            .ok_or_else(|| Stop::failed("not a physical function"))?;
        if pf.total_vfs().unwrap_or(0) == 0 {
            skip!("the accelerator has no virtual functions");
        }
        check_eq!(
            pf.num_vfs()?,
            0,
            "virtual functions enabled before the test"
        );
        Ok(Vfs { pf, node })
    }

    /// The first accelerator with `count` enabled, all with their nodes.
    pub fn enable(count: u32) -> Outcome<Vfs> {
        let vfs = Self::none()?;
        vfs.set(count)?;
        Ok(vfs)
    }

    /// Enables `count` and waits for their nodes.
    pub fn set(&self, count: u32) -> Outcome {
        self.pf.set_num_vfs(count)?;
        for number in 1..=count {
            self.pf.wait_vf_node(number, REACTION)?;
        }
        Ok(())
    }

    /// Disables all.
    pub fn clear(&self) -> Outcome {
        Ok(self.pf.set_num_vfs(0)?)
    }

    /// The node of one.
    pub fn vf_node(&self, number: u32) -> Outcome<Node> {
        Ok(self.pf.wait_vf_node(number, REACTION)?)
    }

    /// Opens one.
    pub fn open(&self, number: u32) -> Outcome<Device> {
        Ok(self.vf_node(number)?.open()?)
    }
}

impl Drop for Vfs {
    fn drop(&mut self) {
        let restore = || -> hlrs::Result<()> {
            self.pf.set_num_vfs(0)?;
            for number in 1..=self.pf.total_vfs()? {
                if self.pf.quota(number)? != 0 {
                    self.pf.set_quota(number, 0)?;
                }
            }
            Ok(())
        };
        if let Err(err) = restore() {
            println!("virtual functions could not be put back: {err}");
        }
    }
}
