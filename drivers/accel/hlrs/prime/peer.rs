// SPDX-License-Identifier: GPL-2.0

//! A buffer of somebody else, and its mapping.
//!
//! How it is reached is agreed upon when the device attaches: natively, if this is the PF of the VF
//! whose memory it is; over the link, if it is memory of the card at the other end; and else by a
//! scatterlist. Both are mapped, invalidated and unmapped alike.

use core::sync::atomic::{
    AtomicBool,
    AtomicUsize,
    Ordering, //
};

use kernel::{
    dma::DataDirection,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SetOnce, //
    },
    time::{
        msecs_to_jiffies,
        Jiffies, //
    },
};
use kernel_ext::{
    dma_buf::{
        interconnect::{
            ImporterOps,
            ImporterSide,
            Iov,
            IovImporter,
            Private,
            PrivateImporter,
            Registration,
            SgtImporter, //
        },
        Attachment,
        DmaBuf,
        Importer,
        Invalidation, //
    },
    dma_resv::{
        Guard,
        Usage, //
    },
    drm::gem::WeakRef,
    new_delayed_task,
    workqueue::{
        DelayedTask,
        Task, //
    },
};

use super::{
    imports::Listed,
    link::{
        self,
        Link,
        Port, //
    },
    native::{
        Native,
        Pieces, //
    },
    path::{
        Path,
        Reason, //
    },
    stale::STALE, //
};
use crate::{
    device::BoundDevice,
    exec::Timelines,
    gem::BufferData,
    queue::Address,
    sriov::Record,
    vm, //
};

/// How often to look whether jobs have ended whose mapping the exporter wants back, milliseconds.
const RETRY_MS: u32 = 5;

static OPS: ImporterOps<PeerImporter> = ImporterOps::new(c"hlrs");

/// Lets the driver negotiate what it imports, until the result is dropped. Sleeps.
pub(super) fn register() -> Result<Registration> {
    OPS.register()
}

type PeerAttachment = Attachment<PeerImporter>;

/// What those know who may take the memory back.
struct Shared {
    /// The buffer that was made of it.
    buffer: SetOnce<WeakRef<BufferData>>,
    /// Empty if there is a scatterlist.
    native: SetOnce<Native>,
    /// Contiguous pieces of what is mapped over the link.
    linked: AtomicUsize,
    /// Whether the device is a PF that can have VFs.
    is_pf: bool,
    /// Whose fences are those of jobs of the device.
    timelines: Arc<Timelines>,
}

impl Shared {
    /// Whether jobs of the device use the memory. Those of others have mappings of their own.
    /// `guard` is that of the buffer. Sleeps.
    fn is_used(&self, guard: &Guard<'_>) -> bool {
        guard
            .find_pending(Usage::Bookkeep, |fence| self.timelines.has(fence))
            .is_some()
    }

    /// Takes the memory out of address spaces. `guard` is that of the buffer. Sleeps.
    fn evict(&self, guard: &Guard<'_>) {
        if let Some(buffer) = self.buffer.as_ref() {
            vm::evict_weak(buffer, guard);
        }
    }

    /// The mapping has been undone.
    fn forget(&self, guard: &mut Guard<'_>) {
        if let Some(native) = self.native.as_ref() {
            native.forget(guard);
        }
        self.linked.store(0, Ordering::Relaxed);
    }
}

/// The importing side of an attachment.
struct PeerImporter {
    shared: Arc<Shared>,
    unmapper: Arc<DelayedTask<Unmapper>>,
}

#[vtable]
impl Importer for PeerImporter {
    const ALLOW_PEER2PEER: bool = true;

    fn interconnects() -> Option<&'static ImporterOps<Self>> {
        Some(&OPS)
    }

    fn invalidate_mappings(&self, guard: &mut Guard<'_>, invalidation: &Invalidation<'_, Self>) {
        // Jobs that use the buffer have their fences here. They end in bounded time, but the
        // exporter is not to be kept waiting for them with its lock held.
        if self.shared.is_used(guard) {
            self.unmapper.task().unmap_later(&self.unmapper, guard);
        } else {
            self.shared.evict(guard);
            // The guard is that of the buffer, so that this does not fail.
            let _ = invalidation.unmap(guard);
            self.shared.forget(guard);
        }
    }
}

