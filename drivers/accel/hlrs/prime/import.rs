// SPDX-License-Identifier: GPL-2.0

//! Memory of others, and ranges of our own that come back.
//!
//! A buffer of somebody else ([`super::peer`]) is mapped for the device by its first job, and stays
//! mapped until the exporter invalidates the mapping, the buffer is freed or the driver is unbound. An export of
//! this very device is not mapped at all: the engine reads the memory where it is.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};
use kernel_ext::{
    dma_buf::DmaBuf,
    dma_resv::Guard,
    drm::gem::Resv, //
};

use super::{
    access::Access,
    export::Export,
    path::Path,
    peer::Peer, //
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
};

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

    /// How the memory is reached. Takes the reservation lock.
    pub(crate) fn path(&self) -> Path {
        match &self.source {
            Source::Peer(peer) => peer.path(),
            Source::Own(_) => Path::Own,
        }
    }

    /// Tells those who may take the memory back what buffer it became. Sleeps (allocates).
    fn belongs_to(&self, buffer: &Buffer) -> Result {
        match &self.source {
            Source::Peer(peer) => {
                peer.belongs_to(buffer.downgrade());
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
    /// Fails with the exporter's error, `ENODEV` if the memory was revoked, and with those of
    /// [`Peer::for_each_range`].
    pub(crate) fn segments(
        &self,
        dev: &BoundDevice<'_>,
        guard: &mut Guard<'_>,
        offset: u64,
        len: u64,
    ) -> Result<KVVec<Segment>> {
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
                let mut cut = Cut::new(offset, len);

                peer.for_each_range(guard, self.access.direction(), |address, len| {
                    cut.add(address, len)
                })?;
                cut.finish()
            }
        }
    }
}

/// Makes a buffer of a dma-buf, or finds the one that this very device has exported. Sleeps.
///
/// Fails with the exporter's error, `EOPNOTSUPP` if the device cannot reach the memory, `ENODEV`
/// if the device is gone. Native memory of a VF is mapped at once, so that it fails with the errors
/// of that, too.
pub(crate) fn import(dev: &HlrsDevice, dma_buf: &DmaBuf) -> Result<ARef<Buffer>> {
    let bound = dev.enter().ok_or(ENODEV)?;
    let export = dma_buf
        .exported_by::<Export>()
        .filter(|export| core::ptr::eq(export.buffer().dev(), dev));

    let (source, access) = match export {
        Some(export) if export.is_blocked() => return Err(ENODEV),
        Some(export) if export.is_whole() => return Ok(export.buffer().clone()),
        Some(export) => (Source::Own(ARef::from(dma_buf)), export.access()),
        None => {
            let access = Access::from_file_flags(dma_buf.access_mode())?;
            let peer = Peer::new(&bound, dma_buf)?;

            peer.check(access.direction())?;
            (Source::Peer(peer), access)
        }
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
