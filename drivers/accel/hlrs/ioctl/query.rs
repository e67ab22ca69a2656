// SPDX-License-Identifier: GPL-2.0

//! `DRM_IOCTL_HLRS_DEVICE_QUERY`.

use core::sync::atomic::Ordering;

use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};
use zerocopy::IntoBytes;

use super::must_be_zero;
use crate::{
    device::{
        DeviceData,
        File,
        HlrsDevice, //
    },
    hw::Function,
    lmem,
    ops, //
};

/// Regions, by their instance number.
pub(crate) const REGION_SYSTEM: u32 = 0;
pub(crate) const REGION_LMEM: u32 = 1;

/// Elements of the answers that are arrays, and bytes before them.
const REGIONS: usize = 2;
const ENGINES: usize = 2;
const HEADER: usize = 8;

/// The ioctl.
pub(crate) fn query(
    dev: &HlrsDevice,
    args: &mut hlrs_abi::drm_hlrs_device_query,
    _file: &File,
) -> Result<u32> {
    must_be_zero(&[args.extensions, args.reserved[0], args.reserved[1]])?;

    let len = match args.query {
        hlrs_abi::DRM_HLRS_DEVICE_QUERY_INFO => size_of::<hlrs_abi::drm_hlrs_query_info>(),
        hlrs_abi::DRM_HLRS_DEVICE_QUERY_MEM_REGIONS => {
            HEADER + REGIONS * size_of::<hlrs_abi::drm_hlrs_mem_region>()
        }
        hlrs_abi::DRM_HLRS_DEVICE_QUERY_ENGINES => {
            HEADER + ENGINES * size_of::<hlrs_abi::drm_hlrs_engine>()
        }
        _ => return Err(EINVAL),
    };

    if args.size != 0 {
        // CAST: Answers are a few hundred bytes.
        if (args.size as usize) < len {
            return Err(EINVAL);
        }
        let answer = match args.query {
            hlrs_abi::DRM_HLRS_DEVICE_QUERY_INFO => info(dev)?,
            hlrs_abi::DRM_HLRS_DEVICE_QUERY_MEM_REGIONS => mem_regions(dev)?,
            _ => engines()?,
        };
        // CAST: A pointer of user space.
        UserSlice::new(UserPtr::from_addr(args.data as usize), answer.len())
            .writer()
            .write_slice(&answer)?;
    }
    // CAST: As above.
    args.size = len as u32;
    Ok(0)
}

fn bytes_of(parts: &[&[u8]]) -> Result<KVec<u8>> {
    let mut bytes = KVec::new();

    for part in parts {
        bytes.extend_from_slice(part, GFP_KERNEL)?;
    }
    Ok(bytes)
}

/// The header of an answer with an array: the number of elements, and padding.
fn count(elements: usize) -> [u8; HEADER] {
    (elements as u64).to_ne_bytes()
}

fn info(dev: &DeviceData) -> Result<KVec<u8>> {
    let hw = &dev.hw.info;
    let (sriov_mode, vf_id) = match hw.function {
        Function::Vf(vf) => (hlrs_abi::DRM_HLRS_SRIOV_VF, u32::from(vf.number())),
        Function::Pf if hw.total_vfs > 0 => (hlrs_abi::DRM_HLRS_SRIOV_PF, 0),
        Function::Pf => (hlrs_abi::DRM_HLRS_SRIOV_NONE, 0),
    };
    let mut capabilities = 0;
    if dev.p2p.is_some() {
        capabilities |= u64::from(hlrs_abi::DRM_HLRS_CAP_P2P);
    }
    if hw.has_link {
        capabilities |= u64::from(hlrs_abi::DRM_HLRS_CAP_LINK);
    }

    bytes_of(&[hlrs_abi::drm_hlrs_query_info {
        abi_major: hlrs_abi::DRM_HLRS_ABI_MAJOR,
        abi_minor: hlrs_abi::DRM_HLRS_ABI_MINOR,
        device_id: hlrs_abi::HLRS_PCI_VENDOR_ID | u32::from(hw.pci_device) << 16,
        revision: u32::from(hw.pci_revision),
        uid: hw.uid,
        sriov_mode,
        vf_id,
        capabilities,
        max_copy_size: ops::MAX_BYTES,
        reserved: [0; 4],
    }
    .as_bytes()])
}

fn mem_regions(dev: &DeviceData) -> Result<KVec<u8>> {
    let lmem = &dev.lmem;
    // CAST: 4096, and small constants.
    let min_page_size = lmem::PAGE_SIZE as u32;

    let system = hlrs_abi::drm_hlrs_mem_region {
        mem_class: hlrs_abi::DRM_HLRS_MEM_CLASS_SYSMEM as u16,
        instance: REGION_SYSTEM as u16,
        min_page_size,
        used: dev.system_used.load(Ordering::Relaxed),
        ..pin_init::zeroed()
    };
    let local = hlrs_abi::drm_hlrs_mem_region {
        mem_class: hlrs_abi::DRM_HLRS_MEM_CLASS_LMEM as u16,
        instance: REGION_LMEM as u16,
        min_page_size,
        total_size: lmem.size(),
        used: lmem.used(),
        cpu_visible_size: lmem.visible_size(),
        cpu_visible_used: lmem.visible_used(),
        ..pin_init::zeroed()
    };

    bytes_of(&[&count(REGIONS), system.as_bytes(), local.as_bytes()])
}

fn engines() -> Result<KVec<u8>> {
    // CAST: Small constants.
    let engine = |class: u32, capacity: u32| hlrs_abi::drm_hlrs_engine {
        engine_class: class as u16,
        capacity: capacity as u16,
        ..pin_init::zeroed()
    };
    let copy = engine(
        hlrs_abi::DRM_HLRS_ENGINE_CLASS_COPY,
        hlrs_abi::HLRS_NR_COPY_QUEUES,
    );
    let nic = engine(
        hlrs_abi::DRM_HLRS_ENGINE_CLASS_NIC,
        hlrs_abi::HLRS_NR_NIC_QUEUES,
    );

    bytes_of(&[&count(ENGINES), copy.as_bytes(), nic.as_bytes()])
}
