// SPDX-License-Identifier: GPL-2.0

//! Mapping, pinning and revoking.

use kernel::prelude::*;

#[kunit_tests(ext_dma_map)]
mod tests {
    use crate::{
        exporter::{
            Event::*,
            *, //
        },
        importer::*,
        support::*, //
    };
    use kernel::{
        bindings,
        dma::DataDirection::{
            Bidirectional,
            FromDevice,
            ToDevice, //
        },
        error::from_err_ptr,
        page::PAGE_SIZE,
        prelude::*,
        sync::atomic::Relaxed, //
    };
    use kernel_ext::dma_buf::*;

    #[test]
    fn covers_the_buffer() -> Result {
        const PAGES: usize = 37;

        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_covers")?;
        let dma_buf = Shared::export(PAGES, &log)?;
        let attachment = Attachment::new(&dma_buf, dev.device(), Plain)?;
        let mut guard = dma_buf.resv().lock();
        let mapping = attachment.map(&mut guard, Bidirectional)?;

        check_eq!(mapping.direction(), Bidirectional);
        check_eq!(
            mapping.iter().map(|sg| sg.dma_len()).sum::<u64>(),
            (PAGES * PAGE_SIZE) as u64
        );
        check!(mapping
            .iter()
            .all(|sg| sg.dma_address() % PAGE_SIZE as u64 == 0 && sg.dma_len() > 0));
        Ok(())
    }

    #[test]
    fn one_mapping() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_one")?;
        let dma_buf = Shared::export(2, &log)?;
        let attachment = Attachment::new(&dma_buf, dev.device(), Plain)?;
        let mut guard = dma_buf.resv().lock();

