// SPDX-License-Identifier: GPL-2.0

//! PRIME: export and import of objects.

use kernel::prelude::*;

#[kunit_tests(ext_drm_prime)]
mod tests {
    use crate::{
        driver::*,
        export::TestExporter,
        files::{
            Mapping,
            OpenFile, //
        }, //
    };
    use kernel::{
        bindings,
        error::from_err_ptr,
        page::PAGE_SIZE,
        prelude::*,
        sync::{
            aref::ARef,
            atomic::Relaxed, //
        },
    };
    use kernel_ext::{
        dma_buf::DmaBuf,
        drm::gem::{
            Object,
            Resv, //
        },
    };

    /// Exports the object of a handle, as `DRM_IOCTL_PRIME_HANDLE_TO_FD` does.
    fn export(file: &OpenFile, handle: u32) -> Result<ARef<DmaBuf>> {
        // SAFETY: The file is open.
        let dmabuf = from_err_ptr(unsafe {
            bindings::drm_gem_prime_handle_to_dmabuf(
                file.drm().device().as_raw(),
                file.drm().as_raw(),
                handle,
                bindings::O_RDWR | bindings::O_CLOEXEC,
            )
        })?;
        // SAFETY: The dma-buf is valid, and its reference handed over.
        Ok(unsafe { ARef::from_raw(DmaBuf::from_raw(dmabuf).into()) })
    }

    /// Calls the driver's import as the core does.
    fn import(dev: &Fixture, dmabuf: &DmaBuf) -> Result<ARef<Object<TestObject>>> {
        // SAFETY: Both are valid, and test devices can import.
        let obj = from_err_ptr(unsafe {
            ((*(*dev.as_raw()).driver).gem_prime_import.ok_or(EINVAL)?)(
                dev.as_raw(),
                dmabuf.as_raw(),
            )
        })?;
        // SAFETY: The driver returns such objects, with a reference.
        Ok(unsafe { ARef::from_raw(Object::<TestObject>::from_raw(obj).into()) })
    }

    #[test]
    fn exported_once() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = dev.object(2, Backing::Shmem(None))?;
        let handle = obj.create_handle(file.drm())?;
        assert!(obj.dma_buf().is_none());
        assert!(!obj.is_shared());
        assert_eq!(export(&file, handle + 1).err(), Some(ENOENT));

        let dmabuf = export(&file, handle)?;
        let again = export(&file, handle)?;
        assert_eq!(dmabuf.as_raw(), again.as_raw());
        assert_eq!(obj.dma_buf().map(|d| d.as_raw()), Some(dmabuf.as_raw()));
        assert!(obj.is_shared());
        drop(again);

        // The dma-buf keeps the object, and the device.
        let counts = dev.counts.clone();
        drop(obj);
        drop(file);
        drop(dev);
        assert_eq!(counts.object_drops.get(), 0);
        drop(dmabuf);
        // A kernel thread releases files later.
        // SAFETY: No requirements.
        unsafe { bindings::flush_delayed_fput() };
        assert_eq!(counts.object_drops.get(), 1);
        assert_eq!(counts.data_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn imported_by_itself() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = dev.object(1, Backing::Shmem(None))?;
        let handle = obj.create_handle(file.drm())?;
        let dmabuf = export(&file, handle)?;

        let same = import(&dev, &dmabuf)?;
        assert!(core::ptr::eq(&*same, &*obj));
        Ok(())
    }

    #[test]
    fn imported_by_another_device() -> Result {
        let dev = Fixture::new()?;
        let other = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = dev.object(3, Backing::Shmem(None))?;
        let handle = obj.create_handle(file.drm())?;
        let dmabuf = export(&file, handle)?;

        let imported = import(&other, &dmabuf)?;
        assert!(!core::ptr::eq(&*imported, &*obj));
        assert_eq!(imported.size(), 3 * PAGE_SIZE);
        assert_eq!(imported.resv_raw(), obj.resv_raw());
        assert_eq!(other.counts.imports.get(), 1);

        // The new object keeps the dma-buf, whose reservation object it uses.
        drop(dmabuf);
        drop(obj);
        drop(file);
        assert_eq!(dev.counts.object_drops.get(), 0);
        // As long as there are references: the data of the dma-buf may hold a weak one.
        let weak = imported.downgrade();
        drop(imported);
        // SAFETY: No requirements.
        unsafe { bindings::flush_delayed_fput() };
        assert_eq!(dev.counts.object_drops.get(), 1);
        assert_eq!(other.counts.object_drops.get(), 1);
        assert!(weak.upgrade().is_none());
        Ok(())
    }

    /// Maps a dma-buf, shared and writable.
    fn mmap(dmabuf: &DmaBuf, len: usize, offset: usize) -> Result<Mapping> {
        // SAFETY: The dma-buf is valid, and has a file.
        let file = unsafe { (*dmabuf.as_raw()).file };
        Mapping::new(file, len, true, true, offset as u64)
    }

