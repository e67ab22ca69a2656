// SPDX-License-Identifier: GPL-2.0

//! The reservation locks of many objects.

use kernel::prelude::*;

#[kunit_tests(ext_drm_exec)]
mod tests {
    use crate::{
        driver::*,
        gpuvm::*,
        thread::Thread, //
    };
    use core::pin::pin;
    use kernel::{
        prelude::*,
        sync::{
            aref::ARef,
            atomic::{
                Atomic,
                Relaxed, //
            },
            Arc, //
        },
        time::{
            delay::fsleep,
            Delta, //
        }, //
    };
    use kernel_ext::{
        dma_fence::*,
        dma_resv::*,
        drm::{
            exec::*,
            gem::Object, //
        }, //
    };

    struct Job;

    #[vtable]
    impl FenceOps for Job {
        fn driver_name(&self) -> &CStr {
            c"ext_drm"
        }

        fn timeline_name(&self) -> &CStr {
            c"exec"
        }
    }

    fn pending() -> Result<UniqueFence<Job>> {
        UniqueFence::new(&FenceContext::new(1), Job, GFP_KERNEL)
    }

    #[test]
    fn locks_and_unlocks() -> Result {
        let dev = Fixture::new()?;
        let (a, b) = (dev.object(1, Backing::None)?, dev.object(1, Backing::None)?);
        let other = dev.object(1, Backing::None)?;
        let shared = local_object(&dev, &a, 1)?;

        for how in [Interruptible::No, Interruptible::Yes] {
            let mut exec = pin!(Exec::new(how));
            for _ in 0..3 {
                let mut passes = 0;
                let mut locked = exec.as_mut().lock(|locking| {
                    passes += 1;
                    // Twice, and with what shares its lock.
                    locking.lock_objects([&*b, &*a, &*b])?;
                    locking.lock_object(&shared)
                })?;
                // The kernel may say, for a test, that there was contention.
                check!(passes >= 1);

                for (obj, held) in [(&a, true), (&b, true), (&shared, true), (&other, false)] {
                    check_eq!(locked.holds(obj.resv()), held);
                    check_eq!(obj.resv().try_lock().is_none(), held);
                    match locked.guard(obj.resv()) {
                        Some(guard) => check!(held && guard.protects(obj.resv())),
                        None => check!(!held),
                    }
                }

                // A lock that somebody else holds is not ours.
                let theirs = other.resv().try_lock().ok_or(EBUSY)?;
                check!(!locked.holds(other.resv()));
                drop(theirs);

                drop(locked);
                for obj in [&a, &b] {
                    check!(obj.resv().try_lock().is_some());
                }
            }
        }
        Ok(())
    }

    #[test]
    fn unlocks_what_is_left() -> Result {
        let dev = Fixture::new()?;
        let (a, b) = (dev.object(1, Backing::None)?, dev.object(1, Backing::None)?);

        // On an error, also one that the caller makes.
        let mut exec = pin!(Exec::new(Interruptible::No));
        let result = exec.as_mut().lock(|locking| {
            locking.lock_object(&a)?;
            Err(EDOM)
        });
        check_eq!(result.err(), Some(EDOM));
        check!(a.resv().try_lock().is_some());

        // A deadlock that there was not.
        let result = exec.as_mut().lock(|locking| {
            locking.lock_object(&a)?;
            Err(EDEADLK)
        });
        check_eq!(result.err(), Some(EDEADLK));
        check!(a.resv().try_lock().is_some());

        // When it was leaked: with the next use, or with the whole.
        core::mem::forget(exec.as_mut().lock(|locking| locking.lock_object(&a))?);
        check!(a.resv().try_lock().is_none());
        let locked = exec.as_mut().lock(|locking| locking.lock_object(&b))?;
        check!(a.resv().try_lock().is_some() && b.resv().try_lock().is_none());
        drop(locked);
        {
            let mut exec = pin!(Exec::new(Interruptible::No));
            core::mem::forget(exec.as_mut().lock(|locking| locking.lock_object(&a))?);
        }
        check!(a.resv().try_lock().is_some());

        // An object lives as long as it is locked.
        let drops = dev.counts.object_drops.get();
        let mut b = Some(b);
        let locked = exec
            .as_mut()
            .lock(|locking| b.take().map_or(Ok(()), |b| locking.lock_object(&b)))?;
        check_eq!(dev.counts.object_drops.get(), drops);
        drop(locked);
        check_eq!(dev.counts.object_drops.get(), drops + 1);
        Ok(())
    }

