// SPDX-License-Identifier: GPL-2.0

//! Which VF has which part of LMEM.
//!
//! A VF's quota is what an administrator has set beforehand, or else a fair share: what the set
//! quotas leave of the free memory is divided by the number of the other VFs plus one, the PF. A
//! quota is made of whole granules, which need not be contiguous, and need not be a power of two.
//!
//! The memory is taken from the PF's allocator when VFs are enabled, zeroed by the device, and
//! given back when they are disabled. Quotas cannot be changed in between. Buffers of the PF that
//! are memory of a VF ([`Imports`]) let go of it before it is given back.

use kernel::{
    new_mutex, pci,
    prelude::*,
    ptr::Alignment,
    sizes::SZ_2M,
    sync::{
        Arc,
        Mutex, //
    },
};
use kernel_ext::{
    dma_buf::Deadline,
    pci::{
        DeviceExt,
        Sriov, //
    },
};

use super::{
    lmtt::{
        self,
        GRANULE, //
    },
    record::Record, //
};
use crate::{
    hw::{
        Hw,
        VfId, //
    },
    lmem::{
        Allocation,
        Extent,
        Lmem,
        Placement, //
    },
    ops,
    prime::Imports,
    queue::CopyQueue, //
};

/// What is known of one VF.
struct Vf {
    /// Bytes set by the administrator; 0 asks for a fair share.
    quota: u64,
    /// Bytes that the VF has now; 0 if it is not enabled.
    size: u64,
    /// Memory that was taken for the VF, and is not ready yet.
    taken: Option<Allocation>,
    /// The memory that the VF has now.
    record: Option<Arc<Record>>,
}

/// The provisioning record of a PF.
#[pin_data]
pub(crate) struct Provisioning {
    hw: Arc<Hw>,
    lmem: Arc<Lmem>,
    queue: Arc<CopyQueue>,
    imports: Arc<Imports>,
    #[pin]
    vfs: Mutex<KVec<Vf>>,
}

impl Provisioning {
    /// Creates the record for `total_vfs` VFs, none of which is enabled. May sleep.
    pub(crate) fn new(
        hw: Arc<Hw>,
        lmem: Arc<Lmem>,
        queue: Arc<CopyQueue>,
        imports: Arc<Imports>,
        total_vfs: u16,
    ) -> Result<Arc<Self>> {
        let mut vfs = KVec::with_capacity(usize::from(total_vfs), GFP_KERNEL)?;
        for _ in 0..total_vfs {
            vfs.push(
                Vf {
                    quota: 0,
                    size: 0,
                    taken: None,
                    record: None,
                },
                GFP_KERNEL,
            )?;
        }

        Arc::pin_init(
            pin_init!(Self {
                hw,
                lmem,
                queue,
                imports,
                vfs <- new_mutex!(vfs, "hlrs::Provisioning"),
            }),
            GFP_KERNEL,
        )
    }

    /// Number of VFs that the device can have.
    pub(crate) fn total_vfs(&self) -> u16 {
        // CAST: The record was made for a number of this type.
        self.vfs.lock().len() as u16
    }

    /// Bytes that a VF has, or that were set for it.
    pub(crate) fn quota(&self, vf: VfId) -> Result<u64> {
        let vfs = self.vfs.lock();
        let vf = vfs.get(vf.index()).ok_or(EINVAL)?;

        Ok(if vf.size > 0 { vf.size } else { vf.quota })
    }

    /// The memory of a VF, which is enabled. Sleeps; must be called without a reservation lock.
    ///
    /// Fails with `ENODEV` if it is not enabled.
    pub(crate) fn record(&self, vf: VfId) -> Result<Arc<Record>> {
        let vfs = self.vfs.lock();
        let vf = vfs.get(vf.index()).ok_or(ENODEV)?;

        vf.record.clone().ok_or(ENODEV)
    }

