// SPDX-License-Identifier: GPL-2.0

//! Who keeps VMs, mappings and objects alive.

use kernel::prelude::*;

#[kunit_tests(ext_drm_gpuvm_life)]
mod tests {
    use crate::{
        driver::*,
        gpuvm::*,
        thread::Thread, //
    };
    use core::ptr;
    use kernel::{
        prelude::*,
        sync::{
            aref::ARef,
            Arc, //
        }, //
    };
    use kernel_ext::{
        dma_fence::Signalling,
        drm::gpuvm::*, //
    };

    #[test]
    fn unused_memory() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let obj = dev.object(8, Backing::None)?;
        let vm = VmFixture::new(&dev, &live, None)?;

        // What was not used is put aside, with the object; what was not needed is freed.
        drop(vm.vm_bo_alloc(&obj, 1)?);
        check_eq!(live.vm_bos.get(), 1);
        vm.tree.deferred_cleanup();
        check_eq!(live.vm_bos.get(), 0);

        let first = vm.vm_bo(&obj, 2)?;
        let second = vm.vm_bo(&obj, 3)?;
        check!(ptr::eq(&*first, &*second));
        check_eq!(second.id, 2);
        check_eq!(live.vm_bos.get(), 1);

        // There is another one after the last reference has gone, also before it is freed.
        let third = first.clone();
        drop((first, second));
        vm.tree.deferred_cleanup();
        check_eq!(live.vm_bos.get(), 1);
        drop(third);
        let fourth = vm.vm_bo(&obj, 4)?;
        check_eq!((fourth.id, live.vm_bos.get()), (4, 2));
        vm.tree.deferred_cleanup();
        check_eq!(live.vm_bos.get(), 1);

