// SPDX-License-Identifier: GPL-2.0

//! What a file is ready for.
//!
//! C header: [`include/uapi/linux/eventpoll.h`](srctree/include/uapi/linux/eventpoll.h)

use kernel::bindings;

kernel::impl_flags!(
    /// What a file is ready for, as a function for `poll(2)` returns it. C: `__poll_t`.
    #[derive(Debug, Clone, Default, Copy, PartialEq, Eq)]
    pub struct PollEvents(u32);

    /// One of [`PollEvents`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum PollEvent {
        /// There is something to read.
        In = ext_bindings::EPOLLIN,

        /// There is something urgent to read.
        Pri = ext_bindings::EPOLLPRI,

        /// There is room to write.
        Out = ext_bindings::EPOLLOUT,

        /// An error happened. Reported whether or not it was asked for.
        Err = ext_bindings::EPOLLERR,

        /// Nothing will come any more. Reported whether or not it was asked for.
        Hup = ext_bindings::EPOLLHUP,

        /// There is ordinary data to read; goes with [`PollEvent::In`].
        RdNorm = ext_bindings::EPOLLRDNORM,

        /// There is room for ordinary data; goes with [`PollEvent::Out`].
        WrNorm = ext_bindings::EPOLLWRNORM,
    }
);

impl PollEvents {
    /// As the C side takes it.
    pub(crate) fn into_raw(self) -> bindings::__poll_t {
        self.into()
    }
}
