// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an open file has consumed: the keys of `drm-usage-stats` in its fdinfo.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;

/// Memory of one region, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// All buffers of the file.
    pub total: u64,
    /// Those that another file shares.
    pub shared: u64,
    /// Those that have memory in the region now.
    pub resident: u64,
    /// Those that the driver may discard.
    pub purgeable: u64,
    /// Those that an engine is working on.
    pub active: u64,
}

/// What one open file has consumed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Name of the driver.
    pub driver: String,
    /// PCI address.
    pub pci_address: Option<String>,
    /// Number that identifies the open file among those of the device.
    pub client_id: Option<u64>,
    /// Busy time of each kind of engine for this file, in nanoseconds.
    pub engine_ns: BTreeMap<String, u64>,
    /// Number of engines of each kind.
    pub engine_capacity: BTreeMap<String, u64>,
    /// Bytes of the dma-bufs that the file has made by the driver's own export,
    /// and of those that PRIME made of its buffers, as long as they exist.
    pub exported: Option<u64>,
    /// Memory by region.
    pub memory: BTreeMap<String, MemoryUsage>,
}

impl Usage {
    pub(crate) fn of(fd: BorrowedFd<'_>) -> Result<Usage> {
        let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
        let text = fs::read_to_string(&path)
            .map_err(|err| Error::io(Operation::Statistics, &path, &err))?;
        Ok(Self::parse(&text))
    }

    /// Reads the keys that `drm-usage-stats` defines and those of the driver, and
    /// passes over others.
    pub fn parse(text: &str) -> Usage {
        let mut usage = Usage::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let (key, value) = (key.trim(), value.trim());
            if key == "hlrs-exported" {
                usage.exported = quantity(value);
            }
            let Some(key) = key.strip_prefix("drm-") else {
                continue;
            };
            match key {
                "driver" => usage.driver = value.to_owned(),
                "pdev" => usage.pci_address = Some(value.to_owned()),
                "client-id" => usage.client_id = value.parse().ok(),
                _ => usage.number(key, value),
            }
        }
        usage
    }

    fn number(&mut self, key: &str, value: &str) {
        let Some(value) = quantity(value) else { return };
        if let Some(engine) = key.strip_prefix("engine-capacity-") {
            self.engine_capacity.insert(engine.to_owned(), value);
        } else if let Some(engine) = key.strip_prefix("engine-") {
            self.engine_ns.insert(engine.to_owned(), value);
        } else if let Some((kind, region)) = key.split_once('-') {
            // Checked before the region is entered: other keys have this form.
            if !["total", "shared", "resident", "purgeable", "active"].contains(&kind) {
                return;
            }
            let memory = self.memory.entry(region.to_owned()).or_default();
            match kind {
                "total" => memory.total = value,
                "shared" => memory.shared = value,
                "resident" => memory.resident = value,
                "purgeable" => memory.purgeable = value,
                _ => memory.active = value,
            }
        }
    }
}

/// A number with an optional unit.
fn quantity(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    number.checked_mul(match words.next() {
        None | Some("ns" | "bytes") => 1,
        Some("KiB") => 1 << 10,
        Some("MiB") => 1 << 20,
        Some(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "pos:\t0\nflags:\t02\ndrm-driver:\thlrs\ndrm-client-id:\t7\n\
        drm-pdev:\t0000:03:00.0\ndrm-engine-copy:\t1234 ns\ndrm-engine-capacity-copy:\t16\n\
        drm-total-vram0:\t2 MiB\ndrm-shared-vram0:\t0\ndrm-resident-vram0:\t2048 KiB\n\
        drm-active-vram0:\t4096\ndrm-total-cycles-copy:\t5\nhlrs-other:\t1\n\
        hlrs-exported:\t12 KiB\n";

    #[test]
    fn reads_the_standard_keys() {
        let usage = Usage::parse(TEXT);
        assert_eq!(usage.driver, "hlrs");
        assert_eq!(usage.client_id, Some(7));
        assert_eq!(usage.pci_address.as_deref(), Some("0000:03:00.0"));
        assert_eq!(usage.exported, Some(12 << 10));
        assert_eq!(usage.engine_ns["copy"], 1234);
        assert_eq!(usage.engine_capacity["copy"], 16);
        let vram = usage.memory["vram0"];
        assert_eq!((vram.total, vram.resident), (2 << 20, 2 << 20));
        assert_eq!((vram.shared, vram.active), (0, 4096));
    }

    #[test]
    fn units() {
        assert_eq!(quantity("3 KiB"), Some(3072));
        assert_eq!(quantity("3 apples"), None);
        assert_eq!(quantity("18446744073709551615 MiB"), None);
    }
}
