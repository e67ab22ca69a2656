// SPDX-License-Identifier: GPL-2.0

//! Callbacks of fences.

use kernel::prelude::*;

#[kunit_tests(ext_dma_callback)]
mod tests {
    use crate::support::*;
    use kernel::{
        prelude::*,
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            Arc, //
        },
    };
    use kernel_ext::{
        deferred,
        dma_fence::*, //
    };

    struct Job;

    #[vtable]
    impl FenceOps for Job {
        fn driver_name(&self) -> &CStr {
            c"ext_dma"
        }

        fn timeline_name(&self) -> &CStr {
            c"callbacks"
        }
    }

    fn pending() -> Result<UniqueFence<Job>> {
        UniqueFence::new(&FenceContext::new(1), Job, GFP_KERNEL)
    }

    /// A counter, and how many references there are on it.
    fn counter() -> Result<Arc<Atomic<u64>>> {
        Ok(Arc::new(Atomic::new(0), GFP_KERNEL)?)
    }

    #[expect(clippy::type_complexity)]
    fn count_on(
        fence: &Fence,
        calls: &Arc<Atomic<u64>>,
    ) -> Result<Pin<KBox<FenceCallback<impl FnOnce(&Fence) + Send>>>> {
        let calls = calls.clone();

        KBox::pin_init(
            FenceCallback::new(fence, move |fence| {
                calls.fetch_add(fence.seqno(), Relaxed);
            }),
            GFP_KERNEL,
        )
    }

    #[test]
    fn called_once() -> Result {
        let unique = pending()?;
        let calls = counter()?;
        let callback = count_on(&unique, &calls)?;

        check!(!callback.is_called());
        check_eq!(calls.load(Relaxed), 0);
        unique.signal(Ok(()));
        check!(callback.is_called());
        // The sequence number of the only fence of its context.
        check_eq!(calls.load(Relaxed), 1);
        drop(callback);
        check_eq!(calls.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn several() -> Result {
        let unique = pending()?;
        let calls = counter()?;
        let first = count_on(&unique, &calls)?;
        let second = count_on(&unique, &calls)?;
        let third = count_on(&unique, &calls)?;

        drop(second);
        unique.signal(Err(EIO));
        check_eq!(calls.load(Relaxed), 2);
        check!(first.is_called() && third.is_called());
        Ok(())
    }

    #[test]
    fn too_late() -> Result {
        let unique = pending()?;
        let fence = unique.fence();
        let calls = counter()?;

        unique.signal(Ok(()));
        check!(matches!(count_on(&fence, &calls), Err(err) if err == ENOENT));
        check_eq!(calls.load(Relaxed), 0);
        // The function and what it owns were dropped.
        check!(Arc::into_unique_or_drop(calls).is_some());
        Ok(())
    }

    #[test]
    fn taken_back() -> Result {
        let unique = pending()?;
        let calls = counter()?;

        drop(count_on(&unique, &calls)?);
        unique.signal(Ok(()));
        check_eq!(calls.load(Relaxed), 0);
        check!(Arc::into_unique_or_drop(calls).is_some());
        Ok(())
    }

    #[test]
    fn taken_back_while_signalled() -> Result {
        // The two race; either way the function has run to its end or never runs.
        for _ in 0..100 {
            let unique = pending()?;
            let calls = counter()?;
            let callback = count_on(&unique, &calls)?;
            let signaller = Thread::spawn(move || unique.signal(Ok(())))?;

            let called = callback.is_called();
            drop(callback);
            let count = calls.load(Relaxed);
            check!(count == 1 || (count == 0 && !called));
            signaller.join()?;
            check_eq!(calls.load(Relaxed), count);
            check!(Arc::into_unique_or_drop(calls).is_some());
        }
        Ok(())
    }

    #[test]
    fn kept_until_it_signals() -> Result {
        let unique = pending()?;
        let (kept, other) = (counter()?, counter()?);

        check!(drop_after::<crate::ExtDmaKunit, _>(&unique, kept.clone()).is_ok());
        check!(drop_after::<crate::ExtDmaKunit, _>(&unique, other.clone()).is_ok());
        deferred::flush();
        let kept = match Arc::into_unique_or_drop(kept.clone()) {
            Some(_) => return Err(EINVAL),
            None => kept,
        };
        unique.signal(Ok(()));
        deferred::flush();
        check!(Arc::into_unique_or_drop(kept).is_some());
        check!(Arc::into_unique_or_drop(other).is_some());
        Ok(())
    }

    #[test]
    fn not_kept_when_it_has_signalled() -> Result {
        let value = counter()?;

        check!(drop_after::<crate::ExtDmaKunit, _>(&Fence::signaled_stub(), value.clone()).is_ok());
        // At once.
        check!(Arc::into_unique_or_drop(value).is_some());
        Ok(())
    }
}
