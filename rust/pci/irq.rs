// SPDX-License-Identifier: GPL-2.0

//! Interrupt vectors together with their handlers.

use kernel::{
    device,
    irq::{
        Flags,
        ThreadedHandler,
        ThreadedRegistration, //
    },
    pci::{
        self,
        IrqTypes,
        IrqVectorRegistration, //
    },
    prelude::*, //
};

/// A registered handler of whatever type; unregistered when dropped.
trait Registered: Send {}

impl<T: ThreadedHandler + Send> Registered for Handler<'_, T> {}

/// Keeps a registration; it is only there to be dropped.
struct Handler<'a, T: ThreadedHandler>(#[expect(dead_code)] Pin<KBox<ThreadedRegistration<'a, T>>>);

// SAFETY: An interrupt may be unregistered, which is all that can be done with a `Handler`, from
// any thread; the handler itself is `Send`.
unsafe impl<T: ThreadedHandler + Send> Send for Handler<'_, T> {}

/// Interrupt vectors of a device, and the handlers that were registered for them.
///
/// Handlers are unregistered before the vectors are freed. `kernel::pci` leaves the order to a
/// struct that borrows from itself; this does it once for all.
pub struct Interrupts<'bound> {
    // Dropped first: what is in there borrows from `vectors`.
    handlers: KVec<KBox<dyn Registered + 'bound>>,
    vectors: Pin<KBox<IrqVectorRegistration<'bound>>>,
}

impl<'bound> Interrupts<'bound> {
    /// Allocates `count` vectors, of which none has a handler yet.
    ///
    /// Sleeps. Fails with `ENOSPC` if there are fewer. C: `pci_alloc_irq_vectors()`.
    pub fn new(
        pdev: &'bound pci::Device<device::Bound>,
        count: u32,
        types: IrqTypes,
    ) -> Result<Self> {
        let vectors = pdev.alloc_irq_vectors(count, count, types)?;

        Ok(Self {
            handlers: KVec::new(),
            vectors: KBox::pin(vectors, GFP_KERNEL)?,
        })
    }

    /// Registers a handler for vector `index`. Its interrupts may come before this returns.
    ///
    /// `name` is shown in `/proc/interrupts`. Sleeps. Fails with `EINVAL` if there is no such
    /// vector, `EBUSY` if it has a handler already. C: `request_threaded_irq()`.
    pub fn register<T>(&mut self, index: usize, name: &'static CStr, handler: T) -> Result
    where
        T: ThreadedHandler + Send + 'static,
    {
        // SAFETY: The vectors are in a box, which does not move them, and are dropped after
        // `handlers`; nothing is taken out of `handlers` before.
        let vectors: &'bound IrqVectorRegistration<'bound> =
            unsafe { &*core::ptr::from_ref(&*self.vectors) };
        let request = vectors.index(index)?.into();

        self.handlers.reserve(1, GFP_KERNEL)?;

        // SAFETY: The registration goes to `handlers`, which drops it and is private. Should
        // `Interrupts` itself be leaked, so are the vectors, and the handler borrows nothing.
        let registration = unsafe {
            ThreadedRegistration::new(request, Flags::TRIGGER_NONE, name, Ok::<T, Error>(handler))
        };
        let registration = Handler(KBox::pin_init(registration, GFP_KERNEL)?);

        self.handlers
            .push(KBox::new(registration, GFP_KERNEL)?, GFP_KERNEL)?;
        Ok(())
    }
}
