// SPDX-License-Identifier: GPL-2.0

//! Two accelerators, and an exporter of the BAR of the first.

use crate::support::c;
use kernel::{
    bindings,
    device::{
        Bound,
        Core, //
    },
    dma::{
        DataDirection,
        Device,
        DmaMask, //
    },
    error::to_result,
    fs::file::flags,
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    types::ScopeGuard,
};
use kernel_ext::{
    dma_buf::{
        DmaBuf,
        ExportInfo,
        ExportedAttachment,
        Exporter,
        NewAttachment,
        PhysRange,
        SgTable, //
    },
    dma_resv::Guard,
    p2pdma::Provider,
};

use core::ptr::{
    from_ref,
    null_mut,
    NonNull, //
};

/// Physical function of the accelerator.
const VENDOR: u32 = bindings::PCI_VENDOR_ID_REDHAT_QUMRANET;
const DEVICE: u32 = 0x10f0;

/// The BAR with the memory of the accelerator.
pub(crate) const APERTURE_BAR: u32 = 2;

/// A driver for accelerators that have none: the tests only need that one is bound.
pub(crate) struct IdleDriver;

kernel::pci_device_table!(
    PCI_TABLE,
    <IdleDriver as pci::Driver>::IdInfo,
    [(
        pci::DeviceId::from_id(pci::Vendor::REDHAT_QUMRANET, DEVICE),
        ()
    )]
);

impl pci::Driver for IdleDriver {
    type IdInfo = ();
    type Data<'bound> = ();

    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<(), Error> + 'bound {
        // SAFETY: Nobody uses the DMA API of this device yet.
        unsafe { pdev.dma_set_mask_and_coherent(DmaMask::new::<64>()) }
    }
}

/// Two accelerators with drivers, of which the first provides its memory.
pub(crate) struct Peers {
    devices: [ARef<pci::Device>; 2],
    pub(crate) provider: Arc<Provider>,
}

impl Peers {
    /// `None` if there are no two.
    pub(crate) fn find() -> Result<Option<Self>> {
        let (first, first_raw) = match Self::next(null_mut()) {
            Some(found) => found,
            None => return Ok(None),
        };
        let Some((second, _)) = Self::next(first_raw) else {
            return Ok(None);
        };
        let devices = [first, second];

        Ok(Some(Self {
            provider: Provider::new(Self::bound(&devices[0])?, APERTURE_BAR)?,
            devices,
        }))
    }

    /// The accelerator after `from`, with a reference.
    fn next(from: *mut bindings::pci_dev) -> Option<(ARef<pci::Device>, *mut bindings::pci_dev)> {
        if !from.is_null() {
            // The C function drops a reference on it.
            //
            // SAFETY: `from` is a valid device.
            unsafe { bindings::pci_dev_get(from) };
        }
        // SAFETY: As above.
        let raw = unsafe { bindings::pci_get_device(VENDOR, DEVICE, from) };

        // SAFETY: The C function returns a device with a reference.
        NonNull::new(raw).map(|dev| (unsafe { ARef::from_raw(dev.cast()) }, raw))
    }

    fn bound(dev: &pci::Device) -> Result<&pci::Device<Bound>> {
        let raw: *mut bindings::pci_dev = from_ref(dev).cast_mut().cast();

        // SAFETY: The device is valid.
        if unsafe { (*raw).dev.driver }.is_null() {
            return Err(ENODEV);
        }
        // SAFETY: Nothing unbinds a driver while the tests run; `Device` is a transparent wrapper.
        Ok(unsafe { &*raw.cast() })
    }

    pub(crate) fn device(&self, index: usize) -> Result<&pci::Device<Bound>> {
        Self::bound(self.devices.get(index).ok_or(EINVAL)?)
    }

    fn raw(&self, index: usize) -> Result<*mut bindings::device> {
        let dev: &kernel::device::Device<Bound> = self.device(index)?.as_ref();

        Ok(from_ref(dev).cast_mut().cast())
    }

