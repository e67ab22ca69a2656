// SPDX-License-Identifier: GPL-2.0

//! Reservation objects.

use kernel::prelude::*;

#[kunit_tests(ext_dma_resv)]
mod tests {
    use crate::support::*;
    use core::ops::Deref;
    use kernel::{
        bindings,
        prelude::*,
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            Arc, //
        },
        types::Opaque, //
    };
    use kernel_ext::{
        dma_fence::*,
        dma_resv::*, //
    };

    struct Job;

    #[vtable]
    impl FenceOps for Job {
        fn driver_name(&self) -> &CStr {
            c"ext_dma"
        }

        fn timeline_name(&self) -> &CStr {
            c"resv"
        }
    }

    fn pending() -> Result<UniqueFence<Job>> {
        UniqueFence::new(&FenceContext::new(1), Job, GFP_KERNEL)
    }

    /// A reservation object that belongs to no buffer.
    #[pin_data(PinnedDrop)]
    struct TestResv {
        #[pin]
        resv: Opaque<bindings::dma_resv>,
    }

    // SAFETY: It may be locked, and dropped, on any thread.
    unsafe impl Send for TestResv {}

    // SAFETY: As above.
    unsafe impl Sync for TestResv {}

    impl TestResv {
        fn new() -> Result<Arc<Self>> {
            Arc::pin_init(
                pin_init!(Self {
                    resv <- Opaque::ffi_init(|resv| {
                        // SAFETY: `resv` is a place to be initialised.
                        unsafe { bindings::dma_resv_init(resv) };
                    }),
                }),
                GFP_KERNEL,
            )
        }
    }

    #[pinned_drop]
    impl PinnedDrop for TestResv {
        fn drop(self: Pin<&mut Self>) {
            // SAFETY: Initialised in `new()`, and not locked.
            unsafe { bindings::dma_resv_fini(self.resv.get()) };
        }
    }

    impl Deref for TestResv {
        type Target = DmaResv;

        fn deref(&self) -> &DmaResv {
            // SAFETY: Initialised in `new()`.
            unsafe { DmaResv::from_raw(self.resv.get()) }
        }
    }

    const ALL: [Usage; 4] = [Usage::Kernel, Usage::Write, Usage::Read, Usage::Bookkeep];

    #[test]
    fn usage_is_ordered() -> Result {
        // A fence is seen by those who ask for its usage, or for a later one.
        for added in ALL {
            let resv = TestResv::new()?;
            let unique = pending()?;

            check!(ALL.iter().all(|usage| resv.test_signaled(*usage)));
            {
                let guard = resv.lock();

                guard.reserve_fences(1)?;
                guard.add_fence(&unique, added)?;
            }
            for asked in ALL {
                let seen = asked >= added;

                check_eq!(resv.test_signaled(asked), !seen);
                check_eq!(resv.wait_timeout(asked, false, ms(1)).is_err(), seen);
                check_eq!(resv.singleton(asked)?.is_some(), seen);
            }
            unique.signal(Ok(()));
            check!(ALL.iter().all(|usage| resv.test_signaled(*usage)));
        }
        check_eq!(Usage::dependencies_of(true), Usage::Read);
        check_eq!(Usage::dependencies_of(false), Usage::Write);
        Ok(())
    }

    #[test]
    fn cell_needs_the_lock_of_its_object() -> Result {
        let (own, other) = (TestResv::new()?, TestResv::new()?);
        let cell = Arc::new(ResvCell::new(&own, 0u32), GFP_KERNEL)?;

        check!(cell.get_mut(&mut other.lock()).is_err());
        let counter = Thread::spawn({
            let (own, cell) = (own.clone(), cell.clone());
            move || -> Result {
                for _ in 0..1000 {
                    *cell.get_mut(&mut own.lock())? += 1;
                }
                Ok(())
            }
        })?;
        for _ in 0..1000 {
            *cell.get_mut(&mut own.lock())? += 1;
        }
        counter.join()??;
        let sum = *cell.get_mut(&mut own.lock())?;
        check_eq!(sum, 2000);
        Ok(())
    }

    #[test]
    fn slots_must_be_reserved() -> Result {
        let resv = TestResv::new()?;
        let (first, second, third) = (pending()?, pending()?, pending()?);

        {
            let guard = resv.lock();

            check_eq!(guard.reserve_fences(0), Err(EINVAL));
            check_eq!(guard.add_fence(&first, Usage::Read), Err(ENOSPC));
            guard.reserve_fences(2)?;
            guard.add_fence(&first, Usage::Read)?;
            guard.add_fence(&second, Usage::Read)?;
            check_eq!(guard.add_fence(&third, Usage::Read), Err(ENOSPC));
            guard.reserve_fences(1)?;
        }
        // A reservation ends with the lock.
        check_eq!(resv.lock().add_fence(&third, Usage::Read), Err(ENOSPC));
        Ok(())
    }

    #[test]
    fn waits() -> Result {
        let resv = TestResv::new()?;
        let (read, write) = (pending()?, pending()?);

        {
            let guard = resv.lock();

            guard.reserve_fences(2)?;
            guard.add_fence(&read, Usage::Read)?;
            guard.add_fence(&write, Usage::Write)?;
            check_eq!(guard.wait(Usage::Read, false, ms(10)), Err(ETIMEDOUT));
        }
        let waiter = Thread::spawn({
            let resv = resv.clone();
            move || resv.wait_timeout(Usage::Read, false, ms(LONG))
        })?;

        write.signal(Ok(()));
        check!(resv.wait_timeout(Usage::Write, true, ms(LONG)).is_ok());
        check_eq!(resv.wait_timeout(Usage::Read, true, ms(10)), Err(ETIMEDOUT));
        read.signal(Err(EIO));
        check!(waiter.join()?.is_ok());
        Ok(())
    }

    #[test]
    fn singleton_waits_for_all() -> Result {
        let resv = TestResv::new()?;
        let (first, second) = (pending()?, pending()?);

        {
            let guard = resv.lock();

            guard.reserve_fences(2)?;
            guard.add_fence(&first, Usage::Write)?;
            guard.add_fence(&second, Usage::Write)?;
        }
        let both = resv.singleton(Usage::Write)?.ok_or(ENOENT)?;

        first.signal(Ok(()));
        check_eq!(both.wait_timeout(false, ms(10)), Err(ETIMEDOUT));
        second.signal(Ok(()));
        check!(both.wait_timeout(false, ms(LONG)).is_ok());
        Ok(())
    }

    #[test]
    fn list_of_fences() -> Result {
        let resv = TestResv::new()?;
        let (read, write, done) = (pending()?, pending()?, pending()?);

        {
            let guard = resv.lock();

            guard.reserve_fences(3)?;
            guard.add_fence(&read, Usage::Read)?;
            guard.add_fence(&write, Usage::Write)?;
            guard.add_fence(&done, Usage::Write)?;
        }
        done.signal(Ok(()));
        check_eq!(resv.fences(Usage::Kernel, |_| true)?.len(), 0);
        check_eq!(resv.fences(Usage::Write, |_| true)?.len(), 1);
        check_eq!(resv.fences(Usage::Bookkeep, |_| true)?.len(), 2);
        let others = resv.fences(Usage::Read, |fence| fence.context() != write.context())?;
        check_eq!(others.len(), 1);
        check_eq!(others[0].context(), read.context());
        Ok(())
    }

    #[test]
    fn a_fence_that_is_pending_is_found() -> Result {
        let resv = TestResv::new()?;
        let guard = resv.lock();
        let fences = [pending()?, pending()?, pending()?];
        let contexts = [0, 1, 2].map(|n: usize| fences[n].context());
        let find = |usage, filter: &dyn Fn(u64) -> bool| {
            guard
                .find_pending(usage, |fence| filter(fence.context()))
                .map(|fence| fence.context())
        };

        check_eq!(find(Usage::Bookkeep, &|_| true), None);
        guard.reserve_fences(3)?;
        for (fence, usage) in fences
            .iter()
            .zip([Usage::Write, Usage::Read, Usage::Bookkeep])
        {
            guard.add_fence(fence, usage)?;
        }
        for (n, usage) in [Usage::Write, Usage::Read, Usage::Bookkeep]
            .into_iter()
            .enumerate()
        {
            for (m, context) in contexts.into_iter().enumerate() {
                let found = find(usage, &|found| found == context);
                check_eq!(found, (m <= n).then_some(context));
            }
        }
        let [first, ..] = fences;
        first.signal(Ok(()));
        check_eq!(find(Usage::Write, &|_| true), None);
        check!(find(Usage::Read, &|_| true).is_some());
        Ok(())
    }

    #[test]
    fn fences_of_a_timeline_replace_each_other() -> Result {
        let resv = TestResv::new()?;
        let ctx = FenceContext::new(1);
        let first = UniqueFence::new(&ctx, Job, GFP_KERNEL)?;
        let second = UniqueFence::new(&ctx, Job, GFP_KERNEL)?;

        {
            let guard = resv.lock();

            guard.reserve_fences(2)?;
            guard.add_fence(&first, Usage::Write)?;
            guard.add_fence(&second, Usage::Write)?;
        }
        let latest = resv.singleton(Usage::Write)?.ok_or(ENOENT)?;

        check_eq!(latest.seqno(), second.seqno());
        Ok(())
    }

    #[test]
    fn lock_excludes() -> Result {
        let (resv, other) = (TestResv::new()?, TestResv::new()?);
        let guard = resv.lock();

        check!(guard.protects(&resv));
        check!(!guard.protects(&other));
        let theirs = Thread::spawn({
            let resv = resv.clone();
            move || resv.try_lock().is_some()
        })?;
        check_eq!(theirs.join()?, false);
        drop(guard);

        let theirs = Thread::spawn({
            let resv = resv.clone();
            move || resv.try_lock().is_some()
        })?;
        check_eq!(theirs.join()?, true);
        check!(resv.lock_interruptible().is_ok());
        check!(resv.try_lock().is_some());
        Ok(())
    }

    #[test]
    fn pair_is_not_twice_the_same() -> Result {
        let resv = TestResv::new()?;

        check_eq!(lock_pair(&resv, &resv, |_, _| ()), Err(EALREADY));
        // Neither lock is left behind.
        check!(resv.try_lock().is_some());
        Ok(())
    }

    #[test]
    fn pair_guards_are_in_order() -> Result {
        let (a, b) = (TestResv::new()?, TestResv::new()?);

        check!(lock_pair(&a, &b, |x, y| x.protects(&a) && y.protects(&b))?);
        check!(lock_pair(&b, &a, |x, y| x.protects(&b) && y.protects(&a))?);
        Ok(())
    }

    #[test]
    fn pair_in_opposite_order() -> Result {
        const ROUNDS: u64 = 500;

        let (a, b) = (TestResv::new()?, TestResv::new()?);
        // Incremented in two steps, so that a lock that does not exclude loses counts.
        let count: Arc<Atomic<u64>> = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let run = |first: Arc<TestResv>, second: Arc<TestResv>, count: Arc<Atomic<u64>>| {
            Thread::spawn(move || -> Result {
                for _ in 0..ROUNDS {
                    lock_pair(&first, &second, |x, y| {
                        check!(x.protects(&first) && y.protects(&second));
                        let old = count.load(Relaxed);
                        // SAFETY: No requirements; sleeps for an instant.
                        unsafe {
                            bindings::usleep_range_state(1, 2, bindings::TASK_UNINTERRUPTIBLE)
                        };
                        count.store(old + 1, Relaxed);
                        Ok(())
                    })??;
                }
                Ok(())
            })
        };
        let one = run(a.clone(), b.clone(), count.clone())?;
        let other = run(b.clone(), a.clone(), count.clone())?;

        one.join()??;
        other.join()??;
        check_eq!(count.load(Relaxed), 2 * ROUNDS);
        Ok(())
    }
}
