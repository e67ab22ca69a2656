// SPDX-License-Identifier: GPL-2.0

//! Taking a buffer back, in bounded time.

use super::record;
use crate::dma_buf::DmaBuf;
use crate::dma_resv::{
    Guard,
    Usage, //
};
use kernel::{
    bindings,
    error::from_result,
    ffi::c_void,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed,
        Release, //
    },
    time::{
        msecs_to_jiffies,
        Instant,
        Jiffies,
        Monotonic, //
    },
    types::Opaque,
    warn_on, //
};

use core::ptr::NonNull;

type Raw = ext_bindings::dma_buf_interconnect_buffer;

/// Longest time that the C side can count, in jiffies.
const MAX_TIMEOUT: Jiffies = (isize::MAX - 1) as Jiffies;

/// Whether a buffer may be mapped, and how many mappings there are.
///
/// Part of the private data of an exporter. C: `struct dma_buf_interconnect_buffer`.
///
/// # Invariants
///
/// The C structure is initialised.
#[repr(transparent)]
pub struct BufferState(Opaque<Raw>);

// SAFETY: The flag is protected by the reservation lock, the rest synchronises itself.
unsafe impl Send for BufferState {}

// SAFETY: As above.
unsafe impl Sync for BufferState {}

/// Who did not let go in time. C: `struct dma_buf_interconnect_left`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Number of mappings that still exist, of all kinds.
    pub mappings: u32,
    /// How many of them belong to negotiated attachments.
    pub negotiated: u32,
    /// Whether fences have not signalled.
    pub fences: bool,
}

impl BufferState {
    /// A buffer without mappings that may be mapped.
    pub fn new() -> impl PinInit<Self> {
        // INVARIANT: Initialised by the C side's rules.
        // SAFETY: `slot` is valid for writes, and does not move afterwards.
        unsafe {
            pin_init::pin_init_from_closure(|slot: *mut Self| {
                dma_buf_interconnect_buffer_init(slot.cast());
                Ok::<(), core::convert::Infallible>(())
            })
        }
    }

    /// # Safety
    ///
    /// `ptr` must point to an initialised structure that is valid during `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut Raw) -> &'a Self {
        // SAFETY: By the safety requirements; it is a transparent wrapper.
        unsafe { &*ptr.cast() }
    }

    pub(super) fn as_raw(&self) -> *mut Raw {
        self.0.get()
    }

    fn count(&self) -> &Atomic<i32> {
        // SAFETY: By the type invariant; the field is accessed atomically only.
        unsafe { Atomic::from_ptr(&raw mut (*self.as_raw()).mappings.counter) }
    }

    /// Number of mappings that exist. Any context; it may change at once without the reservation
    /// lock.
    pub fn mappings(&self) -> u32 {
        // CAST: Never negative.
        self.count().load(Relaxed) as u32
    }

    /// Whether the buffer is revoked now. `_guard` is that of the buffer.
    pub fn is_revoked(&self, _guard: &Guard<'_>) -> bool {
        // SAFETY: Protected by the lock.
        unsafe { (*self.as_raw()).revoked }
    }

    /// Counts a mapping.
    ///
    /// # Safety
    ///
    /// The reservation lock of the buffer must be held.
    pub(crate) unsafe fn map(&self) -> Result {
        // SAFETY: By the safety requirements.
        if unsafe { (*self.as_raw()).revoked } {
            return Err(ENODEV);
        }
        self.count().add(1, Relaxed);
        Ok(())
    }

    /// Counts a mapping less. Warns if there is none.
    ///
    /// # Safety
    ///
    /// The reservation lock of the buffer must be held.
    pub(crate) unsafe fn unmap(&self) {
        if warn_on!(self.mappings() == 0) {
            return;
        }
        // Who sees that there is none left also sees what the importer did before.
        if self.count().fetch_sub(1, Release) == 1 {
            // SAFETY: By the type invariant.
            unsafe { ext_bindings::wake_up_all(&raw mut (*self.as_raw()).wait) };
        }
    }

    /// Takes the buffer back: refuses new mappings, tells the importers, waits for the fences and
    /// then for the mappings, for at most `timeout` jiffies in all, but for what the lock and the
    /// importers take who are told.
    ///
    /// Sleeps; takes the reservation lock. `dma_buf` must be the buffer that this belongs to; the
    /// Rust side checks that in [`revoke`](super::revoke).
    pub(super) fn revoke(&self, dma_buf: &DmaBuf, timeout: Jiffies) -> Result<(), Left> {
        let start = Instant::<Monotonic>::now();
        let left = || {
            let gone = u32::try_from(start.elapsed().as_millis()).unwrap_or(u32::MAX);

            timeout
                .min(MAX_TIMEOUT)
                .saturating_sub(msecs_to_jiffies(gone))
        };
        let mut guard = dma_buf.resv().lock();

        // SAFETY: Protected by the lock.
        unsafe { (*self.as_raw()).revoked = true };
        // The guard is that of the buffer.
        let _ = dma_buf.invalidate_mappings(&mut guard);
        drop(guard);

        // Who has no mapping adds no fence, and those who have one may need the lock.
        let fences = dma_buf
            .resv()
            .wait_timeout(Usage::Bookkeep, false, left())
            .is_err();

        // Nobody can map any more, so that the number only falls.
        //
        // CAST: Below the limit of the type.
        // SAFETY: By the type invariant.
        unsafe {
            ext_bindings::wait_until_zero(
                &raw mut (*self.as_raw()).wait,
                &raw mut (*self.as_raw()).mappings,
                left() as isize,
            )
        };

        let mappings = self.mappings();

        if mappings == 0 && !fences {
            return Ok(());
        }
        let guard = dma_buf.resv().lock();
        let mut negotiated = 0;

        // SAFETY: The lock is held.
        unsafe { for_each(dma_buf, |record| negotiated += record.mappings()) };
        drop(guard);
        Err(Left {
            mappings,
            negotiated,
            fences,
        })
    }

    /// Allows mappings again. Sleeps; takes the reservation lock.
    pub(super) fn restore(&self, dma_buf: &DmaBuf) {
        let _guard = dma_buf.resv().lock();

        // SAFETY: Protected by the lock.
        unsafe { (*self.as_raw()).revoked = false };
    }
}

