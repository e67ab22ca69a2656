// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page tables of an address space, as they are in the device's memory; the
//! driver reads them for debugfs.

use std::collections::BTreeMap;
use std::fs;

use hlrs::Vm;

use super::space::PAGE;
use crate::check;
use crate::harness::Outcome;
use crate::harness::Stop;

const WRITABLE: u64 = 1 << 1;
const NULL: u64 = 1 << 4;
/// Where the memory is: the kind of address and the address.
const PLACE: u64 = 0x000f_ffff_ffff_f00c;

/// The entry that translates a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub writable: bool,
    /// What identifies the page of memory; none if it shows zeros.
    pub place: Option<u64>,
}

/// All pages that the tables of `vm`, of the function `address`, translate.
pub fn read(address: &str, vm: &Vm) -> Outcome<BTreeMap<u64, Entry>> {
    let directory = format!("/sys/kernel/debug/hlrs-{address}");
    let context = context(&fs::read_to_string(format!("{directory}/vms"))?, vm)?;
    let text = fs::read_to_string(format!("{directory}/page_tables"))?;
    let mut pages = BTreeMap::new();
    for line in text.lines().skip(1) {
        let words: Vec<_> = line.split(' ').collect();
        let [of, va, bytes, leaf, entry] = words[..] else {
            return Err(Stop::failed(format!("a line of page_tables: {line:?}")));
        };
        if of != context {
            continue;
        }
        let (va, bytes, leaf, entry) = (hex(va)?, hex(bytes)?, hex(leaf)?, hex(entry)?);
        check!(
            va % leaf == 0 && bytes % leaf == 0,
            "leaves that are not aligned: {line:?}"
        );
        for at in (0..bytes).step_by(PAGE as usize) {
            let place = (entry & NULL == 0).then_some((entry & PLACE) + at);
            let writable = entry & WRITABLE != 0;
            let twice = pages.insert(va + at, Entry { writable, place });
            check!(twice.is_none(), "{:#x} is there twice", va + at);
        }
    }
    Ok(pages)
}

/// The number of the context of `vm`, which this process has made.
fn context(text: &str, vm: &Vm) -> Outcome<String> {
    let tail = format!(" {} {} (", vm.id(), std::process::id());
    let mut lines = text.lines().filter(|line| line.contains(&tail));
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line.split(' ').next().unwrap_or_default().to_owned()),
        _ => Err(Stop::failed(format!("{} is not once in {text:?}", vm.id()))),
    }
}

fn hex(text: &str) -> Outcome<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|err| Stop::failed(format!("{text:?}: {err}")))
}
