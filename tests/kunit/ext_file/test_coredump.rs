// SPDX-License-Identifier: GPL-2.0

//! Device coredumps, as userspace finds them.

use kernel::prelude::*;

#[kunit_tests(ext_file_coredump)]
mod tests {
    use crate::{
        support::*,
        LocalModule, //
    };
    use kernel::{
        device::{
            Bound,
            Device, //
        },
        faux,
        prelude::*,
        time::{
            delay::fsleep,
            msecs_to_jiffies,
            Delta, //
        },
    };
    use kernel_ext::devcoredump;

    const LINK: &CStr = c"/sys/devices/faux/ext_file_dump/devcoredump";
    const DATA: &CStr = c"/sys/devices/faux/ext_file_dump/devcoredump/data";

    fn device() -> Result<faux::Registration> {
        faux::Registration::new(c"ext_file_dump", None)
    }

    fn dev(device: &faux::Registration) -> &Device<Bound> {
        let dev: &faux::Device<Bound> = device.as_ref();

        dev.as_ref()
    }

    fn buffer(byte: u8, len: usize) -> Result<VVec<u8>> {
        Ok(VVec::from_elem(byte, len, GFP_KERNEL)?)
    }

    /// Waits until there is no dump; a worker removes it, and the link of the device last.
    fn gone() -> bool {
        for _ in 0..1000 {
            if !exists(LINK) {
                return true;
            }
            fsleep(Delta::from_millis(10));
        }
        false
    }

    #[test]
    fn appears_and_goes() -> Result {
        let device = device()?;
        let before = module_references();

        check!(matches!(read(DATA), Err(err) if err == ENOENT));
        devcoredump::emit(dev(&device), buffer(b'a', 100)?);
        check_eq!(*read(DATA)?, [b'a'; 100]);
        // It does not need this module.
        check_eq!(module_references(), before);

        // The first one stays.
        devcoredump::emit(dev(&device), buffer(b'b', 10)?);
        check_eq!(*read(DATA)?, [b'a'; 100]);

        check_eq!(write(DATA, b"1"), Ok(1));
        check!(gone());
        devcoredump::emit(dev(&device), buffer(b'c', 5000)?);
        // As much as the test reads.
        check_eq!(read(DATA)?.len(), 4096);

        devcoredump::remove(dev(&device));
        check!(matches!(read(DATA), Err(err) if err == ENOENT));
        // No dump, nothing to remove.
        devcoredump::remove(dev(&device));
        Ok(())
    }

    #[test]
    fn empty_is_none() -> Result {
        let device = device()?;

        devcoredump::emit(dev(&device), VVec::new());
        devcoredump::emit_timeout::<LocalModule>(dev(&device), VVec::new(), 1)?;
        check!(matches!(read(DATA), Err(err) if err == ENOENT));
        Ok(())
    }

    #[test]
    fn holds_the_module_for_its_time() -> Result {
        let device = device()?;
        let before = module_references();
        let emit = |byte, ms| {
            let timeout = msecs_to_jiffies(ms);
            devcoredump::emit_timeout::<LocalModule>(dev(&device), buffer(byte, 33)?, timeout)
        };

        emit(b'd', 3_600_000)?;
        check_eq!(*read(DATA)?, [b'd'; 33]);
        check_eq!(module_references(), before + 1);
        // This one is dropped at once, and with it its reference.
        emit(b'e', 3_600_000)?;
        check_eq!(module_references(), before + 1);
        devcoredump::remove(dev(&device));
        check_eq!(module_references(), before);

        emit(b'f', 10)?;
        check!(gone());
        check_eq!(module_references(), before);
        Ok(())
    }

    #[test]
    fn outlives_the_device() -> Result {
        let device = device()?;
        let before = module_references();

        devcoredump::emit_timeout::<LocalModule>(
            dev(&device),
            buffer(b'g', 8)?,
            msecs_to_jiffies(300),
        )?;
        drop(device);
        for _ in 0..1000 {
            if module_references() == before {
                return Ok(());
            }
            fsleep(Delta::from_millis(10));
        }
        Err(ETIMEDOUT)
    }
}
