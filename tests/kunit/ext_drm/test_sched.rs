// SPDX-License-Identifier: GPL-2.0

//! Scheduler: order, dependencies, credits, outcomes of jobs.

use kernel::prelude::*;

#[kunit_tests(ext_drm_sched)]
mod tests {
    use crate::{
        driver::{
            Backing,
            Fixture, //
        },
        mock::*,
        thread::Thread, //
    };
    use kernel::{
        prelude::*,
        sync::{
            aref::ARef,
            atomic::Relaxed,
            Arc, //
        }, //
    };
    use kernel_ext::{
        dma_fence::*,
        dma_resv::Usage,
        drm::sched::*,
        workqueue::OwnedQueue, //
    };

    #[test]
    fn in_order() -> Result {
        let queue = MockQueue::new(2, None)?;
        let mut fences = KVec::new();

        for id in 0..5 {
            fences.push(queue.submit(id)?, GFP_KERNEL)?;
        }

        // The limit is 2.
        check!(wait_for(|| queue.len() == 2));
        sleep(20);
        check_eq!(queue.len(), 2);
        check_eq!(queue.entity.flush(ms(1)).err(), Some(ETIMEDOUT));

        for id in 0..5 {
            check!(!fences[id as usize].is_signaled());
            check_eq!(queue.complete(Ok(()))?, id);
            check_eq!(outcome(&fences[id as usize]), Ok(()));
            check!(wait_for(|| queue.len() == 2.min(4 - id as usize)));
        }
        check!(queue.ran_as(&[0, 1, 2, 3, 4]));
        check!(queue.entity.flush(ms(LONG)).is_ok());

        // All on the timeline of the entity.
        for pair in fences.windows(2) {
            check_eq!(pair[0].context(), queue.entity.fence_context());
            check_eq!(pair[1].context(), queue.entity.fence_context());
            check!(pair[0].seqno() < pair[1].seqno());
        }

        // The data is dropped in the end.
        check!(wait_for(|| queue.dropped.load(Relaxed) == 5));
        Ok(())
    }

    #[test]
    fn several_under_one_lock() -> Result {
        let queue = MockQueue::new(8, None)?;
        let (first, second) = (queue.job(1)?, queue.job(2)?);

        let mut submission = queue.entity.lock()?;
        let armed = submission.arm(first)?;
        check!(!armed.scheduled().is_signaled());
        armed.push();
        // Pushed without asking for it.
        drop(submission.arm(second)?);
        drop(submission);

        check!(wait_for(|| queue.len() == 2));
        check!(queue.ran_as(&[1, 2]));
        queue.complete_all(Ok(()));
        Ok(())
    }

    #[test]
    fn dependencies() -> Result {
        let queue = MockQueue::new(8, None)?;
        let (first, second) = (pending()?, pending()?);

        let mut job = queue.job(0)?;
        job.add_dependency(first.fence())?;
        job.add_dependency(second.fence())?;
        let finished = push(&queue.entity, job)?;

        sleep(20);
        check_eq!(queue.ran(), 0);
        second.signal(Ok(()));
        sleep(20);
        check_eq!(queue.ran(), 0);

        // An error is not passed on.
        first.signal(Err(EDOM));
        check!(wait_for(|| queue.len() == 1));
        queue.complete(Ok(()))?;
        check_eq!(outcome(&finished), Ok(()));
        Ok(())
    }

    #[test]
    fn dependency_between_entities() -> Result {
        // Of two schedulers that share a workqueue, and of one.
        let wq = Arc::new(OwnedQueue::ordered(c"mock")?, GFP_KERNEL)?;
        let one = MockQueue::on(8, None, Some(wq.clone()))?;
        let two = MockQueue::on(8, None, Some(wq))?;
        let other = Entity::new(&one.sched, Priority::Normal)?;

        let first = one.submit(1)?;
        let mut job = two.job(2)?;
        job.add_dependency(first.clone())?;
        let second = push(&two.entity, job)?;
        let mut job = one.job_for(&other, MockJob::new(&one.ring, 3)?)?;
        job.add_dependency(second.clone())?;
        let third = push(&other, job)?;
        let fourth = one.submit(4)?;

        // The fourth does not wait for the third, which is of another entity.
        check!(wait_for(|| one.len() == 2));
        check!(one.ran_as(&[1, 4]));
        check_eq!(two.ran(), 0);

        check_eq!(one.complete(Ok(()))?, 1);
        check!(wait_for(|| two.len() == 1));
        check!(one.ran_as(&[1, 4]));
        two.complete(Ok(()))?;
        check!(wait_for(|| one.len() == 2));
        check!(one.ran_as(&[1, 4, 3]));
        one.complete_all(Ok(()));

        for fence in [&first, &second, &third, &fourth] {
            check_eq!(outcome(fence), Ok(()));
        }
        Ok(())
    }

