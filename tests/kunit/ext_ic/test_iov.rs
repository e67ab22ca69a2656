// SPDX-License-Identifier: GPL-2.0

//! Memory of VFs, for their PF.

use kernel::prelude::*;

#[kunit_tests(ext_ic_iov)]
mod tests {
    use crate::{
        exporter::{
            Aware,
            Log,
            Offer, //
        },
        importer::Peer,
        link::OtherLink,
        support::*,
        vfs::*, //
    };
    use kernel::{
        dma::DataDirection::ToDevice,
        page::PAGE_SIZE,
        prelude::*,
        sync::Arc, //
    };
    use kernel_ext::{
        dma_buf::{
            interconnect::*,
            Attachment,
            DmaBuf, //
        },
        pci::DeviceExt, //
    };

    const PAGE: u64 = PAGE_SIZE as u64;

    fn attach(functions: &Functions, dma_buf: &DmaBuf, log: &Arc<Log>) -> Result<Attachment<Peer>> {
        Peer::attach(
            dma_buf,
            bound(functions.pf()),
            log,
            &[&IovImporter::new(APERTURE_BAR), &SgtImporter::new()],
        )
    }

    const NO_VFS: &CStr = c"there is no accelerator for this";

    #[test]
    fn each_vf() -> Result {
        let Some(functions) = Functions::enable()? else {
            return skip(NO_VFS);
        };
        let log = Log::new()?;
        let ranges = [
            IovRange::new(APERTURE_BAR, 3 * PAGE, PAGE),
            IovRange::new(APERTURE_BAR, 0, 2 * PAGE),
        ];

        for number in 1..=VFS {
            let vf = functions.vf(number)?;
            let dma_buf = Memory::export(vf, APERTURE_BAR, &ranges, 3)?;
            let attachment = attach(&functions, &dma_buf, &log)?;
            let matched = attachment.negotiated::<Iov>().ok_or(ENOENT)?;
            let mut guard = dma_buf.resv().lock();

            check_eq!(matched.vf_number() as usize, number);
            check_eq!(matched.bar(), APERTURE_BAR);
            check_eq!(matched.vf().as_raw_ptr(), vf.as_raw_ptr());
            check_eq!(matched.pf().as_raw_ptr(), functions.pf().as_raw_ptr());
            let mapping = attachment.map_as::<Iov>(&mut guard, ToDevice)?;
            check_eq!(*mapping.ranges(), ranges);
            check_eq!(mapping.check(matched, 4 * PAGE, 3 * PAGE), Ok(()));
            check_eq!(mapping.check(matched, 4 * PAGE - 1, 3 * PAGE), Err(ERANGE));
            check_eq!(mapping.check(matched, 4 * PAGE, 4 * PAGE), Err(EINVAL));
            drop(guard);
            let number = kernel::str::CString::try_from_fmt(fmt!("vf={number}"))?;
            check_eq!(
                debugfs_lines(&[
                    "type=iov",
                    number.to_str().map_err(|_| EINVAL)?,
                    "bar=2",
                    "mappings=1"
                ])?,
                1
            );
        }
        Ok(())
    }

    #[test]
    fn hostile_ranges() -> Result {
        let Some(functions) = Functions::enable()? else {
            return skip(NO_VFS);
        };
        let log = Log::new()?;
        let range = |offset, len| IovRange::new(APERTURE_BAR, offset, len);

        for (ranges, expected) in [
            // Beyond the limit of 16 pages, by a page, by a byte, and by far.
            ([range(0, PAGE), range(16 * PAGE, PAGE)], Err(ERANGE)),
            ([range(0, PAGE), range(15 * PAGE + 1, PAGE)], Err(ERANGE)),
            ([range(0, PAGE), range(1 << 62, PAGE)], Err(ERANGE)),
            // Around the end of the address space.
            (
                [range(0, PAGE), range(u64::MAX - PAGE + 1, PAGE)],
                Err(ERANGE),
            ),
            ([range(0, PAGE), range(u64::MAX, PAGE)], Err(ERANGE)),
            ([range(PAGE, u64::MAX), range(0, PAGE)], Err(ERANGE)),
            // Of another BAR; empty; too little; too much.
            ([range(0, PAGE), IovRange::new(0, 0, PAGE)], Err(EINVAL)),
            ([range(0, 2 * PAGE), range(0, 0)], Err(EINVAL)),
            ([range(0, PAGE), range(PAGE, PAGE - 1)], Err(EINVAL)),
            ([range(0, PAGE), range(PAGE, 2 * PAGE)], Err(EINVAL)),
            ([range(14 * PAGE, PAGE), range(15 * PAGE, PAGE)], Ok(())),
        ] {
            let dma_buf = Memory::export(functions.vf(1)?, APERTURE_BAR, &ranges, 2)?;
            let attachment = attach(&functions, &dma_buf, &log)?;
            let matched = attachment.negotiated::<Iov>().ok_or(ENOENT)?;
            let mut guard = dma_buf.resv().lock();
            let mapping = attachment.map_as::<Iov>(&mut guard, ToDevice)?;

            check_eq!(mapping.check(matched, 16 * PAGE, 2 * PAGE), expected);
        }
        Ok(())
    }

