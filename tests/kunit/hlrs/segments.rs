// SPDX-License-Identifier: GPL-2.0

//! Tests of cutting a range out of a buffer's segments.

use kernel::prelude::*;

#[kunit_tests(hlrs_segments)]
mod suite {
    use super::super::*;

    /// Cuts out of three segments of 10, 20 and 30 bytes at 100, 200 and 300.
    fn cut(offset: u64, len: u64) -> Result<KVVec<Segment>> {
        let mut cut = Cut::new(offset, len);

        cut.add(Address::Lmem(100), 10)?;
        cut.add(Address::Lmem(200), 20)?;
        cut.add(Address::Lmem(300), 30)?;
        cut.finish()
    }

    fn is(segments: &[Segment], expected: &[(u64, u64)]) -> bool {
        segments.len() == expected.len()
            && segments
                .iter()
                .zip(expected)
                .all(|(s, (start, len))| s.address == Address::Lmem(*start) && s.len == *len)
    }

    #[test]
    fn whole() -> Result {
        assert!(is(&cut(0, 60)?, &[(100, 10), (200, 20), (300, 30)]));
        Ok(())
    }

    #[test]
    fn within_one() -> Result {
        assert!(is(&cut(12, 3)?, &[(202, 3)]));
        assert!(is(&cut(59, 1)?, &[(329, 1)]));
        Ok(())
    }

    #[test]
    fn across_borders() -> Result {
        assert!(is(&cut(9, 22)?, &[(109, 1), (200, 20), (300, 1)]));
        assert!(is(&cut(10, 20)?, &[(200, 20)]));
        Ok(())
    }

    #[test]
    fn beyond_the_end() {
        assert_eq!(cut(0, 61).err(), Some(ERANGE));
        assert_eq!(cut(60, 1).err(), Some(ERANGE));
        assert_eq!(cut(1000, 1).err(), Some(ERANGE));
    }
}
