// SPDX-License-Identifier: GPL-2.0

//! Tests of what a PF believes of the card at the other end of the link.

use kernel::prelude::*;

#[kunit_tests(hlrs_link)]
mod suite {
    use super::super::*;

    const LIMIT: u64 = 64 * PAGE_SIZE;

    fn extent(page: u64, pages: u64) -> Extent {
        Extent {
            start: page * PAGE_SIZE,
            len: pages * PAGE_SIZE,
        }
    }

    #[test]
    fn pieces_that_make_up_the_buffer() {
        let all = [extent(0, 64)];
        assert_eq!(check(&all, LIMIT, LIMIT), Ok(()));

        // In any order.
        let pieces = [extent(60, 4), extent(0, 1), extent(7, 3)];
        assert_eq!(check(&pieces, LIMIT, 8 * PAGE_SIZE), Ok(()));
    }

    #[test]
    fn neither_more_nor_less() {
        let pieces = [extent(60, 4), extent(0, 1)];

        for size in [0, 4, 6, u64::MAX / PAGE_SIZE] {
            assert_eq!(check(&pieces, LIMIT, size * PAGE_SIZE), Err(EINVAL));
        }
        assert_eq!(check(&[], LIMIT, PAGE_SIZE), Err(EINVAL));
    }

    #[test]
    fn nothing_beyond_the_memory() {
        for (page, pages) in [(64, 1), (63, 2), (0, 65), (1 << 40, 1)] {
            let size = pages * PAGE_SIZE;
            assert_eq!(check(&[extent(page, pages)], LIMIT, size), Err(ERANGE));
        }

        let wraps = Extent {
            start: u64::MAX - PAGE_SIZE + 1,
            len: PAGE_SIZE,
        };
        assert_eq!(check(&[wraps], LIMIT, PAGE_SIZE), Err(ERANGE));
    }

    #[test]
    fn whole_pages_only() {
        for (start, len) in [(1, PAGE_SIZE), (0, PAGE_SIZE - 1), (0, 0)] {
            assert_eq!(check(&[Extent { start, len }], LIMIT, len), Err(EINVAL));
        }
    }
}
