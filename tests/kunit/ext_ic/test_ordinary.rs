// SPDX-License-Identifier: GPL-2.0

//! The kernel's own exporters, which know nothing of interconnects.

use kernel::prelude::*;

#[kunit_tests(ext_ic_ordinary)]
mod tests {
    use crate::{
        c,
        exporter::Log,
        importer::*,
        support::*, //
    };
    use kernel::{
        dma::DataDirection::ToDevice,
        page::PAGE_SIZE,
        prelude::*, //
    };
    use kernel_ext::dma_buf::interconnect::Sgt;

    fn import(foreign: Foreign, exporter: &CStr) -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_foreign")?;
        let dma_buf = foreign.export()?;

        check!(dma_buf.exporter_name() == exporter);

        // In Rust.
        let attachment = Peer::attach_to(&dma_buf, dev.device(), &log, 1)?;
        check!(attachment.negotiated::<Sgt>().is_some());
        {
            let mut guard = dma_buf.resv().lock();
            let len: u64 = attachment
                .map(&mut guard, ToDevice)?
                .iter()
                .map(|entry| entry.dma_len())
                .sum();

            check_eq!(len, PAGE_SIZE as u64);
        }
        check_eq!(debugfs_lines(&["type=sgt", "mappings=1"])?, 1);
        drop(attachment);

        // In C.
        let importer = c::Importer::attach(&dma_buf, &dev, c::Kind::OwnAndSgt, 1, true)?;
        check_eq!(importer.map()?, PAGE_SIZE as u64);
        check_eq!(debugfs_lines(&["type=sgt", "mappings=1"])?, 1);
        Ok(())
    }

    #[test]
    fn udmabuf() -> Result {
        import(Foreign::Udmabuf, c"udmabuf")
    }

    #[test]
    fn system_heap() -> Result {
        import(Foreign::SystemHeap, c"system")
    }

    #[test]
    fn vgem() -> Result {
        match import(Foreign::Vgem, c"drm") {
            Err(err) if err == ENOENT => skip(c"there is no vgem"),
            result => result,
        }
    }
}
