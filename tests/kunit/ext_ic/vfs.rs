// SPDX-License-Identifier: GPL-2.0

//! An accelerator with VFs that nobody drives, and an exporter of their memory.

use kernel::{
    bindings,
    device::{
        Bound,
        Core,
        Device, //
    },
    dma::DataDirection,
    error::to_result,
    fs::file::flags,
    page::PAGE_SIZE,
    pci,
    prelude::*,
    sync::aref::ARef,
};
use kernel_ext::{
    dma_buf::{
        interconnect::{
            self,
            ExporterOps,
            Iov,
            IovExporter,
            IovMatch,
            IovRange,
            IovRanges,
            Maps,
            Negotiation, //
        },
        DmaBuf,
        ExportInfo,
        ExportedAttachment,
        Exporter,
        NewAttachment,
        SgTable, //
    },
    dma_resv::Guard,
    pci::DeviceExt, //
};

use core::ptr::{
    from_ref,
    null_mut,
    NonNull, //
};

const VENDOR: u32 = bindings::PCI_VENDOR_ID_REDHAT_QUMRANET;
const DEVICE: u32 = 0x10f0;

/// The BAR with the memory of the accelerator.
pub(crate) const APERTURE_BAR: u32 = 2;

/// A driver for accelerators that have none: attaching needs one.
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
        _pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<(), Error> + 'bound {
        Ok::<(), Error>(())
    }
}

/// Number of VFs.
pub(crate) const VFS: usize = 3;

/// A PF whose VFs are enabled, until it is dropped.
pub(crate) struct Functions {
    pf: ARef<pci::Device>,
    vfs: KVec<ARef<pci::Device>>,
}

impl Functions {
    /// [`None`] if there is no accelerator, or it has another driver than the one above.
    pub(crate) fn enable() -> Result<Option<Self>> {
        // SAFETY: No requirements.
        let raw = unsafe { bindings::pci_get_device(VENDOR, DEVICE, null_mut()) };
        let Some(raw) = NonNull::new(raw) else {
            return Ok(None);
        };
        // SAFETY: The C function returns a reference; `pci::Device` is a transparent wrapper.
        let pf: ARef<pci::Device> = unsafe { ARef::from_raw(raw.cast()) };

        // SAFETY: The device is valid. A driver that is bound stays while tests run.
        let driver = unsafe { bindings::dev_driver_string(&raw mut (*raw.as_ptr()).dev) };
        // SAFETY: The C function returns a string.
        if unsafe { CStr::from_char_ptr(driver) } != c"ext_ic_kunit" {
            return Ok(None);
        }

        // SAFETY: The device is valid, and its driver, ours, does nothing.
        to_result(unsafe { bindings::pci_enable_sriov(raw.as_ptr(), VFS as c_int) })?;
        let mut this = Self {
            pf,
            vfs: KVec::new(),
        };

        // In the order of their numbers, which is that of the bus.
        let mut pos: *mut bindings::pci_dev = null_mut();
        loop {
            // SAFETY: `pos` is null or a device with a reference, which is dropped.
            pos = unsafe { bindings::pci_get_device(VENDOR, bindings::PCI_ANY_ID as u32, pos) };
            let Some(found) = NonNull::new(pos) else {
                break;
            };
            // SAFETY: The device is valid, as above.
            let vf: &pci::Device = unsafe { found.cast().as_ref() };

            // SAFETY: The device is a VF, so there is a PF.
            if vf.is_virtfn() && unsafe { this.is_pf_of(pos) } {
                let vf = ARef::from(vf);

                this.vfs.push(vf, GFP_KERNEL)?;
            }
        }
        check_eq!(this.vfs.len(), VFS);
        Ok(Some(this))
    }

    /// # Safety
    ///
    /// `vf` must be a VF.
    unsafe fn is_pf_of(&self, vf: *mut bindings::pci_dev) -> bool {
        // SAFETY: By the safety requirements; the field is that of a VF.
        let pf = unsafe { (*vf).__bindgen_anon_1.physfn };

        core::ptr::eq(pf, self.pf.as_raw_ptr())
    }

    /// The VF with a number, from 1.
    pub(crate) fn vf(&self, number: usize) -> Result<&ARef<pci::Device>> {
        self.vfs.get(number.wrapping_sub(1)).ok_or(EINVAL)
    }

    pub(crate) fn pf(&self) -> &ARef<pci::Device> {
        &self.pf
    }
}

/// The device as something that can be attached.
pub(crate) fn bound(dev: &pci::Device) -> &Device<Bound> {
    let dev: &Device = dev.as_ref();

    // CAST: The types differ in what they promise.
    // SAFETY: Nothing unbinds a driver while the tests run, and a VF that has none is given to
    // nobody who would notice.
    unsafe { &*from_ref(dev).cast() }
}

impl Drop for Functions {
    fn drop(&mut self) {
        // SAFETY: The VFs were enabled by `enable()`.
        unsafe { crate::support::disable_sriov(self.pf.as_raw_ptr()) };
    }
}

/// Memory behind a BAR of a function, as it says.
pub(crate) struct Memory {
    function: ARef<pci::Device>,
    bar: u32,
    ranges: KVec<IovRange>,
}

pub(crate) static VF_EXPORTER: ExporterOps<Memory> = ExporterOps::new();

impl Memory {
    /// Exports `ranges` of `bar` of `function`, as a buffer of `pages` pages.
    pub(crate) fn export(
        function: &ARef<pci::Device>,
        bar: u32,
        ranges: &[IovRange],
        pages: usize,
    ) -> Result<ARef<DmaBuf>> {
        let mut copy = KVec::new();

        copy.extend_from_slice(ranges, GFP_KERNEL)?;
        DmaBuf::export(
            ExportInfo::new(pages * PAGE_SIZE, flags::O_RDWR),
            Self {
                function: function.clone(),
                bar,
                ranges: copy,
            },
        )
    }
}

#[vtable]
impl Exporter for Memory {
    type AttachmentData = ();

    const NAME: &'static CStr = c"ext_ic_vf";

    fn interconnects() -> Option<&'static ExporterOps<Self>> {
        Some(&VF_EXPORTER)
    }

    fn attach(&self, importer: &NewAttachment) -> Result {
        // It has nothing else.
        importer.negotiated::<Iov>().map(|_| ()).ok_or(EOPNOTSUPP)
    }

    fn map<'a>(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &'a ExportedAttachment<Self>,
        _direction: DataDirection,
    ) -> Result<SgTable<'a>> {
        Err(EOPNOTSUPP)
    }
}

impl interconnect::Exporter for Memory {
    fn match_interconnects(&self, negotiation: &mut Negotiation<'_, Self>) -> Result {
        negotiation.offer(&[&IovExporter::new(&self.function, self.bar)])?;
        Ok(())
    }
}

impl Maps<Iov> for Memory {
    fn map_interconnect(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &ExportedAttachment<Self>,
        matched: &IovMatch,
        _direction: DataDirection,
    ) -> Result<IovRanges> {
        check_eq!(matched.vf().as_raw_ptr(), self.function.as_raw_ptr());
        IovRanges::new(self.ranges.iter().copied())
    }
}
