// SPDX-License-Identifier: GPL-2.0

//! Memory of others, and ranges of our own that come back.
//!
//! A buffer of somebody else is mapped for the device by its first job, and stays mapped until the
//! exporter invalidates the mapping, the buffer is freed or the driver is unbound. An export of
//! this very device is not mapped at all: the engine reads the memory where it is.

use core::sync::atomic::{
    AtomicBool,
    Ordering, //
};

use kernel::{
    dma::DataDirection,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
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
        Attachment,
        DmaBuf,
        Importer,
        Invalidation, //
    },
    dma_resv::{
        Guard,
        Usage, //
    },
    drm::gem::{
        Resv,
        WeakRef, //
    },
    new_delayed_task,
    workqueue::{
        DelayedTask,
        Task, //
    },
};

use super::export::{
    Access,
    Export, //
};
use crate::{
    device::{
        BoundDevice,
        HlrsDevice, //
    },
    gem::{
        Backing,
        Buffer,
        BufferData,
        Cut,
        Segment, //
    },
    queue::Address,
    vm, //
};

/// How often to look whether jobs have ended whose mapping the exporter wants back, milliseconds.
const RETRY_MS: u32 = 5;

/// How long a new job waits for earlier ones that use a mapping that was invalidated,
/// milliseconds. They time out themselves.
const IDLE_TIMEOUT_MS: u32 = 60_000;

type PeerAttachment = Attachment<PeerImporter>;

/// The buffer that was made of what was imported.
#[derive(Clone)]
struct Owner(Arc<SetOnce<WeakRef<BufferData>>>);

impl Owner {
    fn new() -> Result<Self> {
        Ok(Self(Arc::new(SetOnce::new(), GFP_KERNEL)?))
    }

    /// Takes the buffer, whose lock is held, out of address spaces. Sleeps.
    fn evict(&self, guard: &Guard<'_>) {
        if let Some(buffer) = (*self.0).as_ref() {
            vm::evict_weak(buffer, guard);
        }
    }
}

/// The importing side of an attachment.
struct PeerImporter {
    owner: Owner,
    unmapper: Arc<DelayedTask<Unmapper>>,
}

#[vtable]
impl Importer for PeerImporter {
    const ALLOW_PEER2PEER: bool = true;

    fn invalidate_mappings(&self, guard: &mut Guard<'_>, invalidation: &Invalidation<'_, Self>) {
        // Jobs that use the buffer have their fences here. They end in bounded time, but the
        // exporter is not to be kept waiting for them with its lock held.
        if guard.resv().test_signaled(Usage::Bookkeep) {
            self.owner.evict(guard);
            // The guard is that of the buffer, so that this does not fail.
            let _ = invalidation.unmap(guard);
        } else {
            self.unmapper.task().stale.store(true, Ordering::Relaxed);
            self.unmapper.schedule(0);
        }
    }
}

/// Undoes a mapping when the jobs that use it have ended.
struct Unmapper {
    /// Whether the mapping was invalidated and still exists. Protected by the reservation lock.
    stale: AtomicBool,
    owner: Owner,
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
        if !guard.resv().test_signaled(Usage::Bookkeep) {
            return Some(msecs_to_jiffies(RETRY_MS));
        }
        self.unmap(&attachment, &mut guard);
        None
    }
}

impl Unmapper {
    fn unmap(&self, attachment: &PeerAttachment, guard: &mut Guard<'_>) {
        self.owner.evict(guard);
        // The guard is that of the buffer, so that this does not fail.
        let _ = attachment.unmap(guard);
        self.stale.store(false, Ordering::Relaxed);
    }
}

/// Memory of somebody else.
struct Peer {
    owner: Owner,
    attachment: Arc<PeerAttachment>,
    unmapper: Arc<DelayedTask<Unmapper>>,
}

impl Peer {
    fn new(dev: &BoundDevice<'_>, dma_buf: &DmaBuf) -> Result<Self> {
        let owner = Owner::new()?;
        let unmapper = Arc::pin_init(
            new_delayed_task!(
                Unmapper {
                    stale: AtomicBool::new(false),
                    owner: owner.clone(),
                    attachment: KBox::pin_init(new_mutex!(None, "hlrs::Unmapper"), GFP_KERNEL)?,
                },
                "hlrs-unmap"
            ),
            GFP_KERNEL,
        )?;
        let importer = PeerImporter {
            owner: owner.clone(),
            unmapper: unmapper.clone(),
        };
        let attachment = Arc::new(
            Attachment::new(dma_buf, dev.parent(), Ok::<_, Error>(importer))?,
            GFP_KERNEL,
        )?;

        *unmapper.task().attachment.lock() = Some(attachment.clone());
        Ok(Self {
            owner,
            attachment,
            unmapper,
        })
    }

