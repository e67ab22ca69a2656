// SPDX-License-Identifier: GPL-2.0

//! Fences: signalled exactly once, whatever happens.

use kernel::prelude::*;

#[kunit_tests(ext_dma_fence)]
mod tests {
    use crate::support::*;
    use kernel::{
        bindings, impl_has_hr_timer,
        prelude::*,
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            Arc, //
        },
        time::{
            hrtimer::{
                ArcHrTimerHandle,
                HrTimer,
                HrTimerCallback,
                HrTimerCallbackContext,
                HrTimerPointer,
                HrTimerRestart,
                RelativeMode, //
            },
            Delta,
            Monotonic, //
        },
    };
    use kernel_ext::dma_fence::*;

    /// Calls of `enable_signaling()`, in all tests that use [`Counting`].
    static ENABLED: Atomic<u32> = Atomic::new(0);

    struct Job(u32);

    #[vtable]
    impl FenceOps for Job {
        fn driver_name(&self) -> &CStr {
            c"ext_dma"
        }

        fn timeline_name(&self) -> &CStr {
            c"jobs"
        }
    }

    struct Counting;

    #[vtable]
    impl FenceOps for Counting {
        fn driver_name(&self) -> &CStr {
            c"ext_dma"
        }

        fn timeline_name(&self) -> &CStr {
            c"counting"
        }

        fn enable_signaling(&self) {
            ENABLED.fetch_add(1, Relaxed);
        }
    }

    fn pending() -> Result<UniqueFence<Job>> {
        UniqueFence::new(&FenceContext::new(1), Job(7), GFP_KERNEL)
    }

    /// Whether a function of the C side that returns a name returns `name` for `fence`.
    fn has_name(
        fence: &Fence,
        f: unsafe extern "C" fn(*mut bindings::dma_fence) -> *const c_char,
        name: &CStr,
    ) -> bool {
        let _rcu = kernel::sync::rcu::read_lock();

        // SAFETY: The fence is valid, and the string while the RCU section lasts.
        unsafe { CStr::from_char_ptr(f(fence.as_raw())) == name }
    }

    #[test]
    fn success() -> Result {
        let unique = pending()?;
        let fence = unique.fence();

        check!(!fence.is_signaled());
        check!(fence.status().is_none());
        check!(fence.error().is_none());
        unique.signal(Ok(()));
        check!(fence.is_signaled());
        check_eq!(fence.status(), Some(Ok(())));
        check!(fence.error().is_none());
        Ok(())
    }

    #[test]
    fn failure() -> Result {
        let unique = pending()?;
        let fence = unique.fence();

        unique.signal(Err(EIO));
        check_eq!(fence.status(), Some(Err(EIO)));
        check_eq!(fence.error(), Some(EIO));
        Ok(())
    }

    #[test]
    fn drop_cancels() -> Result {
        let unique = pending()?;
        let fence = unique.fence();

        drop(unique);
        check_eq!(fence.error(), Some(ECANCELED));
        Ok(())
    }

    #[test]
    fn nobody_waits() -> Result {
        // The last reference is dropped by signalling. A leak is found by kmemleak, a fence that
        // is freed while pending warns.
        pending()?.signal(Ok(()));
        drop(pending()?);
        Ok(())
    }

    #[test]
    fn data_stays() -> Result {
        let unique = pending()?;
        let fence = unique.driver_fence();

        unique.signal(Ok(()));
        check_eq!(fence.data().0, 7);
        Ok(())
    }

    #[test]
    fn timelines() -> Result {
        let ctx = FenceContext::new(2);
        let other = FenceContext::new(1);
        let first = UniqueFence::new(&ctx, Job(0), GFP_KERNEL)?;
        let second = UniqueFence::new(&ctx, Job(0), GFP_KERNEL)?;
        let side = UniqueFence::new_on(&ctx, 1, Job(0), GFP_KERNEL)?;

        check!(first.context() == second.context());
        check!(first.seqno() < second.seqno());
        check_eq!(side.context(), first.context() + 1);
        check_eq!(ctx.context(1), Some(side.context()));
        check!(ctx.context(2).is_none());
        check_eq!(ctx.last_seqno(), side.seqno());
        check!(other.context(0) != ctx.context(0) && other.context(0) != ctx.context(1));
        check!(matches!(
            UniqueFence::new_on(&ctx, 2, Job(0), GFP_KERNEL),
            Err(err) if err == EINVAL
        ));
        Ok(())
    }

    #[test]
    fn detached_from_driver() -> Result {
        let unique = pending()?;
        let fence = unique.fence();

        check!(has_name(
            &fence,
            bindings::dma_fence_driver_name,
            c"ext_dma"
        ));
        check!(has_name(&fence, bindings::dma_fence_timeline_name, c"jobs"));
        unique.signal(Ok(()));
        // SAFETY: The fence is valid.
        check!(unsafe { (*fence.as_raw()).ops }.is_null());
        check!(has_name(
            &fence,
            bindings::dma_fence_driver_name,
            c"detached-driver"
        ));
        Ok(())
    }

    #[test]
    fn holds_module_while_pending() -> Result {
        let before = module_references();
        let unique = pending()?;
        let fence = unique.fence();

        check_eq!(module_references(), before + 1);
        unique.signal(Ok(()));
        check_eq!(module_references(), before);
        drop(pending()?);
        check_eq!(module_references(), before);
        drop(fence);
        check_eq!(module_references(), before);
        Ok(())
    }

    #[test]
    fn wait_times_out() -> Result {
        let unique = pending()?;
        let fence = unique.fence();

        check_eq!(fence.wait_timeout(false, 0), Err(ETIMEDOUT));
        check_eq!(fence.wait_timeout(true, ms(20)), Err(ETIMEDOUT));
        unique.signal(Ok(()));
        // What is left is at least 1, also of a time of 0.
        check_eq!(fence.wait_timeout(true, 0), Ok(1));
        check_eq!(fence.wait_timeout(true, ms(20)), Ok(ms(20)));
        Ok(())
    }

    #[test]
    fn wait_on_other_thread() -> Result {
        let unique = pending()?;
        let fence = unique.fence();
        let waiter = Thread::spawn({
            let fence = fence.clone();
            move || fence.wait_timeout(false, ms(LONG))
        })?;

        check_eq!(fence.wait_timeout(false, ms(50)), Err(ETIMEDOUT));
        unique.signal(Err(ENODEV));
        // The wait succeeds; the work did not.
        check!(waiter.join()?.is_ok());
        check_eq!(fence.error(), Some(ENODEV));
        Ok(())
    }

    #[test]
    fn enables_signaling_once() -> Result {
        let unique = UniqueFence::new(&FenceContext::new(1), Counting, GFP_KERNEL)?;
        let fence = unique.fence();
        let before = ENABLED.load(Relaxed);

        check!(!fence.is_signaled());
        check_eq!(ENABLED.load(Relaxed), before);
        check_eq!(fence.wait_timeout(false, 1), Err(ETIMEDOUT));
        check_eq!(fence.wait_timeout(false, 1), Err(ETIMEDOUT));
        fence.enable_signaling();
        check_eq!(ENABLED.load(Relaxed), before + 1);
        check!(!fence.is_signaled());
        unique.signal(Ok(()));

        // Nobody waits for this one.
        drop(UniqueFence::new(
            &FenceContext::new(1),
            Counting,
            GFP_KERNEL,
        )?);
        check_eq!(ENABLED.load(Relaxed), before + 1);
        Ok(())
    }

    #[test]
    fn stub() -> Result {
        let fence = Fence::signaled_stub();

        check_eq!(fence.status(), Some(Ok(())));
        Ok(())
    }

    /// A fence that is signalled by a timer, in a hard interrupt.
    #[pin_data]
    struct Alarm {
        #[pin]
        timer: HrTimer<Self>,
        #[pin]
        fence: kernel::sync::SpinLock<Option<UniqueFence<Job>>>,
    }

    impl_has_hr_timer! {
        impl HasHrTimer<Self> for Alarm {
            mode: RelativeMode<Monotonic>, field: self.timer
        }
    }

    impl HrTimerCallback for Alarm {
        type Pointer<'a> = Arc<Self>;

        fn run(
            this: kernel::sync::ArcBorrow<'_, Self>,
            _ctx: HrTimerCallbackContext<'_, Self>,
        ) -> HrTimerRestart {
            // The thread of the test does not take this lock while the timer is armed.
            let fence = this.fence.lock().take();

            if let Some(fence) = fence {
                fence.signal(Err(ETIME));
            }
            HrTimerRestart::NoRestart
        }
    }

    #[test]
    fn signal_in_interrupt() -> Result {
        let unique = pending()?;
        let fence = unique.fence();
        let alarm = Arc::pin_init(
            pin_init!(Alarm {
                timer <- HrTimer::new(),
                fence <- kernel::new_spinlock!(Some(unique)),
            }),
            GFP_KERNEL,
        )?;
        let handle: ArcHrTimerHandle<Alarm> = alarm.start(Delta::from_millis(20));

        check!(fence.wait_timeout(false, ms(LONG)).is_ok());
        check_eq!(fence.error(), Some(ETIME));
        drop(handle);
        Ok(())
    }
}
