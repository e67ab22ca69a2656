// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dma-bufs of which nobody was told: a call puts the descriptor into the table
//! before it copies its answer out, which may fail.

use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::path::Path;

use crate::harness::Outcome;

/// The descriptors that this process had open at a moment.
pub struct Known(Vec<RawFd>);

impl Known {
    pub fn now() -> Outcome<Known> {
        let mut open = Vec::new();
        for entry in std::fs::read_dir("/proc/self/fd")? {
            open.extend(
                entry?
                    .file_name()
                    .to_str()
                    .and_then(|fd| fd.parse::<RawFd>().ok()),
            );
        }
        // Not that of the directory: a stray may get its number.
        open.retain(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok());
        Ok(Known(open))
    }

    /// Closes all dma-bufs that were not open then. Those that the test has made
    /// since must be closed.
    pub fn close_others(&self) -> Outcome {
        let is_dmabuf = |file: &Path| file.to_string_lossy().contains("dmabuf");
        for fd in Known::now()?.0 {
            let file = std::fs::read_link(format!("/proc/self/fd/{fd}"));
            if !self.0.contains(&fd) && file.is_ok_and(|file| is_dmabuf(&file)) {
                // SAFETY: the descriptor of a dma-buf that no object of ours has.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        Ok(())
    }
}
