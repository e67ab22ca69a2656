// SPDX-License-Identifier: GPL-2.0

//! Fences that a Rust driver makes.

use super::Fence;
use crate::module::ModuleRef;
use kernel::{
    bindings,
    module::this_module,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::{
            Atomic,
            Relaxed, //
        },
    },
    types::Opaque, //
};

use core::{
    marker::PhantomData,
    mem::{
        needs_drop,
        ManuallyDrop,
        MaybeUninit, //
    },
    ops::Deref,
    ptr::NonNull, //
};

/// Timelines for fences: consecutive context numbers and a counter for sequence numbers.
///
/// Fences of one context must complete in the order in which they were made. Others rely on it: a
/// reservation object keeps only the latest fence of a context, and who waits for that one has
/// waited for all. Whatever can complete out of order (queues that run side by side) needs
/// contexts of its own.
///
/// The counter is shared by the contexts of one object, which leaves gaps in each of them and
/// does no harm.
pub struct FenceContext {
    base: u64,
    count: u32,
    seqno: Atomic<u64>,
}

impl FenceContext {
    /// Reserves `count` contexts, which must not be 0.
    ///
    /// Does not sleep, does not fail; context numbers are never given back, there are 2^64 of
    /// them. C: `dma_fence_context_alloc()`.
    pub fn new(count: u32) -> Self {
        Self {
            // SAFETY: No requirements but a count that is not 0, lest a C function warns.
            base: unsafe { bindings::dma_fence_context_alloc(count.max(1)) },
            count: count.max(1),
            seqno: Atomic::new(0),
        }
    }

    /// The number of context `index`, or `None` beyond those that were reserved.
    pub fn context(&self, index: u32) -> Option<u64> {
        (index < self.count).then(|| self.base + u64::from(index))
    }

    /// The sequence number that was given out last; 0 before the first.
    pub fn last_seqno(&self) -> u64 {
        self.seqno.load(Relaxed)
    }

    fn next_seqno(&self) -> u64 {
        self.seqno.fetch_add(1, Relaxed) + 1
    }
}

/// What a driver says about its fences; implemented by the private data in the fence.
///
/// The data must not need [`Drop`], see the [module documentation](super#lifetime-model).
#[vtable]
pub trait FenceOps: Sized + Send + Sync + 'static {
    /// The name of the driver, for traces and debugfs.
    ///
    /// Called while the fence is pending, in any context, possibly with the spinlock of the fence
    /// held; must not sleep. C: `get_driver_name`.
    fn driver_name(&self) -> &CStr;

    /// The name of the timeline, for traces and debugfs. Same rules as [`FenceOps::driver_name`].
    /// C: `get_timeline_name`.
    fn timeline_name(&self) -> &CStr;

    /// Somebody waits for the fence, for the first time: make sure that an interrupt will come.
    ///
    /// Called once at most, with interrupts off and the spinlock of the fence held: must neither
    /// sleep nor signal this fence here. Work that has ended already is signalled afterwards by
    /// whoever holds the [`UniqueFence`]. Drivers whose interrupts are always on leave this out.
    /// C: `enable_signaling`, which here always returns true.
    fn enable_signaling(&self) {}
}

/// A fence of a Rust driver, with its private data.
///
/// # Invariants
///
/// - `fence` is initialised, and its operations are those of `T` while it is pending.
/// - The object is the start of an allocation of the slab allocator, as `dma_fence_free()` frees
///   it with `kfree_rcu()`.
#[repr(C)]
pub struct DriverFence<T: FenceOps> {
    fence: Opaque<bindings::dma_fence>,
    data: T,
}

// SAFETY: `Fence` may be sent, and `T: Send`.
unsafe impl<T: FenceOps> Send for DriverFence<T> {}

// SAFETY: `Fence` may be shared, and `T: Sync`.
unsafe impl<T: FenceOps> Sync for DriverFence<T> {}

// SAFETY: The count is that of the embedded fence, which is at the start of the object.
unsafe impl<T: FenceOps> AlwaysRefCounted for DriverFence<T> {
    #[inline]
    fn inc_ref(&self) {
        Fence::inc_ref(self);
    }

    #[inline]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller owns a reference; the fence is at offset 0 of the object.
        unsafe { Fence::dec_ref(obj.cast()) };
    }
}