    #[test]
    fn mmap_of_dma_buf() -> Result {
        for rust_exporter in [false, true] {
            let dev = Fixture::new()?;
            let file = OpenFile::new(&dev)?;
            let obj = dev.object(3, Backing::Shmem(None))?;
            obj.rust_exporter.store(rust_exporter, Relaxed);
            let handle = obj.create_handle(file.drm())?;
            let dmabuf = export(&file, handle)?;
            assert_eq!(
                dmabuf.exported_by::<TestExporter>().is_some(),
                rust_exporter
            );
            assert_eq!(dmabuf.size(), 3 * PAGE_SIZE);
            assert_eq!(dmabuf.resv().as_raw(), obj.resv_raw());
            assert!(core::ptr::eq(&*import(&dev, &dmabuf)?, &*obj));

            // The second page and the third.
            let map = mmap(&dmabuf, 2 * PAGE_SIZE, PAGE_SIZE)?;
            map.poke(0, 0x11)?;
            map.poke(PAGE_SIZE, 0x22)?;
            let direct = file.mmap(3 * PAGE_SIZE, obj.mmap_offset()?)?;
            assert_eq!(direct.peek(0)?, 0);
            assert_eq!(direct.peek(PAGE_SIZE)?, 0x11);
            assert_eq!(direct.peek(2 * PAGE_SIZE)?, 0x22);
            assert_eq!(
                mmap(&dmabuf, 2 * PAGE_SIZE, 2 * PAGE_SIZE).err(),
                Some(EINVAL)
            );

            // Revoking reaches both.
            TestObject::revoke(&obj);
            assert_eq!(map.peek(0).err(), Some(EFAULT));
            assert_eq!(direct.peek(0).err(), Some(EFAULT));

            // The mapping holds the object, and lets go of it.
            let counts = dev.counts.clone();
            drop((direct, obj, dmabuf, file, dev));
            assert_eq!(counts.object_drops.get(), 0);
            drop(map);
            assert_eq!(counts.object_drops.get(), 1);
            assert_eq!(counts.data_drops.get(), 1);
        }
        Ok(())
    }

    #[test]
    fn part_of_an_object() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = dev.object(4, Backing::Shmem(None))?;
        obj.create_handle(file.drm())?;

        let dmabuf = TestExporter::export(&obj, PAGE_SIZE, 2 * PAGE_SIZE)?;
        // It would not be found when the object is unmapped.
        assert_eq!(mmap(&dmabuf, PAGE_SIZE, 0).err(), Some(EINVAL));
        obj.share_mappings(&dmabuf)?;

        let map = mmap(&dmabuf, PAGE_SIZE, PAGE_SIZE)?;
        map.poke(8, 0x33)?;
        let direct = file.mmap(4 * PAGE_SIZE, obj.mmap_offset()?)?;
        assert_eq!(direct.peek(2 * PAGE_SIZE + 8)?, 0x33);
        assert_eq!(mmap(&dmabuf, 2 * PAGE_SIZE, PAGE_SIZE).err(), Some(EINVAL));

        // A private writable mapping, and one after unplugging.
        // SAFETY: The dma-buf is valid, and has a file.
        let raw = unsafe { (*dmabuf.as_raw()).file };
        assert_eq!(
            Mapping::new(raw, PAGE_SIZE, true, false, 0).err(),
            Some(EINVAL)
        );
        let counts = dev.counts.clone();
        drop(dev);
        assert_eq!(map.peek(8).err(), Some(EFAULT));
        assert_eq!(mmap(&dmabuf, PAGE_SIZE, 0).err(), Some(ENODEV));

        drop((map, direct, file, obj));
        assert_eq!(counts.data_drops.get(), 0);
        drop(dmabuf);
        // SAFETY: No requirements.
        unsafe { bindings::flush_delayed_fput() };
        assert_eq!(counts.object_drops.get(), 1);
        assert_eq!(counts.data_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn mappings_not_to_be_shared() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = dev.object(1, Backing::Shmem(None))?;

        // The dma-buf of another object.
        let other = dev.object(1, Backing::Shmem(None))?;
        let dmabuf = TestExporter::export(&other, 0, PAGE_SIZE)?;
        assert_eq!(obj.share_mappings(&dmabuf).err(), Some(EINVAL));

        // One that is known already.
        let dmabuf = TestExporter::export(&obj, 0, PAGE_SIZE)?;
        let second = dmabuf.clone();
        assert_eq!(obj.share_mappings(&dmabuf).err(), Some(EBUSY));
        drop(second);
        assert!(obj.share_mappings(&dmabuf).is_ok());

        // One that keeps the reservation object, but not the object.
        let data = TestObject::new(dev.counts.clone(), Backing::None);
        let guest =
            Object::new_private_with_resv(&dev, PAGE_SIZE, Resv::Object(obj.clone()), data)?;
        let dmabuf = TestExporter::export(&guest, 0, PAGE_SIZE)?;
        assert_eq!(guest.share_mappings(&dmabuf).err(), Some(EINVAL));

        drop(file);
        Ok(())
    }

    #[test]
    fn second_dma_buf_of_an_object() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = dev.object(2, Backing::Shmem(None))?;
        let handle = obj.create_handle(file.drm())?;
        let _whole = export(&file, handle)?;

        let part = TestExporter::export(&obj, 0, PAGE_SIZE)?;
        // The core knows the other one as that of the object.
        assert_eq!(import(&dev, &part).err(), Some(EINVAL));
        Ok(())
    }
}
