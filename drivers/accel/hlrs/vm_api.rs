// SPDX-License-Identifier: GPL-2.0

//! VMs for the other drivers of the device.
//!
//! A process hands a VM to another driver as a file descriptor. That driver registers it with
//! [`Vms::register`] and gets a [`VmUser`]: the right to let an engine of its own access the VM. The
//! driver of the accelerator vouches for the address space; the other driver drives the engine.
//!
//! # Lifetime model
//!
//! - A [`VmUser`] keeps the VM from being destroyed, and not from being *revoked*: when the open file
//!   that the VM belongs to is closed, [`Revoked::revoked`] is called, and the VM's memory and
//!   hardware context go when it has returned and the fences of all accesses are signalled.
//! - Each access is announced with [`Vms::access`], with the fence that says when it has ended. The
//!   VM makes sure that what is mapped at that moment stays in place until then: who moves or
//!   unmaps a buffer waits for the fence, or keeps the memory.
//! - Dropping the [`VmUser`] unregisters. Its fences may still be pending.
//!
//! # Locking
//!
//! [`Vms::register`], [`Vms::access`] and dropping a [`VmUser`] take reservation locks and locks of
//! the VM. [`Revoked::revoked`] is called with none of them held. Dropping a [`VmUser`] waits for a
//! call of [`Revoked::revoked`] that is under way: not from that call itself, and not with a lock
//! held that it takes.

use core::any::Any;

use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::dma_fence::Fence;

/// What a [`VmUser`] is told.
pub trait Revoked: Send + Sync {
    /// The VM is going to go.
    ///
    /// When this returns no engine accesses the VM for this user, nor will one: what ran was
    /// stopped, and its fences are signalled in bounded time. Called at most once; sleeps.
    ///
    /// [`Vms::access`] fails from before this is called on. Of those that have succeeded some may
    /// not have begun on the engine: the user must see to it that they do not after this.
    fn revoked(&self);

    /// Whether the user does not want to access the VM any more: calls of [`Vms::access`] that wait
    /// for it end. Sleeps. Called without reservation locks and locks of the VM held.
    fn has_given_up(&self) -> bool {
        false
    }
}

/// A VM that was registered for another driver of the device; unregistered when dropped.
pub trait VmUser: Any + Send + Sync {
    /// Number of the hardware context; the VM's until it is revoked and no access is pending. Another
    /// VM may have it then.
    fn context(&self) -> u16;

    /// Whether both are users of the same VM.
    fn is_same_vm(&self, other: &dyn VmUser) -> bool;

    /// An access for this user has faulted: makes the context usable again. Returns whether it is;
    /// not if the VM was revoked, or is banned, because work of its own has faulted as well.
    ///
    /// Called while the queue that has faulted is stopped. Sleeps, and may be called on the way to
    /// signalling fences: allocates nothing, takes no reservation lock.
    fn recover(&self) -> bool;

    /// Unregisters the user before it is dropped: the VM may be destroyed, and nothing is announced
    /// or told for this user any more. Once is enough.
    ///
    /// For a driver whose jobs keep the user although its engine has let go of the VM. Sleeps, until a
    /// call of [`Revoked::revoked`] that is under way has returned.
    fn unregister(&self);

    /// For the implementor, who finds his own type.
    fn as_any(&self) -> &dyn Any;
}

/// The VMs of a function.
pub trait Vms: Send + Sync {
    /// Registers a user of the VM behind a descriptor of the current process.
    ///
    /// Sleeps. What the descriptor stands for, and whether the process may, is checked here.
    ///
    /// # Errors
    ///
    /// - `EBADF`: there is no such descriptor.
    /// - `EINVAL`: it is not that of a VM.
    /// - `EXDEV`: the VM is one of another function or device.
    /// - `EACCES`: the VM does not allow the process.
    /// - `ENOENT`: the VM was banned, or its device file closed.
    /// - `EBUSY`: it has as many users as it can have.
    /// - `ENODEV`: the device is being unbound.
    /// - `ENOMEM`.
    fn register(&self, fd: i32, revoked: Arc<dyn Revoked>) -> Result<Arc<dyn VmUser>>;

    /// Announces an access to all of `users` that is over when `fence` is signalled.
    ///
    /// Locks the VMs together, brings back what was evicted from them, and adds the fence, as
    /// `BOOKKEEP`, to the VMs and their buffers: to all or to none. After success the engine may
    /// start at once, and the fence must be signalled without waiting for memory, reservation locks
    /// or later fences. After an error nobody waits for the fence on behalf of a VM. The same VM may
    /// occur twice. Sleeps; binds that were submitted before, and wait for fences, are waited for,
    /// unless a user [gives up](Revoked::has_given_up).
    ///
    /// # Errors
    ///
    /// - `ESTALE`: a VM was revoked, or banned.
    /// - `ECANCELED`: a user has given up.
    /// - `EXDEV`: a VM is one of another function or device.
    /// - `EFAULT`: a buffer cannot be brought back.
    /// - `EINTR`, `ERESTARTSYS`: a signal came in.
    /// - `ENODEV`: the device is being unbound.
    /// - `ENOMEM`.
    fn access(&self, users: &[&dyn VmUser], fence: &Fence) -> Result;
}
