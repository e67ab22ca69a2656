// SPDX-License-Identifier: GPL-2.0

//! A queue of jobs of user space.
//!
//! Each has a DRM scheduler of its own, which waits for fences and gives the engines one job at a
//! time; whose turn it is, is decided there. The scheduler's time-out is used to look after what
//! the engines do, often enough to notice a lost interrupt.

use core::{
    pin::pin,
    sync::atomic::{
        AtomicBool,
        AtomicU32,
        Ordering, //
    },
};

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    time::msecs_to_jiffies, //
};
use kernel_ext::{
    dma_fence::{
        Fence,
        FenceContext,
        FenceMemory,
        UniqueFence, //
    },
    dma_resv::Usage,
    drm::{
        exec::{
            Exec,
            Interruptible, //
        },
        sched::{
            self,
            Backend,
            Config,
            Entity,
            JobContext,
            Priority,
            Scheduler,
            TimedOut,
            Verdict, //
        },
    },
};

use super::{
    crash::Crash,
    engines::Engines,
    timelines::Timeline,
    turns::Turn,
    work::{
        EngineFence,
        Work, //
    },
};
use crate::{
    client::{
        Client,
        JobCount, //
    },
    device::BoundDevice,
    prime::{
        self,
        Patience, //
    },
    queue::Command,
    sync::Syncs,
    vm::{
        GpuVm,
        Vm, //
    },
};

/// How often to look after a job that the engines have, milliseconds.
const LOOK_MS: u32 = 250;

/// How long the end of a queue waits for the job that is being done, beyond the time-out of jobs.
const DRAIN_MS: u32 = 1000;

/// A queue of jobs.
#[pin_data(PinnedDrop)]
pub(crate) struct Queue {
    id: u32,
    vm: Arc<Vm>,
    client: Arc<Client>,
    engines: Arc<Engines>,
    fences: FenceContext,
    pending: AtomicU32,
    /// Whether jobs that have not begun are not going to.
    closed: AtomicBool,
    entity: Entity<Jobs>,
    /// That of the jobs. They hold the queue until their fences have signalled.
    _timeline: Timeline,
    #[pin]
    crash: Mutex<Option<KBox<Crash>>>,
}

impl Queue {
    /// Makes an empty queue in `vm`, which has number `id` in the file of `client`.
    ///
    /// Sleeps. Fails with `ENOMEM`.
    pub(crate) fn new(
        dev: &BoundDevice<'_>,
        client: &Arc<Client>,
        vm: &Arc<Vm>,
        id: u32,
    ) -> Result<Arc<Self>> {
        let scheduler = Scheduler::new(Config {
            name: c"hlrs-copy",
            credit_limit: 1,
            timeout: Some(msecs_to_jiffies(LOOK_MS.min(crate::job_timeout_ms()))),
            submit_queue: Some(dev.submit_queue.clone()),
            timeout_queue: None,
            device: dev.parent(),
        })?;

        vm.add_queue()?;
        let used = kernel::types::ScopeGuard::new(|| vm.remove_queue());
        dev.engines.add_seat()?;
        let seat = kernel::types::ScopeGuard::new(|| dev.engines.remove_seat());
        let entity = Entity::new(&scheduler, Priority::Normal)?;
        let timeline = dev.engines.timelines().add(entity.fence_context())?;
        let queue = Arc::pin_init(
            try_pin_init!(Self {
                id,
                vm: vm.clone(),
                client: client.clone(),
                engines: dev.engines.clone(),
                fences: FenceContext::new(1),
                pending: AtomicU32::new(0),
                closed: AtomicBool::new(false),
                entity,
                _timeline: timeline,
                crash <- new_mutex!(Some(Crash::new()?), "hlrs::Queue::crash"),
            }? Error),
            GFP_KERNEL,
        )?;
        seat.dismiss();
        used.dismiss();
        Ok(queue)
    }

    /// Its number in the file.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The address space of its jobs.
    pub(crate) fn vm(&self) -> &Arc<Vm> {
        &self.vm
    }

    /// The file.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The context of the device that its jobs use.
    pub(super) fn context(&self) -> u32 {
        self.vm.context()
    }

    /// The turn of its file.
    pub(super) fn turn(&self) -> &Turn {
        self.client.turn()
    }

    /// Books device time of a job, nanoseconds. Any context.
    pub(super) fn book(&self, ns: u64) {
        self.client.add_busy(ns);
    }

    /// Takes the place for what is known of a failed job; it is there once.
    pub(super) fn take_crash(&self) -> Option<KBox<Crash>> {
        self.crash.lock().take()
    }

