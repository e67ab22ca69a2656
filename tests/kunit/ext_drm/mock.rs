// SPDX-License-Identifier: GPL-2.0

//! Hardware without hardware, for the scheduler: a ring of jobs that end when a test says so.

use crate::driver::parent;
use core::ops::Deref;
use kernel::{
    bindings,
    device,
    faux,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta,
        Instant,
        Jiffies,
        Monotonic, //
    }, //
};
use kernel_ext::{
    dma_fence::{
        Fence,
        FenceContext,
        FenceMemory,
        FenceOps,
        UniqueFence, //
    },
    drm::sched::{
        Backend,
        Config,
        Entity,
        Job,
        JobContext,
        Priority,
        Scheduler,
        TimedOut,
        Verdict, //
    },
    workqueue::OwnedQueue, //
};

/// How many jobs a test may have.
const MAX: usize = 64;

/// Long enough for what must happen, in milliseconds.
pub(crate) const LONG: u32 = 10_000;

pub(crate) fn ms(ms: u32) -> Jiffies {
    msecs_to_jiffies(ms)
}

/// Sleeps for so many milliseconds, which is to say that nothing should happen meanwhile.
pub(crate) fn sleep(ms: i64) {
    fsleep(Delta::from_millis(ms));
}

/// Waits until `cond` is true, and says whether it became so.
pub(crate) fn wait_for(cond: impl Fn() -> bool) -> bool {
    let start = Instant::<Monotonic>::now();

    while !cond() {
        if start.elapsed().as_millis() > i64::from(LONG) {
            return false;
        }
        sleep(1);
    }
    true
}

/// Makes a fence that has nothing to do with the ring.
pub(crate) fn pending() -> Result<UniqueFence<MockFence>> {
    UniqueFence::new(&FenceContext::new(1), MockFence, GFP_KERNEL)
}

/// Waits for a fence, and says how the work ended.
pub(crate) fn outcome(fence: &Fence) -> Result {
    fence.wait_timeout(false, ms(LONG))?;
    fence.status().ok_or(EBUSY)?
}

pub(crate) struct MockFence;

#[vtable]
impl FenceOps for MockFence {
    fn driver_name(&self) -> &CStr {
        c"mock"
    }

    fn timeline_name(&self) -> &CStr {
        c"ring"
    }
}

/// What the mock does when a job has timed out.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum OnTimeout {
    /// Nothing: it is still running.
    Wait,
    /// The job fails with `ETIMEDOUT`; the rest of the ring is lost to a reset, with `EIO`.
    Reset,
    /// The same without stopping the scheduler: all fail with `ETIMEDOUT`.
    Signal,
    /// The device has gone.
    Gone,
}

/// The hardware.
#[pin_data]
pub(crate) struct Ring {
    /// Jobs that it has, with their numbers.
    #[pin]
    jobs: SpinLock<KVec<(u32, UniqueFence<MockFence>)>>,
    /// The numbers of the jobs that were run, in order.
    #[pin]
    order: SpinLock<KVec<u32>>,
    fences: FenceContext,
    on_timeout: Atomic<i32>,
    pub(crate) timeouts: Atomic<u32>,
    /// The number of the job that has timed out last.
    pub(crate) guilty: Atomic<u32>,
    /// How many jobs have timed out while a slow one was being given to the hardware.
    pub(crate) early: Atomic<u32>,
    pub(crate) prepared: Atomic<u32>,
    /// How many jobs' data was dropped.
    pub(crate) dropped: Atomic<u32>,
    /// How many of them by the work item that was asked whether they may be.
    pub(crate) dropped_at_once: Atomic<u32>,
}

impl Ring {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let jobs = KVec::with_capacity(MAX, GFP_KERNEL)?;
        let order = KVec::with_capacity(MAX, GFP_KERNEL)?;

