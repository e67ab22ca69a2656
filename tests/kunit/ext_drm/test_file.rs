// SPDX-License-Identifier: GPL-2.0

//! Open files: data, lifetime, fdinfo.

use kernel::prelude::*;

#[kunit_tests(ext_drm_file)]
mod tests {
    use crate::{
        driver::*,
        files::OpenFile, //
    };
    use core::str::from_utf8;
    use kernel::{
        page::PAGE_SIZE,
        prelude::*,
        sync::atomic::Relaxed, //
    };

    #[test]
    fn open_and_close() -> Result {
        let dev = Fixture::new()?;

        let a = OpenFile::new(&dev)?;
        let b = OpenFile::new(&dev)?;
        assert_eq!(dev.counts.file_opens.get(), 2);
        assert!(a.drm() == a.drm());
        assert!(a.drm() != b.drm());
        assert!(a.drm().client_id() != b.drm().client_id());
        assert!(core::ptr::eq(a.drm().device(), &*dev));

        drop(a);
        assert_eq!(dev.counts.postcloses.get(), 1);
        assert_eq!(dev.counts.file_drops.get(), 1);
        drop(b);
        assert_eq!(dev.counts.postcloses.get(), 2);
        assert_eq!(dev.counts.file_drops.get(), 2);
        Ok(())
    }

    #[test]
    fn open_fails() -> Result {
        let dev = Fixture::new()?;

        dev.open_errno.store(EDOM.to_errno(), Relaxed);
        assert_eq!(OpenFile::new(&dev).err(), Some(EDOM));
        assert_eq!(dev.counts.file_opens.get(), 0);
        assert_eq!(dev.counts.postcloses.get(), 0);

        dev.open_errno.store(0, Relaxed);
        assert!(OpenFile::new(&dev).is_ok());
        Ok(())
    }

    #[test]
    fn file_holds_device() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let counts = dev.counts.clone();

        drop(dev);
        assert_eq!(counts.data_drops.get(), 0);
        assert!(file.drm().device().is_unplugged());

        drop(file);
        assert_eq!(counts.file_drops.get(), 1);
        assert_eq!(counts.data_drops.get(), 1);
        Ok(())
    }

    fn line<'a>(text: &'a [u8], key: &str) -> Option<&'a str> {
        from_utf8(text)
            .ok()?
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(|value| value.trim())
    }

    #[test]
    fn fdinfo() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let other = OpenFile::new(&dev)?;

        // One of 4 KiB for `file` alone, one of 8 KiB in memory for both.
        dev.object(1, Backing::Shmem(None))?
            .create_handle(file.drm())?;
        let obj = dev.object(2, Backing::Shmem(None))?;
        obj.create_handle(file.drm())?;
        obj.create_handle(other.drm())?;
        *obj.backing.lock() = Backing::Shmem(Some(obj.shmem_pages()?));

        let text = file.fdinfo()?;
        assert_eq!(line(&text, "drm-driver"), Some("ext_drm_test"));
        let id = from_utf8(&text)
            .ok()
            .and(line(&text, "drm-client-id"))
            .and_then(|id| id.parse::<u64>().ok());
        assert_eq!(id, Some(file.drm().client_id()));
        assert_eq!(line(&text, "drm-engine-test"), Some("12345 ns"));
        assert_eq!(PAGE_SIZE, 4096);
        assert_eq!(line(&text, "drm-total-test0"), Some("12 KiB"));
        assert_eq!(line(&text, "drm-shared-test0"), Some("8 KiB"));
        assert_eq!(line(&text, "drm-resident-test0"), Some("8 KiB"));
        assert_eq!(line(&text, "drm-active-test0"), None);

        let text = other.fdinfo()?;
        assert_eq!(line(&text, "drm-total-test0"), Some("8 KiB"));
        Ok(())
    }
}
