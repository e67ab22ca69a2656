// SPDX-License-Identifier: GPL-2.0

//! Scheduler: jobs that take too long, faults, resets.

use kernel::prelude::*;

#[kunit_tests(ext_drm_sched_timeout)]
mod tests {
    use crate::mock::*;
    use kernel::{
        prelude::*,
        sync::atomic::Relaxed, //
    };
    use kernel_ext::dma_fence::FenceMemory;

    /// Of the jobs of a test, in milliseconds.
    const TIMEOUT: u32 = 50;

    #[test]
    fn reset() -> Result {
        let queue = MockQueue::new(2, Some(TIMEOUT))?;
        queue.on_timeout(OnTimeout::Reset);

        let first = queue.submit(1)?;
        let second = queue.submit(2)?;
        let unique = pending()?;
        let mut third = queue.job(3)?;
        third.add_dependency(unique.fence())?;
        let third = push(&queue.entity, third)?;

        check_eq!(outcome(&first), Err(ETIMEDOUT));
        check_eq!(outcome(&second), Err(EIO));
        check_eq!(queue.guilty.load(Relaxed), 1);
        check_eq!(queue.timeouts.load(Relaxed), 1);

        // The scheduler goes on.
        queue.on_timeout(OnTimeout::Wait);
        unique.signal(Ok(()));
        check!(wait_for(|| queue.len() == 1));
        check!(queue.ran_as(&[1, 2, 3]));
        queue.complete(Ok(()))?;
        check_eq!(outcome(&third), Ok(()));
        check!(wait_for(|| queue.dropped.load(Relaxed) == 3));
        check!(!queue.sched.is_stopped());
        Ok(())
    }

    #[test]
    fn reset_of_unsignalled_job() -> Result {
        // The driver does not signal anything: the scheduler ends the guilty job, too.
        let queue = MockQueue::new(2, Some(TIMEOUT))?;
        queue.on_timeout(OnTimeout::Gone);

        let first = queue.submit(1)?;
        let second = queue.submit(2)?;
        check_eq!(outcome(&first), Err(ENODEV));
        check_eq!(outcome(&second), Err(ENODEV));
        check!(wait_for(|| queue.dropped.load(Relaxed) == 2));

        // Their hardware fences do not matter any more.
        queue.complete_all(Ok(()));
        check_eq!(outcome(&first), Err(ENODEV));

        // What comes later is run, and times out again.
        let third = queue.submit(3)?;
        check_eq!(outcome(&third), Err(ENODEV));
        check!(wait_for(|| queue.dropped.load(Relaxed) == 3));
        queue.complete_all(Ok(()));
        Ok(())
    }

    #[test]
    fn no_hang() -> Result {
        let queue = MockQueue::new(2, Some(TIMEOUT))?;

        let first = queue.submit(1)?;
        check!(wait_for(|| queue.timeouts.load(Relaxed) >= 2));
        check!(!first.is_signaled());

        // The job was not lost: it ends, and is freed.
        queue.complete(Ok(()))?;
        check_eq!(outcome(&first), Ok(()));
        check!(wait_for(|| queue.dropped.load(Relaxed) == 1));
        let timeouts = queue.timeouts.load(Relaxed);
        sleep(i64::from(TIMEOUT) * 2);
        check_eq!(queue.timeouts.load(Relaxed), timeouts);
        Ok(())
    }

    #[test]
    fn driver_signals() -> Result {
        let queue = MockQueue::new(2, Some(TIMEOUT))?;
        queue.on_timeout(OnTimeout::Signal);

        let first = queue.submit(1)?;
        let second = queue.submit(2)?;
        check_eq!(outcome(&first), Err(ETIMEDOUT));
        check_eq!(outcome(&second), Err(ETIMEDOUT));
        check!(wait_for(|| queue.dropped.load(Relaxed) == 2));
        check_eq!(queue.timeouts.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn fault() -> Result {
        let queue = MockQueue::new(2, None)?;
        queue.on_timeout(OnTimeout::Reset);

        // There is no job yet.
        queue.sched.fault();
        sleep(20);
        check_eq!(queue.timeouts.load(Relaxed), 0);

        let first = queue.submit(1)?;
        check!(wait_for(|| queue.len() == 1));
        sleep(20);
        check!(!first.is_signaled());
        queue.sched.fault();
        check_eq!(outcome(&first), Err(ETIMEDOUT));
        Ok(())
    }

    #[test]
    fn expire() -> Result {
        let queue = MockQueue::new(2, None)?;
        queue.on_timeout(OnTimeout::Signal);

        let first = queue.submit(1)?;
        check!(wait_for(|| queue.len() == 1));
        queue.sched.expire();
        check_eq!(outcome(&first), Err(ETIMEDOUT));

        // Also those that come later.
        check_eq!(outcome(&*queue.submit(2)?), Err(ETIMEDOUT));
        Ok(())
    }

    #[test]
    fn not_while_it_is_given_to_the_hardware() -> Result {
        let queue = MockQueue::new(2, Some(1))?;
        queue.on_timeout(OnTimeout::Gone);

        // Longer than the timeout.
        let memory = FenceMemory::new(GFP_KERNEL)?;
        let data = MockJob::with(&queue.ring, 1, OnRun::Slow(Some(memory), 50));
        let first = queue.submit_with(data)?;

        check_eq!(outcome(&first), Err(ENODEV));
        check_eq!(queue.early.load(Relaxed), 0);
        check_eq!(queue.timeouts.load(Relaxed), 1);
        queue.complete_all(Ok(()));
        Ok(())
    }

    #[test]
    fn reset_from_outside() -> Result {
        let queue = MockQueue::new(2, Some(TIMEOUT))?;
        queue.on_timeout(OnTimeout::Wait);

        let ended = queue.submit(1)?;
        let running = queue.submit(2)?;
        let unique = pending()?;
        let mut waiting = queue.job(3)?;
        waiting.add_dependency(unique.fence())?;
        let waiting = push(&queue.entity, waiting)?;
        check!(wait_for(|| queue.len() == 2));
        queue.complete(Err(EFAULT))?;

        let stopped = queue.sched.stop();
        check!(queue.sched.is_stopped());
        let timeouts = queue.timeouts.load(Relaxed);
        sleep(i64::from(TIMEOUT) * 2);
        check_eq!(queue.timeouts.load(Relaxed), timeouts);
        check!(!running.is_signaled());
        queue.complete_all(Ok(()));
        check!(!running.is_signaled());
        unique.signal(Ok(()));
        sleep(20);
        check_eq!(queue.ran(), 2);
        stopped.start(EIO);

        check_eq!(outcome(&ended), Err(EFAULT));
        check_eq!(outcome(&running), Err(EIO));
        check!(wait_for(|| queue.len() == 1));
        // Timeouts work again.
        check!(wait_for(|| queue.timeouts.load(Relaxed) > timeouts));
        queue.complete_all(Ok(()));
        check_eq!(outcome(&waiting), Ok(()));
        check!(wait_for(|| queue.dropped.load(Relaxed) == 3));

        // By dropping it.
        let lost = queue.submit(4)?;
        check!(wait_for(|| queue.len() == 1));
        drop(queue.sched.stop());
        check_eq!(outcome(&lost), Err(ECANCELED));
        queue.complete_all(Ok(()));
        Ok(())
    }
}
