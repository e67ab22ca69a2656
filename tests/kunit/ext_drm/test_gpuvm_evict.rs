// SPDX-License-Identifier: GPL-2.0

//! Objects whose memory comes and goes while they are mapped.

use kernel::prelude::*;

#[kunit_tests(ext_drm_gpuvm_evict)]
mod tests {
    use crate::{
        driver::*,
        gpuvm::*,
        random::*,
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
        }, //
    };
    use kernel_ext::drm::{
        exec::*,
        gem::Object,
        gpuvm::*, //
    };

    /// Locks the VM, with or without its external objects, and validates it.
    fn validate(vm: &Vm<TestVm>, external: bool) -> Result {
        let mut exec = pin!(Exec::new(Interruptible::No));
        let mut locked = exec.as_mut().lock(|locking| {
            if external {
                locking.lock_vm_objects(vm)
            } else {
                locking.lock_vm(vm)
            }
        })?;

        locked.validate(vm)
    }

    fn entries(vm: &Vm<TestVm>, id: u32) -> usize {
        let of = |entry: &Option<Entry>| entry.and_then(|entry| entry.target).map(|at| at.0);

        vm.table
            .lock()
            .iter()
            .filter(|entry| of(entry) == Some(id))
            .count()
    }

    #[test]
    fn external_objects() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let (a, b) = (dev.object(8, Backing::None)?, dev.object(8, Backing::None)?);
        let (vm_a, vm_b) = (vm.vm_bo(&a, 1)?, vm.vm_bo(&b, 2)?);

        vm.map(0..8, Some((&vm_a, 0)), 1)?;
        vm.map(8..16, Some((&vm_b, 0)), 2)?;
        vm.map(4..12, Some((&vm_a, 0)), 3)?;
        validate(&vm.tree, true)?;
        check_eq!((vm_a.validations.get(), vm_b.validations.get()), (0, 0));

        // Locked are the VM and all in it.
        {
            let mut exec = pin!(Exec::new(Interruptible::No));
            let locked = exec
                .as_mut()
                .lock(|locking| locking.lock_vm_objects(&vm.tree))?;
            for resv in [a.resv(), b.resv(), vm.tree.resv()] {
                check!(locked.holds(resv));
            }
        }

        // The guard must be the object's, and that of the VM for what the VM has.
        {
            let guard = b.resv().lock();
            check_eq!(vm_a.set_evicted(&guard, true), Err(EINVAL));
            check_eq!(vm_a.is_evicted(&guard), Err(EINVAL));
            check_eq!(vm_b.is_evicted(&guard), Ok(false));
            check_eq!(vm_b.add_external(&guard), Err(EINVAL));
        }

        evict(&a, &a.resv().lock())?;
        check_eq!((entries(&vm.tree, 1), entries(&vm.tree, 2)), (0, 4));
        check_eq!(vm_a.is_evicted(&a.resv().lock()), Ok(true));
        // Mapped meanwhile.
        vm.map(20..28, Some((&vm_a, 0)), 4)?;
        check_eq!(entries(&vm.tree, 1), 0);

        validate(&vm.tree, true)?;
        check_eq!((vm_a.validations.get(), vm_b.validations.get()), (1, 0));
        check_eq!(vm_a.is_evicted(&a.resv().lock()), Ok(false));
        vm.check_table()?;
        validate(&vm.tree, true)?;
        check_eq!(vm_a.validations.get(), 1);

        // Of an object that nobody has any more nobody asks.
        evict(&b, &b.resv().lock())?;
        vm.map(0..16, None, 5)?;
        drop(vm_b);
        validate(&vm.tree, true)?;
        vm.tree.deferred_cleanup();
        validate(&vm.tree, true)?;
        vm.check_table()
    }

    #[test]
    fn failing_validation() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let objs = [dev.object(8, Backing::None)?, dev.object(8, Backing::None)?];
        let vm_bos = [vm.vm_bo(&objs[0], 0)?, vm.vm_bo(&objs[1], 1)?];
        let validations = || vm_bos[0].validations.get() + vm_bos[1].validations.get();

        for (i, vm_bo) in vm_bos.iter().enumerate() {
            vm.map(8 * i as u64..8 * i as u64 + 8, Some((vm_bo, 0)), 1)?;
            evict(&objs[i], &objs[i].resv().lock())?;
        }

        vm.tree.validate_errno.store(EDOM.to_errno(), Relaxed);
        check_eq!(validate(&vm.tree, true), Err(EDOM));
        check_eq!(validations(), 1);
        vm.tree.validate_errno.store(0, Relaxed);

        // Without the locks: nobody is asked.
        check_eq!(validate(&vm.tree, false), Err(EINVAL));
        let mut exec = pin!(Exec::new(Interruptible::No));
        let mut locked = exec
            .as_mut()
            .lock(|locking| locking.lock_objects([&*objs[0], &*objs[1]]))?;
        check_eq!(locked.validate(&vm.tree), Err(EINVAL));
        drop(locked);
        check_eq!(validations(), 1);
        check_eq!((entries(&vm.tree, 0), entries(&vm.tree, 1)), (0, 0));

        validate(&vm.tree, true)?;
        check_eq!(validations(), 3);
        vm.check_table()
    }

    #[test]
    fn local_objects() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let root = dev.object(1, Backing::None)?;
        let mut vm = VmFixture::new(&dev, &live, Some(&root))?;
        let mut objs = KVec::new();
        let mut vm_bos = KVec::new();
        for i in 0..4u32 {
            objs.push(local_object(&dev, &root, 8)?, GFP_KERNEL)?;
            vm_bos.push(vm.vm_bo(&objs[i as usize], i)?, GFP_KERNEL)?;
            let start = 8 * u64::from(i);
            vm.map(start..start + 8, Some((&vm_bos[i as usize], 0)), i)?;
            check!(!vm.tree.is_external(&objs[i as usize]));
        }
        let validations = || vm_bos.iter().map(|vm_bo| vm_bo.validations.get());

        // The lock of the VM is theirs. One comes back by itself.
        {
            let guard = vm.tree.resv().lock();
            for obj in &objs {
                evict(obj, &guard)?;
            }
            vm_bos[1].set_evicted(&guard, false)?;
        }
        validate(&vm.tree, false)?;
        check!(validations().eq([1, 0, 1, 1]));
        check_eq!((entries(&vm.tree, 0), entries(&vm.tree, 1)), (8, 0));

        // In the middle of it, the next ones come back by themselves, too, and a new one comes.
        {
            let guard = vm.tree.resv().lock();
            for obj in &objs[..3] {
                evict(obj, &guard)?;
            }
        }
        for (vm_bo, evicted) in [(1, false), (2, false), (3, true)] {
            let peer = (vm_bos[vm_bo].clone(), evicted);
            vm.tree.peers.lock().push(peer, GFP_KERNEL)?;
        }
        let result = validate(&vm.tree, false);
        let peers = core::mem::take(&mut *vm.tree.peers.lock());
        drop(peers);
        result?;
        check!(validations().eq([2, 0, 1, 2]));
        let present = |id| entries(&vm.tree, id);
        check_eq!([0, 1, 2, 3].map(present), [8, 0, 0, 8]);

        // They have left the list, and can come again.
        {
            let guard = vm.tree.resv().lock();
            evict(&objs[1], &guard)?;
            evict(&objs[2], &guard)?;
        }
        validate(&vm.tree, false)?;
        check!(validations().eq([2, 1, 2, 2]));
        vm.check_table()
    }

    /// Nothing of an object is in the page tables while its memory is away.
    struct Race {
        vm: ARef<Vm<TestVm>>,
        obj: ARef<Object<TestObject>>,
        stop: Atomic<bool>,
    }

    impl Race {
        /// Evicts and validates until it is told to stop; returns how often.
        fn evict_and_validate(&self) -> Result<u32> {
            let mut rounds = 0;
            while !self.stop.load(Relaxed) {
                {
                    let guard = self.obj.resv().lock();
                    evict(&self.obj, &guard)?;
                    for _ in 0..20 {
                        if entries(&self.vm, 1) != 0 {
                            pr_err!("round {rounds}: entries without memory\n");
                            return Err(EBADE);
                        }
                    }
                }
                validate(&self.vm, true)?;
                rounds += 1;
            }
            Ok(rounds)
        }
    }

    #[test]
    fn against_steps() -> Result {
        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut random = Random::new("against_steps");
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let obj = dev.object(32, Backing::None)?;
        let vm_bo = vm.vm_bo(&obj, 1)?;
        let race = Arc::new(
            Race {
                vm: vm.tree.vm(),
                obj: obj.clone(),
                stop: Atomic::new(false),
            },
            GFP_KERNEL,
        )?;

        let theirs = race.clone();
        let thread = Thread::spawn(move || theirs.evict_and_validate())?;
        let mut result = Ok(());
        for round in 0..rounds(1000) {
            let len = 1 + random.below(32);
            let start = random.below(PAGES - len + 1);
            let range = start..start + len;
            result = match random.below(4) {
                0 => vm.unmap(range).map(|_| ()),
                1 => vm.map(range, None, round).map(|_| ()),
                _ => {
                    let offset = random.below(32 - len + 1);
                    vm.map(range, Some((&vm_bo, offset)), round).map(|_| ())
                }
            };
            if result.is_err() {
                break;
            }
        }
        race.stop.store(true, Relaxed);
        let evictions = thread.join()?;
        result?;

        pr_info!("evicted {} times\n", evictions?);
        validate(&vm.tree, true)?;
        vm.check_table()
    }
}
