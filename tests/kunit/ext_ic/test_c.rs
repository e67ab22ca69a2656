// SPDX-License-Identifier: GPL-2.0

//! The exporter and the importer in C, with each other and with those in Rust.

use kernel::prelude::*;

#[kunit_tests(ext_ic_c)]
mod tests {
    use crate::{
        c::*,
        exporter::{
            Aware,
            Log,
            Offer, //
        },
        importer::Peer,
        link::Port,
        support::*, //
    };
    use kernel::{
        dma::DataDirection::ToDevice,
        page::PAGE_SIZE,
        prelude::*, //
    };
    use kernel_ext::dma_buf::{
        interconnect::{
            no_match,
            Sgt, //
        },
        Attachment, //
    };

    const PAGE: u64 = PAGE_SIZE as u64;

    #[test]
    fn own_type() -> Result {
        let dev = TestDevice::new(c"ext_ic_own")?;
        let dma_buf = export(Info::new(5, 3))?;
        let importer = Importer::attach(&dma_buf, &dev, Kind::OwnOnly, 5, true)?;

        // 3 windows, at 0, 1 and 2 pages.
        check_eq!(importer.map()?, 5 + 3 * PAGE);
        check_eq!(visit(&dma_buf), 1);
        check_eq!(
            debugfs_lines(&[
                "importer=ic-test-importer",
                "exporter=ic_test_exporter",
                "type=ic-test",
                "mappings=1",
                "size=4096"
            ])?,
            1
        );
        importer.unmap();
        check_eq!(visit(&dma_buf), 0);
        Ok(())
    }

    #[test]
    fn many_windows() -> Result {
        let dev = TestDevice::new(c"ext_ic_many")?;
        let dma_buf = export(Info::new(1, 4096))?;
        let importer = Importer::attach(&dma_buf, &dev, Kind::OwnAndSgt, 1, true)?;

        check_eq!(importer.map()?, 1 + 4095 * 4096 / 2 * PAGE);
        Ok(())
    }

    #[test]
    fn kinds() -> Result {
        let dev = TestDevice::new(c"ext_ic_kinds")?;
        let dma_buf = export(Info::new(5, 1))?;

        for (kind, node, sum) in [
            (Kind::OwnAndSgt, 5, 5),
            // Another node: the scatterlist is left.
            (Kind::OwnAndSgt, 6, PAGE),
            (Kind::SgtOnly, 5, PAGE),
            (Kind::Plain, 5, PAGE),
        ] {
            let importer = Importer::attach(&dma_buf, &dev, kind, node, true)?;

            check_eq!(importer.map()?, sum);
        }
        check_eq!(
            Importer::attach(&dma_buf, &dev, Kind::OwnOnly, 6, true).err(),
            Some(no_match())
        );
        Ok(())
    }

    #[test]
    fn errors() -> Result {
        let dev = TestDevice::new(c"ext_ic_c_errors")?;
        let before = References::now();
        let mut info = Info::new(1, 1);

        info.match_error = EPERM.to_errno();
        let dma_buf = export(info)?;
        check_eq!(
            Importer::attach(&dma_buf, &dev, Kind::OwnAndSgt, 1, true).err(),
            Some(EPERM)
        );
        drop(dma_buf);
        info.match_error = EOPNOTSUPP.to_errno();
        let dma_buf = export(info)?;
        check_eq!(
            Importer::attach(&dma_buf, &dev, Kind::OwnAndSgt, 1, true)?.map()?,
            PAGE
        );
        drop(dma_buf);
        info.match_error = 0;
        info.map_error = ENOMEM.to_errno();
        let dma_buf = export(info)?;
        let importer = Importer::attach(&dma_buf, &dev, Kind::OwnAndSgt, 1, true)?;
        check_eq!(importer.map(), Err(ENOMEM));
        check_eq!(visit(&dma_buf), 0);
        drop((importer, dma_buf));
        check_eq!(References::now(), before);
        Ok(())
    }

    #[test]
    fn revoked() -> Result {
        let dev = TestDevice::new(c"ext_ic_c_revoked")?;
        let dma_buf = export(Info::new(1, 1))?;
        let good = Importer::attach(&dma_buf, &dev, Kind::OwnOnly, 1, true)?;
        let bad = Importer::attach(&dma_buf, &dev, Kind::OwnOnly, 1, false)?;
        let fixed = Importer::attach(&dma_buf, &dev, Kind::Plain, 1, false)?;

        for importer in [&good, &bad, &fixed] {
            importer.map()?;
        }
        // In bounded time, and told who has it.
        check_eq!(
            revoke(&dma_buf, SHORT),
            Err(Left {
                mappings: 2,
                negotiated: 1,
                fences: false
            })
        );
        check_eq!(good.map(), Err(ENODEV));
        bad.unmap();
        fixed.unmap();
        check_eq!(fixed.map(), Err(ENODEV));
        check_eq!(revoke(&dma_buf, 0), Ok(()));
        restore(&dma_buf);
        good.map()?;
        fixed.map()?;
        Ok(())
    }

