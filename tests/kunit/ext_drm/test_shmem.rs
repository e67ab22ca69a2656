// SPDX-License-Identifier: GPL-2.0

//! Pages of shmem-backed objects.

use kernel::prelude::*;

#[kunit_tests(ext_drm_shmem)]
mod tests {
    use crate::{
        driver::*,
        files::{
            enable_dma,
            is_dirty, //
        }, //
    };
    use kernel::{
        dma,
        page::PAGE_SIZE,
        prelude::*, //
    };

    use kernel_ext::drm::gem::{
        DmaMap,
        Object,
        ShmemPages, //
    };

    const PAGES: usize = 300;

    #[test]
    fn content() -> Result {
        let dev = Fixture::new()?;
        let obj = dev.object(3, Backing::Shmem(None))?;
        let mut buf = [1u8; 100];

        {
            let pages = obj.shmem_pages()?;
            assert_eq!(pages.count(), 3);
            for offset in [0, PAGE_SIZE - 50, 3 * PAGE_SIZE - 100] {
                pages.read(offset, &mut buf)?;
                assert!(buf.iter().all(|&b| b == 0));
            }

            // Across the border of a page.
            let data: [u8; 100] = core::array::from_fn(|i| i as u8 + 1);
            pages.write(2 * PAGE_SIZE - 30, &data)?;

            // Beyond the end: nothing is changed.
            assert_eq!(pages.write(3 * PAGE_SIZE - 99, &data).err(), Some(EINVAL));
            assert_eq!(pages.write(usize::MAX, &data).err(), Some(EINVAL));
            assert_eq!(pages.read(3 * PAGE_SIZE - 99, &mut buf).err(), Some(EINVAL));
            pages.read(3 * PAGE_SIZE - 100, &mut buf)?;
            assert!(buf.iter().all(|&b| b == 0));
            assert!(pages.pfn(2).is_some());
            assert!(pages.pfn(3).is_none());
        }

        // It is still there when the pages are taken again.
        let pages = obj.shmem_pages()?;
        pages.read(2 * PAGE_SIZE - 30, &mut buf)?;
        assert!(buf.iter().enumerate().all(|(i, &b)| b == i as u8 + 1));
        pages.read(2 * PAGE_SIZE - 130, &mut buf)?;
        assert!(buf.iter().all(|&b| b == 0));
        Ok(())
    }

    #[test]
    fn dirty_pages() -> Result {
        /// Does something with the pages of a new object; returns whether they are dirty then.
        fn dirty(
            dev: &Fixture,
            f: impl FnOnce(ShmemPages<TestObject>) -> Result<Option<DmaMap<TestObject>>>,
        ) -> Result<bool> {
            let obj = dev.object(1, Backing::Shmem(None))?;
            let pages = obj.shmem_pages()?;
            let pfn = pages.pfn(0).ok_or(EINVAL)?;
            drop(f(pages)?);
            Ok(is_dirty(pfn))
        }

        let dev = Fixture::new()?;
        let parent = bound(&dev.parent);
        enable_dma(parent);

        assert!(!dirty(&dev, |_| Ok(None))?);
        assert!(!dirty(&dev, |pages| pages
            .read(0, &mut [0])
            .map(|()| None))?);
        assert!(dirty(&dev, |pages| pages.write(0, &[1]).map(|()| None))?);

        // As far as is known, the device writes where it may.
        for (direction, writes) in [
            (dma::DataDirection::ToDevice, false),
            (dma::DataDirection::FromDevice, true),
            (dma::DataDirection::Bidirectional, true),
        ] {
            let map = |pages: ShmemPages<_>| pages.map(parent, direction).map(Some);
            assert_eq!(dirty(&dev, map)?, writes);
        }
        Ok(())
    }

    #[test]
    fn private_object_has_no_pages() -> Result {
        let dev = Fixture::new()?;
        let obj = dev.object(1, Backing::None)?;

        assert_eq!(obj.shmem_pages().err(), Some(EINVAL));
        Ok(())
    }

    #[test]
    fn pages_as_part_of_the_object() -> Result {
        let dev = Fixture::new()?;
        let obj = dev.object(4, Backing::Shmem(None))?;
        *obj.backing.lock() = Backing::Shmem(Some(obj.shmem_pages()?));

        // No cycle: the pages do not keep the data.
        drop(obj);
        assert_eq!(dev.counts.object_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn pages_outlive_object_and_device() -> Result {
        let dev = Fixture::new()?;
        let counts = dev.counts.clone();
        let obj = dev.object(4, Backing::Shmem(None))?;
        let pages = obj.shmem_pages()?;
        pages.write(0, b"still here")?;

        drop(obj);
        assert_eq!(counts.object_drops.get(), 1);
        drop(dev);
        assert_eq!(counts.data_drops.get(), 0);

        let mut buf = [0; 10];
        pages.read(0, &mut buf)?;
        assert_eq!(&buf, b"still here");
        drop(pages);
        assert_eq!(counts.object_drops.get(), 1);
        assert_eq!(counts.data_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn dma() -> Result {
        let dev = Fixture::new()?;
        enable_dma(bound(&dev.parent));
        let obj = dev.object(PAGES, Backing::Shmem(None))?;

        let map = {
            let guard = dev.enter().ok_or(ENODEV)?;
            obj.shmem_pages()?
                .map(guard.parent(), dma::DataDirection::Bidirectional)?
        };

        // Without an IOMMU, what the device sees is the physical address of each page in turn.
        let mut page = 0;
        for (addr, len) in map.iter() {
            assert!(len > 0);
            assert_eq!(len % PAGE_SIZE, 0);
            for offset in (0..len).step_by(PAGE_SIZE) {
                let pfn = map.pages().pfn(page).ok_or(ERANGE)?;
                assert_eq!(addr + offset as u64, pfn * PAGE_SIZE as u64);
                page += 1;
            }
        }
        assert_eq!(page, PAGES);

        drop(map);
        drop(obj);
        assert_eq!(dev.counts.object_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn dma_ends_with_the_binding() -> Result {
        let Fixture {
            registration,
            counts,
            parent,
        } = Fixture::new()?;
        enable_dma(bound(&parent));
        let dev = registration.device();
        let obj = Object::new_shmem(
            dev,
            PAGE_SIZE,
            TestObject::new(counts.clone(), Backing::Shmem(None)),
        )?;
        let map = obj
            .shmem_pages()?
            .map(bound(&parent), dma::DataDirection::ToDevice)?;

        // The addresses are void now, but the pages stay.
        drop(parent);
        map.pages().write(0, b"pages are still there")?;
        drop(map);
        drop(obj);
        drop(registration);
        assert_eq!(counts.object_drops.get(), 1);
        assert_eq!(counts.data_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn dma_from_device() -> Result {
        let dev = Fixture::new()?;
        let obj = dev.object(1, Backing::Shmem(None))?;

        enable_dma(bound(&dev.parent));
        let pages = obj.shmem_pages()?;
        let map = pages.map(bound(&dev.parent), dma::DataDirection::FromDevice)?;
        assert_eq!(map.iter().count(), 1);
        assert_eq!(map.iter().next().map(|(_, len)| len), Some(PAGE_SIZE));
        Ok(())
    }
}
