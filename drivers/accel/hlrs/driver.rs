// SPDX-License-Identifier: GPL-2.0

//! Binding to a PF or VF, and what ends with the binding.

use core::{
    ops::Range,
    sync::atomic::AtomicU64, //
};

use kernel::{
    device::Core,
    dma::DmaMask,
    io::PhysAddr,
    new_mutex,
    pci,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    types::ScopeGuard, //
};
use kernel_ext::{
    drm::{
        self,
        gem::IoWindow, //
    },
    drm_accel_ioctls,
    p2pdma,
    pci::{
        EnabledDevice,
        Interrupts,
        VfsInReset, //
    },
    workqueue::OwnedQueue, //
};

use crate::{
    client::ClientFile,
    debugfs,
    device::{
        DeviceData,
        HlrsDevice, //
    },
    exec::Engines,
    fdinfo,
    gem::{
        Buffer,
        BufferData, //
    },
    hw::{
        Function,
        Hw, //
    },
    ioctl, irq,
    lmem::{
        Extent,
        Lmem, //
    },
    nic,
    prime::{
        self,
        Sharing, //
    },
    queue::CopyQueue,
    sriov::{
        Admin,
        Provisioning,
        VfResets, //
    },
    vm::{
        Contexts,
        DeviceVms, //
    },
};

/// The driver.
pub(crate) struct Hlrs;

kernel::pci_device_table!(
    PCI_TABLE,
    <Hlrs as pci::Driver>::IdInfo,
    [
        (
            pci::DeviceId::from_id(
                pci::Vendor::REDHAT_QUMRANET,
                hlrs_abi::HLRS_PCI_DEVICE_ID_PF
            ),
            ()
        ),
        (
            pci::DeviceId::from_id(
                pci::Vendor::REDHAT_QUMRANET,
                hlrs_abi::HLRS_PCI_DEVICE_ID_VF
            ),
            ()
        ),
    ]
);

/// SR-IOV of a PF.
struct SriovPf {
    /// Dropped first: its files use the record.
    _admin: Admin,
    provisioning: Arc<Provisioning>,
    in_reset: Pin<KBox<VfsInReset>>,
}

/// What is there while the driver is bound. Fields are dropped in this order.
#[pin_data]
pub(crate) struct Bound<'bound> {
    /// The first to go; taken away when that begins.
    #[pin]
    nic: Mutex<Option<nic::Publication<'bound>>>,
    nic_events: Arc<nic::Events>,
    registration: drm::Registration<Hlrs>,
    sriov: Option<SriovPf>,
    _debugfs: debugfs::Directory,
    _interrupts: Interrupts<'bound>,
    _enabled: EnabledDevice<'bound>,
}

impl Bound<'_> {
    fn device(&self) -> &HlrsDevice {
        self.registration.device()
    }
}

/// Where peers find the part of `lmem` that is in the aperture: physical addresses.
fn peer_window(lmem: &Lmem, pdev: &pci::Device<Core<'_>>) -> Result<Range<PhysAddr>> {
    let start = pdev.resource_start(hlrs_abi::HLRS_BAR_LMEM)?;

    Ok(start..start + lmem.visible_size())
}

/// Keeps memory that importers of an earlier binding have not let go of from being handed out.
fn set_aside_retained(
    lmem: &Arc<Lmem>,
    window: Range<PhysAddr>,
    pdev: &pci::Device<Core<'_>>,
) -> Result {
    let start = window.start;

    p2pdma::set_aside(window, |range| {
        let extent = Extent {
            start: range.start - start,
            len: range.end - range.start,
        };

        dev_warn!(
            pdev,
            "{} bytes of LMEM are set aside: an importer has not let go of them\n",
            extent.len
        );
        Ok(KBox::new(lmem.take(extent)?, GFP_KERNEL)?)
    })
}

impl pci::Driver for Hlrs {
    type IdInfo = ();
    type Data<'bound> = Bound<'bound>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let enabled = EnabledDevice::new(pdev, DmaMask::new::<64>(), u32::MAX)?;
            let hw = Arc::new(Hw::new(pdev)?, GFP_KERNEL)?;
            if hw.info.lmem_size == 0 {
                dev_err!(pdev, "no LMEM: is this a VF without quota?\n");
                return Err(ENODEV);
            }
            let lmem = Lmem::new(hw.info.lmem_size, hw.info.visible_size)?;
            let aperture = IoWindow::from_bar(pdev, hlrs_abi::HLRS_BAR_LMEM)?;
            let window = peer_window(&lmem, pdev)?;
            set_aside_retained(&lmem, window.clone(), pdev)?;
            let p2p = p2pdma::Provider::new(pdev, hlrs_abi::HLRS_BAR_LMEM)
                .inspect_err(|e| dev_warn!(pdev, "no peer-to-peer DMA: {:?}\n", *e))
                .ok();

