// SPDX-License-Identifier: GPL-2.0

//! Scheduler: what happens to jobs when entities and schedulers end, and who keeps what alive.

use kernel::prelude::*;

#[kunit_tests(ext_drm_sched_end)]
mod tests {
    use crate::{
        mock::*,
        thread::Thread, //
    };
    use kernel::{
        bindings,
        prelude::*,
        sync::{
            aref::ARef,
            atomic::Relaxed,
            Arc, //
        }, //
    };
    use kernel_ext::{
        deferred,
        dma_fence::*,
        drm::sched::*,
        workqueue::OwnedQueue, //
    };

    /// A queue on a workqueue, of which the caller gets a reference: it is the last when the
    /// scheduler has ended.
    fn watched() -> Result<(MockQueue, Arc<OwnedQueue>)> {
        let wq = Arc::new(OwnedQueue::ordered(c"mock")?, GFP_KERNEL)?;

        Ok((MockQueue::on(2, None, Some(wq.clone()))?, wq))
    }

    /// Whether the scheduler of [`watched`] ends, now that everything was dropped.
    fn has_ended(wq: Arc<OwnedQueue>) -> bool {
        deferred::flush();
        Arc::into_unique_or_drop(wq).is_some()
    }

    fn module_references() -> i32 {
        use kernel::ModuleMetadata;

        // SAFETY: The module is valid while its code runs.
        unsafe { bindings::module_refcount(crate::LocalModule::THIS_MODULE.as_ptr()) }
    }

    #[test]
    fn killed() -> Result {
        let queue = MockQueue::new(1, None)?;
        let running = queue.submit(1)?;
        let waiting = queue.submit(2)?;
        let last = queue.submit(3)?;
        check!(wait_for(|| queue.len() == 1));

        queue.entity.kill();
        check_eq!(queue.entity.lock().err(), Some(ESRCH));
        check!(queue.entity.flush(ms(LONG)).is_ok());
        queue.entity.kill();

        // Not before those that run.
        sleep(20);
        check!(!waiting.is_signaled());
        queue.complete(Ok(()))?;
        check_eq!(outcome(&running), Ok(()));
        check_eq!(outcome(&waiting), Err(ESRCH));
        check_eq!(outcome(&last), Err(ESRCH));
        check!(queue.ran_as(&[1]));
        check!(wait_for(|| queue.dropped.load(Relaxed) == 3));
        Ok(())
    }

    #[test]
    fn killed_while_it_waits() -> Result {
        let queue = MockQueue::new(1, None)?;
        let (first, second) = (pending()?, pending()?);

        let mut job = queue.job(1)?;
        job.add_dependency(first.fence())?;
        job.add_dependency(second.fence())?;
        let finished = push(&queue.entity, job)?;
        sleep(20);
        queue.entity.kill();

        // Not before all that it was to wait for.
        first.signal(Ok(()));
        sleep(20);
        check!(!finished.is_signaled());
        second.signal(Ok(()));
        check_eq!(outcome(&finished), Err(ESRCH));
        check_eq!(queue.ran(), 0);
        check!(wait_for(|| queue.dropped.load(Relaxed) == 1));
        Ok(())
    }

    #[test]
    fn flush_ends_when_killed() -> Result {
        let queue = Arc::new(MockQueue::new(1, None)?, GFP_KERNEL)?;
        queue.submit(1)?;
        queue.submit(2)?;
        check!(wait_for(|| queue.len() == 1));

        let other = queue.clone();
        let killer = Thread::spawn(move || {
            sleep(50);
            other.entity.kill();
        })?;
        let left = queue.entity.flush(ms(LONG))?;
        killer.join()?;
        check!(left < ms(LONG) && left > ms(LONG / 2));
        queue.complete(Ok(()))?;
        Ok(())
    }

    #[test]
    fn dropped_with_jobs() -> Result {
        let (queue, wq) = watched()?;
        let ring = queue.ring.clone();
        let unique = pending()?;

        let running = queue.submit(1)?;
        let mut job = queue.job(2)?;
        job.add_dependency(unique.fence())?;
        let waiting = push(&queue.entity, job)?;
        check!(wait_for(|| ring.len() == 1));
        drop(queue);

        // The job that runs ends as if nothing were.
        deferred::flush();
        check!(!running.is_signaled());
        ring.complete(Err(EFAULT))?;
        check_eq!(outcome(&running), Err(EFAULT));
        check!(wait_for(|| ring.dropped.load(Relaxed) == 1));
        check!(!waiting.is_signaled());
        unique.signal(Ok(()));
        check_eq!(outcome(&waiting), Err(ESRCH));

        check!(wait_for(|| ring.dropped.load(Relaxed) == 2));
        check!(ring.ran_as(&[1]));
        check!(has_ended(wq));

        // The fences stay.
        check_eq!(running.error(), Some(EFAULT));
        check_eq!(waiting.error(), Some(ESRCH));
        Ok(())
    }