impl<T: FenceOps> Deref for DriverFence<T> {
    type Target = Fence;

    #[inline]
    fn deref(&self) -> &Fence {
        // SAFETY: By the type invariant the fence is initialised, and `&self` keeps it.
        unsafe { Fence::from_raw(self.fence.get()) }
    }
}

impl<T: FenceOps> DriverFence<T> {
    /// The private data.
    #[inline]
    pub fn data(&self) -> &T {
        &self.data
    }
}

/// Memory for a fence, and a reference on the module of `T`.
///
/// For code that must not allocate, since other fences depend on it: the memory is allocated in
/// advance, and becomes a fence without a failure point, see [`UniqueFence::new_in`].
pub struct FenceMemory<T: FenceOps> {
    fence: KBox<MaybeUninit<DriverFence<T>>>,
    module: ModuleRef,
}

impl<T: FenceOps> FenceMemory<T> {
    /// Allocates the memory. May sleep if `flags` allow it.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `ENODEV`: the module of `T` is being unloaded.
    pub fn new(flags: kernel::alloc::Flags) -> Result<Self> {
        Ok(Self {
            fence: KBox::new_uninit(flags)?,
            module: ModuleRef::try_get::<T::OwnerModule>()?,
        })
    }
}

/// A pending fence, and the duty to signal it.
///
/// Sharing it is by [`UniqueFence::fence`]. Dropping it signals `ECANCELED`.
///
/// # Invariants
///
/// The fence is pending, nothing else signals it, and it owns a reference on the module of `T`.
pub struct UniqueFence<T: FenceOps>(ARef<DriverFence<T>>);

impl<T: FenceOps> UniqueFence<T> {
    /// Makes a pending fence on the first context of `ctx`.
    ///
    /// Takes the next sequence number, so fences of one context have to be made in the order in
    /// which the work is queued, that is, under the lock of the queue.
    ///
    /// May sleep if `flags` allow it. C: `dma_fence_init64()`.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `ENODEV`: the module of `T` is being unloaded.
    pub fn new(ctx: &FenceContext, data: T, flags: kernel::alloc::Flags) -> Result<Self> {
        Self::new_on(ctx, 0, data, flags)
    }

    /// Makes a pending fence on context `index` of `ctx`. As [`UniqueFence::new`].
    ///
    /// # Errors
    ///
    /// As [`UniqueFence::new`], and `EINVAL` if `ctx` has no such context.
    pub fn new_on(
        ctx: &FenceContext,
        index: u32,
        data: T,
        flags: kernel::alloc::Flags,
    ) -> Result<Self> {
        let context = ctx.context(index).ok_or(EINVAL)?;

        Ok(Self::init(FenceMemory::new(flags)?, ctx, context, data))
    }

    /// Makes a pending fence on the first context of `ctx`, in memory that was allocated before.
    ///
    /// As [`UniqueFence::new`], but neither sleeps nor fails; any context.
    pub fn new_in(memory: FenceMemory<T>, ctx: &FenceContext, data: T) -> Self {
        Self::init(memory, ctx, ctx.base, data)
    }

    fn init(memory: FenceMemory<T>, ctx: &FenceContext, context: u64, data: T) -> Self {
        const { assert!(!needs_drop::<T>()) };

        let fence = KBox::write(
            memory.fence,
            DriverFence {
                fence: Opaque::uninit(),
                data,
            },
        );
        let ptr = NonNull::from(KBox::leak(fence));

        // `complete()` gives it back.
        core::mem::forget(memory.module);

        // SAFETY: The fence is ours and not initialised yet. The operations are static; the
        // module that has them stays until the fence is signalled, by the reference above.
        unsafe {
            bindings::dma_fence_init64(
                ptr.cast().as_ptr(),
                &FenceVtable::<T>::OPS,
                core::ptr::null_mut(),
                context,
                ctx.next_seqno(),
            )
        };

        // SAFETY: The fence is initialised with one reference, which is now owned by the `ARef`.
        // INVARIANT: The fence is pending, nobody else can signal it; module reference above.
        Self(unsafe { ARef::from_raw(ptr) })
    }

