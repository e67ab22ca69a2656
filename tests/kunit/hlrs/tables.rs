// SPDX-License-Identifier: GPL-2.0

//! Tests of the memory of page tables.

use kernel::prelude::*;

#[kunit_tests(hlrs_tables)]
mod suite {
    use super::super::*;

    const CHUNK: u64 = TABLES_AT_ONCE as u64 * PAGE_SIZE;

    fn take(source: &mut TableSource<'_>, count: usize) -> Result<KVec<LmemTable>> {
        let mut tables = KVec::new();

        for left in (1..=count).rev() {
            tables.push(source.next(left)?, GFP_KERNEL)?;
        }
        Ok(tables)
    }

    #[test]
    fn no_two_tables_share_memory() -> Result {
        let lmem = Lmem::new(64 * CHUNK, 32 * CHUNK)?;
        let mut source = TableSource::new(&lmem);
        // Holes, so that the memory is not contiguous.
        let mut holes = take(&mut source, 1)?;
        let mut kept = KVec::new();
        for _ in 0..2 * TABLES_AT_ONCE {
            kept.push(source.next(1)?, GFP_KERNEL)?;
            holes.push(source.next(1)?, GFP_KERNEL)?;
        }
        drop(holes);

        let tables = take(&mut source, 3 * TABLES_AT_ONCE)?;
        let mut addresses = KVec::new();
        for table in [&tables, &kept].into_iter().flatten() {
            assert_eq!(table.address() % PAGE_SIZE, 0);
            assert!(table.address() + PAGE_SIZE <= lmem.visible_size());
            addresses.push(table.address(), GFP_KERNEL)?;
        }
        addresses.sort_unstable();
        assert!(addresses.windows(2).all(|pair| pair[0] < pair[1]));

        drop((tables, kept, source));
        assert_eq!(lmem.used(), 0);
        Ok(())
    }

    #[test]
    fn only_what_is_needed_is_taken() -> Result {
        let lmem = Lmem::new(8 * CHUNK, 8 * CHUNK)?;
        let mut source = TableSource::new(&lmem);

        let one = take(&mut source, 1)?;
        assert_eq!(lmem.used(), PAGE_SIZE);
        let many = take(&mut source, TABLES_AT_ONCE + 3)?;
        assert_eq!(lmem.used(), CHUNK + 4 * PAGE_SIZE);
        drop(source);

        // One table keeps those that were allocated with it.
        let mut many = many;
        let last = many.pop().ok_or(EINVAL)?;
        drop(many);
        assert_eq!(lmem.used(), 4 * PAGE_SIZE);
        drop(last);
        assert_eq!(lmem.used(), PAGE_SIZE);
        drop(one);
        assert_eq!(lmem.used(), 0);
        Ok(())
    }

    #[test]
    fn what_is_left_is_used() -> Result {
        let lmem = Lmem::new(2 * CHUNK, CHUNK)?;
        let tables = take(&mut TableSource::new(&lmem), TABLES_AT_ONCE)?;

        assert_eq!(lmem.visible_used(), CHUNK);
        assert_eq!(TableSource::new(&lmem).next(1).err(), Some(ENOSPC));
        drop(tables);
        let more = take(&mut TableSource::new(&lmem), TABLES_AT_ONCE + 1);
        assert_eq!(more.err(), Some(ENOSPC));
        assert_eq!(lmem.used(), 0);
        Ok(())
    }
}