    /// Sets what a VF, or all with [`None`], gets when VFs are enabled next; 0 is a fair share.
    ///
    /// Fails with `EINVAL` unless `bytes` is a multiple of 2 MiB, `ERANGE` if it is more than the
    /// card has, `EBUSY` while VFs are enabled.
    pub(crate) fn set_quota(&self, vf: Option<VfId>, bytes: u64) -> Result {
        if bytes % GRANULE != 0 {
            return Err(EINVAL);
        }
        if bytes > self.lmem.size() {
            return Err(ERANGE);
        }

        let mut vfs = self.vfs.lock();
        if vfs.iter().any(|vf| vf.size > 0) {
            return Err(EBUSY);
        }

        match vf {
            None => vfs.iter_mut().for_each(|vf| vf.quota = bytes),
            Some(vf) => vfs.get_mut(vf.index()).ok_or(EINVAL)?.quota = bytes,
        }
        Ok(())
    }

    /// Provisions the first `num_vfs` VFs and enables them.
    ///
    /// Sleeps. Fails with `ENOSPC` if there is not enough memory; nothing is enabled then.
    pub(crate) fn enable(
        &self,
        dev: &pci::Device<kernel::device::Core<'_>>,
        num_vfs: u16,
    ) -> Result {
        self.provision(num_vfs).inspect_err(|e| {
            dev_err!(dev, "cannot provision {} VFs: {:?}\n", num_vfs, *e);
            self.release();
        })?;

        // The lock is not held here: VFs are probed, and their driver is this one.
        Sriov::enable(dev, num_vfs).inspect_err(|_| self.release())
    }

    /// Disables all VFs and takes their memory back. Sleeps.
    pub(crate) fn disable(&self, dev: &pci::Device<kernel::device::Core<'_>>) {
        if dev.num_vf() > 0 {
            Sriov::disable(dev);
        }
        self.release();
    }

    /// Tells the device again what it may have forgotten in a reset. Sleeps.
    pub(crate) fn restore(&self) -> Result {
        for (number, vf) in Self::numbered(&self.vfs.lock()) {
            let program = |extents: &[Extent]| lmtt::program(&self.hw, number, extents);

            if let Some(record) = &vf.record {
                record.with_extents(program).unwrap_or(Ok(()))?;
            }
        }
        Ok(())
    }

    /// VFs were reset: whatever the PF has of their memory is to be asked for anew. Bit n of `vfs`
    /// is VF n. Sleeps.
    pub(crate) fn forget(&self, vfs: u64) {
        for number in (1..=self.total_vfs()).filter(|n| vfs & (1 << n) != 0) {
            if let Some(record) = VfId::new(number).and_then(|vf| self.record(vf).ok()) {
                self.imports.invalidate(&record);
            }
        }
    }

    /// The PF is about to be reset: it lets go of the memory of all VFs, until
    /// [`Provisioning::resume`]. Sleeps.
    ///
    /// After this no job of the PF's is in the way of those who take their memory back for the
    /// reset, who are the drivers of VFs if the bus is reset. Jobs end or time out; those that
    /// take longer than importers may are ended by the reset.
    pub(crate) fn suspend(&self) {
        let deadline = Deadline::new(crate::revoke_timeout_ms());

        for record in self.records() {
            record.set_suspended(true);
            self.imports.invalidate(&record);
        }

        // Who does not let go in time finds the device in reset.
        for record in self.records() {
            let _ = record.wait_for_holds(&deadline);
        }
    }

    /// Ends [`Provisioning::suspend`]. Sleeps.
    pub(crate) fn resume(&self) {
        for record in self.records() {
            record.set_suspended(false);
        }
    }