    #[test]
    fn arguments() -> Result {
        let dev = TestDevice::new(c"ext_ic_arguments")?;

        // 0, or the line of `arguments_test.c` that was wrong.
        check_eq!(wrong_arguments(&dev), 0);
        check_eq!(debugfs_lines(&["importer=arguments"])?, 0);
        Ok(())
    }

    /// While somebody is attached no module can be unloaded.
    #[test]
    fn modules() -> Result {
        let dev = TestDevice::new(c"ext_ic_c_modules")?;
        let before = References::now();
        let dma_buf = export(Info::new(1, 1))?;

        check_eq!(References::now(), before.and(1, 0, 0));
        let attached = Importer::attach(&dma_buf, &dev, Kind::OwnAndSgt, 1, true)?;
        check_eq!(References::now(), before.and(2, 1, 1));
        drop(attached);
        check_eq!(References::now(), before.and(1, 0, 0));
        // With a scatterlist the type is not ours.
        let attached = Importer::attach(&dma_buf, &dev, Kind::OwnAndSgt, 2, true)?;
        check_eq!(References::now(), before.and(2, 1, 0));
        drop((attached, dma_buf));
        check_eq!(References::now(), before);
        Ok(())
    }

    const NEGOTIATED: [&str; 2] = ["exporter=ic_test_exporter", "type=ic-test"];

    /// What was negotiated outlives the registrations; what comes after them is a scatterlist, or
    /// nothing.
    #[test]
    fn unregistered() -> Result {
        let dev = TestDevice::new(c"ext_ic_unregistered")?;
        let dma_buf = export(Info::new(5, 2))?;
        let old = Importer::attach(&dma_buf, &dev, Kind::OwnAndSgt, 5, true)?;

        old.map()?;
        let exporter = Unregistered::exporter();
        let new = Importer::attach(&dma_buf, &dev, Kind::OwnAndSgt, 5, true)?;
        check_eq!(new.map()?, PAGE);
        check_eq!(
            Importer::attach(&dma_buf, &dev, Kind::OwnOnly, 5, true).err(),
            Some(no_match())
        );
        let importer = Unregistered::importer();
        check_eq!(
            Importer::attach(&dma_buf, &dev, Kind::OwnAndSgt, 5, true).err(),
            Some(EINVAL)
        );

        check_eq!(debugfs_lines(&NEGOTIATED)?, 1);
        old.unmap();
        check_eq!(old.map()?, 5 + PAGE);
        check_eq!(visit(&dma_buf), 2);
        // Both are told of a revoke.
        check_eq!(revoke(&dma_buf, LONG), Ok(()));
        check_eq!(visit(&dma_buf), 0);
        restore(&dma_buf);
        old.map()?;

        importer.again()?;
        exporter.again()?;
        let again = Importer::attach(&dma_buf, &dev, Kind::OwnAndSgt, 5, true)?;
        check_eq!(again.map()?, 5 + PAGE);
        check_eq!(debugfs_lines(&NEGOTIATED)?, 2);
        drop((old, new, again));
        check_eq!(debugfs_lines(&["exporter=ic_test_exporter"])?, 0);
        Ok(())
    }

    #[test]
    fn with_rust() -> Result {
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_mixed")?;

        // C exports, Rust imports.
        let dma_buf = export(Info::new(1, 1))?;
        let negotiated = Peer::attach_to(&dma_buf, dev.device(), &log, 1)?;
        let plain = Attachment::new(&dma_buf, dev.device(), Peer::new(&log))?;
        check!(negotiated.negotiated::<Sgt>().is_some());
        {
            let mut guard = dma_buf.resv().lock();

            for attachment in [&negotiated, &plain] {
                check_eq!(attachment.map(&mut guard, ToDevice)?.iter().count(), 1);
            }
        }
        check_eq!(visit(&dma_buf), 1);

        // Rust exports, C imports.
        let offers = [
            Offer::Link(Port::new(1, &log)),
            Offer::Sgt { peer2peer: false },
        ];
        let dma_buf = Aware::export(offers, &log)?;
        for kind in [Kind::OwnAndSgt, Kind::SgtOnly, Kind::Plain] {
            let importer = Importer::attach(&dma_buf, &dev, kind, 1, true)?;

            check_eq!(importer.map()?, 3 * PAGE);
            check_eq!(Aware::of(&dma_buf)?.state.mappings(), 1);
        }
        check_eq!(
            Importer::attach(&dma_buf, &dev, Kind::OwnOnly, 1, true).err(),
            Some(no_match())
        );
        Ok(())
    }
}
