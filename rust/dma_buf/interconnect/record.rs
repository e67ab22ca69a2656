// SPDX-License-Identifier: GPL-2.0

//! Negotiated attachments: the objects, and the table of those that exist.

use super::{
    registry::ModuleGuard,
    table::{
        Node,
        Table, //
    },
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
    unsafe(uninit) static RECORDS: SpinLock<Table> = Table::new();
}

/// # Safety
///
/// Must be called once, before anything else of this crate.
pub(super) unsafe fn init() {
    // SAFETY: By the safety requirements.
    unsafe { RECORDS.init() };
}

/// Number of the next record.
static NEXT: Atomic<u64> = Atomic::new(1);

/// What there is for a negotiated attachment. The match follows it in the same allocation.
///
/// # Invariants
///
/// - `node` is at offset 0, and its key is the address of the record, or null if it is in no table.
/// - A reference is held on the buffer and the device that `public` names, and on the modules.
/// - `public.match_` points behind the record, to the match, which does not change any more after
///   the record was made known to others.
#[repr(C)]
pub(in crate::dma_buf) struct Record {
    node: Node,
    pub(in crate::dma_buf) public: ext_bindings::dma_buf_interconnect_attachment,
    /// Ascending, for walks through the table.
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
        let match_size = match_size.max(size_of::<ext_bindings::dma_buf_interconnect_match>());
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

            matched.write_bytes(0, match_size);
            matched
                .cast::<ext_bindings::dma_buf_interconnect_match>()
                .write(ext_bindings::dma_buf_interconnect_match { type_: ty });

            ext_bindings::get_dma_buf(public.dmabuf);
            bindings::get_device(public.dev);
            this.write(Self {
                node: Node::new(this.as_ptr().cast()),
                public: ext_bindings::dma_buf_interconnect_attachment {
                    match_: matched.as_ptr().cast(),
                    ..public
                },
                number: NEXT.fetch_add(1, Relaxed),
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

    /// Makes the record known to [`find`].
    pub(super) fn publish(&self) {
        // SAFETY: The record is in no table yet, and is freed only after `hide()`.
        unsafe { RECORDS.lock().add(self.0.cast()) };
    }

    /// Undoes [`RecordRef::publish`].
    pub(super) fn hide(&self) {
        RECORDS.lock().remove(self.0.as_ptr().cast());
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
    // SAFETY: By the safety requirements. The pointer is compared only.
    let (private, dmabuf, ops) = unsafe {
        (
            (*attach).importer_priv,
            (*attach).dmabuf,
            (*attach).importer_ops,
        )
    };
    let node = RECORDS.lock().find(private.cast_const())?;
    // SAFETY: All nodes are records. A record in the table has references, which its attachment
    // owns.
    let record = unsafe { node.cast::<Record>().as_ref() };

    // The pointer of an ordinary importer is what it likes, but not the address of a record; and
    // the operations are those that the record was made with.
    //
    // SAFETY: The importer is valid as long as there is a reference on its module.
    let base = unsafe { &raw const (*record.public.importer).base };
    if !core::ptr::eq(record.public.dmabuf, dmabuf) || !core::ptr::eq(base, ops) {
        return None;
    }
    if record.attach().is_null() {
        // The exporter is asked, or mappings are invalidated, before the attach has returned.
        record.set_attach(attach);
    }
    Some(record)
}

/// The record with the lowest number above `after`, with a reference. Does not sleep.
pub(super) fn next(after: u64) -> Option<RecordRef> {
    let table = RECORDS.lock();
    let mut best: Option<&Record> = None;

    table.for_each(|node| {
        // SAFETY: All nodes are records, which stay while the table is locked.
        let record = unsafe { node.cast::<Record>().as_ref() };

        if record.number > after && best.is_none_or(|best| record.number < best.number) {
            best = Some(record);
        }
    });

    // A record in the table has at least the reference of its attachment.
    best.map(|record| {
        record.refs.inc();
        // INVARIANT: Taken just now.
        RecordRef(NonNull::from(record))
    })
}

/// The private pointer of an ordinary attachment that belongs to `record`.
pub(super) fn private_of(record: &RecordRef) -> *mut c_void {
    record.0.as_ptr().cast()
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
