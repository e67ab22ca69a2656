// SPDX-License-Identifier: GPL-2.0

//! Tests of the allocator of device-local memory.

use kernel::prelude::*;

#[kunit_tests(hlrs_lmem)]
mod suite {
    use super::super::*;
    use kernel::sizes::{
        SZ_1M,
        SZ_2M,
        SZ_64K, //
    };

    const MIB: u64 = SZ_1M as u64;

    fn page() -> Alignment {
        Alignment::new::<SZ_4K>()
    }

    #[test]
    fn refuses_wrong_sizes() -> Result {
        assert!(Lmem::new(0, 0).is_err());
        assert!(Lmem::new(4095, 0).is_err());
        assert!(Lmem::new(4096, 1).is_err());

        let lmem = Lmem::new(16 * MIB, 16 * MIB)?;
        let alloc = |size, block| lmem.alloc(size, block, Placement::Any, false).err();
        assert_eq!(alloc(0, page()), Some(EINVAL));
        assert_eq!(alloc(4097, page()), Some(EINVAL));
        assert_eq!(alloc(4096, Alignment::new::<SZ_64K>()), Some(EINVAL));
        assert_eq!(alloc(17 * MIB, page()), Some(E2BIG));
        assert_eq!(lmem.used(), 0);
        Ok(())
    }

    #[test]
    fn accounts_for_what_is_used() -> Result {
        let lmem = Lmem::new(16 * MIB, 4 * MIB)?;

        let visible = lmem.alloc(MIB, page(), Placement::CpuVisible, false)?;
        assert!(visible.is_visible());
        assert_eq!(visible.size(), MIB);
        assert_eq!(lmem.used(), MIB);
        assert_eq!(lmem.visible_used(), MIB);

        let other = lmem.alloc(2 * MIB, page(), Placement::Any, false)?;
        assert_eq!(lmem.used(), 3 * MIB);
        assert_eq!(lmem.visible_used(), MIB);

        drop(visible);
        drop(other);
        assert_eq!(lmem.used(), 0);
        assert_eq!(lmem.visible_used(), 0);
        Ok(())
    }

    #[test]
    fn spares_the_aperture() -> Result {
        let lmem = Lmem::new(16 * MIB, 4 * MIB)?;

        // 12 MiB lie outside the aperture; the next one has to go into it.
        let outside = lmem.alloc(12 * MIB, page(), Placement::Any, false)?;
        assert!(outside.extents().iter().all(|e| e.start >= 4 * MIB));
        let inside = lmem.alloc(3 * MIB, page(), Placement::Any, false)?;
        assert!(inside.is_visible());

        let full = lmem.alloc(2 * MIB, page(), Placement::CpuVisible, false);
        assert_eq!(full.err(), Some(ENOSPC));
        let never = lmem.alloc(5 * MIB, page(), Placement::CpuVisible, false);
        assert_eq!(never.err(), Some(E2BIG));
        Ok(())
    }

    #[test]
    fn blocks_are_aligned_and_merged() -> Result {
        let lmem = Lmem::new(16 * MIB, 16 * MIB)?;
        let block = Alignment::new::<SZ_2M>();

        let small = lmem.alloc(4096, page(), Placement::Any, false)?;
        let large = lmem.alloc(6 * MIB, block, Placement::Any, false)?;
        assert!(large
            .extents()
            .iter()
            .all(|e| e.start % (2 * MIB) == 0 && e.len % (2 * MIB) == 0));
        assert_eq!(large.extents().iter().map(|e| e.len).sum::<u64>(), 6 * MIB);
        // Neighbours are one extent.
        assert!(large
            .extents()
            .windows(2)
            .all(|pair| pair[0].end() != pair[1].start));
        drop(small);
        Ok(())
    }

    #[test]
    fn contiguous_or_nothing() -> Result {
        let lmem = Lmem::new(8 * MIB, 8 * MIB)?;
        let mut held = KVec::new();

        // Every other MiB is taken.
        for _ in 0..8 {
            held.push(lmem.alloc(MIB, page(), Placement::Any, true)?, GFP_KERNEL)?;
        }
        held.retain(|a| a.extents()[0].start / MIB % 2 == 0);
        assert_eq!(lmem.used(), 4 * MIB);

        let contiguous = lmem.alloc(2 * MIB, page(), Placement::Any, true);
        assert_eq!(contiguous.err(), Some(ENOSPC));
        let scattered = lmem.alloc(2 * MIB, page(), Placement::Any, false)?;
        assert_eq!(scattered.extents().len(), 2);
        Ok(())
    }

    #[test]
    fn takes_exactly_what_is_asked_for() -> Result {
        let lmem = Lmem::new(16 * MIB, 4 * MIB)?;
        // Neither a power of two nor aligned to one, and across the end of the aperture.
        let extent = Extent {
            start: 3 * MIB + 4096,
            len: 2 * MIB - 3 * 4096,
        };
        let taken = lmem.take(extent)?;

        assert_eq!(taken.extents(), &[extent]);
        assert_eq!(lmem.used(), extent.len);
        assert_eq!(lmem.visible_used(), MIB - 4096);
        assert_eq!(lmem.take(extent).err(), Some(ENOSPC));

        let last_page = Extent {
            start: extent.end() - 4096,
            len: 4096,
        };
        assert_eq!(lmem.take(last_page).err(), Some(ENOSPC));

        let beyond = Extent {
            start: 16 * MIB - 4096,
            len: 8192,
        };
        assert_eq!(lmem.take(beyond).err(), Some(ENOSPC));

        drop(taken);
        assert_eq!(lmem.used(), 0);
        Ok(())
    }

    #[test]
    fn cuts_ranges_out_of_extents() {
        let extents = [
            Extent {
                start: 0x10000,
                len: 0x3000,
            },
            Extent {
                start: 0x40000,
                len: 0x1000,
            },
            Extent {
                start: 0x20000,
                len: 0x4000,
            },
        ];
        let is = |offset: u64, len: u64, expected: &[(u64, u64)]| {
            let found = cut(&extents, offset, len).map(|e| (e.start, e.len));
            assert!(found.eq(expected.iter().copied()));
        };

        is(
            0,
            0x8000,
            &[(0x10000, 0x3000), (0x40000, 0x1000), (0x20000, 0x4000)],
        );
        is(0x1000, 0x1000, &[(0x11000, 0x1000)]);
        is(0x2000, 0x2000, &[(0x12000, 0x1000), (0x40000, 0x1000)]);
        is(0x3000, 0x1000, &[(0x40000, 0x1000)]);
        is(0x4000, 0x4000, &[(0x20000, 0x4000)]);
        is(0x7000, 0x1000, &[(0x23000, 0x1000)]);
        is(0x8000, 0x1000, &[]);
        is(0x7000, u64::MAX, &[(0x23000, 0x1000)]);
        is(0, 0, &[]);
    }

    #[test]
    fn knows_which_part_is_visible() -> Result {
        let lmem = Lmem::new(16 * MIB, 4 * MIB)?;
        let all = lmem.alloc(16 * MIB, page(), Placement::Any, false)?;

        assert!(!all.is_visible());
        let first: u64 = all.extents()[0].start;
        assert_eq!(first, 0);
        assert!(all.is_part_visible(0, 4 * MIB));
        assert!(all.is_part_visible(4 * MIB - 4096, 4096));
        assert!(!all.is_part_visible(4 * MIB - 4096, 8192));
        assert!(!all.is_part_visible(4 * MIB, 4096));
        Ok(())
    }
}
