// SPDX-License-Identifier: GPL-2.0

//! VMs under test: their steps write page tables, which are an array, and count.

use crate::driver::*;
use core::ops::Range;
use kernel::{
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use kernel_ext::{
    dma_resv::Guard,
    drm::{
        gem::{
            Object,
            Resv, //
        },
        gpuvm::*, //
    }, //
};

pub(crate) const PAGE: u64 = PAGE_SIZE as u64;

/// Where the addresses of the VMs begin, and how many pages they have.
pub(crate) const BASE: u64 = 0x7f_0000_0000;
pub(crate) const PAGES: u64 = 64;

/// The addresses of some pages of a VM.
pub(crate) fn at(pages: Range<u64>) -> Range<u64> {
    BASE + pages.start * PAGE..BASE + pages.end * PAGE
}

/// The pages of some addresses.
pub(crate) fn pages(range: Range<u64>) -> Range<u64> {
    (range.start - BASE) / PAGE..(range.end - BASE) / PAGE
}

/// What there is of things that are to be dropped.
pub(crate) struct Live {
    pub(crate) vms: Count,
    pub(crate) vas: Count,
    pub(crate) vm_bos: Count,
}

impl Live {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                vms: Count::new(),
                vas: Count::new(),
                vm_bos: Count::new(),
            },
            GFP_KERNEL,
        )?)
    }

    pub(crate) fn get(&self) -> (i32, i32, i32) {
        (self.vms.get(), self.vas.get(), self.vm_bos.get())
    }
}

/// An entry of the page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The object and the page in it; `None` for a null mapping.
    pub(crate) target: Option<(u32, u64)>,
    /// Of the request that made it.
    pub(crate) tag: u32,
}

/// The data of a VM.
#[pin_data(PinnedDrop)]
pub(crate) struct TestVm {
    live: Arc<Live>,
    #[pin]
    pub(crate) table: Mutex<[Option<Entry>; PAGES as usize]>,
    /// Locked by who uses the tree, or writes page table entries.
    #[pin]
    tree_lock: Mutex<()>,
    /// What is said about others while one is validated: whether they are evicted. The test must
    /// empty it.
    #[pin]
    pub(crate) peers: Mutex<KVec<(VmBoRef<TestVm>, bool)>>,
    /// What validating fails with, if not 0.
    pub(crate) validate_errno: Atomic<i32>,
}

impl TestVm {
    pub(crate) fn new(live: &Arc<Live>) -> impl PinInit<Self, Error> {
        let live = live.clone();

        try_pin_init!(Self {
            live: {
                live.vms.add();
                live
            },
            table <- new_mutex!([None; PAGES as usize]),
            tree_lock <- new_mutex!(()),
            peers <- new_mutex!(KVec::new()),
            validate_errno: Atomic::new(0),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for TestVm {
    fn drop(self: Pin<&mut Self>) {
        self.live.vms.sub();
    }
}

/// The data of a mapping.
pub(crate) struct VaData {
    live: Arc<Live>,
    pub(crate) tag: u32,
}

impl VaData {
    pub(crate) fn new(live: &Arc<Live>, tag: u32) -> Self {
        live.vas.add();
        Self {
            live: live.clone(),
            tag,
        }
    }
}

impl Drop for VaData {
    fn drop(&mut self) {
        self.live.vas.sub();
    }
}

/// The data of an object in a VM.
pub(crate) struct VmBoData {
    live: Arc<Live>,
    /// A number for the object.
    pub(crate) id: u32,
    /// Whether its memory is there; protected by the page tables.
    pub(crate) resident: Atomic<bool>,
    pub(crate) validations: Count,
}

impl Drop for VmBoData {
    fn drop(&mut self) {
        self.live.vm_bos.sub();
    }
}

/// When a step is to fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fail {
    Never,
    /// In the step with this number, before it is carried out.
    Before(u32),
    /// In the step with this number, after it was carried out.
    After(u32),
}

/// What a call takes to the steps.
pub(crate) struct Steps {
    live: Arc<Live>,
    pub(crate) pool: VaPool<TestVm>,
    pub(crate) tag: u32,
    pub(crate) fail: Fail,
    pub(crate) maps: u32,
    pub(crate) unmaps: u32,
    pub(crate) remaps: u32,
    /// How many of them could have kept their page table entries.
    pub(crate) kept: u32,
    /// Whether the last mapping that was removed is to be kept.
    pub(crate) keep_removed: bool,
    pub(crate) removed: Option<VaRemoved<TestVm>>,
}

impl Steps {
    fn count(&self) -> u32 {
        self.maps + self.unmaps + self.remaps
    }

    fn before(&self) -> Result {
        match self.fail {
            Fail::Before(step) if step == self.count() => Err(EDOM),
            _ => Ok(()),
        }
    }

    /// Disposes of a mapping that was removed.
    fn put(&mut self, removed: VaRemoved<TestVm>) {
        if self.keep_removed {
            self.removed = Some(removed);
        } else {
            self.pool.put(removed.into_parts().0);
        }
    }

    fn after(&self) -> Result {
        match self.fail {
            Fail::After(step) if step + 1 == self.count() => Err(EDOM),
            _ => Ok(()),
        }
    }
}

/// Clears page table entries.
fn clear(vm: &TestVm, range: Range<u64>) {
    for page in pages(range) {
        vm.table.lock()[page as usize] = None;
    }
}

/// Writes the page table entries of a mapping, unless the memory is away.
fn write(va: &Va<TestVm>) {
    let mut table = va.vm().table.lock();
    if va
        .vm_bo()
        .is_some_and(|vm_bo| !vm_bo.resident.load(Relaxed))
    {
        return;
    }

    for (i, page) in pages(va.range()).enumerate() {
        table[page as usize] = Some(Entry {
            target: va
                .vm_bo()
                .map(|vm_bo| (vm_bo.id, va.offset() / PAGE + i as u64)),
            tag: va.data().tag,
        });
    }
}

impl DriverVm for TestVm {
    type Driver = TestDriver;
    type VaData = VaData;
    type VmBoData = VmBoData;
    type Context<'c> = Steps;

    fn map<'op>(op: MapOp<'op, Self>, steps: &mut Steps) -> Result<Mapped<'op, Self>> {
        steps.before()?;
        steps.maps += 1;

        let data = VaData::new(&steps.live, steps.tag);
        let mapped = op.insert(steps.pool.take()?, data)?;
        write(mapped.va());

        steps.after()?;
        Ok(mapped)
    }

    fn unmap<'op>(op: UnmapOp<'op, Self>, steps: &mut Steps) -> Result<Unmapped<'op, Self>> {
        steps.before()?;
        steps.unmaps += 1;
        steps.kept += u32::from(op.keep());

