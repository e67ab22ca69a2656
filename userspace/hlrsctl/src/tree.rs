// SPDX-License-Identifier: MIT OR Apache-2.0
//! Places of devices in the PCIe tree.

use std::fs;
use std::path::Path;

/// PCI addresses on the way from the host bridge to a device, which is the
/// last; empty if there is no such device.
pub fn path(address: &str) -> Vec<String> {
    let link = Path::new("/sys/bus/pci/devices").join(address);
    let real = fs::canonicalize(link).unwrap_or_default();
    components(&real.to_string_lossy())
}

/// The parts of a sysfs path that are PCI addresses.
fn components(path: &str) -> Vec<String> {
    let is_address = |part: &&str| {
        let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit());
        let mut fields = part.split([':', '.']);
        part.len() >= 12 && part.contains('.') && (0..4).all(|_| fields.next().is_some_and(digits))
    };
    path.split('/')
        .filter(is_address)
        .map(str::to_owned)
        .collect()
}

/// The PCIe switch, by the address of its upstream port, that both devices are
/// below: what they send each other need not leave it.
pub fn common_switch(a: &str, b: &str) -> Option<String> {
    switch_of(&path(a), &path(b))
}

/// The last common bridge, unless that is a root port or nothing: a switch is
/// an upstream port below a root port, with downstream ports below it.
fn switch_of(a: &[String], b: &[String]) -> Option<String> {
    let common: Vec<_> = a
        .iter()
        .zip(b)
        .take_while(|(x, y)| x == y)
        .map(|(x, _)| x)
        .collect();
    match common.as_slice() {
        [_root_port, .., upstream] => Some((*upstream).clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/0000:02:00.0/0000:03:00.0";
    const B: &str = "/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/0000:02:01.0/0000:04:00.0";
    const C: &str = "/sys/devices/pci0000:00/0000:00:03.0/0000:05:00.0";

    #[test]
    fn addresses_in_a_path() {
        assert_eq!(components(A).len(), 4);
        assert_eq!(components(C), ["0000:00:03.0", "0000:05:00.0"]);
        assert!(components("").is_empty());
    }

    #[test]
    fn below_one_switch_or_not() {
        let switch = switch_of(&components(A), &components(B));
        assert_eq!(switch.as_deref(), Some("0000:01:00.0"));
        assert_eq!(switch_of(&components(A), &components(C)), None);
        assert_eq!(switch_of(&[], &components(C)), None);
    }
}
