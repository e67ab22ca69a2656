// SPDX-License-Identifier: GPL-2.0

//! Whose fences are those of this device.
//!
//! A buffer that is taken back is not waited for on account of jobs of the device itself: they are
//! nobody else's. Their fences are told apart by the contexts that they are of.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        Arc,
        Mutex, //
    },
};
use kernel_ext::dma_fence::Fence;

/// The contexts of the fences of a function's engines, of whatever driver.
#[pin_data]
pub(crate) struct Timelines {
    /// That of the kernel's own queue.
    kernel: u64,
    /// How often each was added besides the first time. A leaf, also where fences depend on it: nothing is done while it
    /// is locked.
    #[pin]
    contexts: Mutex<RBTree<u64, usize>>,
}

impl Timelines {
    /// There is only `kernel`, the context of the kernel's own queue. Sleeps (allocates).
    pub(super) fn new(kernel: u64) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                kernel,
                contexts <- new_mutex!(RBTree::new(), "hlrs::Timelines"),
            }),
            GFP_KERNEL,
        )
    }

    /// Adds a context, until the result is dropped. Sleeps (allocates). Fails with `ENOMEM`.
    pub(crate) fn add(self: &Arc<Self>, context: u64) -> Result<Timeline> {
        let node = RBTreeNode::new(context, 0, GFP_KERNEL)?;
        let mut contexts = self.contexts.lock();

        match contexts.get_mut(&context) {
            Some(count) => *count += 1,
            None => {
                contexts.insert(node);
            }
        }
        drop(contexts);
        Ok(Timeline {
            timelines: self.clone(),
            context,
        })
    }

    /// Whether `fence` is one of the device. Sleeps.
    pub(crate) fn has(&self, fence: &Fence) -> bool {
        let context = fence.context();

        context == self.kernel || self.contexts.lock().get(&context).is_some()
    }
}

/// A context of fences of a device, which may be added more than once. It is kept for as long as there can be some that have not
/// signalled: a fence of a context that has gone is taken for somebody else's.
pub(crate) struct Timeline {
    timelines: Arc<Timelines>,
    context: u64,
}

impl Drop for Timeline {
    fn drop(&mut self) {
        let mut contexts = self.timelines.contexts.lock();

        match contexts.get_mut(&self.context) {
            Some(0) | None => {
                let node = contexts.remove_node(&self.context);

                drop(contexts);
                drop(node);
            }
            Some(others) => *others -= 1,
        }
    }
}
