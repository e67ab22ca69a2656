// SPDX-License-Identifier: GPL-2.0

//! Mappings of a VM: the steps, their data, their failures.

use kernel::prelude::*;

#[kunit_tests(ext_drm_gpuvm)]
mod tests {
    use crate::{
        driver::*,
        gpuvm::*, //
    };
    use core::ptr;
    use kernel::{
        prelude::*,
        str::CString, //
    };
    use kernel_ext::drm::{
        gem::Object,
        gpuvm::*, //
    };

    #[test]
    fn map_and_unmap() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let obj = dev.object(8, Backing::None)?;
        let vm_bo = vm.vm_bo(&obj, 1)?;

        check_eq!(vm.tree.range(), at(0..PAGES));
        check_eq!(vm.tree.name().to_bytes(), b"test-1");
        check!(ptr::eq(vm.tree.dev(), &*dev));
        check!(vm.tree.is_external(&obj));
        check!(ptr::eq(vm_bo.obj(), &*obj));
        check!(ptr::eq(vm_bo.vm(), &*vm.tree));
        check!(vm.tree.find(BASE).is_none());

        check_eq!(vm.map(4..12, Some((&vm_bo, 0)), 1)?, (1, 0, 0));
        // A hole in the middle.
        check_eq!(vm.unmap(6..8)?, (0, 1));
        // Over the left end, with nothing.
        check_eq!(vm.map(2..5, None, 2)?, (1, 0, 1));
        check_eq!(
            *vm.vas()?,
            [
                (2..5, None, 2),
                (5..6, Some((1, 1)), 1),
                (8..12, Some((1, 4)), 1),
            ]
        );
        // A hole in nothing, and the last of what was left of the middle.
        check_eq!(vm.unmap(3..4)?, (0, 1));
        check_eq!(vm.unmap(0..3)?, (1, 0));
        check_eq!(vm.unmap(5..6)?, (1, 0));
        check_eq!(vm.unmap(5..8)?, (0, 0));
        check_eq!(*vm.vas()?, [(4..5, None, 2), (8..12, Some((1, 4)), 1)]);
        vm.check_table()?;

