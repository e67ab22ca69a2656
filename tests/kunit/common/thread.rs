// SPDX-License-Identifier: GPL-2.0

//! Threads of KUnit tests.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        Completion, //
    },
    workqueue, //
};

/// A function that runs on another thread.
pub(crate) struct Thread<R: Send + Unpin + 'static>(Arc<Shared<R>>);

#[pin_data]
struct Shared<R> {
    #[pin]
    done: Completion,
    #[pin]
    result: kernel::sync::Mutex<Option<R>>,
}

impl<R: Send + Unpin + 'static> Thread<R> {
    pub(crate) fn spawn(f: impl FnOnce() -> R + Send + 'static) -> Result<Self> {
        let shared = Arc::pin_init(
            pin_init!(Shared {
                done <- Completion::new(),
                result <- kernel::new_mutex!(None),
            }),
            GFP_KERNEL,
        )?;
        let theirs = shared.clone();

        workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
            *theirs.result.lock() = Some(f());
            theirs.done.complete_all();
        })?;
        Ok(Self(shared))
    }

    /// Waits for the function to end. KUnit's time limit ends a test in which it does not.
    pub(crate) fn join(self) -> Result<R> {
        self.0.done.wait_for_completion();
        self.0.result.lock().take().ok_or(EINVAL)
    }
}