        clear(op.vm(), op.va().range());
        let (unmapped, removed) = op.remove();
        steps.put(removed);

        steps.after()?;
        Ok(unmapped)
    }

    fn remap<'op>(op: RemapOp<'op, Self>, steps: &mut Steps) -> Result<Remapped<'op, Self>> {
        steps.before()?;
        steps.remaps += 1;
        steps.kept += u32::from(op.keep());

        clear(op.vm(), op.hole());
        let (live, pieces) = (&steps.live, (op.prev(), op.next()));
        let (remapped, removed) = op.remap(&mut steps.pool, |old, _| VaData::new(live, old.tag))?;

        // The pieces are what was said.
        let made = (remapped.prev(), remapped.next());
        for (piece, va) in [(pieces.0, made.0), (pieces.1, made.1)] {
            let va = va.map(|va| Piece {
                range: va.range(),
                offset: va.offset(),
            });
            if va != piece {
                return Err(EBADE);
            }
        }
        steps.put(removed);

        steps.after()?;
        Ok(remapped)
    }

    fn validate(vm_bo: &VmBo<Self>, guard: &mut Guard<'_>) -> Result {
        if !vm_bo.is_evicted(guard)? {
            return Err(EBADE);
        }
        vm_bo.validations.add();
        match vm_bo.vm().validate_errno.load(Relaxed) {
            0 => {}
            errno => return Err(Error::from_errno(errno)),
        }

        for (peer, evicted) in &*vm_bo.vm().peers.lock() {
            peer.set_evicted(guard, *evicted)?;
        }

        let _tree = vm_bo.vm().tree_lock.lock();
        vm_bo.resident.store(true, Relaxed);
        vm_bo.with_vas(|linked| linked.vas().for_each(write));
        Ok(())
    }
}

/// Takes the memory of an object away, as a driver does.
pub(crate) fn evict(obj: &Object<TestObject>, guard: &Guard<'_>) -> Result {
    let mut result = Ok(());

    obj.for_each_vm_bo::<TestVm>(|linked| {
        result = linked.set_evicted(guard, true);
        linked.resident.store(false, Relaxed);
        for va in linked.vas() {
            clear(linked.vm(), va.range());
        }
    });
    result
}

/// A mapping: its pages, the object and the first page in it, the tag of the request that made it.
pub(crate) type Mapping = (Range<u64>, Option<(u32, u64)>, u32);

/// A VM, and what its operations need.
pub(crate) struct VmFixture {
    pub(crate) tree: VmTree<TestVm>,
    pub(crate) steps: Steps,
    pub(crate) live: Arc<Live>,
}

