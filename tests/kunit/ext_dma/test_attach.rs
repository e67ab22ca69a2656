// SPDX-License-Identifier: GPL-2.0

//! Attaching and detaching.

use kernel::prelude::*;

#[kunit_tests(ext_dma_attach)]
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
        dma::DataDirection::{
            Bidirectional,
            FromDevice,
            ToDevice, //
        },
        prelude::*,
        sync::{
            aref::ARef,
            atomic::Relaxed, //
        },
    };
    use kernel_ext::dma_buf::*;

    #[test]
    fn order() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_order")?;
        let dma_buf = Shared::export(3, &log)?;
        let attachment = Attachment::new(&dma_buf, dev.device(), Revocable::new(&log, true))?;

        check_eq!(*log.take(), [Attach]);
        {
            let mut guard = dma_buf.resv().lock();

            attachment.map(&mut guard, ToDevice)?;
            attachment.unmap(&mut guard)?;
            // There is no mapping any more.
            attachment.unmap(&mut guard)?;
        }
        check_eq!(*log.take(), [Map(ToDevice), Unmap(ToDevice)]);
        drop(attachment);
        check_eq!(*log.take(), [Detach, DataDropped]);
        drop(dma_buf);
        flush_files();
        check_eq!(*log.take(), [Release]);
        Ok(())
    }

    #[test]
    fn refused() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_refused")?;
        let dma_buf = Shared::export(1, &log)?;
        let references = module_references();

        log.refuse_attach.store(true, Relaxed);
        check!(matches!(
            Attachment::new(&dma_buf, dev.device(), Plain),
            Err(err) if err == EOPNOTSUPP
        ));
        // Not detached, and nothing left behind.
        check_eq!(*log.take(), [Attach]);
        check_eq!(module_references(), references);
        check_eq!(dma_buf.attachments(&dma_buf.resv().lock())?.count(), 0);
        Ok(())
    }

    #[test]
    fn attachment_keeps_buffer() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_keeps")?;
        let dma_buf = Shared::export(1, &log)?;
        let attachment = Attachment::new(&dma_buf, dev.device(), Plain)?;

        drop(dma_buf);
        flush_files();
        check_eq!(*log.take(), [Attach]);
        attachment.map(&mut attachment.dma_buf().resv().lock(), Bidirectional)?;
        check_eq!(*log.take(), [Map(Bidirectional)]);
        // Dropping undoes the mapping, then detaches, then lets go of the buffer.
        drop(attachment);
        flush_files();
        check_eq!(
            *log.take(),
            [Unmap(Bidirectional), Detach, DataDropped, Release]
        );
        Ok(())
    }

    #[test]
    fn unbinding_detaches() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_unbind")?;
        let dma_buf = Movable::export(2, &log)?;
        let attachment = Attachment::new(&dma_buf, dev.device(), Revocable::new(&log, true))?;

        {
            let mut guard = dma_buf.resv().lock();

            attachment.pin(&mut guard)?;
            attachment.pin(&mut guard)?;
            attachment.map(&mut guard, FromDevice)?;
        }
        log.take();
        drop(dev);
        check_eq!(*log.take(), [Unmap(FromDevice), Unpin, Unpin, DataDropped]);
        {
            let mut guard = dma_buf.resv().lock();

            check_eq!(dma_buf.attachments(&guard)?.count(), 0);
            check!(matches!(attachment.map(&mut guard, FromDevice), Err(err) if err == ENODEV));
            check_eq!(attachment.pin(&mut guard), Err(ENODEV));
            check_eq!(attachment.unpin(&mut guard), Err(EINVAL));
            check!(attachment.mapping(&guard)?.is_none());
        }
        drop(attachment);
        check_eq!(*log.take(), []);
        Ok(())
    }

    #[test]
    fn attachment_holds_module() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_module")?;
        let before = module_references();
        let dma_buf = Shared::export(1, &log)?;

        check_eq!(module_references(), before + 1);
        let attachment = Attachment::new(&dma_buf, dev.device(), Plain)?;
        check_eq!(module_references(), before + 2);
        drop(attachment);
        check_eq!(module_references(), before + 1);
        drop(dma_buf);
        flush_files();
        check_eq!(module_references(), before);
        Ok(())
    }

    #[test]
    fn exporter_sees_importers() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_dma_seen")?;
        let dma_buf = Shared::export(1, &log)?;
        let revocable = Attachment::new(&dma_buf, dev.device(), Revocable::new(&log, true))?;
        let plain = Attachment::new(&dma_buf, dev.device(), Plain)?;
        let guard = dma_buf.resv().lock();
        let mut both = dma_buf.attachments(&guard)?.of::<Shared>();

        // The latest comes first.
        let info = both.next().ok_or(ENOENT)?;
        check!(info.is_dynamic() && !info.is_revocable() && !info.allows_peer2peer());
        check_eq!(info.data().number, 42);
        check!(core::ptr::eq(info.device(), plain.device()));
        check!(info.driver_name() == c"faux_driver");
        let info = both.next().ok_or(ENOENT)?;
        check!(info.is_dynamic() && info.is_revocable() && info.allows_peer2peer());
        check!(core::ptr::eq(info.dma_buf(), revocable.dma_buf()));
        check!(core::ptr::eq(
            info.exporter(),
            dma_buf.exported_by::<Shared>().ok_or(ENOENT)?
        ));
        check!(both.next().is_none());
        check_eq!(dma_buf.attachments(&guard)?.of::<Movable>().count(), 0);
        drop(both);
        drop(guard);
        Ok(())
    }

    #[test]
    fn identity() -> Result {
        let log = Log::new()?;
        let shared = Shared::export(1, &log)?;
        let movable: ARef<DmaBuf> = Movable::export(1, &log)?;

        check!(shared.exported_by::<Shared>().is_some());
        check!(shared.exported_by::<Movable>().is_none());
        check!(movable.exported_by::<Movable>().is_some());
        check!(movable.exported_by::<Shared>().is_none());
        Ok(())
    }
}