    /// A buffer that consists of `ranges`.
    pub(crate) fn export(&self, ranges: &[PhysRange]) -> Result<ARef<DmaBuf>> {
        let mut copy = KVec::new();
        copy.extend_from_slice(ranges, GFP_KERNEL)?;

        DmaBuf::export(
            ExportInfo::new(
                ranges.iter().map(|range| range.len as usize).sum(),
                flags::O_RDWR,
            ),
            Bar {
                provider: self.provider.clone(),
                ranges: copy,
            },
        )
    }

    /// Whether the device is behind an IOMMU that translates.
    pub(crate) fn translates(&self, client: usize) -> Result<bool> {
        // SAFETY: The device is valid and bound.
        Ok(unsafe { c::ext_dma_test_translates(self.raw(client)?) })
    }

    /// The physical address that a DMA address of the device leads to.
    pub(crate) fn resolve(&self, client: usize, addr: u64) -> Result<u64> {
        // SAFETY: The device is valid and bound.
        Ok(unsafe { c::ext_dma_test_resolve(self.raw(client)?, addr) })
    }

    /// Where the kernel's own function maps a range for the only attachment of a buffer.
    pub(crate) fn kernel_maps_to(
        &self,
        dma_buf: &DmaBuf,
        guard: &Guard<'_>,
        range: PhysRange,
    ) -> Result<u64> {
        let info = dma_buf.attachments(guard)?.next().ok_or(ENOENT)?;
        let mut addr = 0;

        // SAFETY: The attachment and the device are valid, and the lock is held.
        to_result(unsafe {
            c::ext_dma_test_phys_vec_to_sgt(
                info.as_raw(),
                self.raw(0)?,
                APERTURE_BAR as c_int,
                range.start,
                range.len as usize,
                &mut addr,
            )
        })?;
        Ok(addr)
    }

    /// Sets the maximum segment size of a device, until what is returned is dropped.
    pub(crate) fn set_max_segment(
        &self,
        client: usize,
        max_len: u32,
    ) -> Result<ScopeGuard<(), impl FnOnce(())>> {
        let raw = self.raw(client)?;
        // SAFETY: The device is valid.
        let before = unsafe { c::ext_dma_test_set_max_segment(raw, max_len) };

        Ok(ScopeGuard::new(move || {
            // SAFETY: The device is valid while the tests run.
            unsafe { c::ext_dma_test_set_max_segment(raw, before) };
        }))
    }

    /// Sets the boundary that no segment of a device crosses, until what is returned is dropped.
    pub(crate) fn set_boundary(
        &self,
        client: usize,
        boundary: u64,
    ) -> Result<ScopeGuard<(), impl FnOnce(())>> {
        let raw = self.raw(client)?;
        // SAFETY: The device is valid.
        let before = unsafe { c::ext_dma_test_set_boundary(raw, boundary) };

        Ok(ScopeGuard::new(move || {
            // SAFETY: The device is valid while the tests run.
            unsafe { c::ext_dma_test_set_boundary(raw, before) };
        }))
    }

    /// Sets the addresses that a device can emit, until what is returned is dropped.
    pub(crate) fn set_mask(
        &self,
        client: usize,
        mask: u64,
    ) -> Result<ScopeGuard<(), impl FnOnce(())>> {
        let raw = self.raw(client)?;
        // SAFETY: The device is valid and bound, so that it has a mask. Nobody maps anything for it
        // meanwhile but the test.
        let before = unsafe { c::ext_dma_test_set_mask(raw, mask) };

        Ok(ScopeGuard::new(move || {
            // SAFETY: As above.
            unsafe { c::ext_dma_test_set_mask(raw, before) };
        }))
    }
}

/// An exporter of ranges of a BAR.
pub(crate) struct Bar {
    provider: Arc<Provider>,
    ranges: KVec<PhysRange>,
}

#[vtable]
impl Exporter for Bar {
    type AttachmentData = ();

    const NAME: &'static CStr = c"ext_dma_bar";

    fn attach(&self, _importer: &NewAttachment) -> Result {
        Ok(())
    }

    fn map<'a>(
        &self,
        _guard: &mut Guard<'_>,
        importer: &'a ExportedAttachment<Self>,
        direction: DataDirection,
    ) -> Result<SgTable<'a>> {
        SgTable::from_mmio(
            importer,
            &self.provider,
            self.ranges.iter().copied(),
            direction,
        )
    }
}
