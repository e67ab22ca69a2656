// SPDX-License-Identifier: GPL-2.0

//! Peer-to-peer memory: providers, routes, and tables for memory of a BAR.
//!
//! On two of the accelerators, with a driver of any kind bound. Addresses are checked by what they
//! lead to: that of the bus below a common bridge, and what the IOMMU makes of them otherwise.

use kernel::prelude::*;

#[kunit_tests(ext_dma_p2p)]
mod tests {
    use crate::{
        importer::Plain,
        peers::*,
        support::*, //
    };
    use kernel::{
        dma::DataDirection::{
            Bidirectional,
            ToDevice, //
        },
        page::PAGE_SIZE,
        prelude::*, //
    };
    use kernel_ext::{
        dma_buf::*,
        p2pdma::*, //
    };

    const PAGE: u64 = PAGE_SIZE as u64;

    #[test]
    fn bars() -> Result {
        let Some(peers) = Peers::find()? else {
            return skip(c"needs two accelerators");
        };
        let provider = &peers.provider;

        check_eq!(provider.bar(), APERTURE_BAR);
        check!(provider.size() > 0);
        check!(provider.contains(provider.phys_start(), provider.size()));
        check!(!provider.contains(provider.phys_start(), provider.size() + 1));
        check!(!provider.contains(provider.phys_start() - 1, 2));
        check!(!provider.contains(provider.phys_start(), u64::MAX));
        check!(matches!(Provider::new(peers.device(0)?, 6), Err(err) if err == EINVAL));
        // The upper half of a 64-bit BAR is none.
        check!(matches!(
            Provider::new(peers.device(0)?, APERTURE_BAR + 1),
            Err(err) if err == EINVAL
        ));
        Ok(())
    }

    #[test]
    fn not_a_pci_device() -> Result {
        let Some(peers) = Peers::find()? else {
            return skip(c"needs two accelerators");
        };
        let dev = TestDevice::new(c"ext_dma_not_pci")?;

        check_eq!(peers.provider.map_type(dev.device()), MapType::NotSupported);
        check_eq!(peers.provider.refusal(dev.device()), Some(Refusal::NotPci));
        let dma_buf = peers.export(&[PhysRange {
            start: peers.provider.phys_start(),
            len: PAGE,
        }])?;
        let attachment = Attachment::new(&dma_buf, dev.device(), Plain)?;
        let mut guard = dma_buf.resv().lock();

        check!(matches!(attachment.map(&mut guard, ToDevice), Err(err) if err == EOPNOTSUPP));
        Ok(())
    }

    #[test]
    fn itself() -> Result {
        let Some(peers) = Peers::find()? else {
            return skip(c"needs two accelerators");
        };
        let dev = peers.device(0)?.as_ref();

        // Below no bridge at all, unless its own ACS settings say otherwise.
        check!(peers.provider.map_type(dev) != MapType::NotSupported);
        check!(peers.provider.refusal(dev).is_none());
        Ok(())
    }

    #[test]
    fn agrees_with_the_kernel() -> Result {
        let Some(peers) = Peers::find()? else {
            return skip(c"needs two accelerators");
        };
        let range = PhysRange {
            start: peers.provider.phys_start() + 5 * PAGE,
            len: 3 * PAGE,
        };

        for client in [0, 1] {
            let dev = peers.device(client)?.as_ref();
            let dma_buf = peers.export(&[range])?;
            let attachment = Attachment::new(&dma_buf, dev, Plain)?;
            let mut guard = dma_buf.resv().lock();
            let map_type = peers.provider.map_type(dev);
            let theirs = peers.kernel_maps_to(&dma_buf, &guard, range);
            let ours = attachment
                .map(&mut guard, Bidirectional)
                .map(|mapping| mapping.iter().next().map(|sg| sg.dma_address()));

            pr_info!("client {client}: {map_type:?}, {theirs:x?}, {ours:x?}\n");
            match map_type {
                MapType::NotSupported => {
                    check_eq!(theirs, Err(EINVAL));
                    check_eq!(ours, Err(EOPNOTSUPP));
                }
                MapType::BusAddr => {
                    check_eq!(theirs, Ok(peers.provider.bus_address(range.start)));
                    check_eq!(ours, Ok(Some(peers.provider.bus_address(range.start))));
                }
                MapType::ThruHostBridge => {
                    let (theirs, ours) = (theirs?, ours?.ok_or(ENOENT)?);

                    // Each has addresses of its own if there is an IOMMU; the kernel's are gone.
                    if peers.translates(client)? {
                        check!(theirs != range.start && ours != range.start);
                    } else {
                        check_eq!(theirs, range.start);
                    }
                    check_eq!(peers.resolve(client, ours)?, range.start);
                }
            }
        }
        Ok(())
    }