            let queue = CopyQueue::new(pdev.as_ref(), hw.clone(), crate::job_timeout_ms())?;
            let cleanup = ScopeGuard::new(|| {
                let _ = hw.disable_events();
                queue.shutdown();
            });

            let nic_events = nic::events()?;
            let contexts = Contexts::new(hw.clone())?;
            let engines = Engines::new(
                pdev.as_ref(),
                hw.clone(),
                queue.fence_context(),
                crate::job_timeout_ms(),
            )?;
            let stop_engines = ScopeGuard::new(|| engines.shutdown());

            let sharing = Sharing::new(window)?;
            let sriov = match hw.info.function {
                Function::Pf if hw.info.total_vfs > 0 => {
                    let provisioning = Provisioning::new(
                        hw.clone(),
                        lmem.clone(),
                        queue.clone(),
                        sharing.imports.clone(),
                        hw.info.total_vfs,
                    )?;
                    Some(SriovPf {
                        _admin: Admin::new(pdev.as_ref(), &hw, &provisioning)?,
                        provisioning,
                        in_reset: VfsInReset::new(pdev)?,
                    })
                }
                _ => None,
            };

            let vf_resets = match &sriov {
                Some(sriov) => Some(VfResets::new(&sriov.provisioning)?),
                None => None,
            };
            let interrupts = irq::register(
                pdev,
                irq::Parties {
                    hw: hw.clone(),
                    queue: queue.clone(),
                    engines: engines.clone(),
                    contexts: contexts.clone(),
                    nic: nic_events.clone(),
                    vfs: vf_resets,
                },
            )?;
            hw.enable_events()?;

            let debugfs = debugfs::directory(
                pdev.as_ref(),
                debugfs::Files {
                    hw: hw.clone(),
                    queue: queue.clone(),
                    exports: sharing.exports.clone(),
                    imports: sharing.imports.clone(),
                    ownership: sharing.ownership.clone(),
                    contexts: contexts.clone(),
                },
            )?;
            let used = Arc::new(AtomicU64::new(0), GFP_KERNEL)?;
            let data = DeviceData::new(
                hw.clone(),
                lmem,
                queue.clone(),
                engines.clone(),
                contexts,
                Arc::new(OwnedQueue::per_cpu(c"hlrs")?, GFP_KERNEL)?,
                Arc::new(OwnedQueue::unbound(c"hlrs-bind")?, GFP_KERNEL)?,
                aperture,
                p2p,
                sharing,
                sriov.as_ref().map(|sriov| sriov.provisioning.clone()),
                used,
            );
            let drm = drm::UnregisteredDevice::<Hlrs>::new(pdev.as_ref(), data)?;
            let registration = drm::Registration::new(pdev.as_ref(), drm)?;

            dev_info!(
                pdev,
                "{} with {} MiB of LMEM, {} MiB CPU-visible, accel{}\n",
                hw.info.function,
                hw.info.lmem_size >> 20,
                hw.info.visible_size >> 20,
                registration.device().minor_index()
            );
            let nic = nic::Publication::new(
                pdev,
                &hw,
                &nic_events,
                registration.device().minor_index(),
                Arc::new(DeviceVms::new(registration.device()), GFP_KERNEL)?,
            )?;
            stop_engines.dismiss();
            cleanup.dismiss();

            Ok(try_pin_init!(Bound {
                nic <- new_mutex!(Some(nic), "hlrs::Bound::nic"),
                nic_events,
                registration,
                sriov,
                _debugfs: debugfs,
                _interrupts: interrupts,
                _enabled: enabled,
            }? Error))
        })
    }

    fn unbind<'bound>(pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        let dev = this.device();
        let nic = this.nic.lock().take();

        // Unbinds its driver, which uses what goes next.
        drop(nic);
        if let Some(sriov) = &this.sriov {
            sriov.provisioning.disable(pdev);
        }

        // Before the node is unplugged, which waits for those who wait for a job.
        dev.queue.shutdown();
        dev.engines.shutdown();
        dev.contexts.shutdown();
        prime::revoke_all(dev);
        let _ = dev.hw.disable_events();
    }
}