    #[test]
    fn fences() -> Result {
        let dev = Fixture::new()?;
        let (live, unique) = (crate::gpuvm::Live::new()?, pending()?);
        let root = dev.object(1, Backing::None)?;
        let vm = VmFixture::new(&dev, &live, Some(&root))?;
        let (local, external) = (local_object(&dev, &root, 1)?, dev.object(1, Backing::None)?);

        let mut exec = pin!(Exec::new(Interruptible::Yes));
        let mut locked = exec.as_mut().lock(|locking| {
            locking.lock_vm(&vm.tree)?;
            locking.lock_objects([&*external, &*local])
        })?;

        // Without a reservation, when it was used up, and when a guard was lent.
        check_eq!(locked.reserve_fences(0), Err(EINVAL));
        check_eq!(
            locked.add_fence(&unique, |_| Some(Usage::Read)),
            Err(ENOSPC)
        );
        locked.reserve_fences(1)?;
        check!(locked.guard(external.resv()).is_some());
        check_eq!(
            locked.add_fence(&unique, |_| Some(Usage::Read)),
            Err(ENOSPC)
        );
        check!(external.resv().test_signaled(Usage::Bookkeep));
        locked.reserve_fences(1)?;
        locked.validate(&vm.tree)?;
        check_eq!(
            locked.add_fence(&unique, |_| Some(Usage::Read)),
            Err(ENOSPC)
        );

        locked.reserve_fences(2)?;
        let mut asked = 0;
        locked.add_fence(&unique, |resv| {
            asked += 1;
            core::ptr::eq(resv, external.resv()).then_some(Usage::Read)
        })?;
        check_eq!(asked, 2);
        check!(external.resv().test_signaled(Usage::Write));
        check!(!external.resv().test_signaled(Usage::Read));
        check!(local.resv().test_signaled(Usage::Bookkeep));

        let second = pending()?;
        locked.resv_add_fence(&vm.tree, &second, Usage::Bookkeep, Usage::Write)?;
        check!(!external.resv().test_signaled(Usage::Write));
        check!(local.resv().test_signaled(Usage::Read));
        check!(!local.resv().test_signaled(Usage::Bookkeep));
        check_eq!(
            locked.resv_add_fence(&vm.tree, &second, Usage::Bookkeep, Usage::Write),
            Err(ENOSPC)
        );
        drop(locked);

        unique.signal(Ok(()));
        second.signal(Ok(()));
        check!(external.resv().test_signaled(Usage::Bookkeep));
        Ok(())
    }

    #[test]
    fn not_named_again() -> Result {
        let dev = Fixture::new()?;
        let (a, b) = (dev.object(1, Backing::None)?, dev.object(1, Backing::None)?);
        let state = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let wait_for = |state: &Atomic<i32>, value| {
            while state.load(Relaxed) != value {
                fsleep(Delta::from_millis(1));
            }
        };

        // Somebody with an older ticket has the lock, until it was asked for.
        let (theirs, taken) = (state.clone(), b.clone());
        let thread = Thread::spawn(move || -> Result {
            let mut exec = pin!(Exec::new(Interruptible::No));
            let locked = exec.as_mut().lock(|locking| locking.lock_object(&taken));
            theirs.store(1, Relaxed);
            wait_for(&theirs, 2);
            locked.map(drop)
        })?;
        wait_for(&state, 1);

        let (mut asked, mut again) = (false, 0);
        let mut exec = pin!(Exec::new(Interruptible::No));
        let locked = exec.as_mut().lock(|locking| {
            if asked {
                again += 1;
                return if again < 10 { Ok(()) } else { Err(EBADE) };
            }

            locking.lock_object(&a)?;
            asked = true;
            let result = locking.lock_object(&b);
            state.store(2, Relaxed);
            // An error that is kept back changes nothing.
            if result == Err(EDEADLK) {
                Ok(())
            } else {
                Err(EBADE)
            }
        });
        state.store(2, Relaxed);
        thread.join()??;

        let locked = locked?;
        check_eq!(again, 1);
        for obj in [&a, &b] {
            check!(!locked.holds(obj.resv()));
            check!(obj.resv().try_lock().is_some());
        }
        Ok(())
    }

    /// What several threads do at once, and how often they had to begin again.
    struct Contention {
        objs: [ARef<Object<TestObject>>; 4],
        /// For each object, whether somebody works on it.
        busy: [Atomic<i32>; 4],
        passes: Atomic<i32>,
    }

    impl Contention {
        /// Locks three of the objects, beginning with one and going up or down.
        fn work(&self, first: usize, up: bool) -> Result {
            let order = [0, 1, 2].map(|i| if up { first + i } else { first + 8 - i } % 4);
            let mut exec = pin!(Exec::new(Interruptible::No));
            let locked = exec.as_mut().lock(|locking| {
                self.passes.fetch_add(1, Relaxed);
                for i in order {
                    locking.lock_object(&self.objs[i])?;
                    // Another one has its turn with the lock held.
                    fsleep(Delta::from_micros(20));
                }
                Ok(())
            })?;

            for i in order {
                if !locked.holds(self.objs[i].resv()) || self.busy[i].fetch_add(1, Relaxed) != 0 {
                    return Err(EBADE);
                }
            }
            for i in order {
                self.busy[i].fetch_sub(1, Relaxed);
            }
            Ok(())
        }
    }

    #[test]
    fn contention() -> Result {
        const ROUNDS: usize = 60;

        let dev = Fixture::new()?;
        let object = || dev.object(1, Backing::None);
        let shared = Arc::new(
            Contention {
                objs: [object()?, object()?, object()?, object()?],
                busy: [const { Atomic::new(0) }; 4],
                passes: Atomic::new(0),
            },
            GFP_KERNEL,
        )?;

        let mut threads = KVec::new();
        for up in [true, false, true] {
            let theirs = shared.clone();
            let thread = Thread::spawn(move || -> Result {
                (0..ROUNDS).try_for_each(|round| theirs.work(round % 4, up))
            })?;
            threads.push(thread, GFP_KERNEL)?;
        }
        let mut result = Ok(());
        for thread in threads {
            result = result.and(thread.join()?);
        }
        result?;

        // Each of them went through, and somebody had to begin again.
        let passes = shared.passes.load(Relaxed);
        kernel::pr_info!("contention: {} passes for {} rounds\n", passes, 3 * ROUNDS);
        check!(passes > 3 * ROUNDS as i32);
        Ok(())
    }
}