    /// Maps `ranges` for a client and checks each page, and the limits of the device.
    fn check_ranges(peers: &Peers, client: usize, ranges: &[PhysRange]) -> Result {
        let dev = peers.device(client)?.as_ref();
        let limits = segments::Limits::of(dev);
        let dma_buf = peers.export(ranges)?;
        let attachment = Attachment::new(&dma_buf, dev, Plain)?;
        let mut guard = dma_buf.resv().lock();
        let map_type = peers.provider.map_type(dev);
        let mapping = attachment.map(&mut guard, Bidirectional)?;
        let mut expected = ranges
            .iter()
            .flat_map(|range| (0..range.len / PAGE).map(|page| range.start + page * PAGE));

        for sg in mapping.iter() {
            let (addr, len) = (sg.dma_address(), sg.dma_len());

            check!(len > 0 && (addr | len) % PAGE == 0);
            check!(len <= u64::from(limits.max_len));
            check_eq!(addr & !limits.boundary, (addr + len - 1) & !limits.boundary);
            check!(addr + len - 1 <= limits.mask);
            for page in 0..len / PAGE {
                let phys = expected.next().ok_or(ERANGE)?;
                let addr = addr + page * PAGE;

                if map_type == MapType::BusAddr {
                    check_eq!(addr, peers.provider.bus_address(phys));
                } else {
                    check_eq!(peers.resolve(client, addr)?, phys);
                }
            }
        }
        check!(expected.next().is_none());
        Ok(())
    }

    #[test]
    fn many_ranges() -> Result {
        const COUNT: usize = 200;

        let Some(peers) = Peers::find()? else {
            return skip(c"needs two accelerators");
        };
        let start = peers.provider.phys_start();
        let mut ranges = KVec::new();

        // Backwards and with gaps, so that none can be merged; more than a page of entries holds.
        for i in (0..COUNT as u64).rev() {
            ranges.push(
                PhysRange {
                    start: start + 4 * i * PAGE,
                    len: (1 + i % 3) * PAGE,
                },
                GFP_KERNEL,
            )?;
        }
        for client in [0, 1] {
            if peers
                .provider
                .refusal(peers.device(client)?.as_ref())
                .is_none()
            {
                check_ranges(&peers, client, &ranges)?;
            }
        }
        Ok(())
    }

    #[test]
    fn limits_of_the_importer() -> Result {
        let Some(peers) = Peers::find()? else {
            return skip(c"needs two accelerators");
        };
        let start = peers.provider.phys_start();
        let ranges = [
            PhysRange {
                start,
                len: 8 << 20,
            },
            PhysRange {
                start: start + (16 << 20),
                len: 4 << 20,
            },
        ];

        for client in [0, 1] {
            if peers
                .provider
                .refusal(peers.device(client)?.as_ref())
                .is_some()
            {
                continue;
            }
            for max_len in [64 << 10, 3 * PAGE as u32, u32::MAX] {
                let _restore = peers.set_max_segment(client, max_len)?;

                check_ranges(&peers, client, &ranges)?;
            }
            for boundary in [(64 << 10) - 1, (1 << 20) - 1] {
                let _restore = peers.set_boundary(client, boundary)?;

                check_ranges(&peers, client, &ranges)?;
            }
        }
        Ok(())
    }

