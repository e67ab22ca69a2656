// SPDX-License-Identifier: GPL-2.0

//! Function level resets of VFs, as the PF hears of them.

use core::sync::atomic::{
    AtomicU64,
    Ordering, //
};

use kernel::{
    prelude::*,
    sync::Arc,
    time::Jiffies, //
};
use kernel_ext::{
    new_delayed_task,
    workqueue::{
        DelayedTask,
        Task, //
    },
};

use super::provision::Provisioning;

/// Takes what the PF has of the memory of VFs that were reset out of its hands.
///
/// A VF that was reset may have a new owner. Whoever has exported its memory has taken that back
/// before, if he knew of the reset; this is for one who did not.
pub(crate) struct VfResets {
    provisioning: Arc<Provisioning>,
    /// Bit n is VF n.
    pending: AtomicU64,
}

impl VfResets {
    /// A task for the VFs of `provisioning`. Sleeps (allocates). It comes to rest when dropped.
    pub(crate) fn new(provisioning: &Arc<Provisioning>) -> Result<Arc<DelayedTask<Self>>> {
        Arc::pin_init(
            new_delayed_task!(
                Self {
                    provisioning: provisioning.clone(),
                    pending: AtomicU64::new(0),
                },
                "hlrs-vf-resets"
            ),
            GFP_KERNEL,
        )
    }

    /// VFs were reset: bit n of `vfs` is VF n. `task` is that of [`VfResets::new`]. Any context.
    pub(crate) fn note(task: &DelayedTask<Self>, vfs: u64) {
        task.task().pending.fetch_or(vfs, Ordering::Relaxed);
        task.schedule(0);
    }
}

impl Task for VfResets {
    fn run(&self) -> Option<Jiffies> {
        self.provisioning
            .forget(self.pending.swap(0, Ordering::Relaxed));
        None
    }
}