        // Over everything, up to both ends of the VM.
        check_eq!(vm.map(0..PAGES, None, 3)?, (1, 2, 0));
        check_eq!(*vm.vas()?, [(0..PAGES, None, 3)]);
        check_eq!(vm.unmap(0..PAGES)?, (1, 0));
        check!(vm.vas()?.is_empty());
        check_eq!(live.vas.get(), 0);
        vm.check_table()
    }

    #[test]
    fn lookups() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let obj = dev.object(8, Backing::None)?;
        let vm_bo = vm.vm_bo(&obj, 1)?;

        for (tag, start) in [(1, 4), (2, 0), (3, 8)] {
            vm.map(start..start + 2, Some((&vm_bo, start / 2)), tag)?;
        }

        let tag = |addr| vm.tree.find(addr).map(|va| va.data().tag);
        check_eq!(tag(BASE), Some(2));
        check_eq!(tag(BASE + 2 * PAGE - 1), Some(2));
        check_eq!(tag(BASE + 2 * PAGE), None);
        check_eq!(tag(BASE + 4 * PAGE), Some(1));
        check_eq!(tag(u64::MAX), None);
        check_eq!(tag(0), None);

        let first = |range| vm.tree.find_first(range).map(|va| va.data().tag);
        check_eq!(first(at(2..4)), None);
        check_eq!(first(at(2..5)), Some(1));
        check_eq!(first(at(4..4)), None);
        check_eq!(first(0..u64::MAX), Some(2));

        let tags = |range| -> Result<KVec<u32>> {
            let mut tags = KVec::new();
            for va in vm.tree.iter_range(range) {
                tags.push(va.data().tag, GFP_KERNEL)?;
            }
            Ok(tags)
        };
        check_eq!(*tags(at(0..PAGES))?, [2, 1, 3]);
        check_eq!(*tags(at(1..5))?, [2, 1]);
        check_eq!(*tags(at(2..4))?, []);
        check_eq!(*tags(at(5..9))?, [1, 3]);

        let va = vm.tree.find(BASE + 5 * PAGE).ok_or(ENOENT)?;
        check_eq!(va.range(), at(4..6));
        check_eq!(va.offset(), 2 * PAGE);
        check!(va.obj().is_some_and(|found| ptr::eq(found, &*obj)));
        check!(ptr::eq(va.vm(), &*vm.tree));
        check_eq!(vm_bo.with_vas(|linked| linked.vas().count()), 3);
        Ok(())
    }

    #[test]
    fn says_what_could_be_kept() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let obj = dev.object(8, Backing::None)?;
        let vm_bo = vm.vm_bo(&obj, 1)?;

        vm.map(4..12, Some((&vm_bo, 0)), 1)?;
        // The same at the same place, in the middle, and beside it.
        vm.map(4..12, Some((&vm_bo, 0)), 2)?;
        check_eq!((vm.steps.unmaps, vm.steps.kept), (1, 1));
        vm.map(6..8, Some((&vm_bo, 2)), 3)?;
        check_eq!((vm.steps.remaps, vm.steps.kept), (1, 1));
        vm.map(6..8, Some((&vm_bo, 1)), 4)?;
        check_eq!((vm.steps.unmaps, vm.steps.kept), (1, 0));

        // Never when something else comes, nothing does, or there is nothing.
        vm.map(0..PAGES, None, 5)?;
        check_eq!((vm.steps.unmaps, vm.steps.kept), (3, 0));
        vm.map(0..PAGES, None, 6)?;
        check_eq!((vm.steps.unmaps, vm.steps.kept), (1, 0));
        vm.unmap(0..PAGES)?;
        check_eq!((vm.steps.unmaps, vm.steps.kept), (1, 0));
        Ok(())
    }

    #[test]
    fn wrong_requests() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let other = VmFixture::new(&dev, &live, None)?;
        let obj = dev.object(8, Backing::None)?;
        let (vm_bo, foreign) = (vm.vm_bo(&obj, 1)?, other.vm_bo(&obj, 2)?);

        vm.map(0..8, Some((&vm_bo, 0)), 1)?;
        let mut steps = |range: core::ops::Range<u64>, target: Option<(_, u64)>| -> Result<_> {
            let unmapped = vm.tree.sm_unmap(range.clone(), &mut vm.steps);
            let mapped = vm.tree.sm_map(MapRequest { range, target }, &mut vm.steps);
            Ok((unmapped.err(), mapped.err()))
        };
        let (end, einval) = (at(0..PAGES).end, Some(EINVAL));

        // Not a range, and not one of the VM.
        for range in [BASE..BASE, end..BASE, 0..1, BASE - 1..BASE + PAGE] {
            check_eq!(steps(range, None)?, (einval, einval));
        }
        for range in [end - 1..end + 1, end..end + 1, 0..u64::MAX, BASE..u64::MAX] {
            check_eq!(steps(range, None)?, (einval, einval));
        }

        // Not of the VM, not of the object. Unmapping what is not mapped is no error.
        let free = at(16..18);
        for target in [
            (&foreign, 0),
            (&vm_bo, 7 * PAGE),
            (&vm_bo, 6 * PAGE + 1),
            (&vm_bo, u64::MAX),
            (&vm_bo, u64::MAX - PAGE),
        ] {
            check_eq!(steps(free.clone(), Some(target))?, (None, einval));
        }
        check_eq!(*vm.vas()?, [(0..8, Some((1, 0)), 1)]);
        vm.map(16..18, Some((&vm_bo, 6)), 2)?;

        // An object of another device.
        let elsewhere = Fixture::new()?;
        let stranger = elsewhere.object(1, Backing::None)?;
        check_eq!(vm.vm_bo_alloc(&stranger, 3).err(), einval);
        let name = || CString::try_from_fmt(fmt!("none"));
        let new = |dev: &Fixture, range, local: Option<&Object<TestObject>>| -> Result<_> {
            Ok(Vm::new(dev, name()?, range, local, TestVm::new(&live)).err())
        };
        check_eq!(new(&dev, 4..4, None)?, einval);
        check_eq!(new(&elsewhere, 0..PAGE, Some(&obj))?, einval);

        // An initializer that fails.
        let failing = TestVm::new(&live).pin_chain(|_| Err(EDOM));
        check_eq!(
            Vm::<TestVm>::new(&dev, name()?, 0..PAGE, None, failing).err(),
            Some(EDOM)
        );
        Ok(())
    }

    /// Three mappings, of which the request 4..12 takes the end, the whole, and the beginning.
    fn three(vm: &mut VmFixture, vm_bo: &VmBoRef<TestVm>) -> Result {
        vm.unmap(0..PAGES)?;
        vm.map(2..6, Some((vm_bo, 0)), 1)?;
        vm.map(7..9, None, 2)?;
        vm.map(10..14, Some((vm_bo, 4)), 3)?;
        Ok(())
    }

    #[test]
    fn failing_steps() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let obj = dev.object(8, Backing::None)?;
        let vm_bo = vm.vm_bo(&obj, 1)?;

        // What is there after so many steps of remap, unmap, remap, map.
        let states: [&[Mapping]; 5] = [
            &[
                (2..6, Some((1, 0)), 1),
                (7..9, None, 2),
                (10..14, Some((1, 4)), 3),
            ],
            &[
                (2..4, Some((1, 0)), 1),
                (7..9, None, 2),
                (10..14, Some((1, 4)), 3),
            ],
            &[(2..4, Some((1, 0)), 1), (10..14, Some((1, 4)), 3)],
            &[(2..4, Some((1, 0)), 1), (12..14, Some((1, 6)), 3)],
            &[
                (2..4, Some((1, 0)), 1),
                (4..12, Some((1, 0)), 4),
                (12..14, Some((1, 6)), 3),
            ],
        ];

        for step in 0..4 {
            for (fail, done) in [(Fail::Before(step), step), (Fail::After(step), step + 1)] {
                three(&mut vm, &vm_bo)?;
                vm.steps.fail = fail;
                let result = vm.map(4..12, Some((&vm_bo, 0)), 4);
                vm.steps.fail = Fail::Never;

                check_eq!(result.err(), Some(EDOM));
                check_eq!(*vm.vas()?, *states[done as usize]);
                vm.check_table()?;
                check_eq!(live.vas.get(), vm.vas()?.len() as i32);

                // It can be done again.
                vm.map(4..12, Some((&vm_bo, 0)), 4)?;
                check_eq!(*vm.vas()?, *states[4]);
                vm.check_table()?;
            }
        }
        Ok(())
    }

    #[test]
    fn too_little_memory() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let obj = dev.object(8, Backing::None)?;
        let vm_bo = vm.vm_bo(&obj, 1)?;

        vm.map(0..8, Some((&vm_bo, 0)), 1)?;
        // Two are needed, of which there is one at most.
        for count in 0..2 {
            vm.steps.pool = VaPool::new();
            vm.steps.pool.fill(count, GFP_KERNEL)?;
            check_eq!(
                vm.tree.sm_unmap(at(3..5), &mut vm.steps).err(),
                Some(ENOMEM)
            );
            check_eq!(vm.steps.pool.len(), count);
            check_eq!(vm.vas()?.len(), 1);
        }

        // Three are, of which there are two, unless memory that was removed is used.
        vm.steps.keep_removed = true;
        let request = || MapRequest {
            range: at(3..5),
            target: None,
        };
        vm.steps.pool.fill(VAS_PER_MAP - 1, GFP_KERNEL)?;
        check_eq!(vm.tree.sm_map(request(), &mut vm.steps).err(), Some(ENOMEM));
        vm.map(0..8, Some((&vm_bo, 0)), 2)?;
        vm.steps.pool = VaPool::new();
        vm.steps.pool.fill(VAS_PER_MAP, GFP_KERNEL)?;
        vm.tree.sm_map(request(), &mut vm.steps)?;
        check_eq!(vm.vas()?.len(), 3);

        // Memory goes round: what was removed is used again.
        vm.steps.keep_removed = false;
        vm.steps.removed = None;
        vm.steps.pool = VaPool::new();
        vm.steps.pool.fill(3, GFP_KERNEL)?;
        vm.unmap(0..PAGES)?;
        let len = vm.steps.pool.len();
        check!(len >= 3);
        let alloc = vm.steps.pool.take()?;
        vm.steps.pool.put(VaAlloc::new(GFP_KERNEL)?);
        drop(alloc);
        check_eq!(vm.steps.pool.len(), len);
        Ok(())
    }
}