/// Calls `f` for the negotiated attachments of a buffer.
///
/// # Safety
///
/// The reservation lock of `dma_buf` must be held.
pub(super) unsafe fn for_each(dma_buf: &DmaBuf, mut f: impl FnMut(&record::Record)) {
    // SAFETY: By the safety requirements.
    let guard = unsafe { Guard::assume_held(dma_buf.resv().as_raw()) };

    if let Ok(attachments) = dma_buf.attachments(&guard) {
        for attachment in attachments {
            // SAFETY: An attachment on the list is valid while the lock is held.
            if let Some(record) = unsafe { record::find(attachment.as_raw()) } {
                f(record);
            }
        }
    }
}

/// Initialises the state of a buffer.
///
/// # Safety
///
/// `buffer` must be valid for writes, and not move afterwards.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_buffer_init(buffer: *mut Raw) {
    // SAFETY: By the safety requirements.
    unsafe {
        ext_bindings::init_waitqueue_head(&raw mut (*buffer).wait);
        (&raw mut (*buffer).mappings.counter).write(0);
        (&raw mut (*buffer).revoked).write(false);
    }
}

/// Checks that a buffer was not revoked, and counts a mapping.
///
/// # Safety
///
/// `buffer` must be initialised, and the reservation lock of its buffer held.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_buffer_map(buffer: *mut Raw) -> c_int {
    from_result(|| {
        // SAFETY: By the safety requirements.
        unsafe { BufferState::from_raw(buffer).map() }?;
        Ok(0)
    })
}

/// Counts a mapping less.
///
/// # Safety
///
/// As `dma_buf_interconnect_buffer_map()`, which must have succeeded.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_buffer_unmap(buffer: *mut Raw) {
    // SAFETY: By the safety requirements.
    unsafe { BufferState::from_raw(buffer).unmap() };
}

/// Takes a buffer back.
///
/// # Safety
///
/// `dmabuf` must be valid, `buffer` be its state, and `left` null or valid for writes.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_revoke(
    dmabuf: *mut bindings::dma_buf,
    buffer: *mut Raw,
    timeout: c_ulong,
    left: *mut ext_bindings::dma_buf_interconnect_left,
) -> c_int {
    // SAFETY: By the safety requirements.
    let result = unsafe { BufferState::from_raw(buffer).revoke(DmaBuf::from_raw(dmabuf), timeout) };

    if let Some(left) = NonNull::new(left) {
        let found = result.err();

        // SAFETY: By the safety requirements.
        unsafe {
            left.write(ext_bindings::dma_buf_interconnect_left {
                mappings: found.map_or(0, |left| left.mappings),
                negotiated: found.map_or(0, |left| left.negotiated),
                fences: found.is_some_and(|left| left.fences),
            })
        };
    }
    match result {
        Ok(()) => 0,
        Err(_) => ETIMEDOUT.to_errno(),
    }
}

/// Allows mappings again.
///
/// # Safety
///
/// `dmabuf` must be valid, and `buffer` be its state.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_restore(
    dmabuf: *mut bindings::dma_buf,
    buffer: *mut Raw,
) {
    // SAFETY: By the safety requirements.
    unsafe { BufferState::from_raw(buffer).restore(DmaBuf::from_raw(dmabuf)) };
}

/// Calls a function for each negotiated attachment.
///
/// # Safety
///
/// `dmabuf` must be valid and its reservation lock held, and `f` accept `data`.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_interconnect_for_each(
    dmabuf: *mut bindings::dma_buf,
    f: Option<
        unsafe extern "C" fn(
            *mut ext_bindings::dma_buf_interconnect_attachment,
            c_uint,
            *mut c_void,
        ),
    >,
    data: *mut c_void,
) {
    if let Some(f) = f {
        // SAFETY: By the safety requirements.
        unsafe {
            for_each(DmaBuf::from_raw(dmabuf), |record| {
                f(record.as_public(), record.mappings(), data)
            })
        };
    }
}