#[vtable]
impl kernel_ext::pci::Driver for Hlrs {
    fn sriov_configure<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
        num_vfs: u16,
    ) -> Result<u16> {
        let provisioning = &this.sriov.as_ref().ok_or(ENODEV)?.provisioning;

        if num_vfs == 0 {
            provisioning.disable(pdev);
        } else {
            provisioning.enable(pdev, num_vfs)?;
        }
        Ok(num_vfs)
    }

    fn reset_prepare<'bound>(_pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        let dev = this.device();

        if let Some(sriov) = &this.sriov {
            sriov.provisioning.suspend();
        }
        dev.begin_reset();
        dev.unmap_all_cpu();
        dev.engines.suspend();
        // This takes the locks of buffers, and who submits a job has them while he waits for a
        // queue that is suspended: hence in this order.
        prime::suspend_all(dev);
        this.nic_events.suspend();
        dev.queue.suspend();
    }

    fn reset_done<'bound>(pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        let dev = this.device();

        let restored = dev.hw.reset().and_then(|()| {
            if let Some(sriov) = &this.sriov {
                sriov.provisioning.restore()?;
            }
            dev.hw.enable_events()?;
            dev.contexts.restore()?;
            dev.queue.resume()?;
            dev.engines.resume()
        });
        match restored {
            Ok(()) => dev_info!(pdev, "function was reset\n"),
            Err(e) => {
                dev_err!(pdev, "function does not work after reset: {:?}\n", e);
                let e = if e == ENODEV { ENODEV } else { EIO };

                dev.queue.give_up(e);
                dev.engines.give_up(e);
            }
        }
        this.nic_events.resume(restored);
        if let Some(sriov) = &this.sriov {
            sriov.provisioning.resume();
        }
        prime::allow_all(dev);
        dev.end_reset();
    }

    fn vfs_in_reset<'a>(this: Pin<&'a Self::Data<'_>>) -> Option<&'a VfsInReset> {
        this.get_ref().sriov.as_ref().map(|sriov| &*sriov.in_reset)
    }
}

#[vtable]
impl drm::Driver for Hlrs {
    type Data = DeviceData;
    type File = ClientFile;
    type Object = BufferData;

    const FEAT_SYNCOBJ: bool = true;
    const FEAT_SYNCOBJ_TIMELINE: bool = true;

    const INFO: drm::DriverInfo = drm::DriverInfo {
        // CAST: Small numbers.
        major: hlrs_abi::DRM_HLRS_ABI_MAJOR as i32,
        minor: hlrs_abi::DRM_HLRS_ABI_MINOR as i32,
        patchlevel: 0,
        name: c"hlrs",
        desc: c"HLRS accelerator",
    };

    drm_accel_ioctls! {
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_DEVICE_QUERY,
            hlrs_abi::drm_hlrs_device_query, 0, ioctl::query::query),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_MEM_CREATE,
            hlrs_abi::drm_hlrs_mem_create, 0, ioctl::mem::create),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_MEM_MMAP_OFFSET,
            hlrs_abi::drm_hlrs_mem_mmap_offset, 0, ioctl::mem::mmap_offset),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_MEM_COPY,
            hlrs_abi::drm_hlrs_mem_copy, 0, ioctl::mem::copy),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_MEM_FILL,
            hlrs_abi::drm_hlrs_mem_fill, 0, ioctl::mem::fill),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_MEM_CRC32C,
            hlrs_abi::drm_hlrs_mem_crc32c, 0, ioctl::mem::crc32c),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_MEM_WAIT,
            hlrs_abi::drm_hlrs_mem_wait, 0, ioctl::mem::wait),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_MEM_EXPORT,
            hlrs_abi::drm_hlrs_mem_export, 0, ioctl::export::export),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_MEM_REVOKE,
            hlrs_abi::drm_hlrs_mem_revoke, 0, ioctl::export::revoke),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_DEVICE_OWN,
            hlrs_abi::drm_hlrs_device_own, 0, ioctl::own::own),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_VM_CREATE,
            hlrs_abi::drm_hlrs_vm_create, 0, ioctl::vm::create),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_VM_DESTROY,
            hlrs_abi::drm_hlrs_vm_destroy, 0, ioctl::vm::destroy),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_VM_BIND,
            hlrs_abi::drm_hlrs_vm_bind, 0, ioctl::vm::bind),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_VM_QUERY,
            hlrs_abi::drm_hlrs_vm_query, 0, ioctl::vm::query),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_VM_EXPORT,
            hlrs_abi::drm_hlrs_vm_export, 0, ioctl::vm::export),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_QUEUE_CREATE,
            hlrs_abi::drm_hlrs_queue_create, 0, ioctl::queue::create),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_QUEUE_DESTROY,
            hlrs_abi::drm_hlrs_queue_destroy, 0, ioctl::queue::destroy),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_QUEUE_SUBMIT,
            hlrs_abi::drm_hlrs_queue_submit, 0, ioctl::queue::submit),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_QUEUE_QUERY,
            hlrs_abi::drm_hlrs_queue_query, 0, ioctl::queue::query),
        (hlrs_abi::drm_hlrs_ioctl_id_DRM_HLRS_MEM_QUERY,
            hlrs_abi::drm_hlrs_mem_query, 0, ioctl::mem::query),
    }

    fn show_fdinfo(_dev: &HlrsDevice, file: &drm::File<ClientFile>, printer: &mut drm::Printer) {
        fdinfo::show(file, printer);
    }

    fn import(dev: &HlrsDevice, dmabuf: &drm::DmaBuf) -> Result<kernel::sync::aref::ARef<Buffer>> {
        prime::import(dev, dmabuf)
    }
}

#[cfg(CONFIG_KUNIT = "y")]
#[path = "../../../tests/kunit/hlrs/device.rs"]
mod tests;
