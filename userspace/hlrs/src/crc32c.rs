// SPDX-License-Identifier: MIT OR Apache-2.0
//! CRC-32C on the CPU, to compare with what devices compute.

/// Reversed polynomial of Castagnoli.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[n][b]`: the effect of byte `b` that is followed by `n` other bytes
/// of the same group of eight.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 {
                (crc >> 1) ^ POLYNOMIAL
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[n - 1][byte];
            tables[n][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
}

/// CRC-32C (Castagnoli) of `bytes`, continuing the checksum `crc` of what comes
/// before them; 0 at the start. The same as devices compute.
///
/// ```
/// assert_eq!(hlrs::crc32c(0, b"123456789"), 0xe306_9283);
/// assert_eq!(hlrs::crc32c(hlrs::crc32c(0, b"1234"), b"56789"), 0xe306_9283);
/// ```
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    let mut crc = !crc;
    let mut groups = bytes.chunks_exact(8);
    for g in &mut groups {
        let low = crc ^ u32::from_le_bytes([g[0], g[1], g[2], g[3]]);
        crc = TABLES[7][(low & 0xff) as usize]
            ^ TABLES[6][((low >> 8) & 0xff) as usize]
            ^ TABLES[5][((low >> 16) & 0xff) as usize]
            ^ TABLES[4][(low >> 24) as usize]
            ^ TABLES[3][g[4] as usize]
            ^ TABLES[2][g[5] as usize]
            ^ TABLES[1][g[6] as usize]
            ^ TABLES[0][g[7] as usize];
    }
    for &byte in groups.remainder() {
        crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(byte)) & 0xff) as usize];
    }
    !crc
}

/// The checksum of `a` followed by `b`, from those of the two; `len` is the
/// length of `b` in bytes. So the parts of a buffer can be summed up by
/// different devices.
///
/// ```
/// let (a, b) = (hlrs::crc32c(0, b"1234"), hlrs::crc32c(0, b"56789"));
/// assert_eq!(hlrs::crc32c_combine(a, b, 5), hlrs::crc32c(0, b"123456789"));
/// ```
pub fn crc32c_combine(a: u32, b: u32, mut len: u64) -> u32 {
    // Bits that follow shift those before: x^(8 * len), of which 1 and x^8 are
    // the highest bit and the ninth as the bits are numbered here.
    let (mut shift, mut square) = (1 << 31, 1 << 23);
    while len > 0 {
        if len & 1 == 1 {
            shift = multiply(shift, square);
        }
        square = multiply(square, square);
        len >>= 1;
    }
    multiply(shift, a) ^ b
}

/// The product of two polynomials of bits, modulo that of the checksum.
fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    for bit in (0..32).rev() {
        if (a >> bit) & 1 == 1 {
            product ^= b;
        }
        b = (b >> 1) ^ if b & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit, straight from the definition.
    fn reference(bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        for &byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 != 0 {
                    (crc >> 1) ^ POLYNOMIAL
                } else {
                    crc >> 1
                };
            }
        }
        !crc
    }

    /// The examples of RFC 3720, appendix B.4.
    #[test]
    fn rfc3720_examples() {
        assert_eq!(crc32c(0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(0, &[0xff; 32]), 0x62a8_ab43);
        let up: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(0, &up), 0x46dd_794e);
        let down: Vec<u8> = (0..32).rev().collect();
        assert_eq!(crc32c(0, &down), 0x113f_db5c);
    }

    #[test]
    fn combined() {
        let bytes: Vec<u8> = (0u32..300).map(|n| (n * 91 + 5) as u8).collect();
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            let both = crc32c_combine(crc32c(0, a), crc32c(0, b), b.len() as u64);
            assert_eq!(both, crc32c(0, &bytes), "cut {cut}");
        }
    }

    #[test]
    fn every_length_and_every_cut() {
        let bytes: Vec<u8> = (0u32..64).map(|n| (n * 37 + 11) as u8).collect();
        for len in 0..bytes.len() {
            let whole = reference(&bytes[..len]);
            assert_eq!(crc32c(0, &bytes[..len]), whole, "length {len}");
            for cut in 0..len {
                let first = crc32c(0, &bytes[..cut]);
                assert_eq!(crc32c(first, &bytes[cut..len]), whole, "cut {cut} of {len}");
            }
        }
    }
}
