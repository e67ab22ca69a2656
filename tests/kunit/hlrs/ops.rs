// SPDX-License-Identifier: GPL-2.0

//! Tests of splitting operations into commands.

use kernel::prelude::*;

#[kunit_tests(hlrs_ops)]
mod suite {
    use super::super::*;

    fn segments(list: &[(u64, u64)]) -> Result<KVec<Segment>> {
        let mut segments = KVec::new();

        for (start, len) in list {
            let segment = Segment {
                address: Address::Bus(*start),
                len: *len,
            };
            segments.push(segment, GFP_KERNEL)?;
        }
        Ok(segments)
    }

    fn pairs(src: &[(u64, u64)], dst: &[(u64, u64)]) -> Result<KVec<(Address, Address, u64)>> {
        let mut pairs = KVec::new();

        for_each_pair(&segments(src)?, &segments(dst)?, |src, dst, len| {
            Ok(pairs.push((src, dst, len), GFP_KERNEL)?)
        })?;
        Ok(pairs)
    }

    #[test]
    fn pairs_split_on_both_sides() -> Result {
        let pairs = pairs(&[(0, 10), (100, 10)], &[(1000, 5), (2000, 15)])?;

        let expected = [
            (Address::Bus(0), Address::Bus(1000), 5),
            (Address::Bus(5), Address::Bus(2000), 5),
            (Address::Bus(100), Address::Bus(2005), 10),
        ];
        assert!(pairs[..] == expected);
        Ok(())
    }

    #[test]
    fn large_segments_are_cut() -> Result {
        let pairs = pairs(&[(0, MAX_BYTES + 1)], &[(1 << 40, MAX_BYTES + 1)])?;

        assert_eq!(pairs.len(), 2);
        assert_eq!(pairs[0].2, MAX_BYTES);
        assert!(
            pairs[1]
                == (
                    Address::Bus(MAX_BYTES),
                    Address::Bus((1 << 40) + MAX_BYTES),
                    1
                )
        );
        Ok(())
    }

    #[test]
    fn pieces_cover_a_segment() -> Result {
        let segment = Segment {
            address: Address::Lmem(4096),
            len: 2 * MAX_BYTES + 7,
        };
        let (mut next, mut count) = (4096, 0);

        for_each_piece(&segment, |address, len| {
            if address != Address::Lmem(next) {
                return Err(EINVAL);
            }
            next += len;
            count += 1;
            Ok(())
        })?;
        assert_eq!(count, 3);
        assert_eq!(next, 4096 + 2 * MAX_BYTES + 7);
        Ok(())
    }
}