    #[test]
    fn prepare_job() -> Result {
        let queue = MockQueue::new(8, None)?;
        let (first, second) = (pending()?, pending()?);

        let mut data = MockJob::new(&queue.ring, 1)?;
        data.prepare(&first)?;
        data.prepare(&second)?;
        let finished = queue.submit_with(data)?;

        check!(wait_for(|| queue.prepared.load(Relaxed) == 1));
        second.signal(Ok(()));
        check!(wait_for(|| queue.prepared.load(Relaxed) == 2));
        check_eq!(queue.ran(), 0);
        first.signal(Ok(()));
        check!(wait_for(|| queue.len() == 1));
        check_eq!(queue.prepared.load(Relaxed), 3);

        queue.complete(Ok(()))?;
        check_eq!(outcome(&finished), Ok(()));
        Ok(())
    }

    #[test]
    fn reservation_object() -> Result {
        let queue = MockQueue::new(8, None)?;
        let dev = Fixture::new()?;
        let obj = dev.object(1, Backing::None)?;
        let resv = obj.resv();
        let (write, read) = (pending()?, pending()?);

        let mut job = queue.job(1)?;
        let finished: ARef<Fence> = {
            let guard = resv.lock();
            guard.reserve_fences(3)?;
            guard.add_fence(&write, Usage::Write)?;
            guard.add_fence(&read, Usage::Read)?;

            // As one that reads: not after the other that does.
            job.add_resv_dependencies(&guard, Usage::Write)?;

            let mut submission = queue.entity.lock()?;
            let armed = submission.arm(job)?;
            guard.add_fence(armed.finished(), Usage::Read)?;
            armed.finished().into()
        };

        sleep(20);
        check_eq!(queue.ran(), 0);
        write.signal(Ok(()));
        check!(wait_for(|| queue.len() == 1));
        read.signal(Ok(()));
        check_eq!(
            resv.wait_timeout(Usage::Read, false, 1).err(),
            Some(ETIMEDOUT)
        );
        queue.complete(Ok(()))?;
        check!(resv.wait_timeout(Usage::Read, false, ms(LONG)).is_ok());
        check_eq!(outcome(&finished), Ok(()));
        Ok(())
    }

    #[test]
    fn outcomes() -> Result {
        let queue = MockQueue::new(8, None)?;

        let done = queue.submit_with(MockJob::with(&queue.ring, 1, OnRun::Done))?;
        check_eq!(outcome(&done), Ok(()));
        check_eq!(queue.entity.error(), None);

        let failed = queue.submit_with(MockJob::with(&queue.ring, 2, OnRun::Fail(EIO)))?;
        check_eq!(outcome(&failed), Err(EIO));
        check_eq!(queue.entity.error(), Some(EIO));

        // The error of the hardware fence.
        let faulty = queue.submit(3)?;
        check!(wait_for(|| queue.len() == 1));
        queue.complete(Err(EFAULT))?;
        check_eq!(outcome(&faulty), Err(EFAULT));
        check_eq!(queue.entity.error(), Some(EFAULT));

        // That of one job is not that of the next.
        let good = queue.submit(4)?;
        check!(wait_for(|| queue.len() == 1));
        queue.complete(Ok(()))?;
        check_eq!(outcome(&good), Ok(()));
        check_eq!(queue.entity.error(), None);
        Ok(())
    }

    #[test]
    fn scheduled_fence() -> Result {
        let queue = MockQueue::new(8, None)?;
        let unique = pending()?;

        let mut job = queue.job(1)?;
        job.add_dependency(unique.fence())?;
        let (scheduled, finished): (ARef<Fence>, ARef<Fence>) = {
            let mut submission = queue.entity.lock()?;
            let armed = submission.arm(job)?;
            (armed.scheduled().into(), armed.finished().into())
        };

        sleep(20);
        check!(!scheduled.is_signaled());
        unique.signal(Ok(()));
        check_eq!(outcome(&scheduled), Ok(()));
        check!(!finished.is_signaled());
        check!(wait_for(|| queue.len() == 1));
        queue.complete(Ok(()))?;
        check_eq!(outcome(&finished), Ok(()));
        Ok(())
    }

    #[test]
    fn priorities() -> Result {
        let queue = MockQueue::new(8, None)?;
        let low = Entity::new(&queue.sched, Priority::Low)?;
        let high = Entity::new(&queue.sched, Priority::High)?;

        let paused = queue.sched.pause();
        push(&low, queue.job_for(&low, MockJob::new(&queue.ring, 1)?)?)?;
        queue.submit(2)?;
        push(&high, queue.job_for(&high, MockJob::new(&queue.ring, 3)?)?)?;
        drop(paused);

        check!(wait_for(|| queue.len() == 3));
        check!(queue.ran_as(&[3, 2, 1]));
        queue.complete_all(Ok(()));
        Ok(())
    }

