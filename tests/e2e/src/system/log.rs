// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel says.

use std::fs::File;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::os::unix::fs::OpenOptionsExt;

use crate::harness::Outcome;
use crate::system;

/// The kernel's messages from a moment on.
pub struct Log(File);

impl Log {
    pub fn from_now() -> Outcome<Log> {
        let mut log = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")?;
        log.seek(SeekFrom::End(0))?;
        Ok(Log(log))
    }

    /// The messages since then, or since the last call.
    pub fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut record = [0; 8192];
        // Each read gives one record; an error means that there are no more.
        while let Ok(len) = self.0.read(&mut record) {
            lines.push(String::from_utf8_lossy(&record[..len]).into_owned());
        }
        lines
    }

    /// How many of them contain `text`.
    pub fn count(&mut self, text: &str) -> usize {
        let lines = self.lines();
        lines.iter().filter(|line| line.contains(text)).count()
    }
}

/// Debug messages of DRM drivers, switched on for the time of a test.
pub struct DebugLog {
    before: String,
}

const DRM_DEBUG: &str = "/sys/module/drm/parameters/debug";

impl DebugLog {
    pub fn on() -> Outcome<DebugLog> {
        system::need(DRM_DEBUG, "debug messages of DRM")?;
        let before = std::fs::read_to_string(DRM_DEBUG)?;
        // Those of the category "driver".
        system::write(DRM_DEBUG, "0x2")?;
        Ok(DebugLog { before })
    }
}

impl Drop for DebugLog {
    fn drop(&mut self) {
        if let Err(err) = system::write(DRM_DEBUG, self.before.trim()) {
            println!("{DRM_DEBUG} could not be put back: {err}");
        }
    }
}
