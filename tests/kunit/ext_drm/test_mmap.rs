// SPDX-License-Identifier: GPL-2.0

//! Mappings of objects to userspace, and their end.

use kernel::prelude::*;

#[kunit_tests(ext_drm_mmap)]
mod tests {
    use crate::{
        driver::*,
        files::{
            Mapping,
            OpenFile, //
        }, //
    };
    use kernel::{
        page::PAGE_SIZE,
        prelude::*, //
    };
    use kernel_ext::drm::gem::Object;

    #[test]
    fn shmem() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = dev.object(4, Backing::Shmem(None))?;
        obj.create_handle(file.drm())?;

        let map = file.mmap(4 * PAGE_SIZE, obj.mmap_offset()?)?;
        assert_eq!(map.peek(0)?, 0);
        assert_eq!(dev.counts.faults.get(), 1);
        for page in 0..4 {
            map.poke(page * PAGE_SIZE + 8, 0x1234 + page as u64)?;
        }
        assert_eq!(dev.counts.faults.get(), 4);

        // It is the object's own memory.
        let pages = obj.shmem_pages()?;
        for page in 0..4 {
            let mut word = [0; 8];
            pages.read(page * PAGE_SIZE + 8, &mut word)?;
            assert_eq!(u64::from_ne_bytes(word), 0x1234 + page as u64);
        }
        Ok(())
    }

    /// Memory that is taken for that of a device.
    fn memory(pages: usize) -> Result<KVec<u8>> {
        Ok(KVec::from_elem(0, pages * PAGE_SIZE, GFP_KERNEL)?)
    }

    #[test]
    fn io() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;

        // The object is larger than its device memory.
        let obj = dev.object(2, Backing::Io(memory(1)?, 1))?;
        obj.create_handle(file.drm())?;
        let map = file.mmap(2 * PAGE_SIZE, obj.mmap_offset()?)?;
        map.poke(16, 0xabcd)?;
        assert_eq!(map.peek(16)?, 0xabcd);
        assert_eq!(map.peek(PAGE_SIZE).err(), Some(EFAULT));

        let Backing::Io(memory, _) = &*obj.backing.lock() else {
            return Err(EINVAL);
        };
        assert_eq!(memory[16..24], 0xabcdu64.to_ne_bytes());
        Ok(())
    }

    #[test]
    fn io_in_batches() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;

        let obj = dev.object(8, Backing::Io(memory(8)?, 4))?;
        obj.create_handle(file.drm())?;
        let map = file.mmap(8 * PAGE_SIZE, obj.mmap_offset()?)?;
        map.poke(PAGE_SIZE, 1)?;
        for page in 2..5 {
            map.poke(page * PAGE_SIZE, page as u64)?;
        }
        assert_eq!(dev.counts.faults.get(), 1);
        map.poke(0, 0)?;
        assert_eq!(dev.counts.faults.get(), 2);
        // Three pages are left, and a batch is four.
        for page in 5..8 {
            map.poke(page * PAGE_SIZE, page as u64)?;
        }
        assert_eq!(dev.counts.faults.get(), 3);

        {
            let Backing::Io(memory, _) = &*obj.backing.lock() else {
                return Err(EINVAL);
            };
            for page in 0..8 {
                let at = page * PAGE_SIZE;
                assert_eq!(memory[at..at + 8], (page as u64).to_ne_bytes());
            }
        }

        // A batch ends with the mapping, and with the memory.
        drop(map);
        let part = file.mmap(8 * PAGE_SIZE, obj.mmap_offset()?)?;
        obj.unmap_cpu();
        *obj.backing.lock() = Backing::Io(memory(2)?, 4);
        assert_eq!(part.peek(PAGE_SIZE)?, 0);
        assert_eq!(part.peek(2 * PAGE_SIZE).err(), Some(EFAULT));
        assert_eq!(part.peek(7 * PAGE_SIZE).err(), Some(EFAULT));
        Ok(())
    }

    #[test]
    fn refused() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let other = OpenFile::new(&dev)?;
        let obj = dev.object(1, Backing::Shmem(None))?;
        obj.create_handle(file.drm())?;
        let offset = obj.mmap_offset()?;

        // Another file without a handle.
        assert_eq!(other.mmap(PAGE_SIZE, offset).err(), Some(EACCES));
        // More than the object.
        assert_eq!(file.mmap(2 * PAGE_SIZE, offset).err(), Some(EINVAL));
        // No object.
        assert_eq!(file.mmap(PAGE_SIZE, 0).err(), Some(EINVAL));
        // A private writable mapping.
        let raw = file.as_raw();
        assert_eq!(
            Mapping::new(raw, PAGE_SIZE, true, false, offset).err(),
            Some(EINVAL)
        );
        // Refused by the driver.
        let obj = dev.object(1, Backing::None)?;
        obj.create_handle(file.drm())?;
        assert_eq!(file.mmap(PAGE_SIZE, obj.mmap_offset()?).err(), Some(EPERM));

        assert!(Mapping::new(raw, PAGE_SIZE, false, true, offset).is_ok());
        assert_eq!(dev.counts.faults.get(), 0);
        Ok(())
    }

    #[test]
    fn mapping_holds_object_and_file() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = dev.object(1, Backing::Shmem(None))?;
        let handle = obj.create_handle(file.drm())?;
        let map = file.mmap(PAGE_SIZE, obj.mmap_offset()?)?;
        map.poke(0, 77)?;

        drop(obj);
        Object::<TestObject>::close_handle(file.drm(), handle)?;
        drop(file);
        assert_eq!(dev.counts.object_drops.get(), 0);
        assert_eq!(dev.counts.file_drops.get(), 0);
        assert_eq!(map.peek(0)?, 77);

        drop(map);
        assert_eq!(dev.counts.object_drops.get(), 1);
        assert_eq!(dev.counts.file_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn unmap_faults_again() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let a = dev.object(1, Backing::Shmem(None))?;
        a.create_handle(file.drm())?;
        let b = dev.object(1, Backing::Shmem(None))?;
        b.create_handle(file.drm())?;
        let map_a = file.mmap(PAGE_SIZE, a.mmap_offset()?)?;
        let map_b = file.mmap(PAGE_SIZE, b.mmap_offset()?)?;
        map_a.poke(0, 1)?;
        map_b.poke(0, 2)?;
        assert_eq!(dev.counts.faults.get(), 2);

        // One object only.
        a.unmap_cpu();
        assert_eq!(map_a.peek(0)?, 1);
        assert_eq!(map_b.peek(0)?, 2);
        assert_eq!(dev.counts.faults.get(), 3);

        dev.unmap_all_cpu();
        assert_eq!(map_a.peek(0)?, 1);
        assert_eq!(map_b.peek(0)?, 2);
        assert_eq!(dev.counts.faults.get(), 5);
        Ok(())
    }

    #[test]
    fn pages_are_unmapped_before_they_go() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = dev.object(1, Backing::Shmem(None))?;
        obj.create_handle(file.drm())?;
        let map = file.mmap(PAGE_SIZE, obj.mmap_offset()?)?;
        map.poke(0, 5)?;

        // The pages are dropped without a word to the mappings.
        *obj.backing.lock() = Backing::Revoked;
        assert_eq!(map.peek(0).err(), Some(EFAULT));

        *obj.backing.lock() = Backing::Shmem(None);
        assert_eq!(map.peek(0)?, 5);
        Ok(())
    }

    #[test]
    fn pages_of_another_object() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = dev.object(1, Backing::Shmem(None))?;
        let other = dev.object(1, Backing::Shmem(None))?;
        *obj.backing.lock() = Backing::Shmem(Some(other.shmem_pages()?));
        obj.create_handle(file.drm())?;

        let map = file.mmap(PAGE_SIZE, obj.mmap_offset()?)?;
        assert_eq!(map.peek(0).err(), Some(EFAULT));
        Ok(())
    }

    #[test]
    fn revoked() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = dev.object(2, Backing::Shmem(None))?;
        obj.create_handle(file.drm())?;
        let map = file.mmap(2 * PAGE_SIZE, obj.mmap_offset()?)?;
        map.poke(0, 5)?;

        TestObject::revoke(&obj);
        assert_eq!(map.peek(0).err(), Some(EFAULT));
        assert_eq!(map.poke(PAGE_SIZE, 1).err(), Some(EFAULT));
        Ok(())
    }

    #[test]
    fn unplugged() -> Result {
        let Fixture {
            registration,
            counts,
            parent: _parent,
        } = Fixture::new()?;
        let file = OpenFile::new(registration.device())?;
        let obj = Object::new_shmem(
            registration.device(),
            PAGE_SIZE,
            TestObject::new(counts.clone(), Backing::Shmem(None)),
        )?;
        obj.create_handle(file.drm())?;
        let map = file.mmap(PAGE_SIZE, obj.mmap_offset()?)?;
        map.poke(0, 5)?;
        assert_eq!(counts.faults.get(), 1);

        drop(registration);
        // The driver is not asked.
        assert_eq!(map.peek(0).err(), Some(EFAULT));
        assert_eq!(counts.faults.get(), 1);
        assert_eq!(file.mmap(PAGE_SIZE, obj.mmap_offset()?).err(), Some(ENODEV));

        drop(obj);
        drop(file);
        assert_eq!(counts.data_drops.get(), 0);
        drop(map);
        assert_eq!(counts.object_drops.get(), 1);
        assert_eq!(counts.data_drops.get(), 1);
        Ok(())
    }
}
