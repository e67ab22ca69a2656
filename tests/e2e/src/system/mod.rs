// SPDX-License-Identifier: MIT OR Apache-2.0
//! What tests need of the machine that they run on.

pub mod cards;
pub mod consumer;
pub mod coredump;
pub mod driver;
pub mod exporter;
pub mod importer;
pub mod iov;
pub mod limits;
pub mod log;
pub mod machine;
pub mod nic;
pub mod page_tables;
pub mod random;
pub mod registers;
pub mod role;
pub mod socket;
pub mod space;
pub mod strays;
pub mod sw_sync;
pub mod timing;
pub mod vfio;
pub mod vfs;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::harness::Outcome;
use crate::harness::Stop;

/// One MiB.
pub const MIB: u64 = 1 << 20;

/// How long a job may take, however slow the machine is.
pub const JOB: Duration = Duration::from_secs(30);

/// How long the kernel may take to react to a change of devices.
pub const REACTION: Duration = Duration::from_secs(30);

/// Waits until something holds, and fails if it does not in time.
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Outcome {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > limit {
            return Err(Stop::failed(format!("{what}: not within {limit:?}")));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Pauses after something that has failed, in a loop of what cannot work for a
/// while: trying all the time takes the processor from what it waits for.
pub fn breathe<T>(ended: hlrs::Result<T>) {
    if ended.is_err() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// How many descriptors this process has open, and which number is the next:
/// one that was set aside and is no file yet is not listed, but is not free.
pub fn descriptors() -> Outcome<(usize, i32)> {
    let open = fs::read_dir("/proc/self/fd")?.count();
    let next = std::os::fd::AsRawFd::as_raw_fd(&fs::File::open("/dev/null")?);
    Ok((open, next))
}

/// Writes to a file of sysfs, debugfs or procfs.
pub fn write(path: impl AsRef<Path>, text: &str) -> std::io::Result<()> {
    fs::write(path, text)
}

/// Skips the test unless a file exists.
pub fn need(path: impl AsRef<Path>, what: &str) -> Outcome {
    let path = path.as_ref();
    if path.exists() {
        return Ok(());
    }
    Err(Stop::skipped(format!(
        "{what}: there is no {}",
        path.display()
    )))
}
