// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hardware's counters, from debugfs.

use std::collections::BTreeMap;
use std::fs;

/// Counters of one function by name, for instance `bus_read`: bytes that its
/// engines have read over the bus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    values: BTreeMap<String, u64>,
}

impl Counters {
    /// Those of the function at a PCI address; `None` if debugfs is not
    /// mounted, not readable for this process, or has no such file.
    pub(crate) fn of(address: &str) -> Option<Counters> {
        let path = format!("/sys/kernel/debug/hlrs-{address}/counters");
        Some(Self::parse(&fs::read_to_string(path).ok()?))
    }

    /// One `name value` a line; a counter that could not be read has a dash for
    /// its value and is left out.
    fn parse(text: &str) -> Counters {
        let pair = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        Counters {
            values: text.lines().filter_map(pair).collect(),
        }
    }

    /// The value of one counter.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.values.get(name).copied()
    }

    /// By how much a counter grew since `earlier`.
    pub fn since(&self, earlier: &Counters, name: &str) -> Option<u64> {
        self.get(name)?.checked_sub(earlier.get(name)?)
    }

    /// All counters in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.values
            .iter()
            .map(|(name, &value)| (name.as_str(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_and_nothing_else() {
        let c = Counters::parse("bus_read 4096\nbus_write 7\nfaults -\n\n");
        assert_eq!(c.get("bus_read"), Some(4096));
        assert_eq!(c.get("bus_write"), Some(7));
        assert_eq!(c.iter().count(), 2);
    }

    #[test]
    fn differences() {
        let a = Counters::parse("x 10\ny 3");
        let b = Counters::parse("x 25\ny 1\nz 1");
        assert_eq!(b.since(&a, "x"), Some(15));
        assert_eq!(b.since(&a, "y"), None, "a counter that went back was reset");
        assert_eq!(b.since(&a, "z"), None);
    }
}
