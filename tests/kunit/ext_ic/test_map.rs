// SPDX-License-Identifier: GPL-2.0

//! Mapping, unmapping and counting.

use kernel::prelude::*;

#[kunit_tests(ext_ic_map)]
mod tests {
    use crate::{
        exporter::{
            Event::*,
            *, //
        },
        importer::*,
        link::*,
        support::*, //
    };
    use kernel::{
        dma::DataDirection::{
            FromDevice,
            ToDevice, //
        },
        page::PAGE_SIZE,
        prelude::*,
        sync::atomic::Relaxed, //
    };
    use kernel_ext::dma_buf::{
        interconnect::*,
        Attachment, //
    };

    #[test]
    fn windows() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_windows")?;
        let dma_buf = Aware::export([Offer::Link(Port::new(9, &log))], &log)?;
        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 9)?;
        let mut guard = dma_buf.resv().lock();

        log.take();
        let windows = attachment.map_as::<Private<Link>>(&mut guard, ToDevice)?;
        check_eq!(**windows, [9 << 32, 9 << 32 | 1, 9 << 32 | 2]);
        // It is mapped already.
        attachment.map_as::<Private<Link>>(&mut guard, ToDevice)?;
        check_eq!(
            attachment
                .map_as::<Private<Link>>(&mut guard, FromDevice)
                .err(),
            Some(EBUSY)
        );
        check_eq!(Aware::of(&dma_buf)?.state.mappings(), 1);
        attachment.unmap(&mut guard)?;
        // There is no mapping any more.
        attachment.unmap(&mut guard)?;
        check_eq!(Aware::of(&dma_buf)?.state.mappings(), 0);
        check_eq!(*log.take(), [MapLink(ToDevice), UnmapLink(ToDevice)]);
        Ok(())
    }

    #[test]
    fn only_what_was_negotiated() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_only")?;
        let link = Aware::export([Offer::Link(Port::new(1, &log))], &log)?;
        let sgt = Aware::export([Offer::Sgt { peer2peer: false }], &log)?;
        let on_link = Peer::attach_to(&link, dev.device(), &log, 1)?;
        let on_sgt = Peer::attach_to(&sgt, dev.device(), &log, 1)?;
        let plain = Attachment::new(&sgt, dev.device(), Peer::new(&log))?;

        log.take();
        {
            let mut guard = link.resv().lock();

            check_eq!(on_link.map(&mut guard, ToDevice).err(), Some(EINVAL));
            check_eq!(
                on_link.map_as::<Sgt>(&mut guard, ToDevice).err(),
                Some(EINVAL)
            );
            check_eq!(
                on_link.map_as::<Iov>(&mut guard, ToDevice).err(),
                Some(EINVAL)
            );
            check_eq!(on_link.mapping(&guard).err(), Some(EINVAL));
            // With the lock of another buffer.
            check_eq!(
                on_sgt.map_as::<Sgt>(&mut guard, ToDevice).err(),
                Some(EINVAL)
            );
        }
        let mut guard = sgt.resv().lock();

        check_eq!(
            on_sgt.map_as::<Private<Link>>(&mut guard, ToDevice).err(),
            Some(EINVAL)
        );
        check_eq!(
            plain.map_as::<Sgt>(&mut guard, ToDevice).err(),
            Some(EINVAL)
        );
        check_eq!(*log.take(), []);
        Ok(())
    }

    /// The same code of the importer, whoever exports.
    #[test]
    fn one_path_for_scatterlists() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_path")?;

        for dma_buf in [
            Aware::export([Offer::Sgt { peer2peer: false }], &log)?,
            Ordinary::export(&log)?,
        ] {
            let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 1)?;
            let listed = |mappings| debugfs_lines(&["importer=ext_ic_peer", "type=sgt", mappings]);
            {
                let mut guard = dma_buf.resv().lock();
                let len: u64 = attachment
                    .map(&mut guard, ToDevice)?
                    .iter()
                    .map(|entry| entry.dma_len())
                    .sum();

                check_eq!(len, (PAGES * PAGE_SIZE) as u64);
                check!(attachment.mapping(&guard)?.is_some());
            }
            check_eq!(listed("mappings=1")?, 1);
            attachment.unmap(&mut dma_buf.resv().lock())?;
            check_eq!(listed("mappings=0")?, 1);
        }
        Ok(())
    }

    /// An importer that does not know of interconnects, and an exporter that does.
    #[test]
    fn plain_importer() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_plain")?;
        let offers = [
            Offer::Link(Port::new(1, &log)),
            Offer::Sgt { peer2peer: false },
        ];
        let dma_buf = Aware::export(offers, &log)?;
        let attachment = Attachment::new(&dma_buf, dev.device(), Peer::new(&log))?;

        check!(attachment.interconnect().is_none());
        {
            let mut guard = dma_buf.resv().lock();

            check_eq!(
                attachment.map(&mut guard, ToDevice)?.iter().count() > 0,
                true
            );
            // The core counts it all the same.
            check_eq!(Aware::of(&dma_buf)?.state.mappings(), 1);
            let info = dma_buf.attachments(&guard)?.next().ok_or(ENOENT)?;
            check!(info.interconnect().is_none());
        }
        drop(attachment);
        check_eq!(Aware::of(&dma_buf)?.state.mappings(), 0);
        check_eq!(*log.take(), [Attach(0), MapSgt, UnmapSgt]);
        Ok(())
    }

    #[test]
    fn failing() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_failing")?;
        let link = Aware::export([Offer::Link(Port::new(1, &log))], &log)?;
        let sgt = Aware::export([Offer::Sgt { peer2peer: false }], &log)?;

        log.refuse_map.store(true, Relaxed);
        for dma_buf in [&link, &sgt] {
            let attachment = Peer::attach_to(dma_buf, dev.device(), &log, 1)?;
            let mut guard = dma_buf.resv().lock();
            let err = match attachment.negotiated::<Sgt>() {
                Some(()) => attachment.map(&mut guard, ToDevice).err(),
                None => attachment
                    .map_as::<Private<Link>>(&mut guard, ToDevice)
                    .err(),
            };

            check_eq!(err, Some(ENOMEM));
            check!(!attachment.is_mapped(&guard)?);
            check_eq!(Aware::of(dma_buf)?.state.mappings(), 0);
            let info = dma_buf.attachments(&guard)?.next().ok_or(ENOENT)?;
            check_eq!(info.interconnect().map(|(_, mappings)| mappings), Some(0));
        }
        Ok(())
    }

    #[test]
    fn each_attachment_counts() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_counts")?;
        let dma_buf = Aware::export([Offer::Link(Port::new(1, &log))], &log)?;
        let first = Peer::attach_to(&dma_buf, dev.device(), &log, 1)?;
        let second = Peer::attach_to(&dma_buf, dev.device(), &log, 1)?;
        let fields = ["type=test-link", "mappings=1", "fabric=1", "size=12288"];
        {
            let mut guard = dma_buf.resv().lock();

            first.map_as::<Private<Link>>(&mut guard, ToDevice)?;
            check_eq!(Aware::of(&dma_buf)?.state.mappings(), 1);
            second.map_as::<Private<Link>>(&mut guard, FromDevice)?;
            check_eq!(Aware::of(&dma_buf)?.state.mappings(), 2);
        }
        check_eq!(debugfs_lines(&fields)?, 2);
        first.unmap(&mut dma_buf.resv().lock())?;
        check_eq!(debugfs_lines(&fields)?, 1);
        check_eq!(Aware::of(&dma_buf)?.state.mappings(), 1);
        drop(second);
        check_eq!(Aware::of(&dma_buf)?.state.mappings(), 0);
        Ok(())
    }
}