impl VmFixture {
    /// Creates a VM; objects with the reservation object of `local` are local to it.
    pub(crate) fn new(
        dev: &Fixture,
        live: &Arc<Live>,
        local: Option<&Object<TestObject>>,
    ) -> Result<Self> {
        let name = CString::try_from_fmt(fmt!("test-{}", live.vms.get() + 1))?;

        Ok(Self {
            tree: Vm::new(dev, name, at(0..PAGES), local, TestVm::new(live))?,
            steps: Steps {
                live: live.clone(),
                pool: VaPool::new(),
                tag: 0,
                fail: Fail::Never,
                maps: 0,
                unmaps: 0,
                remaps: 0,
                kept: 0,
                keep_removed: false,
                removed: None,
            },
            live: live.clone(),
        })
    }

    /// Memory for an object in the VM.
    pub(crate) fn vm_bo_alloc(
        &self,
        obj: &Object<TestObject>,
        id: u32,
    ) -> Result<VmBoAlloc<TestVm>> {
        self.live.vm_bos.add();
        VmBoAlloc::new(
            &self.tree,
            obj,
            VmBoData {
                live: self.live.clone(),
                id,
                resident: Atomic::new(true),
                validations: Count::new(),
            },
        )
    }

    /// An object in the VM.
    pub(crate) fn vm_bo(&self, obj: &Object<TestObject>, id: u32) -> Result<VmBoRef<TestVm>> {
        let vm_bo = self.vm_bo_alloc(obj, id)?.obtain();

        vm_bo.add_external(&self.tree.resv().lock())?;
        Ok(vm_bo)
    }

    fn prepare(&mut self, tag: u32) -> Result {
        (self.steps.maps, self.steps.unmaps, self.steps.remaps) = (0, 0, 0);
        self.steps.kept = 0;
        self.steps.tag = tag;
        self.steps.pool.fill(VAS_PER_MAP, GFP_KERNEL)
    }

    /// Maps pages of an object from `offset` on, or nothing, and returns the numbers of steps: map,
    /// unmap, remap.
    pub(crate) fn map(
        &mut self,
        pages: Range<u64>,
        target: Option<(&VmBoRef<TestVm>, u64)>,
        tag: u32,
    ) -> Result<(u32, u32, u32)> {
        self.prepare(tag)?;

        let request = MapRequest {
            range: at(pages),
            target: target.map(|(vm_bo, offset)| (vm_bo, offset * PAGE)),
        };
        let vm = self.tree.vm();
        let _tree = vm.tree_lock.lock();
        self.tree.sm_map(request, &mut self.steps)?;
        Ok((self.steps.maps, self.steps.unmaps, self.steps.remaps))
    }

    /// Unmaps pages, and returns the numbers of steps: unmap, remap.
    pub(crate) fn unmap(&mut self, pages: Range<u64>) -> Result<(u32, u32)> {
        self.prepare(0)?;

        let vm = self.tree.vm();
        let _tree = vm.tree_lock.lock();
        self.tree.sm_unmap(at(pages), &mut self.steps)?;
        Ok((self.steps.unmaps, self.steps.remaps))
    }

    /// Whether the page tables are what the mappings say, all memory being there.
    pub(crate) fn check_table(&self) -> Result {
        let mut expected = KBox::new([None; PAGES as usize], GFP_KERNEL)?;
        for (range, target, tag) in &self.vas()? {
            for (i, page) in range.clone().enumerate() {
                expected[page as usize] = Some(Entry {
                    target: target.map(|(id, first)| (id, first + i as u64)),
                    tag: *tag,
                });
            }
        }

        let table = self.tree.table.lock();
        for (page, (entry, expected)) in table.iter().zip(expected.iter()).enumerate() {
            if entry != expected {
                pr_err!("page {page}: {entry:?} instead of {expected:?}\n");
                return Err(EBADE);
            }
        }
        Ok(())
    }

    /// The mappings.
    pub(crate) fn vas(&self) -> Result<KVec<Mapping>> {
        let mut vas = KVec::new();
        for va in self.tree.iter() {
            let target = va.vm_bo().map(|vm_bo| (vm_bo.id, va.offset() / PAGE));
            vas.push((pages(va.range()), target, va.data().tag), GFP_KERNEL)?;
        }
        Ok(vas)
    }
}

/// An object with the reservation object of another.
pub(crate) fn local_object(
    dev: &Fixture,
    owner: &ARef<Object<TestObject>>,
    pages: usize,
) -> Result<ARef<Object<TestObject>>> {
    Object::new_private_with_resv(
        dev,
        pages * PAGE_SIZE,
        Resv::Object(owner.clone()),
        TestObject::new(dev.counts.clone(), Backing::None),
    )
}
