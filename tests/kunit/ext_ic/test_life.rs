// SPDX-License-Identifier: GPL-2.0

//! What keeps what, and what debugfs shows.

use kernel::prelude::*;

#[kunit_tests(ext_ic_life)]
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
    use kernel::prelude::*;
    use kernel_ext::dma_buf::Attachment;

    #[test]
    fn modules() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_modules")?;
        let before = module_references();
        let dma_buf = Aware::export([Offer::Link(Port::new(1, &log))], &log)?;

        check_eq!(module_references(), before + 1);
        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 1)?;
        // For the exporter, the importer, the type; and the importer's own structure.
        check_eq!(module_references(), before + 5);
        drop(attachment);
        check_eq!(module_references(), before + 1);
        drop(dma_buf);
        check_eq!(module_references(), before);
        Ok(())
    }

    #[test]
    fn attachment_keeps_buffer() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_keeps")?;
        let before = module_references();
        let dma_buf = Aware::export([Offer::Link(Port::new(1, &log))], &log)?;
        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 1)?;

        drop(dma_buf);
        check_eq!(module_references(), before + 5);
        check_eq!(attachment.dma_buf().size(), PAGES * kernel::page::PAGE_SIZE);
        drop(attachment);
        check_eq!(module_references(), before);
        Ok(())
    }

    #[test]
    fn unplugged() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_unplugged")?;
        let dma_buf = Aware::export([Offer::Link(Port::new(1, &log))], &log)?;
        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 1)?;

        log.take();
        drop(dev);
        // Detached; what was negotiated goes with the last reference.
        check_eq!(*log.take(), []);
        check_eq!(dma_buf.attachments(&dma_buf.resv().lock())?.count(), 0);
        drop(attachment);
        check_eq!(*log.take(), [RouteDropped]);
        Ok(())
    }

    #[test]
    fn debugfs() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_debugfs")?;
        let dma_buf = Aware::export([Offer::Link(Port::new(3, &log))], &log)?;
        let ordinary = Ordinary::export(&log)?;
        let first = Peer::attach_to(&dma_buf, dev.device(), &log, 3)?;
        let second = Peer::attach_to(&ordinary, dev.device(), &log, 3)?;
        let plain = Attachment::new(&dma_buf, dev.device(), Peer::new(&log))?;
        let text = read(c"/sys/kernel/debug/dma_buf_ic/attachments")?;
        let mut expected = KVec::new();

        for (dma_buf, exporter, ty, more) in [
            (&dma_buf, "ext_ic_aware", "test-link", " fabric=3"),
            (&ordinary, "ext_ic_ordinary", "sgt", ""),
        ] {
            let line = kernel::str::CString::try_from_fmt(fmt!(
                "exporter={exporter} importer=ext_ic_peer device=ext_ic_debugfs type={ty} \
                 ino={} size=12288 mappings=0{more}\n",
                dma_buf.inode_number()
            ))?;

            expected.extend_from_slice(line.to_bytes(), GFP_KERNEL)?;
        }
        // In the order in which they were made, and nothing of the importer that did not negotiate.
        check_eq!(core::str::from_utf8(&text), core::str::from_utf8(&expected));
        drop((first, second, plain));
        check_eq!(read(c"/sys/kernel/debug/dma_buf_ic/attachments")?.len(), 0);
        Ok(())
    }
}
