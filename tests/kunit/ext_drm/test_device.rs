// SPDX-License-Identifier: GPL-2.0

//! Devices: registration, unplugging, lifetime.

use kernel::prelude::*;

#[kunit_tests(ext_drm_device)]
mod tests {
    use crate::{
        driver::*,
        files::OpenFile, //
    };
    use kernel::{
        device,
        prelude::*,
        sync::aref::ARef, //
    };
    use kernel_ext::drm;

    fn raw<Ctx: device::DeviceContext>(dev: &device::Device<Ctx>) -> usize {
        core::ptr::from_ref(dev) as usize
    }

    #[test]
    fn register_and_unplug() -> Result {
        let parent = parent()?;
        let counts = Counts::new()?;

        let dev = drm::UnregisteredDevice::<TestDriver>::new(
            bound(&parent),
            TestData::new(counts.clone()),
        )?;
        assert!(dev.enter().is_none());
        assert!(!dev.is_unplugged());
        assert_eq!(raw(dev.parent()), raw(bound(&parent)));
        let minor = dev.minor_index();

        let registration = drm::Registration::new(bound(&parent), dev)?;
        let dev: ARef<_> = registration.device().into();
        assert_eq!(dev.minor_index(), minor);
        {
            let guard = dev.enter();
            assert!(guard.is_some());
            let nested = dev.enter();
            assert!(nested.is_some());
            if let Some(guard) = guard {
                assert_eq!(raw(guard.parent()), raw(bound(&parent)));
            }
        }

        drop(registration);
        assert!(dev.enter().is_none());
        assert!(dev.is_unplugged());
        assert_eq!(OpenFile::new(&dev).err(), Some(ENODEV));

        // The data lives as long as the last reference.
        assert_eq!(dev.data().counts.data_drops.get(), 0);
        drop(dev);
        assert_eq!(counts.data_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn never_registered() -> Result {
        let parent = parent()?;
        let counts = Counts::new()?;

        let dev = drm::UnregisteredDevice::<TestDriver>::new(
            bound(&parent),
            TestData::new(counts.clone()),
        )?;
        assert_eq!(OpenFile::new(&dev).err(), Some(ENODEV));
        drop(dev);
        assert_eq!(counts.data_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn data_fails_to_initialize() -> Result {
        let parent = parent()?;
        let counts = Counts::new()?;

        let data = {
            let counts = counts.clone();
            TestData::new(counts).pin_chain(|_| Err(EDOM))
        };
        let ret = drm::UnregisteredDevice::<TestDriver>::new(bound(&parent), data);
        assert_eq!(ret.err(), Some(EDOM));

        // What was initialized before the failure is dropped by the initializer, and only once.
        assert_eq!(counts.data_drops.get(), 1);

        // The minor is free again.
        let first = drm::UnregisteredDevice::<TestDriver>::new(
            bound(&parent),
            TestData::new(counts.clone()),
        )?
        .minor_index();
        let second = drm::UnregisteredDevice::<TestDriver>::new(
            bound(&parent),
            TestData::new(counts.clone()),
        )?
        .minor_index();
        assert_eq!(first, second);
        assert_eq!(counts.data_drops.get(), 3);
        Ok(())
    }

    #[test]
    fn wrong_parent() -> Result {
        let (parent, other) = (parent()?, parent()?);
        let counts = Counts::new()?;

        let dev = drm::UnregisteredDevice::<TestDriver>::new(
            bound(&parent),
            TestData::new(counts.clone()),
        )?;
        let ret = drm::Registration::new(bound(&other), dev);
        assert_eq!(ret.err(), Some(EINVAL));
        assert_eq!(counts.data_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn unbound_before_registration_is_dropped() -> Result {
        let Fixture {
            registration,
            counts,
            parent,
        } = Fixture::new()?;
        let file = OpenFile::new(registration.device())?;

        drop(parent);
        assert!(registration.device().is_unplugged());
        assert!(registration.device().enter().is_none());
        assert_eq!(counts.data_drops.get(), 0);

        // It is not unplugged a second time.
        drop(registration);
        assert_eq!(counts.data_drops.get(), 0);

        drop(file);
        assert_eq!(counts.data_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn leaked_registration() -> Result {
        let Fixture {
            registration,
            counts: _,
            parent,
        } = Fixture::new()?;
        let dev: ARef<drm::Device<TestDriver>> = registration.device().into();

        let registration = KBox::leak(KBox::new(registration, GFP_KERNEL)?);
        assert!(dev.enter().is_some());
        drop(parent);
        assert!(dev.enter().is_none());

        // SAFETY: The box was leaked above, and not used since.
        drop(unsafe { KBox::from_raw(registration) });
        Ok(())
    }
}
