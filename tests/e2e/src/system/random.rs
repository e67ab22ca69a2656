// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random numbers that a seed determines.

/// SplitMix64: good enough to choose test cases, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The bias is at most limit / 2^64, which no test can notice.
        self.next() % limit
    }

    /// A range of at least one byte within `len` bytes, often short and often
    /// at an odd place.
    pub fn range(&mut self, len: u64) -> (u64, u64) {
        let most = match self.below(3) {
            0 => len.min(64),
            1 => len.min(8192),
            _ => len,
        };
        let size = 1 + self.below(most);
        (self.below(len - size + 1), size)
    }

    /// One of the elements.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len.next_multiple_of(8)];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_determines_all() {
        assert_eq!(Random::new(1).bytes(100), Random::new(1).bytes(100));
        assert_ne!(Random::new(1).bytes(100), Random::new(2).bytes(100));
        // First output of the published algorithm for seed 0.
        assert_eq!(Random::new(0).next(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn ranges_stay_inside() {
        let mut random = Random::new(3);
        for len in 1..200 {
            for _ in 0..50 {
                let (offset, size) = random.range(len);
                assert!(size > 0 && offset + size <= len);
            }
        }
    }
}
