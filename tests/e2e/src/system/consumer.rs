// SPDX-License-Identifier: MIT OR Apache-2.0
//! A driver that uses VMs, in the place of that of the NIC: the kernel module
//! `hlrs_test_vm`.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use hlrs::Node;

use super::driver;
use super::nic;
use super::wait_until;
use super::write;
use super::REACTION;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::raw;
use crate::raw::consumer as sys;

pub use crate::raw::consumer::State;

/// The module.
pub const MODULE: &str = "hlrs_test_vm";
const DRIVER: &str = "/sys/bus/auxiliary/drivers/hlrs_test_vm";

/// How long an access may take that a test ends itself: less than the driver
/// waits for it when the VM goes.
pub const LONG: Duration = Duration::from_millis(1500);

/// Loads the module in the place of the NIC's driver.
pub fn load() -> Outcome {
    if Path::new("/sys/module/hlrs_nic").exists() {
        nic::unload()?;
    }
    driver::program("modprobe", &[MODULE])
}

/// Removes it.
pub fn unload() -> Outcome {
    driver::program("rmmod", &[MODULE])
}

/// References on it.
pub fn references() -> Outcome<u32> {
    let text = std::fs::read_to_string(format!("/sys/module/{MODULE}/refcnt"))?;
    text.trim().parse().map_err(Stop::failed)
}

/// Takes the driver off the auxiliary device of an accelerator.
pub fn unbind(node: &Node) -> std::io::Result<()> {
    write(format!("{DRIVER}/unbind"), &nic::device(node))
}

/// Gives the auxiliary device of an accelerator to the driver.
pub fn bind(node: &Node) -> std::io::Result<()> {
    write(format!("{DRIVER}/bind"), &nic::device(node))
}

/// Its node for an accelerator.
pub fn path(node: &Node) -> PathBuf {
    Path::new("/dev").join(format!("hlrs-test-vm{}", node.index))
}

/// An open file of it: the VMs that were registered there.
#[derive(Debug)]
pub struct Consumer(File);

impl Consumer {
    /// Opens the node of an accelerator; loads the module if it is not.
    pub fn open(node: &Node) -> Outcome<Consumer> {
        load()?;
        if !path(node).exists() {
            // Another driver may have had it; or it is being bound just now.
            let _ = bind(node);
        }
        Self::open_path(&path(node))
    }

    /// Opens a node, once it is there.
    pub fn open_path(path: &Path) -> Outcome<Consumer> {
        wait_until(&format!("{}", path.display()), REACTION, || path.exists())?;
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Consumer(file))
    }

    /// Registers the VM behind a descriptor.
    pub fn register(&self, fd: impl AsFd) -> raw::Result<User<'_>> {
        self.register_with(fd, 0, Duration::ZERO)
    }

    /// As [`register`](Self::register), with flags, and with a callback that
    /// takes this long.
    pub fn register_with(
        &self,
        fd: impl AsFd,
        flags: u32,
        delay: Duration,
    ) -> raw::Result<User<'_>> {
        self.register_number(fd.as_fd().as_raw_fd(), flags, delay)
    }

    /// As [`register_with`](Self::register_with), of a number.
    pub fn register_number(&self, fd: i32, flags: u32, delay: Duration) -> raw::Result<User<'_>> {
        let mut arg = sys::Register {
            fd,
            flags,
            delay_ms: delay.as_millis() as u32,
            ..Default::default()
        };
        sys::register(&self.0, &mut arg)?;
        Ok(User {
            file: self,
            id: arg.id,
            context: arg.context,
        })
    }

    /// Announces an access to several users, that lasts for so long; says
    /// whether it has begun. 0 stands for no user.
    pub fn access(&self, ids: &[u32], time: Duration) -> raw::Result<bool> {
        let mut arg = sys::Access {
            timeout_ms: time.as_millis() as u32,
            ..Default::default()
        };
        sys::access(&self.0, &mut arg, ids)?;
        Ok(arg.begun != 0)
    }
}

impl AsFd for Consumer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A VM that is registered. Dropping it leaves it to the open file.
#[derive(Debug, Clone, Copy)]
pub struct User<'a> {
    file: &'a Consumer,
    pub id: u32,
    /// Number of the VM's hardware context.
    pub context: u32,
}

impl User<'_> {
    fn arg(&self) -> sys::Id {
        sys::Id {
            id: self.id,
            pad: 0,
        }
    }

    pub fn unregister(&self) -> raw::Result {
        sys::unregister(self.file, &mut self.arg())
    }

    /// Announces an access, that lasts for so long; says whether it has begun.
    pub fn access(&self, time: Duration) -> raw::Result<bool> {
        self.file.access(&[self.id], time)
    }

    /// Ends its accesses.
    pub fn signal(&self) -> raw::Result {
        sys::signal(self.file, &mut self.arg())
    }

    pub fn recover(&self) -> raw::Result {
        sys::recover(self.file, &mut self.arg())
    }

    pub fn state(&self) -> raw::Result<State> {
        let mut arg = State {
            id: self.id,
            ..Default::default()
        };
        sys::state(self.file, &mut arg)?;
        Ok(arg)
    }

    /// Calls of the callback, those of them that have ended, pending accesses.
    pub fn counts(&self) -> Outcome<(u32, u32, u32)> {
        let state = self.state();
        let state = state.map_err(|err| Stop::failed(format!("the state of a user: {err}")))?;
        Ok((state.calls, state.returned, state.fences))
    }

    pub fn is_same(&self, other: &User<'_>) -> raw::Result<bool> {
        let mut arg = sys::Same {
            a: self.id,
            b: other.id,
            ..Default::default()
        };
        sys::same(self.file, &mut arg)?;
        Ok(arg.same != 0)
    }
}
