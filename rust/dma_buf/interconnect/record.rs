// SPDX-License-Identifier: GPL-2.0

//! Negotiated attachments: the objects, and the list of those that exist.

use super::{
    list::{
        List,
        Node, //
    },
    registry::ModuleGuard, //
};
use kernel::{
    bindings,
    ffi::c_void,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        global_lock,
        Refcount, //
    },
};

use core::{
    mem::{
        size_of,
        ManuallyDrop, //
    },
    ops::Deref,
    ptr::{
        from_ref,
        null_mut,
        NonNull, //
    },
};

global_lock! {
    // SAFETY: `init()` is called before anything else of this crate.
    unsafe(uninit) static RECORDS: SpinLock<Records> = Records {
        list: List::new(),
        next: 1,
    };
}

/// The records that are attached, for debugfs, and the number of the next one.
struct Records {
    list: List,
    next: u64,
}

/// # Safety
///
/// Must be called once, before anything else of this crate.
pub(super) unsafe fn init() {
    // SAFETY: By the safety requirements.
    unsafe { RECORDS.init() };
}

/// What there is for a negotiated attachment. The match follows it in the same allocation.
///
/// # Invariants
///
/// - `node` is at offset 0. It and `number` are protected by the lock of [`RECORDS`].
/// - `ops` has [`invalidate_mappings`] if the importer has such an operation, and does not change.
/// - A reference is held on the buffer and the device that `public` names, and on the modules.
/// - `public.match_` points behind the record, to the match, which does not change any more after
///   the record was made known to others.
#[repr(C)]
pub(in crate::dma_buf) struct Record {
    node: Node,
    /// What the ordinary attachment is made with, by which [`find`] recognises it.
    ops: bindings::dma_buf_attach_ops,
    pub(in crate::dma_buf) public: ext_bindings::dma_buf_interconnect_attachment,
    /// Ascending, for walks through the list.
    number: u64,
    refs: Refcount,
    /// Changed with the reservation lock held.
    mappings: Atomic<u32>,
    /// Of the exporter; null if it counts itself.
    pub(super) buffer: *mut ext_bindings::dma_buf_interconnect_buffer,
    /// Whether `finish_match` has succeeded, so that `release_match` is due.
    finished: bool,
    _owners: [Option<ModuleGuard>; 3],
}

/// Room for a match of usual size, which takes less time to clear than a call of `memset()`.
type SmallMatch = [usize; 6];

const _: () = assert!(
    size_of::<SmallMatch>() >= size_of::<ext_bindings::dma_buf_interconnect_match>()
        && align_of::<SmallMatch>() == align_of::<Record>()
);

/// The modules whose code an attachment may call.
pub(super) struct Owners {
    pub(super) importer: ModuleGuard,
    pub(super) exporter: Option<ModuleGuard>,
    pub(super) interconnect: ModuleGuard,
}

impl Record {
    /// A record for `pair`, of which the match is not finished. Sleeps (allocates).
    ///
    /// # Safety
    ///
    /// All pointers in `public` must be valid, `public.match_` aside. `ty` must be valid, and be so
    /// as long as there is a reference on its owner.
    pub(super) unsafe fn create(
        public: ext_bindings::dma_buf_interconnect_attachment,
        ty: *const ext_bindings::dma_buf_interconnect_type,
        buffer: *mut ext_bindings::dma_buf_interconnect_buffer,
        owners: Owners,
    ) -> Result<RecordRef> {
        // SAFETY: By the safety requirements.
        let match_size = unsafe { (*ty).match_size };
        let match_size = match_size.max(size_of::<SmallMatch>());
        let size = size_of::<Self>().checked_add(match_size).ok_or(EOVERFLOW)?;

        // SAFETY: No requirements.
        let memory = unsafe { ext_bindings::kmalloc(size) };
        let this: NonNull<Self> = NonNull::new(memory.cast()).ok_or(ENOMEM)?;

        // SAFETY: The memory is large enough for the record and the match behind it. The record's
        // size is a multiple of its alignment, which is that of pointers; so is that of the match.
        //
        // INVARIANT: The references are taken here.
        unsafe {
            let matched = this.add(1).cast::<u8>();

            if match_size == size_of::<SmallMatch>() {
                matched.cast::<SmallMatch>().write([0; _]);
            } else {
                matched.write_bytes(0, match_size);
            }
            matched
                .cast::<ext_bindings::dma_buf_interconnect_match>()
                .write(ext_bindings::dma_buf_interconnect_match { type_: ty });

            ext_bindings::get_dma_buf(public.dmabuf);
            bindings::get_device(public.dev);
            let base = &(*public.importer).base;

            this.write(Self {
                node: Node::new(),
                ops: bindings::dma_buf_attach_ops {
                    allow_peer2peer: base.allow_peer2peer,
                    invalidate_mappings: base.invalidate_mappings.and(Some(invalidate_mappings)),
                },
                public: ext_bindings::dma_buf_interconnect_attachment {
                    match_: matched.as_ptr().cast(),
                    ..public
                },
                number: 0,
                refs: Refcount::new(1),
                mappings: Atomic::new(0),
                buffer,
                finished: false,
                _owners: [
                    Some(owners.importer),
                    owners.exporter,
                    Some(owners.interconnect),
                ],
            });
        }
        // INVARIANT: The first reference.
        Ok(RecordRef(this))
    }

