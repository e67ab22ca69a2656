// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel keeps of a job that failed: devcoredumps.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use super::wait_until;
use super::REACTION;
use crate::harness::Outcome;
use crate::harness::Stop;

const CLASS: &str = "/sys/class/devcoredump";

/// The dumps of one device, which has at most one at a time. What is left when
/// this is dropped is thrown away, since it would stay for minutes.
pub struct Dumps {
    address: String,
}

impl Dumps {
    /// Those of the function at a PCI address; earlier ones are thrown away.
    pub fn of(address: &str) -> Dumps {
        let dumps = Dumps {
            address: address.to_owned(),
        };
        dumps.clear();
        dumps
    }

    /// Directory of the dump, if there is one.
    fn find(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(CLASS).ok()?.flatten();
        entries.map(|entry| entry.path()).find(|path| {
            fs::canonicalize(path.join("failing_device"))
                .is_ok_and(|device| device.ends_with(Path::new(&self.address)))
        })
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        self.find().is_some()
    }

    /// Waits for a dump.
    pub fn wait(&self) -> Outcome<PathBuf> {
        let mut found = None;
        wait_until("a devcoredump", REACTION, || {
            found = self.find();
            found.is_some()
        })?;
        found.ok_or_else(|| Stop::failed("the dump has gone again"))
    }

    /// Waits for a dump and reads it.
    pub fn read(&self) -> Outcome<String> {
        let path = self.wait()?;
        let bytes = fs::read(path.join("data"))?;
        String::from_utf8(bytes).map_err(|err| Stop::failed(format!("the dump is no text: {err}")))
    }

    /// Throws the dump away, and waits until it has gone: the kernel removes it
    /// a moment later.
    pub fn clear(&self) {
        if let Some(path) = self.find() {
            // It may have gone since.
            let _ = fs::write(path.join("data"), "1");
            let _ = wait_until("the end of a devcoredump", REACTION, || !path.exists());
        }
    }
}

impl Drop for Dumps {
    fn drop(&mut self) {
        self.clear();
    }
}