    #[test]
    fn dropped_unused() -> Result {
        let (queue, wq) = watched()?;

        drop(queue);
        check!(has_ended(wq));
        Ok(())
    }

    #[test]
    fn entity_outlives_handle_of_scheduler() -> Result {
        let (queue, wq) = watched()?;
        let MockQueue {
            entity,
            sched,
            ring,
            parent: _parent,
        } = queue;

        drop(sched);
        deferred::flush();
        let data = MockJob::new(&ring, 1)?;
        let finished = push(&entity, Job::new(&entity, 1, 0, data)?)?;
        check!(wait_for(|| ring.len() == 1));
        ring.complete(Ok(()))?;
        check_eq!(outcome(&finished), Ok(()));

        // A job that was not pushed holds the entity, and that the scheduler.
        let data = MockJob::new(&ring, 2)?;
        let job = Job::new(&entity, 1, 0, data)?;
        drop(entity);
        deferred::flush();
        drop(job);
        check!(wait_for(|| ring.dropped.load(Relaxed) == 2));
        check!(has_ended(wq));
        Ok(())
    }

    /// The job has the entity and the scheduler that it runs on.
    #[test]
    fn job_holds_its_queue() -> Result {
        let (queue, wq) = watched()?;
        let ring = queue.ring.clone();
        let queue = Arc::new(queue, GFP_KERNEL)?;

        let mut first = queue.job(1)?;
        first.data_mut().get_mut().keep = Some(KBox::new(queue.clone(), GFP_KERNEL)?);
        let first = push(&queue.entity, first)?;
        let mut second = queue.job(2)?;
        second.data_mut().get_mut().keep = Some(KBox::new(queue.clone(), GFP_KERNEL)?);
        let second = push(&queue.entity, second)?;
        drop(queue);

        check!(wait_for(|| ring.len() == 2));
        ring.complete_all(Ok(()));
        check_eq!(outcome(&first), Ok(()));
        check_eq!(outcome(&second), Ok(()));
        check!(wait_for(|| ring.dropped.load(Relaxed) == 2));
        check!(has_ended(wq));
        Ok(())
    }

    /// The last references go with the spinlock of a fence held and interrupts off.
    #[test]
    fn dropped_by_callback_of_fence() -> Result {
        let (queue, wq) = watched()?;
        let ring = queue.ring.clone();
        let unique = pending()?;

        let waiting = {
            let mut job = queue.job(1)?;
            job.add_dependency(unique.fence())?;
            push(&queue.entity, job)?
        };
        let MockQueue {
            entity,
            sched,
            ring: _,
            parent,
        } = queue;
        let callback = KBox::pin_init(
            FenceCallback::new(&unique, move |_| {
                drop(entity);
                drop(sched);
            }),
            GFP_KERNEL,
        )?;

        unique.signal(Ok(()));
        check!(callback.is_called());
        // Whether the job was still run is a matter of luck.
        check!(wait_for(|| {
            ring.complete_all(Ok(()));
            waiting.is_signaled()
        }));
        check!(matches!(outcome(&waiting), Ok(()) | Err(ESRCH)));
        check!(wait_for(|| ring.dropped.load(Relaxed) == 1));
        check!(has_ended(wq));
        drop(parent);
        Ok(())
    }

    /// The fence of a job signals in the middle of the end of its entity.
    #[test]
    fn dependency_signals_while_dropped() -> Result {
        for _ in 0..20 {
            let (queue, wq) = watched()?;
            let ring = queue.ring.clone();
            let unique = pending()?;

            let mut job = queue.job(1)?;
            job.add_dependency(unique.fence())?;
            let finished = push(&queue.entity, job)?;
            let signaller = Thread::spawn(move || unique.signal(Ok(())))?;
            drop(queue);
            signaller.join()?;
            check!(wait_for(|| {
                ring.complete_all(Ok(()));
                ring.dropped.load(Relaxed) == 1
            }));
            check!(finished.is_signaled());
            check!(has_ended(wq));
        }
        Ok(())
    }