/// Undoes a mapping when the jobs that use it have ended.
pub(super) struct Unmapper {
    /// Whether the mapping was invalidated and still exists. Protected by the reservation lock.
    stale: AtomicBool,
    shared: Arc<Shared>,
    /// Taken out when the buffer is freed, since the attachment in turn holds this.
    attachment: Pin<KBox<Mutex<Option<Arc<PeerAttachment>>>>>,
}

impl Task for Unmapper {
    fn run(&self) -> Option<Jiffies> {
        let attachment = self.attachment.lock().clone()?;
        let mut guard = attachment.dma_buf().resv().lock();

        if !self.stale.load(Ordering::Relaxed) {
            return None;
        }
        if self.shared.is_used(&guard) {
            return Some(msecs_to_jiffies(RETRY_MS));
        }
        self.unmap(&attachment, &mut guard);
        None
    }
}

impl Unmapper {
    fn unmap(&self, attachment: &PeerAttachment, guard: &mut Guard<'_>) {
        self.shared.evict(guard);
        // The guard is that of the buffer, so that this does not fail.
        let _ = attachment.unmap(guard);
        self.shared.forget(guard);
        self.stale.store(false, Ordering::Relaxed);
    }

    /// Jobs use the mapping: has it undone after them. `guard` is that of the buffer, and `task`
    /// is this.
    fn unmap_later(&self, task: &DelayedTask<Self>, guard: &Guard<'_>) {
        // Those that come now have to ask for it first, or else there might be no end.
        if let Some(buffer) = self.shared.buffer.as_ref() {
            vm::expire_weak(buffer, guard);
        }
        self.stale.store(true, Ordering::Relaxed);
        task.schedule(0);
    }

    /// Whether it is memory of the VF of `record`.
    pub(super) fn is_native_of(&self, record: &Arc<Record>) -> bool {
        self.shared
            .native
            .as_ref()
            .is_some_and(|native| native.is_of(record))
    }

    /// Calls `f` with the dma-buf and how it is reached, unless the buffer is being freed. Takes
    /// the reservation lock.
    pub(super) fn describe<R>(&self, f: impl FnOnce(&DmaBuf, Path) -> R) -> Option<R> {
        let attachment = self.attachment.lock().clone()?;
        let path = path(&attachment, &self.shared);

        Some(f(attachment.dma_buf(), path))
    }
}

/// Undoes the mapping, at once or when the jobs have ended that use it; as if the exporter had
/// invalidated it. Takes the reservation lock.
pub(super) fn invalidate(task: &DelayedTask<Unmapper>) {
    let unmapper = task.task();
    let Some(attachment) = unmapper.attachment.lock().clone() else {
        return;
    };
    let mut guard = attachment.dma_buf().resv().lock();

    if unmapper.shared.is_used(&guard) {
        unmapper.unmap_later(task, &guard);
    } else {
        unmapper.unmap(&attachment, &mut guard);
    }
}

/// How the memory is reached. Takes the reservation lock.
fn path(attachment: &PeerAttachment, shared: &Shared) -> Path {
    if let Some(native) = shared.native.as_ref() {
        let mut guard = attachment.dma_buf().resv().lock();

        return Path::Iov(native.vf(), native.pieces(&mut guard));
    }
    if attachment.negotiated::<Private<Link>>().is_some() {
        let extents = shared.linked.load(Ordering::Relaxed);

        return Path::Link(Pieces {
            ranges: extents,
            extents,
        });
    }
    Path::Sgt(if !attachment.has_aware_exporter() {
        Reason::Exporter
    } else if !shared.is_pf {
        Reason::Importer
    } else {
        Reason::Unrelated
    })
}

/// Memory of somebody else.
pub(super) struct Peer {
    shared: Arc<Shared>,
    attachment: Arc<PeerAttachment>,
    unmapper: Arc<DelayedTask<Unmapper>>,
    _listed: Listed,
}

