// SPDX-License-Identifier: GPL-2.0

//! Tests of what exporters may say about memory of a VF.

use kernel::prelude::*;

#[kunit_tests(hlrs_native)]
mod suite {
    use super::super::*;

    const BAR: u32 = 2;

    fn range(page: u64, pages: u64) -> IovRange {
        IovRange::new(BAR, page * PAGE_SIZE, pages * PAGE_SIZE)
    }

    #[test]
    fn pages_are_whole() {
        let odd = |offset, len| check_pages(&[range(0, 1), IovRange::new(BAR, offset, len)]);

        assert!(check_pages(&[range(0, 1), range(7, 3)]).is_ok());
        assert_eq!(odd(PAGE_SIZE + 1, PAGE_SIZE).err(), Some(EINVAL));
        assert_eq!(odd(PAGE_SIZE, PAGE_SIZE - 1).err(), Some(EINVAL));
        assert_eq!(odd(2048, 4096).err(), Some(EINVAL));
    }

    fn overlap(ranges: &[IovRange]) -> Option<Error> {
        check_overlap(ranges, 300 * PAGE_SIZE).err()
    }

    #[test]
    fn neighbours_do_not_overlap() {
        assert_eq!(overlap(&[]), None);
        assert_eq!(overlap(&[range(5, 1)]), None);
        assert_eq!(overlap(&[range(0, 2), range(2, 2), range(4, 1)]), None);
        assert_eq!(overlap(&[range(4, 1), range(2, 2), range(0, 2)]), None);
        assert_eq!(
            overlap(&[range(63, 130), range(0, 63), range(193, 107)]),
            None
        );
        assert_eq!(
            overlap(&[range(64, 64), range(128, 172), range(0, 64)]),
            None
        );
    }

    /// Every pair of short ranges around the borders of words, in both orders.
    #[test]
    fn overlaps_are_found_in_any_order() {
        let pages = [0, 1, 62, 63, 64, 65, 127, 128, 129, 191, 192];

        for (a, b) in pages
            .iter()
            .flat_map(|a| pages.iter().map(move |b| (*a, *b)))
        {
            for (m, n) in [1, 2, 64, 65]
                .iter()
                .flat_map(|m| [1, 3, 64].map(|n| (*m, n)))
            {
                let apart = a + m <= b || b + n <= a;
                let last = range(260, 40);

                for ranges in [
                    [last, range(a, m), range(b, n)],
                    [range(b, n), last, range(a, m)],
                ] {
                    assert_eq!(overlap(&ranges), if apart { None } else { Some(EINVAL) });
                }
            }
        }
    }

    #[test]
    fn nothing_is_marked_beyond_the_limit() {
        assert_eq!(
            overlap(&[range(1, 1), range(400, 1), range(0, 1)]),
            Some(ERANGE)
        );
    }
}