    /// An entity is killed, or dropped, while the scheduler takes jobs from it, one after the other.
    #[test]
    fn ended_while_jobs_are_run() -> Result {
        let queue = MockQueue::new(8, None)?;

        for round in 0..40 {
            let entity = Entity::new(&queue.sched, Priority::Normal)?;
            let mut fences: KVec<ARef<Fence>> = KVec::new();

            for id in 0..8 {
                let data = MockJob::with(&queue.ring, id, OnRun::Done);
                fences.push(push(&entity, queue.job_for(&entity, data)?)?, GFP_KERNEL)?;
            }
            if round % 2 == 0 {
                entity.kill();
            }
            drop(entity);
            deferred::flush();

            // Those that have not run have failed, and are the last ones.
            let mut killed = false;
            for fence in &fences {
                match outcome(fence) {
                    Err(ESRCH) => killed = true,
                    ret => check!(!killed && ret.is_ok()),
                }
            }

            // The scheduler has forgotten the entity.
            queue.submit_with(MockJob::with(&queue.ring, 8, OnRun::Done))?;
        }
        Ok(())
    }

    /// An entity ends after the scheduler has selected it, and before that has taken the job.
    #[test]
    fn ended_while_a_job_is_prepared() -> Result {
        let queue = MockQueue::new(8, None)?;

        for kill in [true, false] {
            let entity = Entity::new(&queue.sched, Priority::Normal)?;
            let prepared = queue.prepared.load(Relaxed);

            let mut data = MockJob::with(&queue.ring, 1, OnRun::Done);
            data.prepare_time = 50;
            let first = push(&entity, queue.job_for(&entity, data)?)?;
            let data = MockJob::with(&queue.ring, 2, OnRun::Done);
            let second = push(&entity, queue.job_for(&entity, data)?)?;

            check!(wait_for(|| queue.prepared.load(Relaxed) > prepared));
            if kill {
                entity.kill();
            }
            drop(entity);
            deferred::flush();
            check!(matches!(outcome(&first), Ok(()) | Err(ESRCH)));
            check!(matches!(outcome(&second), Ok(()) | Err(ESRCH)));

            // The scheduler, which looks at all entities that it knows, has forgotten this one.
            let last = queue.submit_with(MockJob::with(&queue.ring, 3, OnRun::Done))?;
            check_eq!(outcome(&last), Ok(()));
        }
        Ok(())
    }

    #[test]
    fn freed_at_once() -> Result {
        // What the tests before this one have left behind goes first.
        sleep(100);
        deferred::flush();
        let references = module_references();
        let (queue, wq) = watched()?;
        let ring = queue.ring.clone();

        for at_once in [true, false, true] {
            let mut job = queue.job(0)?;
            job.data_mut().at_once = at_once;
            push(&queue.entity, job)?;
        }
        check!(wait_for(|| ring.len() == 2));
        // For each job, and for its hardware fence.
        check_eq!(module_references(), references + 6);
        queue.complete(Ok(()))?;
        queue.complete(Err(EDOM))?;
        check!(wait_for(|| ring.dropped.load(Relaxed) == 2));
        check_eq!(ring.dropped_at_once.load(Relaxed), 1);

        // The last one is the end of the scheduler, too.
        check!(wait_for(|| ring.len() == 1));
        drop(queue);
        ring.complete_all(Ok(()));
        check!(wait_for(|| ring.dropped.load(Relaxed) == 3));
        check_eq!(ring.dropped_at_once.load(Relaxed), 2);
        check!(wait_for(|| module_references() == references));
        check!(has_ended(wq));
        Ok(())
    }

    #[test]
    fn holds_module() -> Result {
        // What the tests before this one have left behind goes first.
        sleep(100);
        deferred::flush();
        let before = module_references();
        let queue = MockQueue::new(1, None)?;
        check_eq!(module_references(), before);

        // For the job, and for its hardware fence.
        let job = queue.job(1)?;
        check_eq!(module_references(), before + 2);
        drop(job);
        check_eq!(module_references(), before);

        let finished = queue.submit(2)?;
        check!(wait_for(|| queue.len() == 1));
        check_eq!(module_references(), before + 2);
        queue.complete(Ok(()))?;
        check_eq!(outcome(&finished), Ok(()));
        check!(wait_for(|| module_references() == before));
        Ok(())
    }

    #[test]
    fn many() -> Result {
        let wq = Arc::new(OwnedQueue::unbound(c"mock")?, GFP_KERNEL)?;
        let mut fences: KVec<ARef<Fence>> = KVec::new();
        let mut rings = KVec::new();

        for _ in 0..20 {
            let queue = MockQueue::on(2, None, Some(wq.clone()))?;
            for id in 0..4 {
                fences.push(queue.submit(id)?, GFP_KERNEL)?;
            }
            rings.push(queue.ring.clone(), GFP_KERNEL)?;
        }
        check!(wait_for(|| {
            rings.iter().for_each(|ring| ring.complete_all(Ok(())));
            rings.iter().all(|ring| ring.dropped.load(Relaxed) == 4)
        }));
        check!(fences.iter().all(|fence| fence.is_signaled()));
        check!(has_ended(wq));
        Ok(())
    }
}