    /// What a device cannot emit is refused, without a warning of the DMA API; an IOMMU has other
    /// addresses for it.
    #[test]
    fn beyond_the_importer() -> Result {
        let Some(peers) = Peers::find()? else {
            return skip(c"needs two accelerators");
        };
        let range = PhysRange {
            start: peers.provider.phys_start(),
            len: 16 * PAGE,
        };
        let mask = if range.start > u64::from(u32::MAX) {
            u64::from(u32::MAX)
        } else {
            // The highest bit of the address is beyond it.
            u64::MAX
                .checked_shr(range.start.leading_zeros() + 1)
                .unwrap_or(0)
        };

        for client in [0, 1] {
            let dev = peers.device(client)?.as_ref();

            if peers.provider.refusal(dev).is_some() {
                continue;
            }

            let _restore = peers.set_mask(client, mask)?;
            let direct = peers.provider.map_type(dev) == MapType::BusAddr;

            pr_info!("client {client}: {:#x} beyond {mask:#x}\n", range.start);
            if !direct && peers.translates(client)? {
                check_ranges(&peers, client, &[range])?;
                continue;
            }

            let dma_buf = peers.export(&[range])?;
            let attachment = Attachment::new(&dma_buf, dev, Plain)?;
            let mut guard = dma_buf.resv().lock();

            check!(matches!(attachment.map(&mut guard, Bidirectional), Err(err) if err == ENXIO));
        }
        Ok(())
    }

    #[test]
    fn mapped_for_the_kernel() -> Result {
        let Some(peers) = Peers::find()? else {
            return skip(c"needs two accelerators");
        };
        let (start, size) = (peers.provider.phys_start(), peers.provider.size());
        let map = |ranges: &[(u64, u64)]| {
            let ranges = ranges.iter().map(|&(start, len)| PhysRange { start, len });

            peers.provider.map_kernel(ranges).err()
        };

        check_eq!(map(&[(start, size)]), None);
        check_eq!(map(&[]), Some(EINVAL));
        check_eq!(map(&[(start, 1)]), Some(EINVAL));
        check_eq!(map(&[(start, PAGE), (start, 0)]), Some(EINVAL));
        check_eq!(map(&[(start, size + PAGE)]), Some(ERANGE));
        check_eq!(map(&[(start, PAGE), (0, PAGE)]), Some(ERANGE));
        // Several need a function that not all kernels have.
        check_eq!(
            map(&[(start, PAGE), (start + 2 * PAGE, PAGE)]),
            (!cfg!(CONFIG_VMAP_PFN)).then_some(EOPNOTSUPP)
        );
        Ok(())
    }

    #[test]
    fn bad_ranges() -> Result {
        let Some(peers) = Peers::find()? else {
            return skip(c"needs two accelerators");
        };
        let (start, size) = (peers.provider.phys_start(), peers.provider.size());
        let dma_buf = peers.export(&[PhysRange { start, len: PAGE }])?;
        let _attachment = Attachment::new(&dma_buf, peers.device(0)?.as_ref(), Plain)?;
        let guard = dma_buf.resv().lock();
        let info = dma_buf
            .attachments(&guard)?
            .of::<Bar>()
            .next()
            .ok_or(ENOENT)?;
        let map = |ranges: &[(u64, u64)]| {
            let ranges = ranges.iter().map(|&(start, len)| PhysRange { start, len });

            SgTable::from_mmio(info, &peers.provider, ranges, ToDevice).err()
        };

        check_eq!(map(&[]), Some(EINVAL));
        check_eq!(map(&[(start, 0)]), Some(EINVAL));
        check_eq!(map(&[(start + 1, PAGE)]), Some(EINVAL));
        check_eq!(map(&[(start, PAGE + 1)]), Some(EINVAL));
        check_eq!(map(&[(start, PAGE), (start + PAGE, 0)]), Some(EINVAL));
        check_eq!(map(&[(start - PAGE, PAGE)]), Some(ERANGE));
        check_eq!(map(&[(start + size, PAGE)]), Some(ERANGE));
        check_eq!(map(&[(start, size + PAGE)]), Some(ERANGE));
        check_eq!(map(&[(u64::MAX - PAGE + 1, PAGE)]), Some(ERANGE));
        check_eq!(map(&[(start, PAGE), (0, PAGE)]), Some(ERANGE));
        check_eq!(map(&[(start, PAGE), (start, PAGE)]), None);
        Ok(())
    }
}
