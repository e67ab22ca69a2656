// SPDX-License-Identifier: GPL-2.0

//! How memory is divided into the entries of a table.

use kernel::prelude::*;

#[kunit_tests(ext_dma_segments)]
mod tests {
    use kernel::{
        page::PAGE_SIZE,
        prelude::*, //
    };
    use kernel_ext::dma_buf::{
        segments::*,
        PhysRange, //
    };

    const PAGE: u64 = PAGE_SIZE as u64;

    fn merged(ranges: &[(u64, u64)]) -> Result<KVec<(u64, u64)>> {
        let mut out = KVec::new();

        for range in merge(ranges.iter().map(|&(start, len)| PhysRange { start, len })) {
            out.push((range.start, range.len), GFP_KERNEL)?;
        }
        Ok(out)
    }

    fn split(limits: Limits, segments: &[(u64, u64)]) -> Result<KVec<(u64, u64)>> {
        let mut out = KVec::new();

        for entry in limits.split(segments.iter().map(|&(addr, len)| Segment { addr, len })) {
            out.push((entry.addr, entry.len), GFP_KERNEL)?;
        }
        Ok(out)
    }

    fn limits(max_len: u32, boundary: u64) -> Limits {
        Limits {
            max_len,
            boundary,
            mask: u64::MAX,
        }
    }

    #[test]
    fn merging() -> Result {
        check_eq!(*merged(&[])?, []);
        check_eq!(*merged(&[(0x1000, 0x1000)])?, [(0x1000, 0x1000)]);
        check_eq!(
            *merged(&[(0x1000, 0x1000), (0x2000, 0x3000), (0x5000, 0x1000)])?,
            [(0x1000, 0x5000)]
        );
        // In another order they are other memory.
        check_eq!(
            *merged(&[(0x2000, 0x1000), (0x1000, 0x1000), (0x2000, 0x1000)])?,
            [(0x2000, 0x1000), (0x1000, 0x2000)]
        );
        check_eq!(
            *merged(&[(0x1000, 0x1000), (0x3000, 0x1000), (0x4000, 0x1000)])?,
            [(0x1000, 0x1000), (0x3000, 0x2000)]
        );
        Ok(())
    }

    #[test]
    fn maximum_length() -> Result {
        let limits = limits(0x10000, u64::MAX);

        check_eq!(*split(limits, &[])?, []);
        check_eq!(*split(limits, &[(0, 0x10000)])?, [(0, 0x10000)]);
        check_eq!(
            *split(limits, &[(0x1000, 0x21000), (0x80000, PAGE)])?,
            [
                (0x1000, 0x10000),
                (0x11000, 0x10000),
                (0x21000, 0x1000),
                (0x80000, PAGE)
            ]
        );
        Ok(())
    }

    #[test]
    fn boundary() -> Result {
        let limits = limits(u32::MAX - (PAGE as u32 - 1), 0xffff_ffff);

        // Just below, across, and just above a multiple of 4 GiB.
        check_eq!(
            *split(
                limits,
                &[
                    (0xffff_f000, 0x1000),
                    (0x1_ffff_f000, 0x2000),
                    (0x3_0000_0000, 0x1000)
                ]
            )?,
            [
                (0xffff_f000, 0x1000),
                (0x1_ffff_f000, 0x1000),
                (0x2_0000_0000, 0x1000),
                (0x3_0000_0000, 0x1000)
            ]
        );
        Ok(())
    }

    #[test]
    fn counting() -> Result {
        let limits = limits(0x10000, 0xf_ffff);

        // As many as there are when it is divided.
        for (addr, len, entries) in [
            (0, 0x1000, 1),
            (0x1000, 0x10000, 1),
            (0x1000, 0x11000, 2),
            (0xf_f000, 0x1000, 1),
            (0xf_f000, 0x2000, 2),
            (0xf_f000, 0x21000, 3),
        ] {
            let segment = Segment { addr, len };

            check_eq!(limits.entries_of(segment), entries);
            check_eq!(limits.split(core::iter::once(segment)).count(), entries);
        }
        Ok(())
    }

    #[test]
    fn more_than_an_entry_can_hold() -> Result {
        let limits = limits(0xffff_f000, u64::MAX);
        let entries = split(limits, &[(0, 3 << 32)])?;

        check_eq!(entries.len(), 4);
        check_eq!(entries.iter().map(|entry| entry.1).sum::<u64>(), 3 << 32);
        check!(entries.iter().all(|entry| entry.1 <= 0xffff_f000));
        Ok(())
    }

    #[test]
    fn reach() -> Result {
        let limits = Limits {
            mask: 0xffff_ffff,
            ..limits(0x10000, u64::MAX)
        };
        let reaches = |addr, len| limits.reaches(Segment { addr, len });

        check!(reaches(0, 0x1000));
        check!(reaches(0xffff_f000, 0x1000));
        check!(!reaches(0xffff_f000, 0x2000));
        check!(!reaches(0x1_0000_0000, 0x1000));
        check!(!reaches(u64::MAX - 0xfff, 0x2000));
        Ok(())
    }
}
