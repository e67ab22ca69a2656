// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a test asks of the machine around it: plugging and unplugging. The
//! guest's program `hlrs-machine` talks to the host.

use std::process::Command;
use std::thread;
use std::time::Duration;

use hlrs::Node;

use super::driver;
use super::wait_until;
use super::REACTION;
use crate::check;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::skip;

const PROGRAM: &str = "hlrs-machine";

/// After it has let a device go, the kernel waits a second for the slot to lose
/// its power and switches its lamp off then. What is plugged in before that is
/// switched off with it.
const POWER_OFF: Duration = Duration::from_millis(2500);

/// Names of the accelerators outside.
const NAMES: [&str; 2] = ["acc0", "acc1"];

fn ask(arguments: &[&str]) -> Outcome<String> {
    let out = Command::new(PROGRAM)
        .args(arguments)
        .output()
        .map_err(|err| Stop::skipped(format!("{PROGRAM} cannot be run: {err}")))?;
    check!(
        out.status.success(),
        "{PROGRAM} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// An accelerator that can be taken out of its slot. It is put back when this
/// is dropped.
pub struct Slot {
    name: &'static str,
    address: String,
}

impl Slot {
    /// The slot of a physical function.
    pub fn of(node: &Node) -> Outcome<Slot> {
        let real = std::fs::canonicalize(driver::pci(&node.address))?;
        for name in NAMES {
            let port = ask(&["port", name])?;
            if real
                .components()
                .any(|part| part.as_os_str() == port.as_str())
            {
                return Ok(Slot {
                    name,
                    address: node.address.clone(),
                });
            }
        }
        skip!("{} sits in no slot that can be emptied", node.address)
    }

    /// Takes it out without warning.
    pub fn yank(&self) -> Outcome {
        ask(&["yank", self.name])?;
        self.wait_gone()
    }

    /// Asks the guest to let it go, and takes it out then.
    pub fn unplug(&self) -> Outcome {
        ask(&["unplug", self.name])?;
        self.wait_gone()
    }

    fn wait_gone(&self) -> Outcome {
        let what = format!("{} disappears", self.address);
        wait_until(&what, REACTION, || !driver::pci(&self.address).exists())?;
        thread::sleep(POWER_OFF);
        Ok(())
    }

    /// Puts it back and waits for its node.
    pub fn plug(&self) -> Outcome<Node> {
        ask(&["plug", self.name])?;
        driver::wait_node(&self.address)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !driver::pci(&self.address).exists() {
            if let Err(err) = self.plug() {
                println!("{} could not be put back: {err:?}", self.name);
            }
        }
    }
}
