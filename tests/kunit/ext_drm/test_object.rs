// SPDX-License-Identifier: GPL-2.0

//! GEM objects: creation, handles, lifetime.

use kernel::prelude::*;

#[kunit_tests(ext_drm_object)]
mod tests {
    use crate::{
        driver::*,
        files::OpenFile, //
    };
    use kernel::{
        page::PAGE_SIZE,
        prelude::*,
        sync::atomic::Relaxed, //
    };
    use kernel_ext::drm::gem::{
        Object,
        ObjectStatus,
        Resv, //
    };

    #[test]
    fn sizes() -> Result {
        let dev = Fixture::new()?;
        let data = || TestObject::new(dev.counts.clone(), Backing::None);

        for size in [0, 1, PAGE_SIZE - 1, PAGE_SIZE + 8, usize::MAX] {
            assert_eq!(Object::new_private(&dev, size, data()).err(), Some(EINVAL));
            assert_eq!(Object::new_shmem(&dev, size, data()).err(), Some(EINVAL));
        }
        // Larger than a file can be: the data was there already.
        assert_eq!(dev.counts.object_drops.get(), 0);
        assert!(Object::new_shmem(&dev, usize::MAX & !(PAGE_SIZE - 1), data()).is_err());
        assert_eq!(dev.counts.object_drops.get(), 1);

        let obj = Object::new_private(&dev, 3 * PAGE_SIZE, data())?;
        assert_eq!(obj.size(), 3 * PAGE_SIZE);
        assert!(core::ptr::eq(obj.dev(), &*dev));
        Ok(())
    }

    #[test]
    fn data_fails_to_initialize() -> Result {
        let dev = Fixture::new()?;

        for _ in 0..2 {
            let data =
                || TestObject::new(dev.counts.clone(), Backing::None).pin_chain(|_| Err(EDOM));
            let ret = Object::<TestObject>::new_private(&dev, PAGE_SIZE, data());
            assert_eq!(ret.err(), Some(EDOM));
            let ret = Object::<TestObject>::new_shmem(&dev, PAGE_SIZE, data());
            assert_eq!(ret.err(), Some(EDOM));
        }
        assert_eq!(dev.counts.object_drops.get(), 4);
        Ok(())
    }

    #[test]
    fn handles() -> Result {
        let dev = Fixture::new()?;
        let a = OpenFile::new(&dev)?;
        let b = OpenFile::new(&dev)?;
        let obj = dev.object(1, Backing::None)?;
        assert_eq!(obj.handle_count(), 0);
        assert!(!obj.is_shared());

        let handle = obj.create_handle(a.drm())?;
        assert_eq!(obj.handle_count(), 1);
        assert_eq!(dev.counts.handle_opens.get(), 1);
        let found = Object::<TestObject>::lookup(a.drm(), handle)?;
        assert!(core::ptr::eq(&*found, &*obj));
        drop(found);

        // A handle is that of one file.
        assert_eq!(
            Object::<TestObject>::lookup(b.drm(), handle).err(),
            Some(ENOENT)
        );
        assert_eq!(Object::<TestObject>::lookup(a.drm(), 0).err(), Some(ENOENT));
        assert_eq!(
            Object::<TestObject>::lookup(a.drm(), u32::MAX).err(),
            Some(ENOENT)
        );
        let other = obj.create_handle(b.drm())?;
        assert!(obj.is_shared());
        Object::<TestObject>::close_handle(b.drm(), other)?;
        assert_eq!(dev.counts.handle_closes.get(), 1);
        assert!(!obj.is_shared());

        // The handle keeps the object.
        drop(obj);
        assert_eq!(dev.counts.object_drops.get(), 0);
        let mut seen = 0;
        a.drm().for_each_object(|obj| seen += obj.size());
        assert_eq!(seen, PAGE_SIZE);

        Object::<TestObject>::close_handle(a.drm(), handle)?;
        assert_eq!(dev.counts.handle_closes.get(), 2);
        assert_eq!(dev.counts.object_drops.get(), 1);
        assert_eq!(
            Object::<TestObject>::close_handle(a.drm(), handle).err(),
            Some(EINVAL)
        );
        a.drm().for_each_object(|_| seen = 0);
        assert_eq!(seen, PAGE_SIZE);
        Ok(())
    }

    #[test]
    fn close_of_file_closes_handles() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;

        for _ in 0..5 {
            dev.object(1, Backing::None)?.create_handle(file.drm())?;
        }
        assert_eq!(dev.counts.object_drops.get(), 0);

        drop(file);
        assert_eq!(dev.counts.handle_closes.get(), 5);
        assert_eq!(dev.counts.object_drops.get(), 5);
        // Counted only if the handles were closed before.
        assert_eq!(dev.counts.postcloses.get(), 1);
        Ok(())
    }

    #[test]
    fn handle_open_fails() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = dev.object(1, Backing::None)?;

        obj.open_errno.store(EDOM.to_errno(), Relaxed);
        assert_eq!(obj.create_handle(file.drm()).err(), Some(EDOM));
        assert_eq!(obj.handle_count(), 0);
        assert_eq!(dev.counts.handle_closes.get(), 0);

        obj.open_errno.store(0, Relaxed);
        assert_eq!(obj.create_handle(file.drm())?, 1);
        Ok(())
    }

    #[test]
    fn other_device() -> Result {
        let dev = Fixture::new()?;
        let other = Fixture::new()?;
        let file = OpenFile::new(&other)?;
        let obj = dev.object(1, Backing::None)?;

        assert_eq!(obj.create_handle(file.drm()).err(), Some(EINVAL));

        let data = TestObject::new(other.counts.clone(), Backing::None);
        let ret = Object::new_private_with_resv(&other, PAGE_SIZE, Resv::Object(obj), data);
        assert_eq!(ret.err(), Some(EINVAL));
        assert_eq!(dev.counts.object_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn object_holds_device() -> Result {
        let dev = Fixture::new()?;
        let counts = dev.counts.clone();
        let obj = dev.object(1, Backing::Shmem(None))?;

        drop(dev);
        assert_eq!(counts.data_drops.get(), 0);
        assert!(obj.dev().is_unplugged());
        assert_eq!(obj.status(), ObjectStatus::NONE);

        drop(obj);
        assert_eq!(counts.object_drops.get(), 1);
        assert_eq!(counts.data_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn shared_reservation() -> Result {
        let dev = Fixture::new()?;
        let first = dev.object(1, Backing::None)?;
        let data = TestObject::new(dev.counts.clone(), Backing::None);
        let second =
            Object::new_private_with_resv(&dev, PAGE_SIZE, Resv::Object(first.clone()), data)?;
        assert_eq!(first.resv_raw(), second.resv_raw());
        assert!(dev.object(1, Backing::None)?.resv_raw() != first.resv_raw());
        assert_eq!(dev.counts.object_drops.get(), 1);

        // The owner lives as long as its reservation object is in use.
        drop(first);
        assert_eq!(dev.counts.object_drops.get(), 1);
        drop(second);
        assert_eq!(dev.counts.object_drops.get(), 3);
        Ok(())
    }

    #[test]
    fn mmap_offsets() -> Result {
        let dev = Fixture::new()?;
        let a = dev.object(2, Backing::None)?;
        let b = dev.object(1, Backing::None)?;

        let offset = a.mmap_offset()?;
        assert_eq!(a.mmap_offset()?, offset);
        assert_eq!(offset % PAGE_SIZE as u64, 0);
        assert!(b.mmap_offset()?.abs_diff(offset) >= PAGE_SIZE as u64);
        Ok(())
    }
}
