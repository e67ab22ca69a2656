// SPDX-License-Identifier: GPL-2.0

//! Tests of finding a part of a VF's memory in LMEM.

use kernel::prelude::*;

#[kunit_tests(hlrs_record)]
mod suite {
    use super::super::*;

    /// Three extents of 10, 20 and 30 bytes, not in the order of their addresses.
    const EXTENTS: [Extent; 3] = [
        Extent {
            start: 300,
            len: 10,
        },
        Extent {
            start: 100,
            len: 20,
        },
        Extent {
            start: 200,
            len: 30,
        },
    ];

    fn translate(offset: u64, len: u64) -> Result<KVec<(u64, u64)>> {
        let layout = Layout::new(&EXTENTS)?;
        let mut found = KVec::new();

        layout.translate(&EXTENTS, offset, len, |extent| {
            found.push((extent.start, extent.len), GFP_KERNEL)?;
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn all_and_parts_have_exact_lengths() -> Result {
        assert_eq!(&translate(0, 60)?[..], &[(300, 10), (100, 20), (200, 30)]);
        assert_eq!(&translate(0, 10)?[..], &[(300, 10)]);
        assert_eq!(&translate(10, 20)?[..], &[(100, 20)]);
        assert_eq!(&translate(9, 2)?[..], &[(309, 1), (100, 1)]);
        assert_eq!(&translate(29, 31)?[..], &[(119, 1), (200, 30)]);
        assert_eq!(&translate(59, 1)?[..], &[(229, 1)]);
        Ok(())
    }

    #[test]
    fn nothing_beyond_the_end() {
        for (offset, len) in [
            (0, 61),
            (59, 2),
            (60, 1),
            (61, 1),
            (u64::MAX, 1),
            (1, u64::MAX),
        ] {
            assert_eq!(translate(offset, len).err(), Some(ERANGE));
        }
        let empty = Layout::new(&[]);
        assert!(empty.is_ok_and(|l| l.translate(&[], 0, 1, |_| Ok(())).err() == Some(ERANGE)));
    }

    #[test]
    fn any_part_is_where_each_of_its_bytes_is() -> Result {
        for offset in (0..60).step_by(7) {
            for len in [1, 2, 9, 20, 31].map(|len: u64| len.min(60 - offset)) {
                let found = translate(offset, len)?;
                let mut byte = offset;

                for (start, len) in found {
                    for address in start..start + len {
                        assert_eq!(translate(byte, 1)?[0], (address, 1));
                        byte += 1;
                    }
                }
                assert_eq!(byte, offset + len);
            }
        }
        Ok(())
    }
}
