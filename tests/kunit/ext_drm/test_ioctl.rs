// SPDX-License-Identifier: GPL-2.0

//! Ioctls: dispatch, arguments, errors, unplugging.

use kernel::prelude::*;

#[kunit_tests(ext_drm_ioctl)]
mod tests {
    use crate::{
        driver::*,
        files::OpenFile, //
    };
    use kernel::{
        ioctl::{
            _IOC_SIZE, //
            _IOWR,
        },
        prelude::*, //
    };
    use kernel_ext::drm::{
        ioctl::command,
        Driver, //
    };

    #[test]
    fn numbers() -> Result {
        assert_eq!(TestDriver::IOCTLS.len(), 4);
        assert_eq!(
            TestDriver::IOCTLS[0].cmd(),
            _IOWR::<AddArg>(u32::from(b'd'), 0x40)
        );
        assert_eq!(
            TestDriver::IOCTLS[2].cmd(),
            _IOWR::<BigArg>(u32::from(b'd'), 0x42)
        );
        assert_eq!(_IOC_SIZE(command::<BigArg>(BIG)), 800);
        Ok(())
    }

    #[test]
    fn dispatch() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;

        let mut arg = AddArg {
            a: u32::MAX,
            b: 2,
            sum: 0,
        };
        assert_eq!(file.ioctl(command::<AddArg>(ADD), &mut arg)?, 7);
        assert_eq!(arg.sum, 0x1_0000_0001);
        assert_eq!(dev.counts.calls.get(), 1);

        let mut arg = BigArg {
            words: core::array::from_fn(|i| i as u64),
        };
        assert_eq!(file.ioctl(command::<BigArg>(BIG), &mut arg)?, 0);
        assert!((0..100).all(|i| arg.words[i] == 99 - i as u64));
        assert_eq!(dev.counts.calls.get(), 2);
        Ok(())
    }

    #[test]
    fn errors() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;

        let mut arg = AddArg {
            a: EDOM.to_errno().unsigned_abs(),
            ..Default::default()
        };
        assert_eq!(
            file.ioctl(command::<AddArg>(FAIL), &mut arg).err(),
            Some(EDOM)
        );
        // The argument is copied back nevertheless.
        assert_eq!(arg.sum, 99);

        // A value that is no result of an ioctl.
        arg.a = 0;
        assert_eq!(
            file.ioctl(command::<AddArg>(FAIL), &mut arg).err(),
            Some(ERANGE)
        );

        // No such ioctl.
        let calls = dev.counts.calls.get();
        assert_eq!(
            file.ioctl(command::<AddArg>(4), &mut arg).err(),
            Some(EINVAL)
        );
        assert_eq!(
            file.ioctl(_IOWR::<AddArg>(u32::from(b'x'), 0x40), &mut arg)
                .err(),
            Some(ENOTTY)
        );
        assert_eq!(dev.counts.calls.get(), calls);
        Ok(())
    }

    #[test]
    fn argument_of_other_size() -> Result {
        #[repr(C)]
        struct Short {
            a: u32,
            b: u32,
        }
        #[repr(C)]
        struct Long {
            add: AddArg,
            more: u64,
        }

        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;

        // The handler sees zeroes for what is missing, and the result is cut.
        let mut arg = Short { a: 3, b: 4 };
        assert_eq!(file.ioctl(command::<Short>(ADD), &mut arg)?, 7);
        assert_eq!((arg.a, arg.b), (3, 4));

        let mut arg = Long {
            add: AddArg { a: 3, b: 4, sum: 0 },
            more: 5,
        };
        assert_eq!(file.ioctl(command::<Long>(ADD), &mut arg)?, 7);
        assert_eq!(arg.add.sum, 7);
        assert_eq!(arg.more, 5);
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

        drop(registration);
        let mut arg = AddArg::default();
        assert_eq!(
            file.ioctl(command::<AddArg>(ADD), &mut arg).err(),
            Some(ENODEV)
        );
        let mut arg = BigArg { words: [1; 100] };
        assert_eq!(
            file.ioctl(command::<BigArg>(BIG), &mut arg).err(),
            Some(ENODEV)
        );
        assert_eq!(counts.calls.get(), 0);
        Ok(())
    }

    #[test]
    fn unplugged_while_it_runs() -> Result {
        let Fixture {
            registration,
            counts,
            parent: _parent,
        } = Fixture::new()?;
        let file = OpenFile::new(registration.device())?;
        let dev = file.drm().device();
        *dev.registration.lock() = Some(registration);

        let mut arg = AddArg::default();
        assert_eq!(file.ioctl(command::<AddArg>(UNPLUG), &mut arg)?, 0);
        assert_eq!((arg.a, arg.b), (1, 0));
        assert_eq!(counts.calls.get(), 1);
        assert!(dev.is_unplugged());

        assert_eq!(
            file.ioctl(command::<AddArg>(UNPLUG), &mut arg).err(),
            Some(ENODEV)
        );
        Ok(())
    }
}