    #[test]
    fn only_vf_to_pf() -> Result {
        let Some(functions) = Functions::enable()? else {
            return skip(NO_VFS);
        };
        let log = Log::new()?;
        let dev = TestDevice::new(c"ext_ic_no_pci")?;
        let ranges = [IovRange::new(APERTURE_BAR, 0, PAGE)];
        let (pf, vf) = (functions.pf(), functions.vf(1)?);
        let iov = IovImporter::new(APERTURE_BAR);
        let other_bar = IovImporter::new(0);

        let of_vf = Memory::export(vf, APERTURE_BAR, &ranges, 1)?;
        let of_pf = Memory::export(pf, APERTURE_BAR, &ranges, 1)?;
        check!(Peer::attach(&of_vf, bound(pf), &log, &[&iov]).is_ok());
        for result in [
            // The PF itself, though it is "its own PF".
            Peer::attach(&of_pf, bound(pf), &log, &[&iov]),
            // A VF, its own or another's; a device that is not of PCI.
            Peer::attach(&of_vf, bound(vf), &log, &[&iov]),
            Peer::attach(&of_vf, bound(functions.vf(2)?), &log, &[&iov]),
            Peer::attach(&of_pf, bound(vf), &log, &[&iov]),
            Peer::attach(&of_vf, dev.device(), &log, &[&iov]),
            // Of two BARs.
            Peer::attach(&of_vf, bound(pf), &log, &[&other_bar]),
        ] {
            check_eq!(result.err(), Some(no_match()));
        }
        Ok(())
    }

    /// Both sides can use all three: the exporter's order decides, as far as there is a match.
    #[test]
    fn three_choices() -> Result {
        let Some(functions) = Functions::enable()? else {
            return skip(NO_VFS);
        };
        let log = Log::new()?;
        let (pf, vf) = (bound(functions.pf()), functions.vf(3)?);
        let iov = IovImporter::new(APERTURE_BAR);
        let other_bar = IovImporter::new(0);
        let link = PrivateImporter::<OtherLink>::new(&1);
        let sgt = SgtImporter::new();
        let dma_buf = Aware::export(
            [
                Offer::Iov(vf.clone(), APERTURE_BAR),
                Offer::OtherLink,
                Offer::Sgt { peer2peer: false },
            ],
            &log,
        )?;
        let chosen = |sides: &[&dyn ImporterSide]| -> Result<(bool, bool, bool)> {
            let attachment = Peer::attach(&dma_buf, pf, &log, sides)?;

            Ok((
                attachment.negotiated::<Iov>().is_some(),
                attachment.negotiated::<Private<OtherLink>>().is_some(),
                attachment.negotiated::<Sgt>().is_some(),
            ))
        };

        check_eq!(chosen(&[&sgt, &link, &iov])?, (true, false, false));
        check_eq!(chosen(&[&iov, &link, &sgt])?, (true, false, false));
        // Before the scatterlist and after IOV.
        check_eq!(chosen(&[&sgt, &link, &other_bar])?, (false, true, false));
        check_eq!(chosen(&[&sgt, &link])?, (false, true, false));
        check_eq!(chosen(&[&other_bar, &sgt])?, (false, false, true));

        let attachment = Peer::attach(&dma_buf, pf, &log, &[&sgt, &link, &iov])?;
        let mut guard = dma_buf.resv().lock();
        let mapping = attachment.map_as::<Iov>(&mut guard, ToDevice)?;
        check_eq!(
            *mapping.ranges(),
            [IovRange::new(APERTURE_BAR, 0, 3 * PAGE)]
        );
        Ok(())
    }

    /// The match keeps both functions, though the VF has gone.
    #[test]
    fn vf_goes() -> Result {
        let Some(functions) = Functions::enable()? else {
            return skip(NO_VFS);
        };
        let log = Log::new()?;
        let ranges = [IovRange::new(APERTURE_BAR, 0, PAGE)];
        let dma_buf = Memory::export(functions.vf(2)?, APERTURE_BAR, &ranges, 1)?;
        let attachment = attach(&functions, &dma_buf, &log)?;

        drop(functions);
        let matched = attachment.negotiated::<Iov>().ok_or(ENOENT)?;
        check_eq!(matched.vf_number(), 2);
        check!(matched.vf().is_virtfn());
        Ok(())
    }
}
