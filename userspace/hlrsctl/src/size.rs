// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sizes as people write and read them.

use std::fmt;

/// Units by their letter and the power of two that they stand for.
const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

/// A number of bytes, shown in the largest unit that it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size(bytes) = *self;
        let unit = UNITS.iter().rev().find(|(_, shift)| bytes >> shift != 0);
        let text = match unit {
            None if bytes == 1 => "1 byte".to_owned(),
            None => format!("{bytes} bytes"),
            Some((letter, shift)) if bytes % (1 << shift) == 0 => {
                format!("{} {letter}iB", bytes >> shift)
            }
            Some((letter, shift)) => {
                // Cut, not rounded: 1023.99 MiB is less than a GiB.
                let tenths = (u128::from(bytes) * 10) >> shift;
                format!("{}.{} {letter}iB", tenths / 10, tenths % 10)
            }
        };
        f.pad(&text)
    }
}

/// Reads a size: a number, decimal or hexadecimal after `0x`, and perhaps a
/// unit, `K`, `M`, `G`, `T`, `KiB` and so on, all powers of 1024.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is not a size; write for instance 4096, 64K or 2MiB");
    let short = text.strip_suffix("iB").unwrap_or(text);
    let hexadecimal = short.strip_prefix("0x");
    let (digits, shift) = match short.chars().last() {
        Some(letter) if hexadecimal.is_none() => {
            match UNITS.iter().find(|(l, _)| letter.eq_ignore_ascii_case(l)) {
                Some((_, shift)) => (&short[..short.len() - 1], *shift),
                None if short.len() != text.len() => return Err(bad()),
                None => (short, 0),
            }
        }
        _ => (short, 0),
    };
    let number = match hexadecimal {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.trim_end().parse(),
    };
    let number: u64 = number.map_err(|_| bad())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("{text:?} is too large a size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows() {
        let cases = [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
            (256 << 20, "256 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert_eq!(format!("{:>8}", Size(1024)), "   1 KiB");
    }

    #[test]
    fn reads() {
        let cases = [
            ("0", 0),
            ("4096", 4096),
            ("64K", 65536),
            ("64k", 65536),
            ("2MiB", 2 << 20),
            ("3 GiB", 3 << 30),
            ("0x1000", 4096),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "K",
            "iB",
            "12iB",
            "-1",
            "1.5M",
            "4096 bytes",
            "0x",
            "20000000000G",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