        Arc::pin_init(
            pin_init!(Self {
                jobs <- new_spinlock!(jobs),
                order <- new_spinlock!(order),
                fences: FenceContext::new(1),
                on_timeout: Atomic::new(OnTimeout::Wait as i32),
                timeouts: Atomic::new(0),
                guilty: Atomic::new(0),
                early: Atomic::new(0),
                prepared: Atomic::new(0),
                dropped: Atomic::new(0),
                dropped_at_once: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn on_timeout(&self, what: OnTimeout) {
        self.on_timeout.store(what as i32, Relaxed);
    }

    /// How many jobs it has.
    pub(crate) fn len(&self) -> usize {
        self.jobs.lock().len()
    }

    /// How many jobs were run.
    pub(crate) fn ran(&self) -> usize {
        self.order.lock().len()
    }

    /// Whether these jobs were run, in this order, and no others.
    pub(crate) fn ran_as(&self, ids: &[u32]) -> bool {
        let order = self.order.lock();
        let same = order[..] == *ids;

        if !same {
            pr_err!("jobs were run in the order {:?}\n", &order[..]);
        }
        same
    }

    /// Ends the oldest job, and returns its number.
    pub(crate) fn complete(&self, result: Result) -> Result<u32> {
        let (id, fence) = self.jobs.lock().remove(0).map_err(|_| ENOENT)?;

        fence.signal(result);
        Ok(id)
    }

    /// Ends all jobs.
    pub(crate) fn complete_all(&self, result: Result) {
        while self.complete(result).is_ok() {}
    }

    /// Takes a job from the ring, if it is there.
    fn take(&self, id: u32) -> Option<UniqueFence<MockFence>> {
        let mut jobs = self.jobs.lock();
        let index = jobs.iter().position(|job| job.0 == id)?;

        jobs.remove(index).ok().map(|job| job.1)
    }

    fn run(&self, id: u32, fence: Option<FenceMemory<MockFence>>) -> Result<ARef<Fence>> {
        let fence = UniqueFence::new_in(fence.ok_or(EINVAL)?, &self.fences, MockFence);
        let waiter = fence.fence();

        let _ = self.jobs.lock().push_within_capacity((id, fence));
        Ok(waiter)
    }
}

/// What becomes of a job in `run_job()`.
pub(crate) enum OnRun {
    /// It goes to the ring.
    Ring(Option<FenceMemory<MockFence>>),
    /// The same, and `run_job()` takes so many milliseconds.
    Slow(Option<FenceMemory<MockFence>>, i64),
    /// It has ended.
    Done,
    /// It has failed.
    Fail(Error),
}

/// The data of a job.
pub(crate) struct MockJob {
    ring: Arc<Ring>,
    id: u32,
    on_run: OnRun,
    /// What `prepare_job()` returns, one after the other.
    prepare: KVec<ARef<Fence>>,
    /// How long `prepare_job()` takes, in milliseconds.
    pub(crate) prepare_time: i64,
    /// What is dropped with the job.
    pub(crate) keep: Option<KBox<dyn Send>>,
    /// Whether the job may be freed at once.
    pub(crate) at_once: bool,
    /// The work item that has asked for that.
    asked_by: Option<usize>,
}

/// The work item that is running, 0 if none is.
fn current_work() -> usize {
    // SAFETY: No requirements.
    unsafe { bindings::current_work() }.addr()
}

impl MockJob {
    pub(crate) fn new(ring: &Arc<Ring>, id: u32) -> Result<Self> {
        Ok(Self::with(
            ring,
            id,
            OnRun::Ring(Some(FenceMemory::new(GFP_KERNEL)?)),
        ))
    }

    pub(crate) fn with(ring: &Arc<Ring>, id: u32, on_run: OnRun) -> Self {
        Self {
            ring: ring.clone(),
            id,
            on_run,
            prepare: KVec::new(),
            prepare_time: 0,
            keep: None,
            at_once: false,
            asked_by: None,
        }
    }

    /// Lets `prepare_job()` name a fence.
    pub(crate) fn prepare(&mut self, fence: &Fence) -> Result {
        Ok(self.prepare.push(fence.into(), GFP_KERNEL)?)
    }
}

impl Drop for MockJob {
    fn drop(&mut self) {
        if self.asked_by == Some(current_work()) {
            self.ring.dropped_at_once.fetch_add(1, Relaxed);
        }
        self.ring.dropped.fetch_add(1, Relaxed);
    }
}

pub(crate) struct Mock;

#[vtable]
impl Backend for Mock {
    type Job = MockJob;

    fn prepare_job(job: &mut JobContext<'_, Self>) -> Option<ARef<Fence>> {
        let job = job.data_mut().get_mut();

        job.ring.prepared.fetch_add(1, Relaxed);
        if job.prepare_time != 0 {
            sleep(job.prepare_time);
        }
        job.prepare.pop()
    }

    fn run_job(job: &mut JobContext<'_, Self>) -> Result<Option<ARef<Fence>>> {
        let job = job.data_mut().get_mut();

        let _ = job.ring.order.lock().push_within_capacity(job.id);
        match &mut job.on_run {
            OnRun::Ring(fence) => job.ring.run(job.id, fence.take()).map(Some),
            OnRun::Slow(fence, time) => {
                sleep(*time);
                job.ring
                    .early
                    .fetch_add(job.ring.timeouts.load(Relaxed), Relaxed);
                job.ring.run(job.id, fence.take()).map(Some)
            }
            OnRun::Done => Ok(None),
            OnRun::Fail(err) => Err(*err),
        }
    }

    fn timed_out(job: TimedOut<'_, Self>) -> Verdict {
        let ring = job.data().ring.clone();
        let id = job.data().id;
        let what = ring.on_timeout.load(Relaxed);

        ring.timeouts.fetch_add(1, Relaxed);
        ring.guilty.store(id, Relaxed);

        if what == OnTimeout::Reset as i32 {
            if let Some(fence) = ring.take(id) {
                fence.signal(Err(ETIMEDOUT));
            }
            return job.reset(|job| {
                // Nobody listens to these any more.
                job.data().ring.complete_all(Err(EDOM));
                EIO
            });
        }
        if what == OnTimeout::Signal as i32 {
            ring.complete_all(Err(ETIMEDOUT));
        }
        if what == OnTimeout::Gone as i32 {
            return job.no_device();
        }
        job.no_hang()
    }

    fn try_release(job: Pin<&mut MockJob>) -> bool {
        let job = job.get_mut();

        job.asked_by = Some(current_work());
        job.at_once
    }
}

/// A scheduler with one entity, on hardware of its own.
///
/// Fields are dropped in order.
pub(crate) struct MockQueue {
    pub(crate) entity: Entity<Mock>,
    pub(crate) sched: Scheduler<Mock>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) parent: faux::Registration,
}

impl MockQueue {
    pub(crate) fn new(credit_limit: u32, timeout: Option<u32>) -> Result<Self> {
        Self::on(credit_limit, timeout, None)
    }

    pub(crate) fn on(
        credit_limit: u32,
        timeout: Option<u32>,
        submit_queue: Option<Arc<OwnedQueue>>,
    ) -> Result<Self> {
        let parent = parent()?;
        let sched = Scheduler::new(Config {
            name: c"mock",
            credit_limit,
            timeout: timeout.map(ms),
            submit_queue,
            timeout_queue: None,
            device: device(&parent),
        })?;

        Ok(Self {
            entity: Entity::new(&sched, Priority::Normal)?,
            sched,
            ring: Ring::new()?,
            parent,
        })
    }

    pub(crate) fn device(&self) -> &device::Device {
        device(&self.parent)
    }

    /// Makes job `id` of 1 credit.
    pub(crate) fn job(&self, id: u32) -> Result<Job<Mock>> {
        self.job_for(&self.entity, MockJob::new(&self.ring, id)?)
    }

    pub(crate) fn job_for(&self, entity: &Entity<Mock>, data: MockJob) -> Result<Job<Mock>> {
        Job::new(entity, 1, 0, data)
    }

    /// Makes and pushes job `id`, and returns its finished fence.
    pub(crate) fn submit(&self, id: u32) -> Result<ARef<Fence>> {
        push(&self.entity, self.job(id)?)
    }

    /// Makes and pushes a job with the given data.
    pub(crate) fn submit_with(&self, data: MockJob) -> Result<ARef<Fence>> {
        push(&self.entity, self.job_for(&self.entity, data)?)
    }
}

impl Deref for MockQueue {
    type Target = Ring;

    fn deref(&self) -> &Ring {
        &self.ring
    }
}

/// Pushes a job, and returns its finished fence.
pub(crate) fn push(entity: &Entity<Mock>, job: Job<Mock>) -> Result<ARef<Fence>> {
    let mut submission = entity.lock()?;
    let armed = submission.arm(job)?;
    let finished = armed.finished().into();

    armed.push();
    Ok(finished)
}

pub(crate) fn device(parent: &faux::Registration) -> &device::Device {
    crate::driver::bound(parent)
}
