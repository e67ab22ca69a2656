// SPDX-License-Identifier: GPL-2.0

//! Synchronisation objects: binary ones, timelines, the ioctls of the DRM core.

use kernel::prelude::*;

#[kunit_tests(ext_drm_syncobj)]
mod tests {
    use crate::{
        driver::*,
        files::OpenFile,
        mock::*,
        thread::Thread, //
    };
    use core::num::NonZero;
    use kernel::{
        bindings,
        ioctl::_IOWR,
        prelude::*,
        sync::Arc, //
    };
    use kernel_ext::{
        dma_fence::*,
        drm::syncobj::*, //
    };

    /// Numbers of the ioctls of the DRM core.
    const CREATE: u32 = _IOWR::<bindings::drm_syncobj_create>(b'd' as u32, 0xbf);
    const DESTROY: u32 = _IOWR::<bindings::drm_syncobj_destroy>(b'd' as u32, 0xc0);
    const TIMELINE_WAIT: u32 = _IOWR::<bindings::drm_syncobj_timeline_wait>(b'd' as u32, 0xca);

    fn is_same(left: &Fence, right: &Fence) -> bool {
        core::ptr::eq(left, right)
    }

    fn point(point: u64) -> Result<NonZero<u64>> {
        NonZero::new(point).ok_or(EINVAL)
    }

    #[test]
    fn binary() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = Syncobj::new(false)?;
        let handle = obj.create_handle(file.drm())?;

        check_eq!(find_fence(file.drm(), handle + 1, 0).err(), Some(ENOENT));
        check_eq!(Syncobj::find(file.drm(), 0).err(), Some(ENOENT));
        check!(core::ptr::eq(&*Syncobj::find(file.drm(), handle)?, &*obj));

        // There is no fence yet.
        check!(obj.fence().is_none());
        check_eq!(find_fence(file.drm(), handle, 0).err(), Some(EINVAL));

        let (first, second) = (pending()?, pending()?);
        obj.replace_fence(Some(&first));
        check!(is_same(&*find_fence(file.drm(), handle, 0)?, &first));
        OutFence::prepare(file.drm(), handle, 0)?.publish(&second);
        check!(is_same(&*find_fence(file.drm(), handle, 0)?, &second));
        obj.replace_fence(None);
        check_eq!(find_fence(file.drm(), handle, 0).err(), Some(EINVAL));

        // Handles are those of a file.
        let other = OpenFile::new(&dev)?;
        check_eq!(find_fence(other.drm(), handle, 0).err(), Some(ENOENT));
        check_eq!(
            OutFence::prepare(other.drm(), handle, 0).err(),
            Some(ENOENT)
        );