        drop((vm, fourth));
        check_eq!(live.get(), (0, 0, 0));
        drop(obj);
        check_eq!(dev.counts.object_drops.get(), 1);
        Ok(())
    }

    #[test]
    fn mapping_holds_object() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let obj = dev.object(8, Backing::None)?;
        let vm_bo = vm.vm_bo(&obj, 1)?;
        let drops = || dev.counts.object_drops.get();

        vm.map(0..8, Some((&vm_bo, 0)), 1)?;
        drop((obj, vm_bo));
        vm.tree.deferred_cleanup();
        check_eq!((live.vm_bos.get(), drops()), (1, 0));

        // What is left of a mapping holds it as well.
        vm.unmap(2..6)?;
        vm.unmap(0..2)?;
        vm.tree.deferred_cleanup();
        check_eq!((live.vm_bos.get(), drops()), (1, 0));
        let found = vm.tree.find(BASE + 6 * PAGE).ok_or(ENOENT)?;
        check_eq!(found.obj().map(|obj| obj.size() as u64), Some(8 * PAGE));

        // After the last, the object stays until the VM is cleaned up.
        vm.unmap(0..PAGES)?;
        check_eq!((live.get(), drops()), ((1, 0, 1), 0));
        vm.tree.deferred_cleanup();
        check_eq!((live.get(), drops()), ((1, 0, 0), 1));
        Ok(())
    }

    #[test]
    fn removed_mapping_outlives_object() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let obj = dev.object(8, Backing::None)?;

        let vm_bo = vm.vm_bo(&obj, 1)?;
        vm.map(0..8, Some((&vm_bo, 0)), 5)?;
        vm.steps.keep_removed = true;
        vm.unmap(0..PAGES)?;
        drop((obj, vm_bo));
        let removed = vm.steps.removed.take().ok_or(ENOENT)?;
        drop(vm);
        check_eq!(live.get(), (0, 1, 0));
        check_eq!(dev.counts.object_drops.get(), 1);

        check_eq!(removed.data().tag, 5);
        let (alloc, data) = removed.into_parts();
        drop(alloc);
        check_eq!((data.tag, live.vas.get()), (5, 1));
        drop(data);
        check_eq!(live.vas.get(), 0);
        Ok(())
    }

    #[test]
    fn tree_unmaps_what_is_left() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let obj = dev.object(8, Backing::None)?;

        let vm_bo = vm.vm_bo(&obj, 1)?;
        vm.map(0..8, Some((&vm_bo, 0)), 1)?;
        vm.map(4..6, None, 2)?;
        vm.map(20..28, Some((&vm_bo, 0)), 3)?;
        drop((obj, vm_bo));
        check_eq!(live.get(), (1, 4, 1));

        // Without the tree there are no mappings, and no objects. Somebody may have the VM.
        let kept = vm.tree.vm();
        drop(vm);
        check_eq!(live.get(), (1, 0, 0));
        check_eq!(dev.counts.object_drops.get(), 1);
        check_eq!(kept.name().to_bytes(), b"test-1");
        check!(kept.resv().try_lock().is_some());

        drop(kept);
        check_eq!(live.vms.get(), 0);
        Ok(())
    }

    #[test]
    fn last_user_cleans_up() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let obj = dev.object(8, Backing::None)?;
        let drops = || dev.counts.object_drops.get();

        // Whoever is the last: nobody has to call anything.
        for last in 0..3 {
            let mut vm = VmFixture::new(&dev, &live, None)?;
            let vm_bo = vm.vm_bo(&obj, 1)?;
            vm.map(0..8, Some((&vm_bo, 0)), 1)?;
            let unused = vm.vm_bo_alloc(&obj, 2)?;
            let kept = vm.tree.vm();

            match last {
                0 => {
                    drop((vm, unused, kept));
                    check_eq!(live.get(), (1, 0, 2));
                    drop(vm_bo);
                }
                1 => {
                    drop((vm, vm_bo, kept));
                    check_eq!(live.get(), (1, 0, 2));
                    drop(unused);
                }
                _ => {
                    drop((vm, vm_bo, unused));
                    check_eq!(live.get(), (1, 0, 2));
                    drop(kept);
                }
            }
            check_eq!(live.get(), (0, 0, 0));
        }
        check_eq!(drops(), 0);
        drop(obj);
        check_eq!(drops(), 1);
        Ok(())
    }

    #[test]
    fn device_and_root_live_as_long() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let root = dev.object(1, Backing::None)?;
        let counts = dev.counts.clone();
        let mut vm = VmFixture::new(&dev, &live, Some(&root))?;

        // The object whose lock the VM has may be mapped in it.
        let vm_bo = vm.vm_bo(&root, 1)?;
        check!(!vm.tree.is_external(&root));
        check!(ptr::eq(vm.tree.resv(), root.resv()));
        vm.map(0..1, Some((&vm_bo, 0)), 1)?;
        drop((root, vm_bo, dev));

        check_eq!((counts.object_drops.get(), counts.data_drops.get()), (0, 0));
        vm.unmap(0..PAGES)?;
        vm.tree.deferred_cleanup();
        check_eq!((counts.object_drops.get(), counts.data_drops.get()), (0, 0));
        drop(vm);
        check_eq!((counts.object_drops.get(), counts.data_drops.get()), (1, 1));
        check_eq!(live.get(), (0, 0, 0));
        Ok(())
    }

    #[test]
    fn signalling_path() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let obj = dev.object(8, Backing::None)?;
        let vm_bo = vm.vm_bo(&obj, 1)?;
        let unused = vm.vm_bo_alloc(&obj, 2)?;

        // Enough for all.
        vm.steps.pool.fill(4 * VAS_PER_MAP, GFP_KERNEL)?;
        {
            // Lockdep reports who allocates, or takes a reservation lock.
            let _signalling = Signalling::begin();
            vm.map(0..8, Some((&vm_bo, 0)), 1)?;
            vm.map(2..6, None, 2)?;
            vm.unmap(3..4)?;
            vm.unmap(0..PAGES)?;
            // The last references.
            drop((vm_bo, unused));
            obj.for_each_vm_bo::<TestVm>(|_| {});
        }
        check_eq!(live.get(), (1, 0, 2));

        vm.tree.deferred_cleanup();
        check_eq!(live.get(), (1, 0, 0));
        Ok(())
    }

    #[test]
    fn many_users() -> Result {
        const ROUNDS: usize = 100;

        let (dev, live) = (Fixture::new()?, Live::new()?);
        let obj = dev.object(8, Backing::None)?;
        let vm = Arc::new(VmFixture::new(&dev, &live, None)?, GFP_KERNEL)?;

        // References to the same object in the same VM come and go, and the VM goes meanwhile.
        let mut threads = KVec::new();
        for id in 0..3 {
            let (vm, obj) = (vm.clone(), ARef::from(&*obj));
            let thread = Thread::spawn(move || -> Result {
                for round in 0..ROUNDS {
                    let vm_bo = vm.vm_bo_alloc(&obj, id)?.obtain();
                    let again = vm_bo.clone();
                    drop(vm_bo);
                    if !ptr::eq(again.obj(), &*obj) {
                        return Err(EBADE);
                    }
                    drop(again);
                    if round % 7 == id as usize {
                        vm.tree.deferred_cleanup();
                    }
                }
                Ok(())
            })?;
            threads.push(thread, GFP_KERNEL)?;
        }
        drop(vm);

        let mut result = Ok(());
        for thread in threads {
            result = result.and(thread.join()?);
        }
        result?;
        // A thread has given up what it had when its function is gone.
        for _ in 0..1000 {
            if live.get() == (0, 0, 0) {
                break;
            }
            kernel::time::delay::fsleep(kernel::time::Delta::from_millis(1));
        }
        check_eq!(live.get(), (0, 0, 0));
        drop(obj);
        check_eq!(dev.counts.object_drops.get(), 1);
        Ok(())
    }

    /// A VM of another type, which is only there.
    struct OtherVm;

    impl DriverVm for OtherVm {
        type Driver = TestDriver;
        type VaData = ();
        type VmBoData = u32;
        type Context<'c> = ();

        fn map<'op>(op: MapOp<'op, Self>, (): &mut ()) -> Result<Mapped<'op, Self>> {
            op.insert(VaAlloc::new(GFP_KERNEL)?, ())
        }

        fn unmap<'op>(op: UnmapOp<'op, Self>, (): &mut ()) -> Result<Unmapped<'op, Self>> {
            Ok(op.remove().0)
        }

        fn remap<'op>(_: RemapOp<'op, Self>, (): &mut ()) -> Result<Remapped<'op, Self>> {
            Err(EOPNOTSUPP)
        }
    }

    #[test]
    fn types_of_vms() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let obj = dev.object(8, Backing::None)?;
        let mut vms = [
            VmFixture::new(&dev, &live, None)?,
            VmFixture::new(&dev, &live, None)?,
        ];
        let mut other = Vm::new(
            &dev,
            kernel::str::CString::try_from_fmt(fmt!("other"))?,
            at(0..PAGES),
            None,
            OtherVm,
        )?;

        let vm_bo = VmBoAlloc::new(&other, &obj, 77)?.obtain();
        let request = MapRequest {
            range: at(0..8),
            target: Some((&vm_bo, 0)),
        };
        other.sm_map(request, &mut ())?;
        for (i, vm) in vms.iter_mut().enumerate() {
            let vm_bo = vm.vm_bo(&obj, i as u32 + 1)?;
            for round in 0..=i as u64 {
                vm.map(8 * round..8 * round + 8, Some((&vm_bo, 0)), 1)?;
            }
        }

        let (mut ids, mut vas, mut others) = (0, 0, 0);
        obj.for_each_vm_bo::<TestVm>(|linked| {
            ids = 10 * ids + linked.id;
            vas = 10 * vas + linked.vas().count();
        });
        obj.for_each_vm_bo::<OtherVm>(|linked| {
            others += **linked + linked.vas().count() as u32;
        });
        check_eq!((ids, vas, others), (12, 12, 78));

        drop((vms, vm_bo));
        let mut seen = 0;
        obj.for_each_vm_bo::<TestVm>(|_| seen += 1);
        obj.for_each_vm_bo::<OtherVm>(|_| seen += 10);
        check_eq!(seen, 10);
        // It may be freed with its mapping.
        drop(other);
        obj.for_each_vm_bo::<OtherVm>(|_| seen += 10);
        check_eq!(seen, 10);
        Ok(())
    }
}