    /// Maps the memory if it is not, and calls `f` for its ranges: DMA address and length.
    fn for_each_range(
        &self,
        guard: &mut Guard<'_>,
        direction: DataDirection,
        mut f: impl FnMut(u64, u64) -> Result,
    ) -> Result {
        let unmapper = self.unmapper.task();

        if unmapper.stale.load(Ordering::Relaxed) {
            guard.wait(Usage::Bookkeep, true, msecs_to_jiffies(IDLE_TIMEOUT_MS))?;
            unmapper.unmap(&self.attachment, guard);
        }
        self.attachment
            .map(guard, direction)?
            .iter()
            .try_for_each(|entry| f(entry.dma_address(), entry.dma_len()))
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

enum Source {
    Peer(Peer),
    /// A dma-buf that this device has exported itself.
    Own(ARef<DmaBuf>),
}

/// Memory that came as a dma-buf.
pub(crate) struct Import {
    source: Source,
    access: Access,
}

impl Import {
    /// What the engine may do with the memory.
    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// Tells those who may take the memory back what buffer it became. Sleeps (allocates).
    fn belongs_to(&self, buffer: &Buffer) -> Result {
        match &self.source {
            Source::Peer(peer) => {
                peer.owner.0.populate(buffer.downgrade());
                Ok(())
            }
            Source::Own(dma_buf) => dma_buf
                .exported_by::<Export>()
                .ok_or(ENODEV)?
                .add_own_import(buffer),
        }
    }

    /// The buffer of this device that the memory is a part of, and where in it; [`None`] if it is
    /// somebody else's.
    pub(crate) fn own_part(&self) -> Option<(&Buffer, u64)> {
        match &self.source {
            Source::Own(dma_buf) => dma_buf
                .exported_by::<Export>()
                .map(|export| (&**export.buffer(), export.offset())),
            Source::Peer(_) => None,
        }
    }

    /// The pieces of `len` bytes from `offset` on, in order.
    ///
    /// The addresses are good as long as the lock is held, and for jobs whose fence is in the
    /// reservation object when it is released. Sleeps.
    ///
    /// Fails with the exporter's error, `ENODEV` if the memory was revoked.
    pub(crate) fn segments(
        &self,
        dev: &BoundDevice<'_>,
        guard: &mut Guard<'_>,
        offset: u64,
        len: u64,
    ) -> Result<KVec<Segment>> {
        match &self.source {
            Source::Own(dma_buf) => {
                let export = dma_buf.exported_by::<Export>().ok_or(ENODEV)?;
                let buffer = export.buffer();

                if export.is_blocked() {
                    return Err(ENODEV);
                }
                buffer
                    .backing
                    .segments(dev, buffer, guard, export.offset() + offset, len)
            }
            Source::Peer(peer) => {
                let direction = match self.access {
                    Access { write: false, .. } => DataDirection::ToDevice,
                    Access { read: false, .. } => DataDirection::FromDevice,
                    _ => DataDirection::Bidirectional,
                };
                let mut cut = Cut::new(offset, len);

                peer.for_each_range(guard, direction, |address, len| {
                    cut.add(Address::Bus(address), len)
                })?;
                cut.finish()
            }
        }
    }
}

/// Makes a buffer of a dma-buf, or finds the one that this very device has exported. Sleeps.
///
/// Fails with the exporter's error, `EOPNOTSUPP` if the device cannot reach the memory, `ENODEV`
/// if the device is gone.
pub(crate) fn import(dev: &HlrsDevice, dma_buf: &DmaBuf) -> Result<ARef<Buffer>> {
    let bound = dev.enter().ok_or(ENODEV)?;
    let export = dma_buf
        .exported_by::<Export>()
        .filter(|export| core::ptr::eq(export.buffer().dev(), dev));

    let (source, access) = match export {
        Some(export) if export.is_blocked() => return Err(ENODEV),
        Some(export) if export.is_whole() => return Ok(export.buffer().clone()),
        Some(export) => (Source::Own(ARef::from(dma_buf)), export.access()),
        None => (
            Source::Peer(Peer::new(&bound, dma_buf)?),
            Access::from_file_flags(dma_buf.access_mode())?,
        ),
    };

    let buffer = Buffer::new_private_with_resv(
        dev,
        dma_buf.size(),
        Resv::DmaBuf(ARef::from(dma_buf)),
        BufferData::new(Backing::Imported(Import { source, access }), None),
    )?;
    if let Backing::Imported(import) = &buffer.backing {
        import.belongs_to(&buffer)?;
    }
    Ok(buffer)
}
