// SPDX-License-Identifier: GPL-2.0
//! Turns the hardware header into Rust constants, as bindgen does for the kernel.
//!
//! Only numbers, and numbers shifted to the left by a number: what the code under test uses. Other
//! macros are left out, and using them does not compile.

use std::{env, fmt::Write, fs, path::Path};

fn number(text: &str) -> Option<u64> {
    let text = text.trim().trim_end_matches(['u', 'U', 'l', 'L']);

    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn value(text: &str) -> Option<u64> {
    let text = text.trim();

    match text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
        Some(inner) => match inner.split_once("<<") {
            Some((value, shift)) => Some(number(value)? << number(shift)?),
            None => number(inner),
        },
        None => number(text),
    }
}

fn main() {
    let header = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap())
        .join("../../../drivers/accel/hlrs/hlrs_hw.h");
    let text = fs::read_to_string(&header).unwrap();
    let mut out = String::new();

    for line in text.lines() {
        let Some((name, rest)) = line
            .strip_prefix("#define HLRS_")
            .and_then(|line| line.split_once([' ', '\t']))
        else {
            continue;
        };
        let rest = rest.split("/*").next().unwrap();

        if let Some(value) = value(rest) {
            // The smallest type that holds it, as bindgen chooses.
            let kind = if u32::try_from(value).is_ok() {
                "u32"
            } else {
                "u64"
            };
            writeln!(out, "#[allow(dead_code)]").unwrap();
            writeln!(out, "pub(crate) const HLRS_{name}: {kind} = {value:#x};").unwrap();
        }
    }
    fs::write(Path::new(&env::var("OUT_DIR").unwrap()).join("hw.rs"), out).unwrap();
    println!("cargo::rerun-if-changed={}", header.display());
    println!("cargo::rerun-if-changed=build.rs");
}
