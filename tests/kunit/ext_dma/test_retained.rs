// SPDX-License-Identifier: GPL-2.0

//! Tests of memory that peers have not let go of.

use kernel::{
    prelude::*,
    sync::Arc, //
};

#[kunit_tests(ext_dma_retained)]
mod suite {
    use super::*;
    use core::sync::atomic::{
        AtomicUsize,
        Ordering, //
    };
    use kernel_ext::p2pdma::{
        for_each_hold,
        for_each_retained,
        set_aside,
        Hold,
        Retained, //
    };

    /// No BAR is there.
    const BASE: u64 = 0x7000_0000_0000;

    /// Counts itself as long as it exists.
    struct Aside(Arc<AtomicUsize>);

    impl Aside {
        fn new(count: &Arc<AtomicUsize>) -> Self {
            count.fetch_add(1, Ordering::Relaxed);
            Self(count.clone())
        }
    }

    impl Drop for Aside {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Ranges relative to `BASE`, and a count of what is kept.
    type Answer = (KVec<(u64, u64)>, Arc<AtomicUsize>);

    /// What is set aside of a window, relative to `BASE`, and the count of what is kept.
    fn ask(start: u64, end: u64) -> Result<Answer> {
        let count = Arc::new(AtomicUsize::new(0), GFP_KERNEL)?;
        let mut found = KVec::new();

        set_aside(BASE + start..BASE + end, |range| {
            found.push((range.start - BASE, range.end - BASE), GFP_KERNEL)?;
            Ok(KBox::new(Aside::new(&count), GFP_KERNEL)?)
        })?;
        Ok((found, count))
    }

    /// The lengths of what is said of those who hold a part of a window.
    fn holders(start: u64, end: u64) -> (usize, usize) {
        let mut sum = (0, 0);

        for_each_hold(&(BASE + start..BASE + end), |who| {
            sum = (sum.0 + 1, sum.1 + who.to_bytes().len());
        });
        sum
    }

    #[test]
    fn holds_are_found_by_address() -> Result {
        let first = Hold::new(BASE + 0x1000..BASE + 0x3000, fmt!("{} bytes", 10))?;
        let second = Hold::new(BASE + 0x2000..BASE + 0x4000, fmt!("b"))?;

        assert_eq!(holders(0, 0x1000), (0, 0));
        assert_eq!(holders(0, 0x1001), (1, 8));
        assert_eq!(holders(0x2fff, 0x3000), (2, 9));
        assert_eq!(holders(0x3000, 0x8000), (1, 1));
        assert_eq!(holders(0x4000, 0x8000), (0, 0));
        drop(first);
        assert_eq!(holders(0, 0x8000), (1, 1));
        drop(second);
        assert_eq!(holders(0, 0x8000), (0, 0));
        Ok(())
    }

    #[test]
    fn nothing_is_retained_at_first() -> Result {
        let (found, count) = ask(0, 0x10000)?;

        assert!(found.is_empty());
        assert_eq!(count.load(Ordering::Relaxed), 0);
        Ok(())
    }

    #[test]
    fn ranges_are_cut_to_the_window() -> Result {
        let ranges = [(0x1000, 0x3000), (0x8000, 0xa000)];
        let _retained = Retained::new(fmt!("a"), ranges.iter().map(|(s, e)| BASE + s..BASE + e));

        assert_eq!(ask(0, 0x10000)?.0[..], ranges);
        assert_eq!(
            ask(0x2000, 0x9000)?.0[..],
            [(0x2000, 0x3000), (0x8000, 0x9000)]
        );
        assert_eq!(ask(0x3000, 0x8000)?.0[..], []);
        assert_eq!(ask(0xa000, 0x10000)?.0[..], []);
        Ok(())
    }

    #[test]
    fn what_was_set_aside_is_kept_until_the_peer_lets_go() -> Result {
        let first = Retained::new(
            fmt!("first"),
            [BASE..BASE + 0x1000, BASE + 0x4000..BASE + 0x5000].into_iter(),
        );
        let second = Retained::new(
            fmt!("second"),
            core::iter::once(BASE + 0x2000..BASE + 0x3000),
        );
        let (found, count) = ask(0, 0x10000)?;

        assert_eq!(found.len(), 3);
        assert_eq!(count.load(Ordering::Relaxed), 3);
        drop(first);
        assert_eq!(count.load(Ordering::Relaxed), 1);
        drop(second);
        assert_eq!(count.load(Ordering::Relaxed), 0);
        assert!(ask(0, 0x10000)?.0.is_empty());
        Ok(())
    }

    #[test]
    fn who_has_what_can_be_told() {
        let _first = Retained::new(
            fmt!("{} {}", "first", 1),
            [BASE..BASE + 0x1000, BASE + 0x8000..BASE + 0x9000].into_iter(),
        );
        let _second = Retained::new(
            fmt!("second"),
            core::iter::once(BASE + 0x2000..BASE + 0x6000),
        );
        let expected = [
            (BASE..BASE + 0x1000, c"first 1"),
            (BASE + 0x2000..BASE + 0x3000, c"second"),
        ];
        let mut expected = expected.iter();

        for_each_retained(&(BASE..BASE + 0x3000), |range, who| {
            assert_eq!(expected.next(), Some(&(range, who)));
        });
        assert!(expected.next().is_none());
    }

    #[test]
    fn the_error_of_who_sets_aside_comes_through() {
        let _retained = Retained::new(fmt!("a"), core::iter::once(BASE..BASE + 0x1000));
        let result = set_aside(BASE..BASE + 0x1000, |_| Err(ENOSPC));

        assert_eq!(result, Err(ENOSPC));
    }
}