        let signaled = Syncobj::new(true)?.fence().ok_or(EINVAL)?;
        check!(signaled.is_signaled());
        Ok(())
    }

    #[test]
    fn timeline() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = Syncobj::new(false)?;
        let handle = obj.create_handle(file.drm())?;
        let (first, second) = (pending()?, pending()?);

        obj.add_point(Chain::new()?, &first, point(5)?);
        // Prepared, and not used.
        drop(OutFence::prepare(file.drm(), handle, 6)?);
        // Beyond 32 bits.
        let far = 1 << 40;
        OutFence::prepare(file.drm(), handle, far)?.publish(&second);

        check_eq!(find_fence(file.drm(), handle, far + 1).err(), Some(EINVAL));
        let early = find_fence(file.drm(), handle, 3)?;
        let late = find_fence(file.drm(), handle, far)?;

        // The second point is reached when the first is.
        second.signal(Ok(()));
        check_eq!(late.wait_timeout(false, ms(20)).err(), Some(ETIMEDOUT));
        check!(!early.is_signaled());
        first.signal(Ok(()));
        check_eq!(outcome(&early), Ok(()));
        check_eq!(outcome(&late), Ok(()));

        // What was reached has a fence, still.
        check!(find_fence(file.drm(), handle, 5)?.is_signaled());
        check!(find_fence(file.drm(), handle, far)?.is_signaled());
        Ok(())
    }

    #[test]
    fn dependency_of_job() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = Syncobj::new(false)?;
        let handle = obj.create_handle(file.drm())?;
        let queue = MockQueue::new(8, None)?;
        let (first, second) = (pending()?, pending()?);

        // Cut to 32 bits, the second point would be the first.
        obj.add_point(Chain::new()?, &first, point(1)?);
        obj.add_point(Chain::new()?, &second, point((1 << 32) + 1)?);

        let mut job = queue.job(1)?;
        check_eq!(
            job.add_syncobj_dependency(file.drm(), handle + 1, 0).err(),
            Some(ENOENT)
        );
        check_eq!(
            job.add_syncobj_dependency(file.drm(), handle, 1 << 33)
                .err(),
            Some(EINVAL)
        );
        job.add_syncobj_dependency(file.drm(), handle, (1 << 32) + 1)?;

        // The job signals the next point.
        let out = OutFence::prepare(file.drm(), handle, 1 << 33)?;
        {
            let mut submission = queue.entity.lock()?;
            let armed = submission.arm(job)?;
            out.publish(armed.finished());
        }
        let finished = find_fence(file.drm(), handle, 1 << 33)?;

        first.signal(Ok(()));
        sleep(20);
        check_eq!(queue.ran(), 0);
        second.signal(Ok(()));
        check!(wait_for(|| queue.len() == 1));
        check!(!finished.is_signaled());
        queue.complete(Ok(()))?;
        check_eq!(outcome(&finished), Ok(()));
        Ok(())
    }

    #[test]
    fn wait_for_submission() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;
        let obj = Syncobj::new(false)?;
        let handle = obj.create_handle(file.drm())?;
        let unique = Arc::new(pending()?, GFP_KERNEL)?;

        check_eq!(
            find_submitted_fence(file.drm(), handle + 1, 0).err(),
            Some(ENOENT)
        );

        let theirs = unique.clone();
        let chain = Chain::new()?;
        let adder = Thread::spawn(move || {
            sleep(50);
            if let Some(point) = NonZero::new(3) {
                obj.add_point(chain, &theirs, point);
            }
        })?;
        let fence = find_submitted_fence(file.drm(), handle, 2)?;
        check!(!fence.is_signaled());

        // Once it is there, there is nothing to wait for.
        check!(!find_submitted_fence(file.drm(), handle, 3)?.is_signaled());
        adder.join()?;
        drop(unique);
        // Timelines do not pass on errors.
        check_eq!(outcome(&fence), Ok(()));
        Ok(())
    }

    #[test]
    fn ioctls() -> Result {
        let dev = Fixture::new()?;
        let file = OpenFile::new(&dev)?;

        let mut create = bindings::drm_syncobj_create {
            handle: 0,
            flags: bindings::DRM_SYNCOBJ_CREATE_SIGNALED,
        };
        file.ioctl(CREATE, &mut create)?;
        check!(find_fence(file.drm(), create.handle, 0)?.is_signaled());

        // Timelines have to be asked for; here the argument is refused for what it says.
        let mut wait = bindings::drm_syncobj_timeline_wait {
            flags: u32::MAX,
            ..Default::default()
        };
        check_eq!(file.ioctl(TIMELINE_WAIT, &mut wait).err(), Some(EINVAL));

        let obj = Syncobj::find(file.drm(), create.handle)?;
        let mut destroy = bindings::drm_syncobj_destroy {
            handle: create.handle,
            pad: 0,
        };
        file.ioctl(DESTROY, &mut destroy)?;
        check_eq!(find_fence(file.drm(), create.handle, 0).err(), Some(ENOENT));

        // The object lives on with the reference.
        check!(obj.fence().is_some());
        Ok(())
    }
}
