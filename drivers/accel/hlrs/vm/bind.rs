// SPDX-License-Identifier: GPL-2.0

//! Mapping and unmapping.
//!
//! A bind is prepared, which can fail, and then carried out, which cannot: where a fence depends on
//! it nothing may be allocated, and either all of its operations happen or none does.

use core::{
    ops::Range,
    pin::pin, //
};

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};
use kernel_ext::{
    dma_fence::{
        self,
        Fence, //
    },
    drm::{
        exec::{
            Exec,
            Interruptible,
            Locked, //
        },
        gpuvm::{
            MapRequest,
            VaPool,
            VmBoAlloc,
            VmBoRef,
            VAS_PER_MAP,
            VAS_PER_UNMAP, //
        },
        sched::{
            Backend,
            Job,
            JobContext,
            TimedOut,
            Verdict, //
        },
    },
};

use super::{
    limbo::{
        Batch,
        Hold, //
    },
    memory::{
        make_known,
        reserve_mapping,
        Binding, //
    },
    page_table::{
        Mapping,
        Reserve,
        VaRange, //
    },
    space::{
        Change,
        GpuVm,
        Space, //
    },
    tables::TableSource,
    Vm, //
};
use crate::{
    client::JobCount,
    device::BoundDevice,
    gem::Buffer,
    prime,
    sync::Syncs, //
};

/// Places for references to buffers that an operation takes at most: as many as mappings.
const HOLDS_PER_MAP: usize = VAS_PER_MAP;
const HOLDS_PER_UNMAP: usize = VAS_PER_UNMAP;

/// What user space wants of a range of addresses.
pub(crate) enum Operation {
    /// Show a buffer there, from byte `offset` on.
    Map {
        buffer: ARef<Buffer>,
        offset: u64,
        writable: bool,
    },
    /// Show zeros there.
    MapNull {
        writable: bool,
    },
    Unmap,
}

/// An operation, with the addresses it is about.
pub(crate) struct Bind {
    pub(crate) range: VaRange,
    pub(crate) operation: Operation,
}

/// An operation that cannot fail any more.
enum Step {
    Map {
        target: Option<(VmBoRef<Space>, u64)>,
        writable: bool,
    },
    Unmap,
}

/// Operations that cannot fail any more.
pub(super) struct Plan {
    steps: KVec<(Range<u64>, Step)>,
    change: Change,
}

/// An error, and the operation that is to blame if one is.
pub(crate) struct BindError {
    pub(crate) error: Error,
    pub(crate) index: Option<usize>,
}

impl<E> From<E> for BindError
where
    Error: From<E>,
{
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            index: None,
        }
    }
}

impl Vm {
    /// Carries out `binds`, in their order: all of them, or none.
    ///
    /// Without fences to wait for it is done when this returns, otherwise when these have
    /// signalled. Sleeps.
    ///
    /// Errors are those of `DRM_IOCTL_HLRS_VM_BIND`.
    pub(crate) fn bind(
        self: &Arc<Self>,
        dev: &BoundDevice<'_>,
        binds: &[Bind],
        syncs: Syncs,
    ) -> Result<(), BindError> {
        self.check_usable()?;

        if syncs.has_dependencies() {
            return self.bind_later(dev, binds, syncs);
        }

        // In order with those that wait.
        if let Some(pending) = self.pending_bind() {
            pending.wait_timeout(true, dma_fence::MAX_TIMEOUT)?;
        }

        let bind = || dev.retry_when_full(|| self.bind_now(dev, binds), |e| e.error);
        prime::while_stale(dev, bind, |e| e.error)?;
        self.tidy();

        syncs.publish(&Fence::signaled_stub());
        Ok(())
    }

    fn bind_now(&self, dev: &BoundDevice<'_>, binds: &[Bind]) -> Result<(), BindError> {
        let mut exec = pin!(Exec::new(Interruptible::Yes));
        let mut locked = self.lock(exec.as_mut(), binds)?;
        let Plan { steps, change } = self.prepare(dev, &mut locked, binds, When::Now)?;

        // The locks keep what was reserved sufficient.
        self.carry_out(&steps, change);
        // The references to buffers go after the locks.
        drop(locked);
        drop(steps);
        Ok(())
    }

