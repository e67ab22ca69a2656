// SPDX-License-Identifier: MIT OR Apache-2.0
//! Limits of this process.

use std::os::fd::AsRawFd;

use crate::check_eq;
use crate::harness::Outcome;
use crate::harness::Stop;

/// Leaves this process no more descriptors than it has, until it is dropped.
pub struct NoDescriptors(libc::rlimit);

impl NoDescriptors {
    pub fn new() -> Outcome<NoDescriptors> {
        let mut before = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: a place for the limits.
        let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut before) };
        check_eq!(got, 0, "getrlimit");
        // The lowest number that is free, which is the next one given out.
        let next = std::fs::File::open("/dev/null")?.as_raw_fd();
        set_limit(&libc::rlimit {
            rlim_cur: next as libc::rlim_t,
            ..before
        })?;
        Ok(NoDescriptors(before))
    }
}

fn set_limit(limit: &libc::rlimit) -> Outcome {
    // SAFETY: the structure lives for the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) } {
        0 => Ok(()),
        _ => Err(Stop::failed(format!(
            "setrlimit: {}",
            std::io::Error::last_os_error()
        ))),
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        if let Err(err) = set_limit(&self.0) {
            println!("{err:?}");
        }
    }
}