    #[test]
    fn paused() -> Result {
        let queue = MockQueue::new(1, None)?;
        let first = queue.submit(1)?;
        check!(wait_for(|| queue.len() == 1));

        let paused = queue.sched.pause();
        check!(queue.sched.is_stopped());
        let second = queue.submit(2)?;
        queue.complete(Ok(()))?;

        // Fences signal, but nothing is run or freed.
        check_eq!(outcome(&first), Ok(()));
        sleep(20);
        check_eq!(queue.ran(), 1);
        check_eq!(queue.dropped.load(Relaxed), 0);

        drop(paused);
        check!(!queue.sched.is_stopped());
        check!(wait_for(|| queue.len() == 1));
        check!(wait_for(|| queue.dropped.load(Relaxed) == 1));
        queue.complete(Ok(()))?;
        check_eq!(outcome(&second), Ok(()));
        Ok(())
    }

    #[test]
    fn refused() -> Result {
        let queue = MockQueue::new(2, None)?;
        let other = MockQueue::new(2, None)?;

        for credits in [0, 3, u32::MAX] {
            let data = MockJob::new(&queue.ring, 1)?;
            check_eq!(
                Job::new(&queue.entity, credits, 0, data).err(),
                Some(EINVAL)
            );
        }
        check_eq!(queue.dropped.load(Relaxed), 3);

        // The data cannot be made.
        let data = MockJob::new(&queue.ring, 1)?;
        let ret = Job::new(&queue.entity, 1, 0, {
            // SAFETY: On failure nothing is initialised.
            unsafe {
                pin_init::pin_init_from_closure(|_| {
                    drop(data);
                    Err(EDOM)
                })
            }
        });
        check_eq!(ret.err(), Some(EDOM));
        check_eq!(queue.dropped.load(Relaxed), 4);

        // Another entity.
        let job = other.job(1)?;
        check_eq!(queue.entity.lock()?.arm(job).err(), Some(EINVAL));
        check_eq!(other.dropped.load(Relaxed), 1);

        // Abandoned, with a dependency.
        let unique = pending()?;
        let mut job = queue.job(1)?;
        job.add_dependency(unique.fence())?;
        drop(job);
        check_eq!(queue.dropped.load(Relaxed), 5);
        check_eq!(queue.ran(), 0);

        let ret = Scheduler::<Mock>::new(Config {
            name: c"mock",
            credit_limit: 0,
            timeout: None,
            submit_queue: None,
            timeout_queue: None,
            device: queue.device(),
        });
        check_eq!(ret.err(), Some(EINVAL));
        Ok(())
    }

    #[test]
    fn from_many_threads() -> Result {
        // Sequence numbers follow the order of pushing: the C side relies on it.
        let wq = Arc::new(OwnedQueue::unbound(c"mock")?, GFP_KERNEL)?;
        let queue = Arc::new(MockQueue::on(64, None, Some(wq))?, GFP_KERNEL)?;

        let mut threads = KVec::new();
        for thread in 0..4 {
            let queue = queue.clone();
            let submitter = Thread::spawn(move || -> Result {
                for i in 0..8 {
                    queue.submit(thread * 8 + i)?;
                }
                Ok(())
            })?;
            threads.push(submitter, GFP_KERNEL)?;
        }
        for thread in threads {
            check_eq!(thread.join()?, Ok(()));
        }
        check!(wait_for(|| queue.len() == 32));
        check!(wait_for(|| {
            queue.complete_all(Ok(()));
            queue.dropped.load(Relaxed) == 32
        }));
        Ok(())
    }

    #[test]
    fn wait_for_several() -> Result {
        let (first, second) = (pending()?, pending()?);
        let ended = first.fence();
        let fences = [first.fence(), second.fence()];
        let all = || fences.iter().map(|fence| &**fence);

        check_eq!(wait_all(all(), false, 1).err(), Some(ETIMEDOUT));
        second.signal(Ok(()));
        check_eq!(wait_all(all(), false, 0).err(), Some(ETIMEDOUT));
        first.signal(Err(EDOM));
        check_eq!(wait_all(all(), false, 0), Ok(1));
        check!(wait_all(all(), true, ms(LONG)).is_ok());
        check_eq!(wait_all(None, true, 0), Ok(1));

        // The second one is waited for after the first.
        let third = pending()?;
        let fences = [ended, third.fence()];
        let signaller = Thread::spawn(move || {
            sleep(50);
            third.signal(Ok(()));
        })?;
        check!(wait_all(fences.iter().map(|fence| &**fence), false, ms(LONG)).is_ok());
        signaller.join()?;
        Ok(())
    }
}
