// SPDX-License-Identifier: GPL-2.0

//! Who agrees with whom on what.

use kernel::prelude::*;

#[kunit_tests(ext_ic_match)]
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
        dma::DataDirection::ToDevice,
        prelude::*,
        sync::atomic::Relaxed, //
    };
    use kernel_ext::dma_buf::{
        interconnect::*,
        Attachment,
        AttachmentInfo, //
    };

    fn sgt() -> Offer {
        Offer::Sgt { peer2peer: false }
    }

    #[test]
    fn private_type() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_private")?;
        let dma_buf = Aware::export([Offer::Link(Port::new(7, &log))], &log)?;
        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 7)?;

        check!(attachment.interconnect() == Some(c"test-link"));
        check_eq!(
            attachment
                .negotiated::<Private<Link>>()
                .map(|route| route.fabric),
            Some(7)
        );
        check!(attachment.negotiated::<Sgt>().is_none());
        check!(attachment.negotiated::<Iov>().is_none());
        // The exporter has learnt of it in its attach.
        check_eq!(*log.take(), [Match, Attach(7)]);
        drop(attachment);
        check_eq!(*log.take(), [RouteDropped]);
        Ok(())
    }

    #[test]
    fn scatterlist() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_scatterlist")?;
        let dma_buf = Aware::export([sgt()], &log)?;
        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 7)?;

        check!(attachment.interconnect() == Some(c"sgt"));
        check!(attachment.negotiated::<Sgt>().is_some());
        check_eq!(*log.take(), [Attach(0)]);
        Ok(())
    }

    #[test]
    fn exporter_prefers() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_prefers")?;
        let link_first = Aware::export([Offer::Link(Port::new(1, &log)), sgt()], &log)?;
        let sgt_first = Aware::export([sgt(), Offer::Link(Port::new(1, &log))], &log)?;
        let port = Port::new(1, &log);
        let (a, b) = (SgtImporter::new(), PrivateImporter::<Link>::new(&port));

        // The importer's order does not matter.
        for sides in [[&a as &dyn ImporterSide, &b], [&b, &a]] {
            let attachment = Peer::attach(&link_first, dev.device(), &log, &sides)?;
            check!(attachment.interconnect() == Some(c"test-link"));
            let attachment = Peer::attach(&sgt_first, dev.device(), &log, &sides)?;
            check!(attachment.interconnect() == Some(c"sgt"));
        }
        Ok(())
    }

    #[test]
    fn next_pair() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_next")?;
        let offers = [
            Offer::Link(Port::new(1, &log)),
            Offer::Link(Port::new(2, &log)),
            sgt(),
        ];
        let dma_buf = Aware::export(offers, &log)?;

        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 2)?;
        check_eq!(*log.take(), [Match, Match, Attach(2)]);
        drop(attachment);
        log.take();
        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 3)?;
        check_eq!(*log.take(), [Match, Match, Attach(0)]);
        check!(attachment.interconnect() == Some(c"sgt"));
        Ok(())
    }

    #[test]
    fn identity_is_the_address() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_identity")?;
        // Of the same name, with a match that always agrees.
        let dma_buf = Aware::export([Offer::OtherLink], &log)?;

        check!(matches!(
            Peer::attach_to(&dma_buf, dev.device(), &log, 1),
            Err(err) if err == no_match()
        ));
        Ok(())
    }

    #[test]
    fn errors_stop() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_errors")?;
        let references = module_references();

        for (answer, finish) in [(Err(EPERM), Ok(())), (Ok(()), Err(ENOMEM))] {
            let mut port = Port::new(1, &log);
            port.answer = answer;
            port.finish = finish;
            let dma_buf = Aware::export([Offer::Link(port), sgt()], &log)?;
            let expected = answer.and(finish).err();

            check_eq!(
                Peer::attach_to(&dma_buf, dev.device(), &log, 1).err(),
                expected
            );
            // The scatterlist was not tried, nor the exporter asked.
            check_eq!(*log.take(), [Match]);
        }
        check_eq!(module_references(), references);
        check_eq!(debugfs_lines(&["exporter=ext_ic_aware"])?, 0);
        Ok(())
    }

    #[test]
    fn exporter_refuses() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_refuses")?;
        let dma_buf = Aware::export([Offer::Link(Port::new(1, &log))], &log)?;
        let references = module_references();

        log.refuse_attach.store(true, Relaxed);
        check_eq!(
            Peer::attach_to(&dma_buf, dev.device(), &log, 1).err(),
            Some(ENODEV)
        );
        // What was negotiated has gone with it.
        check_eq!(*log.take(), [Match, Attach(1), RouteDropped]);
        check_eq!(module_references(), references);
        check_eq!(debugfs_lines(&["exporter=ext_ic_aware"])?, 0);
        Ok(())
    }

    #[test]
    fn nothing_in_common() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_nothing")?;
        let port = Port::new(1, &log);
        let link = PrivateImporter::<Link>::new(&port);
        let expected = Some(Error::from_errno(-93));

        check_eq!(Some(no_match()), expected);
        for dma_buf in [
            Aware::export([sgt()], &log)?,
            Aware::export([Offer::Link(Port::new(2, &log))], &log)?,
            Aware::export([], &log)?,
            // It has only a scatterlist.
            Ordinary::export(&log)?,
        ] {
            check_eq!(
                Peer::attach(&dma_buf, dev.device(), &log, &[&link]).err(),
                expected
            );
            check_eq!(
                Peer::attach(&dma_buf, dev.device(), &log, &[]).err(),
                expected
            );
        }
        // No exporter was asked to attach.
        check!(log.take().iter().all(|event| *event == Match));
        Ok(())
    }

    #[test]
    fn not_without_letting_go() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_rigid")?;
        let dma_buf = Aware::export([Offer::Link(Port::new(1, &log)), sgt()], &log)?;
        let port = Port::new(1, &log);
        let link = PrivateImporter::<Link>::new(&port);
        let sgt = SgtImporter::new();

        // The type was not even asked.
        let attachment = Attachment::negotiate(&dma_buf, dev.device(), Rigid, &[&link, &sgt])?;
        check!(attachment.interconnect() == Some(c"sgt"));
        check_eq!(*log.take(), [Attach(0)]);
        // The exporter recognises it, and nobody else who cannot let go either.
        let plain = Attachment::new(&dma_buf, dev.device(), Rigid)?;
        {
            let guard = dma_buf.resv().lock();
            let mut attachments = dma_buf.attachments(&guard)?;

            // The youngest first.
            check!(attachments.next().map(AttachmentInfo::interconnect) == Some(None));
            check!(attachments.next().map(AttachmentInfo::interconnect) == Some(Some((c"sgt", 0))));
        }
        drop(plain);
        check_eq!(
            Attachment::negotiate(&dma_buf, dev.device(), Rigid, &[&link]).err(),
            Some(no_match())
        );
        Ok(())
    }

    #[test]
    fn peer_memory() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_peer_memory")?;
        let dma_buf = Aware::export([Offer::Sgt { peer2peer: true }], &log)?;

        // One importer can use memory without struct pages, the other cannot.
        let attachment =
            Attachment::negotiate(&dma_buf, dev.device(), Rigid, &[&SgtImporter::new()])?;
        check!(attachment.negotiated::<Sgt>().is_some());
        check_eq!(
            Peer::attach_to(&dma_buf, dev.device(), &log, 1).err(),
            Some(no_match())
        );
        Ok(())
    }

    #[test]
    fn registration() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_registration")?;
        let dma_buf = Aware::export([sgt()], &log)?;

        check!(matches!(AWARE.register(), Err(err) if err == EEXIST));
        check!(matches!(PEER.register(), Err(err) if err == EEXIST));
        check_eq!(
            Attachment::negotiate(&dma_buf, dev.device(), Unknown, &[&SgtImporter::new()]).err(),
            Some(EINVAL)
        );
        // Too many to name at once.
        let side = SgtImporter::new();
        let sides = [&side as &dyn ImporterSide; MAX_SIDES + 1];
        check_eq!(
            Peer::attach(&dma_buf, dev.device(), &log, &sides).err(),
            Some(EINVAL)
        );
        check!(Peer::attach(&dma_buf, dev.device(), &log, &sides[..MAX_SIDES]).is_ok());
        Ok(())
    }

    #[test]
    fn example() -> Result {
        use crate::example::{
            first_window,
            Export, //
        };
        use kernel_ext::dma_buf::{
            DmaBuf,
            ExportInfo, //
        };

        let dev = TestDevice::new(c"ext_ic_example")?;
        let dma_buf = DmaBuf::export(
            ExportInfo::new(kernel::page::PAGE_SIZE, kernel::bindings::O_RDWR),
            Export {
                fabric: 5,
                window: 0x1234,
            },
        )?;

        check_eq!(first_window(&dma_buf, dev.device(), 5)?, 0x1234);
        // The other fabric leaves the scatterlist, which is not what is mapped then.
        check_eq!(first_window(&dma_buf, dev.device(), 6), Err(EINVAL));
        Ok(())
    }

    #[test]
    fn direction_does_not_matter_to_match() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_direction")?;
        let dma_buf = Aware::export([Offer::Link(Port::new(1, &log))], &log)?;
        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 1)?;
        let mut guard = dma_buf.resv().lock();

        attachment.map_as::<Private<Link>>(&mut guard, ToDevice)?;
        check!(attachment.is_mapped(&guard)?);
        Ok(())
    }
}
