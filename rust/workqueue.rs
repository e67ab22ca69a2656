// SPDX-License-Identifier: GPL-2.0

//! Delayed work that its owner can cancel, and workqueues of a driver's own.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)
//!
//! `kernel::workqueue` hands the ownership of an item to the queue while it is pending, so that
//! nobody can take it back. A driver that must be sure that nothing of it runs any more (its
//! device is unbound, its module unloaded) needs the opposite: [`DelayedTask`] stays with its
//! owner, and dropping it waits until it neither is pending nor runs.
//!
//! [`OwnedQueue`] is a workqueue that a driver makes for itself; those of `kernel::workqueue` are
//! the ones of the system.

use kernel::{
    bindings,
    prelude::*,
    sync::LockClassKey,
    time::Jiffies,
    types::Opaque, //
};

mod owned;

pub use owned::OwnedQueue;

/// What a [`DelayedTask`] does.
pub trait Task: Send + Sync {
    /// Runs the task, in process context; may sleep.
    ///
    /// Returns the number of jiffies after which it runs again, or [`None`] if it is to rest until
    /// [`DelayedTask::schedule`] is called. Never runs concurrently with itself.
    fn run(&self) -> Option<Jiffies>;
}

/// A [`Task`] that runs on the system's unbound workqueue after a delay.
///
/// # Invariants
///
/// `work` is an initialized `struct delayed_work` whose function is [`DelayedTask::<T>::run`].
#[pin_data(PinnedDrop)]
pub struct DelayedTask<T: Task> {
    #[pin]
    work: Opaque<bindings::delayed_work>,
    task: T,
}

// SAFETY: `struct delayed_work` may be used from any thread, and `T` is `Send`.
unsafe impl<T: Task> Send for DelayedTask<T> {}
// SAFETY: As above; `T` is `Sync`.
unsafe impl<T: Task> Sync for DelayedTask<T> {}

impl<T: Task> DelayedTask<T> {
    /// Creates a task that is not scheduled. Use [`new_delayed_task!`](crate::new_delayed_task).
    pub fn new(
        task: T,
        name: &'static CStr,
        work_key: Pin<&'static LockClassKey>,
        timer_key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        // INVARIANT: The initializer sets up the work and its function.
        pin_init!(Self {
            work <- Opaque::ffi_init(|slot: *mut bindings::delayed_work| {
                // SAFETY: `slot` is valid for writes; `run` may be the function because the work
                // is embedded in `Self`, which `PinnedDrop` keeps until it has come to rest.
                unsafe {
                    bindings::init_work_with_key(
                        &raw mut (*slot).work,
                        Some(Self::run),
                        false,
                        name.as_char_ptr(),
                        work_key.as_ptr(),
                    )
                };

                // SAFETY: `slot` is valid for writes, and the timer is that of a delayed work,
                // only ever started by the workqueue code, and set up to run with interrupts off.
                unsafe {
                    bindings::timer_init_key(
                        &raw mut (*slot).timer,
                        Some(bindings::delayed_work_timer_fn),
                        bindings::TIMER_IRQSAFE,
                        name.as_char_ptr(),
                        timer_key.as_ptr(),
                    )
                };
            }),
            task,
        })
    }

    /// What was given to [`DelayedTask::new`].
    pub fn task(&self) -> &T {
        &self.task
    }

    /// Runs the task after `delay` jiffies, unless it is pending already. Any context.
    ///
    /// A task that runs now is scheduled again. Does nothing after [`DelayedTask::disable`].
    ///
    /// C: `queue_delayed_work()`.
    pub fn schedule(&self, delay: Jiffies) {
        // SAFETY: By the type invariant the work is initialized; the queue is a global.
        unsafe {
            bindings::queue_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                bindings::system_dfl_wq,
                self.work.get(),
                delay,
            )
        };
    }

    /// Waits until the task is neither pending nor runs. If its delay has not passed yet, it runs
    /// now.
    ///
    /// Sleeps. Must not be called by the task itself, nor with a lock held that it takes.
    ///
    /// C: `flush_delayed_work()`.
    pub fn flush(&self) {
        // SAFETY: By the type invariant the work is initialized.
        unsafe { bindings::flush_delayed_work(self.work.get()) };
    }

    /// Cancels the task and waits until it does not run; it can not be scheduled again.
    ///
    /// Sleeps. Must not be called by the task itself, nor with a lock held that it takes.
    ///
    /// C: `disable_delayed_work_sync()`.
    pub fn disable(&self) {
        // SAFETY: By the type invariant the work is initialized.
        unsafe { bindings::disable_delayed_work_sync(self.work.get()) };
    }

    /// # Safety
    ///
    /// Only for the work of a `DelayedTask<T>`.
    unsafe extern "C" fn run(work: *mut bindings::work_struct) {
        // SAFETY: The workqueue calls with the work that was queued, the one in a `DelayedTask<T>`;
        // `PinnedDrop` keeps that alive until this function has returned.
        let this = unsafe {
            let work = kernel::container_of!(work, bindings::delayed_work, work);
            &*kernel::container_of!(Opaque::cast_from(work), Self, work)
        };

        if let Some(delay) = this.task.run() {
            this.schedule(delay);
        }
    }
}

#[pinned_drop]
impl<T: Task> PinnedDrop for DelayedTask<T> {
    fn drop(self: Pin<&mut Self>) {
        self.disable();
    }
}

/// Creates a [`DelayedTask`](crate::workqueue::DelayedTask) initialiser: a task and its name.
#[macro_export]
macro_rules! new_delayed_task {
    ($task:expr, $name:literal) => {
        $crate::workqueue::DelayedTask::new(
            $task,
            ::kernel::c_str!($name),
            ::kernel::static_lock_class!(),
            ::kernel::static_lock_class!(),
        )
    };
}
