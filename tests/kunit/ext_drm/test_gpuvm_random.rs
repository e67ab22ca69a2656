// SPDX-License-Identifier: GPL-2.0

//! Random sequences of mapping and unmapping, compared with a model.

use kernel::prelude::*;

#[kunit_tests(ext_drm_gpuvm_random)]
mod tests {
    use crate::{
        driver::*,
        gpuvm::*,
        random::*, //
    };
    use core::ops::Range;
    use kernel::prelude::*;

    /// What is where: the simplest way to say it.
    struct Model(KBox<[Option<Entry>; PAGES as usize]>);

    impl Model {
        fn set(&mut self, pages: Range<u64>, entry: impl Fn(u64) -> Option<Entry>) {
            for (i, page) in pages.enumerate() {
                self.0[page as usize] = entry(i as u64);
            }
        }

        /// The steps that mapping or unmapping `pages` takes: unmap, remap.
        fn steps(&self, starts: &[bool; PAGES as usize], pages: &Range<u64>) -> (u32, u32) {
            let (mut unmaps, mut remaps) = (0, 0);
            let mut page = 0;
            while page < PAGES {
                // The mapping that begins here.
                let mut end = page + 1;
                if self.0[page as usize].is_some() {
                    while end < PAGES && self.0[end as usize].is_some() && !starts[end as usize] {
                        end += 1;
                    }
                    if page < pages.end && pages.start < end {
                        if pages.start <= page && end <= pages.end {
                            unmaps += 1;
                        } else {
                            remaps += 1;
                        }
                    }
                }
                page = end;
            }
            (unmaps, remaps)
        }

        /// Compares it with the VM. `starts` says where mappings begin.
        fn check(&self, vm: &VmFixture, starts: &[bool; PAGES as usize]) -> Result {
            let mut seen = KBox::new([None; PAGES as usize], GFP_KERNEL)?;
            let mut end = 0;
            for (range, target, tag) in &vm.vas()? {
                if range.start < end || range.is_empty() || !starts[range.start as usize] {
                    return Err(EBADE);
                }
                end = range.end;
                for page in range.clone() {
                    let i = page - range.start;
                    if i != 0 && starts[page as usize] {
                        return Err(EBADE);
                    }
                    seen[page as usize] = Some(Entry {
                        target: target.map(|(id, first)| (id, first + i)),
                        tag: *tag,
                    });
                }
            }
            if *seen != *self.0 || *vm.tree.table.lock() != *self.0 {
                return Err(EBADE);
            }
            Ok(())
        }
    }

    #[test]
    fn against_model() -> Result {
        const OBJECTS: usize = 3;
        const SIZE: u64 = 24;

        let (dev, live) = (Fixture::new()?, Live::new()?);
        let mut random = Random::new("against_model");
        let mut vm = VmFixture::new(&dev, &live, None)?;
        let mut model = Model(KBox::new([None; PAGES as usize], GFP_KERNEL)?);
        let mut starts = KBox::new([false; PAGES as usize], GFP_KERNEL)?;
        let mut objs = KVec::new();
        for _ in 0..OBJECTS {
            objs.push(dev.object(SIZE as usize, Backing::None)?, GFP_KERNEL)?;
        }

        for round in 0..rounds(800) {
            let len = 1 + random.below(SIZE);
            let start = random.below(PAGES - len + 1);
            let range = start..start + len;
            let expected = model.steps(&starts, &range);
            let tag = round + 1;

            // The beginning of what follows a hole or a new mapping.
            let split = range.end < PAGES && model.0[range.end as usize].is_some();
            let steps = match random.below(5) {
                0 | 1 => {
                    let steps = vm.unmap(range.clone())?;
                    model.set(range.clone(), |_| None);
                    starts[start as usize..range.end as usize].fill(false);
                    steps
                }
                kind => {
                    let target = if kind == 2 {
                        None
                    } else {
                        let id = random.below(OBJECTS as u64) as usize;
                        let vm_bo = vm.vm_bo(&objs[id], id as u32)?;
                        Some((vm_bo, random.below(SIZE - len + 1)))
                    };
                    let what = target.as_ref().map(|(vm_bo, offset)| (vm_bo, *offset));
                    let (maps, unmaps, remaps) = vm.map(range.clone(), what, tag)?;
                    check_eq!(maps, 1);

                    let what = what.map(|(vm_bo, offset)| (vm_bo.id, offset));
                    model.set(range.clone(), |i| {
                        Some(Entry {
                            target: what.map(|(id, offset)| (id, offset + i)),
                            tag,
                        })
                    });
                    starts[start as usize..range.end as usize].fill(false);
                    starts[start as usize] = true;
                    (unmaps, remaps)
                }
            };
            if split {
                starts[range.end as usize] = true;
            }
            check_eq!(steps, expected);

            let result = model.check(&vm, &starts);
            if result.is_err() {
                pr_err!("round {round}: {range:?}\n");
            }
            result?;

            // The lists of the objects have what the tree has.
            let mut listed = 0;
            for obj in &objs {
                obj.for_each_vm_bo::<TestVm>(|linked| listed += linked.vas().count());
            }
            let vas = vm.tree.iter();
            let (mut all, mut mapped) = (0, 0);
            for va in vas {
                all += 1;
                mapped += usize::from(va.obj().is_some());
            }
            check_eq!(listed, mapped);
            check_eq!(live.vas.get(), all);
            if random.below(10) == 0 {
                vm.tree.deferred_cleanup();
            }
        }

        drop(vm);
        check_eq!(live.get(), (0, 0, 0));
        drop(objs);
        check_eq!(dev.counts.object_drops.get(), OBJECTS as i32);
        Ok(())
    }
}