        check!(attachment.mapping(&guard)?.is_none());
        let addr = attachment
            .map(&mut guard, ToDevice)?
            .iter()
            .next()
            .map(|sg| sg.dma_address());
        log.take();
        // The same again, without asking the exporter.
        let again = attachment
            .map(&mut guard, ToDevice)?
            .iter()
            .next()
            .map(|sg| sg.dma_address());
        check_eq!(addr, again);
        check!(matches!(attachment.map(&mut guard, FromDevice), Err(err) if err == EBUSY));
        check!(attachment.mapping(&guard)?.is_some());
        check_eq!(*log.take(), []);
        Ok(())
    }

    #[test]
    fn refused() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_map_refused")?;
        let dma_buf = Shared::export(2, &log)?;
        let attachment = Attachment::new(&dma_buf, dev.device(), Plain)?;

        log.take();
        log.refuse_map.store(true, Relaxed);
        {
            let mut guard = dma_buf.resv().lock();

            check!(matches!(attachment.map(&mut guard, ToDevice), Err(err) if err == ENODEV));
            check!(attachment.mapping(&guard)?.is_none());
        }
        check_eq!(*log.take(), [Map(ToDevice)]);
        // It can be tried again.
        log.refuse_map.store(false, Relaxed);
        attachment.map(&mut dma_buf.resv().lock(), ToDevice)?;
        drop(attachment);
        check_eq!(
            *log.take(),
            [Map(ToDevice), Unmap(ToDevice), Detach, DataDropped]
        );
        Ok(())
    }

    #[test]
    fn wrong_lock() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_wrong_lock")?;
        let dma_buf = Shared::export(1, &log)?;
        let other = Shared::export(1, &log)?;
        let attachment = Attachment::new(&dma_buf, dev.device(), Plain)?;

        log.take();
        {
            let mut guard = other.resv().lock();

            check!(matches!(attachment.map(&mut guard, ToDevice), Err(err) if err == EINVAL));
            check_eq!(attachment.unmap(&mut guard), Err(EINVAL));
            check_eq!(attachment.pin(&mut guard), Err(EINVAL));
            check_eq!(attachment.unpin(&mut guard), Err(EINVAL));
            check!(attachment.mapping(&guard).is_err());
            check_eq!(dma_buf.invalidate_mappings(&mut guard), Err(EINVAL));
            check!(dma_buf.attachments(&guard).is_err());
        }
        check_eq!(*log.take(), []);
        Ok(())
    }

    #[test]
    fn pins() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_pins")?;
        let dma_buf = Movable::export(1, &log)?;
        let attachment = Attachment::new(&dma_buf, dev.device(), Plain)?;

        log.take();
        {
            let mut guard = dma_buf.resv().lock();

            check_eq!(attachment.unpin(&mut guard), Err(EINVAL));
            attachment.pin(&mut guard)?;
            attachment.unpin(&mut guard)?;
            check_eq!(attachment.unpin(&mut guard), Err(EINVAL));
            log.refuse_pin.store(true, Relaxed);
            check_eq!(attachment.pin(&mut guard), Err(EBUSY));
        }
        // What was refused is not undone.
        drop(attachment);
        check_eq!(*log.take(), [Pin, Unpin, Pin, DataDropped]);
        Ok(())
    }

    #[test]
    fn revoked_at_once() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_at_once")?;
        let dma_buf = Shared::export(2, &log)?;
        let attachment = Attachment::new(&dma_buf, dev.device(), Revocable::new(&log, true))?;
        let mut guard = dma_buf.resv().lock();

        attachment.map(&mut guard, ToDevice)?;
        log.take();
        dma_buf.invalidate_mappings(&mut guard)?;
        check_eq!(*log.take(), [Invalidate, Unmap(ToDevice)]);
        check!(attachment.mapping(&guard)?.is_none());
        // Nothing is mapped, so nothing is undone.
        dma_buf.invalidate_mappings(&mut guard)?;
        check_eq!(*log.take(), [Invalidate]);
        attachment.map(&mut guard, ToDevice)?;
        check_eq!(*log.take(), [Map(ToDevice)]);
        Ok(())
    }

    #[test]
    fn revoked_later() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_later")?;
        let dma_buf = Shared::export(2, &log)?;
        let attachment = Attachment::new(&dma_buf, dev.device(), Revocable::new(&log, false))?;
        let mut guard = dma_buf.resv().lock();

        attachment.map(&mut guard, ToDevice)?;
        log.take();
        dma_buf.invalidate_mappings(&mut guard)?;
        check_eq!(*log.take(), [Invalidate]);
        check!(attachment.mapping(&guard)?.is_some());
        attachment.unmap(&mut guard)?;
        check_eq!(*log.take(), [Unmap(ToDevice)]);
        Ok(())
    }

    #[test]
    fn not_revocable_is_not_called() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_not_called")?;
        let dma_buf = Shared::export(2, &log)?;
        let attachment = Attachment::new(&dma_buf, dev.device(), Plain)?;
        let mut guard = dma_buf.resv().lock();

        attachment.map(&mut guard, ToDevice)?;
        log.take();
        dma_buf.invalidate_mappings(&mut guard)?;
        check_eq!(*log.take(), []);
        check!(attachment.mapping(&guard)?.is_some());
        Ok(())
    }

    #[test]
    fn exporter_invalidates_while_mapping() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_moves")?;
        let dma_buf = Movable::export(2, &log)?;
        let first = Attachment::new(&dma_buf, dev.device(), Revocable::new(&log, true))?;
        let second = Attachment::new(&dma_buf, dev.device(), Revocable::new(&log, true))?;
        let mut guard = dma_buf.resv().lock();

        first.map(&mut guard, ToDevice)?;
        log.take();
        // The mapping of the first goes while the second is mapped.
        second.map(&mut guard, FromDevice)?;
        check_eq!(
            *log.take(),
            [Map(FromDevice), Invalidate, Invalidate, Unmap(ToDevice)]
        );
        check!(first.mapping(&guard)?.is_none());
        check!(second.mapping(&guard)?.is_some());
        Ok(())
    }

    #[test]
    fn revoked_from_other_thread() -> Result {
        const ROUNDS: usize = 100;

        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_race")?;
        let dma_buf = Shared::export(1, &log)?;
        let revoker = Thread::spawn({
            let dma_buf = dma_buf.clone();
            move || -> Result {
                for _ in 0..ROUNDS {
                    dma_buf.invalidate_mappings(&mut dma_buf.resv().lock())?;
                }
                Ok(())
            }
        })?;

        for _ in 0..ROUNDS {
            let attachment = Attachment::new(&dma_buf, dev.device(), Revocable::new(&log, true))?;

            attachment.map(&mut dma_buf.resv().lock(), Bidirectional)?;
        }
        revoker.join()??;

        let events = log.take();
        let count = |event| events.iter().filter(|e| **e == event).count();
        check_eq!(count(Map(Bidirectional)), ROUNDS);
        check_eq!(count(Unmap(Bidirectional)), ROUNDS);
        check_eq!(count(Attach), ROUNDS);
        check_eq!(count(Detach), ROUNDS);
        check_eq!(count(DataDropped), ROUNDS);
        Ok(())
    }

    /// An importer in C may have several mappings at the same time: the first is in the place that
    /// the attachment has for one.
    #[test]
    fn several_mappings_at_a_time() -> Result {
        const ROUNDS: usize = 100;

        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_several")?;
        let dma_buf = Shared::export(3, &log)?;
        let _attachment = Attachment::new(&dma_buf, dev.device(), Plain)?;
        let guard = dma_buf.resv().lock();
        let info = dma_buf.attachments(&guard)?.next().ok_or(ENOENT)?.as_raw();
        let direction = bindings::dma_data_direction::DMA_BIDIRECTIONAL;
        // The operations themselves: with debugging the C side hands out copies.
        //
        // SAFETY: The buffer exists.
        let ops = unsafe { &*(*dma_buf.as_raw()).ops };
        let (map_ops, unmap_ops) = (ops.map_dma_buf, ops.unmap_dma_buf);
        // SAFETY: It is attached, and the lock is held.
        let map = || from_err_ptr(unsafe { (map_ops.ok_or(EINVAL)?)(info, direction) });
        let unmap = |table| {
            if let Some(unmap) = unmap_ops {
                // SAFETY: As above; each is unmapped once.
                unsafe { unmap(info, table, direction) };
            }
        };
        // SAFETY: For a table that is mapped, with entries one after the other.
        let size = |table: *mut bindings::sg_table| unsafe {
            let entries = core::iter::successors(Some((*table).sgl), |sg| Some((*sg).add(1)));

            entries
                .take((*table).nents as usize)
                .map(|sg| u64::from((*sg).length))
                .sum::<u64>()
        };

        for _ in 0..ROUNDS {
            let first = map()?;
            let (second, third) = (map()?, map()?);

            check!(first != second && second != third && first != third);
            unmap(second);
            unmap(first);
            // The place is free again.
            let fourth = map()?;

            check_eq!(fourth, first);
            for table in [third, fourth] {
                check_eq!(size(table), 3 * PAGE_SIZE as u64);
                unmap(table);
            }
        }
        Ok(())
    }

    #[test]
    fn bad_ranges_of_pages() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_bad_ranges")?;
        let dma_buf = Shared::export(4, &log)?;
        let _attachment = Attachment::new(&dma_buf, dev.device(), Plain)?;
        let guard = dma_buf.resv().lock();
        let info = dma_buf
            .attachments(&guard)?
            .of::<Shared>()
            .next()
            .ok_or(ENOENT)?;
        let memory = &dma_buf.exported_by::<Shared>().ok_or(ENOENT)?.memory;
        let map = |range| SgTable::from_pages(info, memory, range, ToDevice).err();

        check_eq!(map(0..0), Some(EINVAL));
        check_eq!(map(1..PAGE_SIZE), Some(EINVAL));
        check_eq!(map(0..PAGE_SIZE + 1), Some(EINVAL));
        check_eq!(map(0..5 * PAGE_SIZE), Some(ERANGE));
        check_eq!(map(PAGE_SIZE..3 * PAGE_SIZE), None);
        Ok(())
    }
}
