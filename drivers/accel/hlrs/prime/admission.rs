// SPDX-License-Identifier: GPL-2.0

//! Who may import a buffer, and what is kept of him.

use core::sync::atomic::{
    AtomicBool,
    AtomicU32,
    Ordering, //
};

use kernel::prelude::*;
use kernel_ext::{
    dma_buf::{
        interconnect::{
            Iov,
            Private, //
        },
        NewAttachment, //
    },
    task,
    time::Second, //
};

use super::{
    export::{
        Export,
        Memory, //
    },
    link::Link,
    owner::Pinned, //
};

/// What is kept of an importer.
pub(crate) struct Attached {
    since: Second,
    process: task::Identity,
    mappings: AtomicU32,
    /// How many of them it was told to undo.
    stale: AtomicU32,
    /// Whether it was reported that it does not let go of what it has.
    reported: AtomicBool,
    pinned: Option<Pinned>,
}

impl Attached {
    /// `importer` wants to attach to `export`. Sleeps.
    ///
    /// Fails with `EOPNOTSUPP` if it cannot use the memory, or cannot be made to let go of it.
    pub(super) fn new(export: &Export, importer: &NewAttachment) -> Result<Self> {
        let pinned = export.admit(importer)?;

        Ok(Self {
            since: Second::now(),
            process: task::Identity::of_current(),
            mappings: AtomicU32::new(0),
            stale: AtomicU32::new(0),
            reported: AtomicBool::new(false),
            pinned,
        })
    }

    /// Since when it is attached.
    pub(super) fn since(&self) -> Second {
        self.since
    }

    /// The process that has made it attach.
    pub(super) fn process(&self) -> &task::Identity {
        &self.process
    }

    /// Number of mappings that it has.
    pub(super) fn mappings(&self) -> u32 {
        self.mappings.load(Ordering::Relaxed)
    }

    /// Whether it cannot be revoked.
    pub(super) fn is_pinned(&self) -> bool {
        self.pinned.is_some()
    }

    /// Number of mappings that it was told to undo, and still has.
    pub(super) fn stale(&self) -> u32 {
        self.stale.load(Ordering::Relaxed)
    }

    /// It has one mapping more. The reservation lock is held.
    pub(super) fn add_mapping(&self) {
        self.mappings.fetch_add(1, Ordering::Relaxed);
        self.reported.store(false, Ordering::Relaxed);
    }

    /// It has one mapping less; of several the oldest has gone. The reservation lock is held.
    pub(super) fn remove_mapping(&self) {
        self.mappings.fetch_sub(1, Ordering::Relaxed);
        self.stale
            .store(self.stale().saturating_sub(1), Ordering::Relaxed);
    }

    /// It was told to undo all mappings. The reservation lock is held.
    pub(super) fn expire(&self) {
        self.stale.store(self.mappings(), Ordering::Relaxed);
    }

    /// Whether what it has now is reported for the first time. The reservation lock is held.
    pub(super) fn is_news(&self) -> bool {
        !self.reported.swap(true, Ordering::Relaxed)
    }
}

impl Export {
    /// Whether the importer may attach, and on what condition.
    fn admit(&self, importer: &NewAttachment) -> Result<Option<Pinned>> {
        let Memory::Lmem(_, provider) = self.memory()? else {
            return Ok(None);
        };

        // Who does not use the bus needs no way over it. Only importers that can be revoked
        // negotiate.
        if importer.negotiated::<Iov>().is_some()
            || importer.negotiated::<Private<Link>>().is_some()
        {
            return Ok(None);
        }
        if !importer.allows_peer2peer() {
            return self.refuse(importer, "it does not support peer-to-peer memory");
        }
        if let Some(reason) = importer.refusal(provider) {
            return self.refuse(importer, reason.as_str());
        }
        if importer.is_revocable() {
            return Ok(None);
        }
        if !crate::pinned_importers_may_attach() {
            return self.refuse(importer, "it cannot be made to let go of the memory");
        }

        let pinned = self.buffer().dev().ownership.pin(
            self.client(),
            fmt!(
                "{} bytes held by {} {} process {}",
                self.size(),
                importer.driver_name(),
                importer.device().name(),
                task::Identity::of_current(),
            ),
        )?;
        match pinned {
            None => self.refuse(
                importer,
                "it cannot be made to let go of the memory, and the device is not owned",
            ),
            pinned => Ok(pinned),
        }
    }

    fn refuse(&self, importer: &NewAttachment, reason: &str) -> Result<Option<Pinned>> {
        self.buffer().dev().dbg_ratelimited(fmt!(
            "{} cannot import the buffer: {}\n",
            importer.driver_name(),
            reason
        ));
        Err(EOPNOTSUPP)
    }
}
