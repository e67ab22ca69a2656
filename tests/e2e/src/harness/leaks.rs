// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of the devices that a test left allocated.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use hlrs::RegionClass;

/// Longest time that memory may take to be free after its owner's end: jobs in
/// flight hold it, and the driver may free it from a worker.
const SETTLE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// Bytes in use of each LMEM region, by PCI address of the function.
pub type Use = BTreeMap<String, u64>;

/// What is allocated now. Functions that cannot be opened are left out.
pub fn now() -> Use {
    let mut used = Use::new();
    for node in hlrs::list().unwrap_or_default() {
        let regions = node
            .open()
            .and_then(|device| device.regions())
            .unwrap_or_default();
        for region in regions.iter().filter(|r| r.class == RegionClass::Lmem) {
            *used.entry(node.address.clone()).or_default() += region.used;
        }
    }
    used
}

/// Compares with what was allocated before a test, on the functions that exist
/// before and after; says what is too much. Less than before is what an earlier
/// test left and its end has freed since.
pub fn since(before: &Use) -> Option<String> {
    let start = Instant::now();
    loop {
        let after = now();
        let left = before.iter().find_map(|(address, was)| {
            let is = after.get(address)?;
            (is > was).then(|| {
                format!("LMEM in use on {address} was {was} bytes before the test and is {is}")
            })
        });
        if left.is_none() || start.elapsed() > SETTLE {
            return left;
        }
        thread::sleep(POLL);
    }
}