    /// The records of all VFs that are enabled.
    fn records(&self) -> impl Iterator<Item = Arc<Record>> + '_ {
        (1..=self.total_vfs())
            .filter_map(VfId::new)
            .filter_map(|vf| self.record(vf).ok())
    }

    fn numbered(vfs: &[Vf]) -> impl Iterator<Item = (VfId, &Vf)> {
        (1..)
            .zip(vfs)
            .filter_map(|(n, vf)| Some((VfId::new(n)?, vf)))
    }

    fn provision(&self, num_vfs: u16) -> Result {
        // The shares are parts of what is free.
        self.queue.drop_ended_jobs();

        let mut vfs = self.vfs.lock();
        let vfs = vfs.get_mut(..usize::from(num_vfs)).ok_or(EINVAL)?;

        for vf in vfs.iter_mut().filter(|vf| vf.quota > 0) {
            vf.taken = Some(self.take(vf.quota)?);
        }
        self.take_fair_shares(vfs)?;

        for (number, vf) in (1..).filter_map(VfId::new).zip(vfs) {
            let memory = vf.taken.take().ok_or(ENOSPC)?;

            ops::zero_lmem(&self.queue, memory.extents())?;
            lmtt::program(&self.hw, number, memory.extents())?;
            vf.size = memory.size();
            vf.record = Some(Record::new(number, memory, self.lmem.visible_size())?);
        }
        Ok(())
    }

    /// Gives the VFs that have nothing equal parts of what is free, and leaves one to the PF.
    ///
    /// Free memory may be too fragmented for the full share; then all get less.
    fn take_fair_shares(&self, vfs: &mut [Vf]) -> Result {
        let sharers = vfs.iter().filter(|vf| vf.taken.is_none()).count() as u64;
        if sharers == 0 {
            return Ok(());
        }

        let free = self.lmem.size() - self.lmem.used();
        let mut share = free.checked_div(sharers + 1).unwrap_or(0) / GRANULE * GRANULE;

        while share > 0 {
            let mut taken = KVec::with_capacity(sharers as usize, GFP_KERNEL)?;

            while (taken.len() as u64) < sharers {
                match self.take(share) {
                    Ok(memory) => taken.push(memory, GFP_KERNEL)?,
                    Err(ENOSPC) => break,
                    Err(e) => return Err(e),
                }
            }
            if taken.len() as u64 == sharers {
                for vf in vfs.iter_mut().filter(|vf| vf.taken.is_none()) {
                    vf.taken = taken.pop();
                }
                return Ok(());
            }
            share -= GRANULE;
        }
        Err(ENOSPC)
    }

    fn take(&self, bytes: u64) -> Result<Allocation> {
        self.lmem
            .alloc(bytes, Alignment::new::<SZ_2M>(), Placement::Any, false)
    }

    /// Takes back the memory of all VFs, which are disabled. Sleeps.
    ///
    /// The PF itself uses none of it any more when it is free again. What its engines do not let go
    /// of in time stays taken until they do; the time is one for all VFs.
    fn release(&self) {
        let deadline = Deadline::new(crate::revoke_timeout_ms());
        let numbers = || (1..=self.total_vfs()).filter_map(VfId::new);

        for number in numbers() {
            let record = match self.vfs.lock().get_mut(number.index()) {
                Some(vf) => {
                    if vf.size > 0 {
                        // Nothing to be done about an error: the device is gone, and the VFs with
                        // it.
                        let _ = lmtt::program(&self.hw, number, &[]);
                    }
                    vf.taken = None;
                    vf.record.clone()
                }
                None => None,
            };

            // This takes reservation locks.
            if let Some(record) = record {
                record.close();
                self.imports.invalidate(&record);
            }
        }

        for number in numbers() {
            let mut vfs = self.vfs.lock();
            let record = vfs.get_mut(number.index()).and_then(|vf| vf.record.take());

            drop(vfs);
            if record.is_some_and(|record| record.wait_for_holds(&deadline).is_err()) {
                pr_warn!(
                    "jobs that use the memory of {} do not end; it is set aside until they do\n",
                    number
                );
            }
            if let Some(vf) = self.vfs.lock().get_mut(number.index()) {
                vf.size = 0;
            }
        }
    }
}
