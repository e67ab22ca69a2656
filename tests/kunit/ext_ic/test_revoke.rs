// SPDX-License-Identifier: GPL-2.0

//! Taking a buffer back.

use kernel::prelude::*;

#[kunit_tests(ext_ic_revoke)]
mod tests {
    use crate::{
        exporter::{
            Event::*,
            *, //
        },
        importer::*,
        link::*,
        random::*,
        support::*, //
    };
    use kernel::{
        dma::DataDirection::ToDevice,
        prelude::*,
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            Arc, //
        },
    };
    use kernel_ext::dma_buf::{
        interconnect::*,
        Attachment,
        DmaBuf, //
    };

    fn offers(log: &Arc<Log>) -> [Offer; 2] {
        [
            Offer::Link(Port::new(1, log)),
            Offer::Sgt { peer2peer: false },
        ]
    }

    fn map(attachment: &Attachment<Peer>) -> Result {
        let mut guard = attachment.dma_buf().resv().lock();

        attachment
            .map_as::<Private<Link>>(&mut guard, ToDevice)
            .map(|_| ())
    }

    #[test]
    fn and_back() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_back")?;
        let dma_buf = Aware::export(offers(&log), &log)?;
        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 1)?;
        let plain = Attachment::new(&dma_buf, dev.device(), Peer::new(&log))?;

        map(&attachment)?;
        plain.map(&mut dma_buf.resv().lock(), ToDevice)?;
        log.take();
        check!(revoke::<Aware>(&dma_buf, ms(LONG))?.is_none());
        // Both were told, the latest first, and have unmapped there.
        check_eq!(
            *log.take(),
            [Invalidate, UnmapSgt, Invalidate, UnmapLink(ToDevice)]
        );
        check_eq!(map(&attachment), Err(ENODEV));
        check_eq!(
            plain.map(&mut dma_buf.resv().lock(), ToDevice).err(),
            Some(ENODEV)
        );
        check!(Aware::of(&dma_buf)?
            .state
            .is_revoked(&dma_buf.resv().lock()));
        // Neither was the exporter asked, nor is anything counted.
        check_eq!(*log.take(), []);
        check!(revoke::<Aware>(&dma_buf, 0)?.is_none());
        restore::<Aware>(&dma_buf)?;
        map(&attachment)?;
        plain.map(&mut dma_buf.resv().lock(), ToDevice)?;
        Ok(())
    }

    #[test]
    fn importers_that_keep_it() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_keep")?;
        let dma_buf = Aware::export(offers(&log), &log)?;
        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 1)?;
        let plain = Attachment::new(&dma_buf, dev.device(), Peer::new(&log))?;

        attachment.importer().unmaps.store(false, Relaxed);
        plain.importer().unmaps.store(false, Relaxed);
        map(&attachment)?;
        plain.map(&mut dma_buf.resv().lock(), ToDevice)?;
        check_eq!(
            revoke::<Aware>(&dma_buf, ms(SHORT))?,
            Some(Left {
                mappings: 2,
                negotiated: 1,
                fences: false
            })
        );
        {
            // Who it is.
            let guard = dma_buf.resv().lock();
            let mut kept = dma_buf
                .attachments(&guard)?
                .filter_map(|info| info.interconnect());

            check!(kept.next() == Some((c"test-link", 1)));
            check!(kept.next().is_none());
        }
        attachment.unmap(&mut dma_buf.resv().lock())?;
        check_eq!(
            revoke::<Aware>(&dma_buf, ms(SHORT))?,
            Some(Left {
                mappings: 1,
                negotiated: 0,
                fences: false
            })
        );
        drop(plain);
        check!(revoke::<Aware>(&dma_buf, 0)?.is_none());
        Ok(())
    }

    #[test]
    fn late_but_in_time() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_late")?;
        let dma_buf = Aware::export(offers(&log), &log)?;
        let attachment = Arc::new(
            Peer::attach_to(&dma_buf, dev.device(), &log, 1)?,
            GFP_KERNEL,
        )?;
        let theirs = attachment.clone();

        attachment.importer().unmaps.store(false, Relaxed);
        map(&attachment)?;
        let thread = Thread::spawn(move || {
            kernel::time::delay::fsleep(kernel::time::Delta::from_millis(SHORT.into()));
            let mut guard = theirs.dma_buf().resv().lock();
            theirs.unmap(&mut guard)
        })?;
        check!(revoke::<Aware>(&dma_buf, ms(LONG))?.is_none());
        thread.join()?
    }

    #[test]
    fn detaching_lets_go() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_lets_go")?;
        let dma_buf = Aware::export(offers(&log), &log)?;
        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 1)?;

        attachment.importer().unmaps.store(false, Relaxed);
        map(&attachment)?;
        check!(revoke::<Aware>(&dma_buf, 0)?.is_some());
        // Hot unplug of the importer's device.
        drop(dev);
        check!(revoke::<Aware>(&dma_buf, 0)?.is_none());
        check_eq!(map(&attachment), Err(ENODEV));
        // What was negotiated can still be read.
        check_eq!(
            attachment
                .negotiated::<Private<Link>>()
                .map(|route| route.fabric),
            Some(1)
        );
        check_eq!(debugfs_lines(&["exporter=ext_ic_aware"])?, 0);
        Ok(())
    }

    #[test]
    fn in_the_middle_of_an_attach() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_middle")?;
        let dma_buf = Aware::export(offers(&log), &log)?;

        log.revoke_in_attach.store(true, Relaxed);
        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 1)?;
        // It was not told, since it was not on the list.
        check_eq!(*log.take(), [Match, Attach(1)]);
        check_eq!(map(&attachment), Err(ENODEV));
        check_eq!(Aware::of(&dma_buf)?.state.mappings(), 0);
        Ok(())
    }

    #[test]
    fn not_of_others() -> Result {
        let log = Log::new()?;
        let dma_buf = Ordinary::export(&log)?;

        check_eq!(revoke::<Aware>(&dma_buf, 0).err(), Some(EINVAL));
        check_eq!(restore::<Aware>(&dma_buf), Err(EINVAL));
        Ok(())
    }

    /// Attaches, maps, unmaps and detaches at random until told to stop. Returns how often it has
    /// mapped.
    fn importer(
        dma_buf: &DmaBuf,
        dev: &TestDevice,
        log: &Arc<Log>,
        stop: &Atomic<u32>,
        seed: u64,
    ) -> Result<u32> {
        let mut random = Random::with_seed(seed);
        let mut mapped = 0;

        while stop.load(Relaxed) == 0 {
            let attachment = Peer::attach_to(dma_buf, dev.device(), log, 1)?;

            for _ in 0..random.below(4) {
                match map(&attachment) {
                    Ok(()) => mapped += 1,
                    Err(err) => check_eq!(err, ENODEV),
                }
                if random.below(2) == 0 {
                    attachment.unmap(&mut dma_buf.resv().lock())?;
                }
            }
            log.take();
        }
        Ok(mapped)
    }

    /// Nobody has a mapping when a revoke has returned, however attaches and maps fall.
    #[test]
    fn races() -> Result {
        let log = Log::new()?;
        let dev = Arc::new(TestDevice::new(c"ext_ic_races")?, GFP_KERNEL)?;
        let dma_buf = Aware::export(offers(&log), &log)?;
        let stop = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let mut random = Random::new("ext_ic_revoke.races");
        let mut threads = KVec::new();

        for _ in 0..3 {
            let (dma_buf, dev, log, stop) =
                (dma_buf.clone(), dev.clone(), log.clone(), stop.clone());
            let seed = random.next();

            threads.push(
                Thread::spawn(move || importer(&dma_buf, &dev, &log, &stop, seed))?,
                GFP_KERNEL,
            )?;
        }
        // What comes and goes is looked at all the while.
        let reader = {
            let stop = stop.clone();

            Thread::spawn(move || -> Result<usize> {
                let mut lines = 0;

                while stop.load(Relaxed) == 0 {
                    lines += debugfs_lines(&["exporter=ext_ic_aware", "type=test-link"])?;
                    kernel::time::delay::fsleep(kernel::time::Delta::from_micros(300));
                }
                Ok(lines)
            })?
        };
        let mut result = Ok(());
        for _ in 0..rounds(200) {
            if revoke::<Aware>(&dma_buf, ms(LONG))?.is_some()
                || Aware::of(&dma_buf)?.state.mappings() != 0
            {
                result = Err(ETIMEDOUT);
                break;
            }
            if random.below(2) == 0 {
                kernel::time::delay::fsleep(kernel::time::Delta::from_micros(100));
            }
            if Aware::of(&dma_buf)?.state.mappings() != 0 {
                result = Err(EBUSY);
                break;
            }
            restore::<Aware>(&dma_buf)?;
            kernel::time::delay::fsleep(kernel::time::Delta::from_micros(random.below(500) as i64));
        }
        stop.store(1, Relaxed);
        let mut mapped = 0;
        for thread in threads {
            mapped += thread.join()??;
        }
        let lines = reader.join()??;
        result?;
        pr_info!("ext_ic_revoke.races: {mapped} mappings, {lines} lines in debugfs\n");
        check!(mapped > 0 && lines > 0);
        check_eq!(debugfs_lines(&["exporter=ext_ic_aware"])?, 0);
        check_eq!(Aware::of(&dma_buf)?.state.mappings(), 0);
        Ok(())
    }
}