    fn bind_later(
        self: &Arc<Self>,
        dev: &BoundDevice<'_>,
        binds: &[Bind],
        mut syncs: Syncs,
    ) -> Result<(), BindError> {
        let plan = || {
            let mut exec = pin!(Exec::new(Interruptible::Yes));
            let mut locked = self.lock(exec.as_mut(), binds)?;

            self.prepare(dev, &mut locked, binds, When::Later)
        };
        let plan = || dev.retry_when_full(plan, |e| e.error);
        let Plan { steps, change } = prime::while_stale(dev, plan, |e| e.error)?;

        let entity = self.bind_entity();
        let mut job = Job::new(
            entity,
            1,
            0,
            Ok::<_, Error>(BindJob {
                steps,
                change: Some(change),
                vm: self.clone(),
                count: self.client().count_job(),
            }),
        )?;
        for fence in syncs.take_dependencies() {
            job.add_dependency(fence)?;
        }

        let mut submission = entity.lock().map_err(|_| ECANCELED)?;
        let armed = submission.arm(job)?;
        self.set_last_bind(armed.finished().into());
        syncs.publish(armed.finished());
        armed.push();
        Ok(())
    }

    fn lock<'e, 'v>(&'v self, exec: Pin<&'e mut Exec>, binds: &[Bind]) -> Result<Locked<'e, 'v>> {
        let space: &GpuVm = self.space();

        exec.lock(|locking| {
            locking.lock_vm(space)?;
            binds.iter().try_for_each(|bind| match &bind.operation {
                Operation::Map { buffer, .. } => locking.lock_object(buffer),
                Operation::MapNull { .. } | Operation::Unmap => Ok(()),
            })
        })
    }

    /// Does all that can fail.
    fn prepare(
        &self,
        dev: &BoundDevice<'_>,
        locked: &mut Locked<'_, '_>,
        binds: &[Bind],
        when: When,
    ) -> Result<Plan, BindError> {
        let mut steps = KVec::with_capacity(binds.len(), GFP_KERNEL)?;
        let mut reserve = Reserve::new();
        let (mut vas, mut holds) = (0, 0);

        for (index, bind) in binds.iter().enumerate() {
            let previous = steps.last().map(|(_, step)| step);
            let step = self
                .prepare_step(dev, locked, bind, previous, &mut reserve, when)
                .map_err(|error| BindError {
                    error,
                    index: Some(index),
                })?;

            match &step {
                Step::Map { .. } => {
                    vas += VAS_PER_MAP;
                    holds += HOLDS_PER_MAP;
                }
                Step::Unmap => {
                    vas += VAS_PER_UNMAP;
                    holds += HOLDS_PER_UNMAP;
                }
            }
            steps.push((bind.range.start()..bind.range.end(), step), GFP_KERNEL)?;
        }

        let mut pool = VaPool::new();
        pool.fill(vas, GFP_KERNEL)?;
        let mut places = KVec::with_capacity(holds, GFP_KERNEL)?;
        for _ in 0..holds {
            places.push(Hold::new()?, GFP_KERNEL)?;
        }

        let mut source = TableSource::new(&dev.lmem);
        Ok(Plan {
            steps,
            change: Change {
                pool,
                holds: places,
                update: reserve.allocate(|left| source.next(left))?,
                batch: Batch::new()?,
                writable: false,
                replaces: false,
            },
        })
    }

