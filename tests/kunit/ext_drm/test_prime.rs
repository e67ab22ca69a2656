// SPDX-License-Identifier: GPL-2.0

//! PRIME: export and import of objects.

use kernel::prelude::*;

#[kunit_tests(ext_drm_prime)]
mod tests {
    use crate::{
        driver::*,
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
        sync::aref::ARef, //
    };
    use kernel_ext::drm::{
        gem::Object,
        DmaBuf, //
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
        let other = Fixture::with_name(c"ext_drm_other")?;
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
        drop(imported);
        // SAFETY: No requirements.
        unsafe { bindings::flush_delayed_fput() };
        assert_eq!(dev.counts.object_drops.get(), 1);
        assert_eq!(other.counts.object_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn mmap_of_dma_buf() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = dev.object(3, Backing::Shmem(None))?;
        let handle = obj.create_handle(file.drm())?;
        let dmabuf = export(&file, handle)?;

        // The second page and the third.
        let map = {
            // SAFETY: The dma-buf is valid, and has a file.
            let raw = unsafe { (*dmabuf.as_raw()).file };
            Mapping::new(raw, 2 * PAGE_SIZE, true, true, PAGE_SIZE as u64)?
        };
        map.poke(0, 0x11)?;
        map.poke(PAGE_SIZE, 0x22)?;
        let direct = file.mmap(3 * PAGE_SIZE, obj.mmap_offset()?)?;
        assert_eq!(direct.peek(0)?, 0);
        assert_eq!(direct.peek(PAGE_SIZE)?, 0x11);
        assert_eq!(direct.peek(2 * PAGE_SIZE)?, 0x22);

        // Revoking reaches both.
        TestObject::revoke(&obj);
        assert_eq!(map.peek(0).err(), Some(EFAULT));
        assert_eq!(direct.peek(0).err(), Some(EFAULT));
        Ok(())
    }
}