    /// Jobs that have not ended.
    pub(crate) fn pending(&self) -> u32 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Submits a job. Sleeps.
    ///
    /// Errors are those of `DRM_IOCTL_HLRS_QUEUE_SUBMIT`; with `EFAULT` comes the address that
    /// cannot be mapped.
    pub(crate) fn submit(
        self: &Arc<Self>,
        client_id: u64,
        commands: KVec<Command>,
        mut syncs: Syncs,
    ) -> Result<(), (Error, Option<u64>)> {
        let plain = |e: Error| (e, None);

        self.check_usable().map_err(plain)?;
        let mut job = self
            .make_job(client_id, commands, &mut syncs)
            .map_err(plain)?;

        let space: &GpuVm = self.vm.space();
        let patience = Patience::new(space.dev());
        loop {
            let mut exec = pin!(Exec::new(Interruptible::Yes));
            let mut locked = exec
                .as_mut()
                .lock(|locking| locking.lock_vm_objects(space))
                .map_err(plain)?;

            match locked.validate(space) {
                Ok(()) => {}
                Err(e) if e == prime::STALE => {
                    drop(locked);
                    patience.wait().map_err(plain)?;
                    continue;
                }
                Err(e) if e == EINTR || e == ERESTARTSYS || e == ENOMEM => return Err(plain(e)),
                Err(_) => return Err((EFAULT, space.take_lost())),
            }
            locked.reserve_fences(1).map_err(plain)?;
            // A bind that waits may have come before.
            if let Some(bind) = self.vm.pending_bind() {
                job.add_dependency(bind).map_err(plain)?;
            }

            let mut submission = self.entity.lock().map_err(|_| plain(ECANCELED))?;
            let armed = submission.arm(job).map_err(plain)?;
            let fence = armed.finished();
            // There is room, as was just seen to.
            let _ = locked.resv_add_fence(space, fence, Usage::Bookkeep, Usage::Bookkeep);
            syncs.publish(fence);
            armed.push();
            return Ok(());
        }
    }

    /// Fails with `ECANCELED` if jobs are not done any more.
    pub(super) fn check_usable(&self) -> Result {
        if self.closed.load(Ordering::SeqCst) {
            return Err(ECANCELED);
        }
        self.vm.check_usable()
    }

    fn make_job(
        self: &Arc<Self>,
        client_id: u64,
        commands: KVec<Command>,
        syncs: &mut Syncs,
    ) -> Result<sched::Job<Jobs>> {
        let ready = Ready {
            commands,
            fence: FenceMemory::new(GFP_KERNEL)?,
        };
        let counted = Pending::new(self.clone());
        let mut job = sched::Job::new(
            &self.entity,
            1,
            client_id,
            Ok::<_, Error>(JobData {
                ready: Some(ready),
                queue: counted,
            }),
        )?;

        for fence in syncs.take_dependencies() {
            job.add_dependency(fence)?;
        }
        Ok(job)
    }

    /// Ends the queue: jobs that have not begun are not going to. With `now`, the one that is being
    /// done is cancelled; otherwise it is waited for. To be called once. Sleeps.
    pub(crate) fn close(&self, now: bool) {
        // Jobs that come from the scheduler afterwards, in their order, end at once.
        self.closed.store(true, Ordering::SeqCst);
        if now {
            self.engines.cancel(self);
        } else {
            self.engines
                .drain(self, crate::job_timeout_ms().saturating_add(DRAIN_MS));
        }
        self.vm.remove_queue();
    }
}

#[pinned_drop]
impl PinnedDrop for Queue {
    fn drop(self: Pin<&mut Self>) {
        self.engines.remove_seat();
    }
}

/// A job that has not ended, of a queue.
struct Pending {
    /// [`None`] when the job has ended.
    queue: Option<Arc<Queue>>,
    ended: bool,
    _count: JobCount,
}

impl Pending {
    fn new(queue: Arc<Queue>) -> Self {
        let count = queue.client.count_job();

        queue.pending.fetch_add(1, Ordering::Relaxed);
        Self {
            queue: Some(queue),
            ended: false,
            _count: count,
        }
    }

    fn queue(&self) -> Result<&Arc<Queue>> {
        self.queue.as_ref().ok_or(EINVAL)
    }

    /// The job has ended. Lets go of the queue, unless that would free it; returns whether it did.
    /// Any context.
    fn end(&mut self) -> bool {
        let Some(queue) = self.queue.take() else {
            return true;
        };

        if !self.ended {
            self.ended = true;
            queue.pending.fetch_sub(1, Ordering::Relaxed);
        }
        self.queue = Arc::into_unique_or_drop(queue).map(Arc::from);
        self.queue.is_none()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a job takes to the engines.
struct Ready {
    commands: KVec<Command>,
    fence: FenceMemory<EngineFence>,
}

/// Data of a job.
pub(crate) struct JobData {
    ready: Option<Ready>,
    queue: Pending,
}

/// Jobs of queues, for the DRM scheduler.
pub(crate) struct Jobs;

#[vtable]
impl Backend for Jobs {
    type Job = JobData;

    fn run_job(job: &mut JobContext<'_, Self>) -> Result<Option<ARef<Fence>>> {
        let job = job.data_mut().get_mut();
        let queue = job.queue.queue()?;
        let ready = job.ready.take().ok_or(EINVAL)?;

        queue.check_usable()?;
        let fence = UniqueFence::new_in(ready.fence, &queue.fences, EngineFence);
        let done = fence.fence();
        let work = Work::new(ready.commands, fence, queue.clone());
        queue.engines.run(work);
        Ok(Some(done))
    }

    fn timed_out(job: TimedOut<'_, Self>) -> Verdict {
        if let Ok(queue) = job.data().queue.queue() {
            queue.engines.look_after(queue);
        }
        // If the job failed, its fence has been told, and the engine is ready for others.
        job.no_hang()
    }

    fn try_release(job: Pin<&mut JobData>) -> bool {
        // Others have the queue, as a rule, and so all that it holds.
        job.get_mut().queue.end()
    }
}