impl Peer {
    /// Attaches the device to `dma_buf`. Sleeps.
    ///
    /// Fails with the exporter's error, and with `ENODEV` if it is memory of a VF that is being
    /// disabled.
    pub(super) fn new(dev: &BoundDevice<'_>, dma_buf: &DmaBuf) -> Result<Self> {
        let shared = Arc::new(
            Shared {
                buffer: SetOnce::new(),
                native: SetOnce::new(),
                linked: AtomicUsize::new(0),
                is_pf: dev.provisioning.is_some(),
                timelines: dev.engines.timelines().clone(),
            },
            GFP_KERNEL,
        )?;
        let unmapper = Arc::pin_init(
            new_delayed_task!(
                Unmapper {
                    stale: AtomicBool::new(false),
                    shared: shared.clone(),
                    attachment: KBox::pin_init(new_mutex!(None, "hlrs::Unmapper"), GFP_KERNEL)?,
                },
                "hlrs-unmap"
            ),
            GFP_KERNEL,
        )?;
        let importer = PeerImporter {
            shared: shared.clone(),
            unmapper: unmapper.clone(),
        };

        let sgt = SgtImporter::new();
        let iov = IovImporter::new(hlrs_abi::HLRS_BAR_LMEM);
        let port = Port::of(&dev.hw);
        let link = port.as_ref().map(PrivateImporter::<Link>::new);
        let mut sides = KVec::<&dyn ImporterSide>::with_capacity(3, GFP_KERNEL)?;
        if shared.is_pf {
            sides.push(&iov, GFP_KERNEL)?;
        }
        if let Some(link) = &link {
            sides.push(link, GFP_KERNEL)?;
        }
        sides.push(&sgt, GFP_KERNEL)?;
        let attachment = Arc::new(
            Attachment::negotiate(dma_buf, dev.parent(), Ok::<_, Error>(importer), &sides)?,
            GFP_KERNEL,
        )?;

        if let (Some(matched), Some(provisioning)) =
            (attachment.negotiated::<Iov>(), &dev.provisioning)
        {
            shared
                .native
                .populate(Native::new(provisioning, dma_buf, matched)?);
        }
        // From now on it is found by those who take back what a VF has.
        let listed = dev.imports.add(&unmapper)?;

        *unmapper.task().attachment.lock() = Some(attachment.clone());
        Ok(Self {
            shared,
            attachment,
            unmapper,
            _listed: listed,
        })
    }

    /// The memory has become `buffer`. Sleeps.
    pub(super) fn belongs_to(&self, buffer: WeakRef<BufferData>) {
        self.shared.buffer.populate(buffer);
    }

    /// Checks what the exporter says, if that is to be checked at all. Takes the reservation lock.
    ///
    /// Fails as [`Peer::for_each_range`].
    pub(super) fn check(&self, direction: DataDirection) -> Result {
        if let Some(native) = self.shared.native.as_ref() {
            let mut guard = self.attachment.dma_buf().resv().lock_interruptible()?;

            native.extents(&self.attachment, &mut guard, direction)?;
        }
        Ok(())
    }

    fn is_linked(&self) -> bool {
        self.attachment.negotiated::<Private<Link>>().is_some()
    }

    /// How the memory is reached. Takes the reservation lock.
    pub(super) fn path(&self) -> Path {
        path(&self.attachment, &self.shared)
    }

    /// Maps the memory if it is not, and calls `f` for its ranges: address and length. Sleeps.
    ///
    /// Fails with the errors of the exporter, of [`Native::extents`] and of `f`; with [`STALE`] if
    /// there is an earlier mapping that the exporter wants back, and jobs use it.
    pub(super) fn for_each_range(
        &self,
        guard: &mut Guard<'_>,
        direction: DataDirection,
        mut f: impl FnMut(Address, u64) -> Result,
    ) -> Result {
        let unmapper = self.unmapper.task();

        if unmapper.stale.load(Ordering::Relaxed) {
            // They are waited for by who has the lock, and can release it.
            if self.shared.is_used(guard) {
                return Err(STALE);
            }
            unmapper.unmap(&self.attachment, guard);
        }
        match self.shared.native.as_ref() {
            Some(native) => native
                .extents(&self.attachment, guard, direction)?
                .iter()
                .try_for_each(|extent| f(Address::Lmem(extent.start), extent.len)),
            None if self.is_linked() => {
                let size = self.attachment.dma_buf().size() as u64;
                let extents = link::extents(&self.attachment, guard, direction, size)?;

                self.shared.linked.store(extents.len(), Ordering::Relaxed);
                extents
                    .iter()
                    .try_for_each(|extent| f(Address::Link(extent.start), extent.len))
            }
            None => self
                .attachment
                .map(guard, direction)?
                .iter()
                .try_for_each(|entry| f(Address::Bus(entry.dma_address()), entry.dma_len())),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.unmapper.disable();

        // The attachment holds the unmapper, which holds the attachment.
        let attachment = self.unmapper.task().attachment.lock().take();
        drop(attachment);
    }
}