    pub(in crate::dma_buf) fn ty(&self) -> &ext_bindings::dma_buf_interconnect_type {
        // SAFETY: By the type invariants the match is valid, and the type as long as there is a
        // reference on its module.
        unsafe { &*(*self.public.match_).type_ }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(in crate::dma_buf) fn mappings(&self) -> u32 {
        self.mappings.load(Relaxed)
    }

    /// Counts a mapping. The caller has the reservation lock.
    pub(super) fn add_mapping(&self) {
        self.mappings.store(self.mappings() + 1, Relaxed);
    }

    /// Counts a mapping less. The caller has the reservation lock, and has seen that there is one.
    pub(super) fn remove_mapping(&self) {
        self.mappings.store(self.mappings() - 1, Relaxed);
    }

    /// The ordinary attachment; null before it exists, and after it was detached.
    pub(super) fn attach(&self) -> *mut bindings::dma_buf_attachment {
        self.attach_cell().load(Acquire)
    }

    pub(super) fn set_attach(&self, attach: *mut bindings::dma_buf_attachment) {
        self.attach_cell().store(attach, Release);
    }

    /// Remembers the ordinary attachment, which the exporter is asked about, or whose mappings are
    /// invalidated, before the attach has returned.
    fn adopt(&self, attach: *mut bindings::dma_buf_attachment) {
        if self.attach().is_null() {
            self.set_attach(attach);
        }
    }

    fn attach_cell(&self) -> &Atomic<*mut bindings::dma_buf_attachment> {
        // SAFETY: The field is aligned, valid as long as the record, and accessed by the core in
        // this way only. C code reads it when it cannot change.
        unsafe { Atomic::from_ptr((&raw const self.public.attach).cast_mut()) }
    }

    /// The pointer that the public interface has.
    pub(super) fn as_public(&self) -> *mut ext_bindings::dma_buf_interconnect_attachment {
        (&raw const self.public).cast_mut()
    }

    /// The record of a pointer that the public interface has.
    ///
    /// # Safety
    ///
    /// `public` must have come from [`Record::as_public`], and the record not be freed during `'a`.
    pub(super) unsafe fn from_public<'a>(
        public: *const ext_bindings::dma_buf_interconnect_attachment,
    ) -> &'a Self {
        // SAFETY: By the safety requirements.
        unsafe { &*kernel::container_of!(public.cast_mut(), Record, public) }
    }
}

/// A reference to a record.
///
/// # Invariants
///
/// It owns one reference.
pub(super) struct RecordRef(NonNull<Record>);

// SAFETY: References may be dropped on any thread.
unsafe impl Send for RecordRef {}

impl RecordRef {
    /// Finishes the match. The record must be new.
    pub(super) fn finish(&mut self, pair: &ext_bindings::dma_buf_interconnect_pair) -> Result {
        if let Some(finish_match) = self.ty().finish_match {
            // SAFETY: The pair is valid, and the match as large as the type says. Nobody else has
            // the record.
            kernel::error::to_result(unsafe { finish_match(pair, self.public.match_.cast_mut()) })?;
        }
        // SAFETY: Nobody else has the record.
        unsafe { self.0.as_mut() }.finished = true;
        Ok(())
    }

    /// Adds the record to those that debugfs shows and [`find`] knows. Does not sleep.
    pub(super) fn publish(&self) {
        let mut records = RECORDS.lock();

        // SAFETY: The record is in no list yet, and is freed only after `hide()`. The fields are
        // protected by the lock. The list is static.
        unsafe {
            (&raw mut (*self.0.as_ptr()).number).write(records.next);
            records.list.add(self.0.cast());
        }
        records.next += 1;
    }

    /// Undoes [`RecordRef::publish`], when the attachment has gone, or was not made. Does not sleep.
    pub(super) fn hide(&self) {
        self.set_attach(null_mut());
        // SAFETY: The record is valid, and in no other list.
        unsafe { RECORDS.lock().list.remove(self.0.cast()) };
    }

    /// The operations and the private pointer for the ordinary attachment.
    pub(super) fn attach_arguments(&self) -> (*const bindings::dma_buf_attach_ops, *mut c_void) {
        (&raw const self.ops, self.0.as_ptr().cast())
    }

    /// Gives the reference to the public interface.
    pub(super) fn into_public(self) -> *mut ext_bindings::dma_buf_interconnect_attachment {
        ManuallyDrop::new(self).as_public()
    }