    fn prepare_step(
        &self,
        dev: &BoundDevice<'_>,
        locked: &mut Locked<'_, '_>,
        bind: &Bind,
        previous: Option<&Step>,
        reserve: &mut Reserve,
        when: When,
    ) -> Result<Step> {
        match &bind.operation {
            Operation::Unmap => {
                reserve.unmap(bind.range);
                Ok(Step::Unmap)
            }
            Operation::MapNull { writable } => {
                reserve.map(&Mapping::null(bind.range, *writable));
                Ok(Step::Map {
                    target: None,
                    writable: *writable,
                })
            }
            Operation::Map {
                buffer,
                offset,
                writable,
            } => {
                let access = buffer.backing.access();
                if !access.read || *writable && !access.write {
                    return Err(EACCES);
                }

                let vm_bo = match previous {
                    // As a rule the same buffer as before.
                    Some(Step::Map {
                        target: Some((vm_bo, _)),
                        ..
                    }) if core::ptr::eq(vm_bo.obj(), &**buffer) => vm_bo.clone(),
                    _ => self.obtain(locked, buffer)?,
                };
                let mut guard = locked.guard(buffer.resv()).ok_or(EINVAL)?;
                make_known(dev, &vm_bo, &mut guard)?;

                match when {
                    When::Now => reserve_mapping(reserve, &vm_bo, bind.range, *offset, *writable)?,
                    // It may have been taken away then.
                    When::Later => reserve.map_any(bind.range),
                }
                Ok(Step::Map {
                    target: Some((vm_bo, *offset)),
                    writable: *writable,
                })
            }
        }
    }

    fn obtain(&self, locked: &mut Locked<'_, '_>, buffer: &Buffer) -> Result<VmBoRef<Space>> {
        let space: &GpuVm = self.space();
        let vm_bo = VmBoAlloc::new(space, buffer, Binding::new())?.obtain();
        let guard = locked.guard(space.resv()).ok_or(EINVAL)?;

        vm_bo.add_external(&guard)?;
        Ok(vm_bo)
    }

    /// Carries out the steps of a plan, which stay to be dropped without reservation locks.
    ///
    /// Sleeps; neither allocates nor fails, unless the VM is at its end.
    fn carry_out(&self, steps: &[(Range<u64>, Step)], mut change: Change) {
        let mut tree = self.tree.lock();

        if let Some(tree) = &mut *tree {
            for (range, step) in steps {
                let result = match step {
                    Step::Map { target, writable } => {
                        let request = MapRequest {
                            range: range.clone(),
                            target: target.as_ref().map(|(vm_bo, offset)| (vm_bo, *offset)),
                        };

                        change.writable = *writable;
                        change.replaces = true;
                        tree.sm_map(request, &mut change)
                    }
                    Step::Unmap => {
                        change.replaces = false;
                        tree.sm_unmap(range.clone(), &mut change)
                    }
                };
                kernel::warn_on!(result.is_err());
            }
        }
        kernel::warn_on!(change.update.ran_short());
        self.space().finish(change);
    }
}

/// When a plan is carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// While the locks are held that it was prepared with.
    Now,
    /// When buffers may be somewhere else.
    Later,
}

/// A bind that waits for fences.
pub(crate) struct BindJob {
    steps: KVec<(Range<u64>, Step)>,
    change: Option<Change>,
    vm: Arc<Vm>,
    count: JobCount,
}

impl Drop for BindJob {
    fn drop(&mut self) {
        // It may have thousands of tables that were not needed.
        self.count.set_under_way();
    }
}

/// How binds that wait for fences are carried out.
pub(crate) struct BindBackend;

#[vtable]
impl Backend for BindBackend {
    type Job = BindJob;

    fn run_job(job: &mut JobContext<'_, Self>) -> Result<Option<ARef<Fence>>> {
        let job = job.data_mut().get_mut();

        job.count.set_under_way();
        // What is left of the job is dropped with it: a fence depends on this.
        job.vm.check_usable()?;
        if let Some(change) = job.change.take() {
            job.vm.carry_out(&job.steps, change);
            job.vm.tidy_later();
        }
        Ok(None)
    }

    fn timed_out(job: TimedOut<'_, Self>) -> Verdict {
        // There is no limit to the time.
        job.no_hang()
    }
}