    /// A reference for those who wait.
    #[inline]
    pub fn fence(&self) -> ARef<Fence> {
        let fence: &Fence = &self.0;

        fence.into()
    }

    /// A reference for those who wait, with access to the data.
    #[inline]
    pub fn driver_fence(&self) -> ARef<DriverFence<T>> {
        self.0.clone()
    }

    /// Signals the fence, with success or with an error.
    ///
    /// Runs the callbacks that have been registered. May be called in any context, hard
    /// interrupts included, but not from [`FenceOps::enable_signaling`], and not with a lock held
    /// that a callback takes. C: `dma_fence_set_error()`, `dma_fence_signal()`.
    pub fn signal(self, result: Result) {
        let this = ManuallyDrop::new(self);

        // SAFETY: `this` is not used again, and not dropped.
        Self::complete(unsafe { core::ptr::read(&this.0) }, result);
    }

    /// Signals `fence` and gives up what a pending fence owns.
    ///
    /// Consumes the contents of a `UniqueFence`, and is therefore called once for each.
    fn complete(fence: ARef<DriverFence<T>>, result: Result) {
        let raw = fence.fence.get();

        if let Err(err) = result {
            // SAFETY: By the type invariant the fence is pending, and nobody reads the error
            // before it is signalled.
            unsafe { (*raw).error = err.to_errno() };
        }

        // SAFETY: By the type invariant the fence is initialised.
        unsafe { bindings::dma_fence_signal(raw) };

        // SAFETY: The reference was taken by `FenceMemory::new()`. From now on the operations cannot be
        // reached. Calls that are under way end within an RCU grace period, which passes between
        // the exit of a module and the freeing of its code.
        unsafe { bindings::module_put(this_module::<T::OwnerModule>().as_ptr()) };
    }
}

impl<T: FenceOps> Deref for UniqueFence<T> {
    type Target = DriverFence<T>;

    #[inline]
    fn deref(&self) -> &DriverFence<T> {
        &self.0
    }
}

impl<T: FenceOps> Drop for UniqueFence<T> {
    fn drop(&mut self) {
        // The reference in `self.0` is dropped after this; `complete()` gets one of its own.
        Self::complete(self.0.clone(), Err(ECANCELED));
    }
}

/// The operations of fences with data `T`.
struct FenceVtable<T: FenceOps>(PhantomData<T>);

impl<T: FenceOps> FenceVtable<T> {
    const OPS: bindings::dma_fence_ops = bindings::dma_fence_ops {
        get_driver_name: Some(Self::driver_name),
        get_timeline_name: Some(Self::timeline_name),
        enable_signaling: if T::HAS_ENABLE_SIGNALING {
            Some(Self::enable_signaling)
        } else {
            None
        },
        // No `wait` and no `release`: with either, the fence would stay tied to the module after
        // it is signalled.
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `fence` must be embedded in a `DriverFence<T>` that is valid during `'a`.
    unsafe fn data<'a>(fence: *mut bindings::dma_fence) -> &'a T {
        // SAFETY: By the safety requirements; the fence is at offset 0.
        unsafe { &(*fence.cast::<DriverFence<T>>()).data }
    }

    /// # Safety
    ///
    /// Called by the C side only, in an RCU read-side section, on a fence with these operations.
    unsafe extern "C" fn driver_name(fence: *mut bindings::dma_fence) -> *const c_char {
        // SAFETY: The operations are only used for a `DriverFence<T>`. The string is valid as
        // long as the fence, and hence to the end of the caller's RCU section.
        unsafe { Self::data(fence) }.driver_name().as_char_ptr()
    }

    /// # Safety
    ///
    /// As `driver_name()`.
    unsafe extern "C" fn timeline_name(fence: *mut bindings::dma_fence) -> *const c_char {
        // SAFETY: As in `driver_name()`.
        unsafe { Self::data(fence) }.timeline_name().as_char_ptr()
    }

    /// # Safety
    ///
    /// Called by the C side only, on a fence with these operations.
    unsafe extern "C" fn enable_signaling(fence: *mut bindings::dma_fence) -> bool {
        // SAFETY: The operations are only used for a `DriverFence<T>`.
        unsafe { Self::data(fence) }.enable_signaling();

        // False would let the C side signal the fence, which is the right of the `UniqueFence`.
        true
    }
}