    /// Takes a reference back from the public interface.
    ///
    /// # Safety
    ///
    /// The caller must own a reference to `public`, which it gives up.
    pub(super) unsafe fn from_public(
        public: *mut ext_bindings::dma_buf_interconnect_attachment,
    ) -> Self {
        // SAFETY: By the safety requirements.
        Self(NonNull::from(unsafe { Record::from_public(public) }))
    }
}

impl Clone for RecordRef {
    fn clone(&self) -> Self {
        self.refs.inc();
        // INVARIANT: Taken just now.
        Self(self.0)
    }
}

impl Deref for RecordRef {
    type Target = Record;

    fn deref(&self) -> &Record {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for RecordRef {
    fn drop(&mut self) {
        if !self.refs.dec_and_test() {
            return;
        }
        let Record {
            finished,
            public:
                ext_bindings::dma_buf_interconnect_attachment {
                    dmabuf,
                    dev,
                    match_,
                    ..
                },
            ..
        } = **self;

        if let (true, Some(release_match)) = (finished, self.ty().release_match) {
            // SAFETY: The match was finished, and nobody uses it any more.
            unsafe { release_match(match_.cast_mut()) };
        }
        // SAFETY: Nobody else has the record. By its invariants it has a reference on the device
        // and on the buffer. Those on the modules go last, since the others may call into them.
        unsafe {
            bindings::put_device(dev);
            bindings::dma_buf_put(dmabuf);
            self.0.as_ptr().drop_in_place();
            bindings::kfree(self.0.as_ptr().cast());
        }
    }
}

/// The operation of all attachments that are negotiated, whose importer can be revoked.
///
/// # Safety
///
/// Called by the C side only, with the lock of the buffer held, for an attachment whose operations
/// are those of a record.
#[inline(never)]
unsafe extern "C" fn invalidate_mappings(attach: *mut bindings::dma_buf_attachment) {
    // SAFETY: By the safety requirements the record is the private pointer, and has references,
    // which its attachment owns. The importer is valid as long as there is one on its module.
    unsafe {
        let record = &*(*attach).importer_priv.cast::<Record>();

        record.adopt(attach);
        if let Some(invalidate_mappings) = (*record.public.importer).base.invalidate_mappings {
            invalidate_mappings(attach);
        }
    }
}

/// The record of an ordinary attachment; `None` if that was not negotiated.
///
/// Does not sleep.
///
/// # Safety
///
/// `attach` must be valid during `'a`, and not be detached.
pub(in crate::dma_buf) unsafe fn find<'a>(
    attach: *mut bindings::dma_buf_attachment,
) -> Option<&'a Record> {
    // SAFETY: By the safety requirements.
    let (ops, private) = unsafe {
        (
            (*attach).importer_ops,
            NonNull::new((*attach).importer_priv.cast::<Record>())?,
        )
    };

    // The private pointer of others is what they like, and is compared only.
    if !core::ptr::eq(
        ops.cast::<u8>(),
        private
            .as_ptr()
            .cast::<u8>()
            .wrapping_add(core::mem::offset_of!(Record, ops)),
    ) {
        return None;
    }

    // That nobody else has these operations is certain if they name a function that is known here
    // only. An importer that cannot be revoked has none; then it is looked for.
    //
    // SAFETY: The operations of an attachment are valid.
    let negotiated = match unsafe { (*ops).invalidate_mappings } {
        Some(function) => core::ptr::fn_addr_eq(
            function,
            invalidate_mappings as unsafe extern "C" fn(*mut bindings::dma_buf_attachment),
        ),
        None => RECORDS
            .lock()
            .list
            .iter()
            .any(|node| node == private.cast::<Node>()),
    };
    if !negotiated {
        return None;
    }

    // SAFETY: The pointer is that of a record, which has references that its attachment owns.
    let record = unsafe { private.as_ref() };

    record.adopt(attach);
    Some(record)
}

/// The record with the lowest number above `after`, with a reference. Does not sleep.
pub(super) fn next(after: u64) -> Option<RecordRef> {
    let records = RECORDS.lock();

    let all = records.list.iter().map(|node| {
        // SAFETY: All nodes are records, which stay while the list is locked.
        unsafe { node.cast::<Record>().as_ref() }
    });

    // Who comes later is in front. A record in the list has at least the reference of its
    // attachment.
    all.take_while(|record| record.number > after)
        .last()
        .map(|record| {
            record.refs.inc();
            // INVARIANT: Taken just now.
            RecordRef(NonNull::from(record))
        })
}

/// A public structure for a negotiation that has not found anything yet.
pub(super) fn public(
    dmabuf: *mut bindings::dma_buf,
    dev: *mut bindings::device,
    importer: &ext_bindings::dma_buf_interconnect_importer,
    importer_priv: *mut c_void,
    exporter: *const ext_bindings::dma_buf_interconnect_exporter,
) -> ext_bindings::dma_buf_interconnect_attachment {
    ext_bindings::dma_buf_interconnect_attachment {
        dmabuf,
        dev,
        attach: null_mut(),
        match_: core::ptr::null(),
        importer: from_ref(importer),
        importer_priv,
        exporter,
    }
}
