// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the ioctls that make buffers, map them and tell about them refuse.

use hlrs::RegionClass;
use hlrs_sys as sys;

use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::raw;
use crate::system::cards;
use crate::system::cards::Place;
use crate::tests;

const SIZE: u64 = 1 << 20;

pub fn tests() -> Vec<Test> {
    tests![
        create_refuses,
        a_refused_create_changes_nothing,
        mmap_offset_refuses,
        query_refuses,
    ]
}

fn create_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    let lmem = device.lmem()?;
    let system = device.region(RegionClass::SystemMemory)?.instance;
    let good = sys::drm_hlrs_mem_create {
        size: SIZE,
        region: lmem.instance,
        ..Default::default()
    };
    let in_system = sys::drm_hlrs_mem_create {
        region: system,
        ..good
    };
    use sys::drm_hlrs_mem_create as Create;

    let invalid = [
        Create {
            extensions: 1,
            ..good
        },
        Create {
            reserved: [1, 0],
            ..good
        },
        Create {
            reserved: [0, 1],
            ..good
        },
        Create {
            flags: 1 << 2,
            ..good
        },
        Create {
            flags: 1 << 31,
            ..good
        },
        Create {
            flags: u32::MAX,
            ..good
        },
        Create { size: 0, ..good },
        Create { size: 1, ..good },
        Create { size: 4095, ..good },
        Create {
            size: SIZE + 8,
            ..good
        },
        Create {
            page_size: 1,
            ..good
        },
        Create {
            page_size: 2048,
            ..good
        },
        Create {
            page_size: 8192,
            ..good
        },
        Create {
            page_size: 1 << 30,
            ..good
        },
        Create {
            page_size: u32::MAX,
            ..good
        },
        // Sizes that are no multiple of an allowed page size.
        Create {
            page_size: 65536,
            size: 65536 + 4096,
            ..good
        },
        Create {
            page_size: 2 << 20,
            size: 1 << 20,
            ..good
        },
        Create {
            size: 0,
            ..in_system
        },
        Create {
            size: 100,
            ..in_system
        },
        Create {
            page_size: 65536,
            ..in_system
        },
        Create {
            page_size: 2 << 20,
            size: 2 << 20,
            ..in_system
        },
        Create {
            flags: sys::DRM_HLRS_MEM_CONTIGUOUS,
            ..in_system
        },
        Create {
            flags: sys::DRM_HLRS_MEM_CPU_VISIBLE,
            ..in_system
        },
    ];
    for mut arg in invalid {
        check_errno!(raw::create(&device, &mut arg), INVAL, "{arg:?}");
    }
    for region in [2, 16, 31, 32, 64, u32::MAX] {
        let mut arg = Create { region, ..good };
        check_errno!(raw::create(&device, &mut arg), NXIO, "region {region}");
    }
    for size in [lmem.total + 4096, 1 << 40, 1 << 62, u64::MAX - 4095] {
        let mut arg = Create { size, ..good };
        check_errno!(raw::create(&device, &mut arg), TOOBIG, "{size} bytes");
    }
    // A buffer in system memory larger than anything must be refused, too,
    // with whatever says so, and must not end in an arithmetic overflow.
    for size in [1 << 62, u64::MAX - 4095, 1 << 63] {
        let refused = raw::create(&device, &mut Create { size, ..in_system });
        check!(
            refused.is_err(),
            "{size} bytes of system memory were created"
        );
    }
    Ok(())
}

fn a_refused_create_changes_nothing(_: &Context) -> Outcome {
    let device = cards::first()?;
    let before = device.lmem()?;
    let mut arg = sys::drm_hlrs_mem_create {
        size: SIZE,
        region: before.instance,
        flags: 1 << 31,
        handle: 0x1234,
        ..Default::default()
    };
    check_errno!(raw::create(&device, &mut arg), INVAL);
    check_eq!(arg.handle, 0x1234);
    check_eq!(device.lmem()?.used, before.used);
    // Handles are given out from 1 on: the first is still free.
    let buffer = Place::Lmem.create(&device, SIZE)?;
    check_eq!(buffer.handle(), 1);
    Ok(())
}

fn mmap_offset_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    let buffer = Place::Visible.create(&device, SIZE)?;
    use sys::drm_hlrs_mem_mmap_offset as Offset;
    let good = Offset {
        handle: buffer.handle(),
        ..Default::default()
    };
    check_eq!(raw::mmap_offset(&device, &mut good.clone()), Ok(()));
    let invalid = [
        Offset {
            extensions: 8,
            ..good
        },
        Offset { flags: 1, ..good },
        Offset {
            flags: u32::MAX,
            ..good
        },
        Offset {
            reserved: [1, 0],
            ..good
        },
        Offset {
            reserved: [0, 1],
            ..good
        },
    ];
    for mut arg in invalid {
        check_errno!(raw::mmap_offset(&device, &mut arg), INVAL, "{arg:?}");
    }
    for handle in [0, buffer.handle() + 1, u32::MAX] {
        let mut arg = Offset { handle, ..good };
        check_errno!(
            raw::mmap_offset(&device, &mut arg),
            NOENT,
            "handle {handle}"
        );
    }
    Ok(())
}

fn query_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    let buffer = Place::Lmem.create(&device, SIZE)?;
    use sys::drm_hlrs_mem_query as Query;
    let good = Query {
        handle: buffer.handle(),
        ..Default::default()
    };
    let mut arg = Query {
        // What comes out is not read.
        size: 1,
        path: 2,
        reason: 3,
        vf_id: 4,
        ranges: 5,
        extents: 6,
        ..good
    };
    check_eq!(raw::mem_query(&device, &mut arg), Ok(()));
    check_eq!(
        (
            arg.size,
            arg.path,
            arg.reason,
            arg.vf_id,
            arg.ranges,
            arg.extents
        ),
        (SIZE, 0, 0, 0, 0, 0)
    );
    let invalid = [
        Query {
            extensions: 1,
            ..good
        },
        Query { flags: 1, ..good },
        Query { pad: 1, ..good },
        Query {
            reserved: [1, 0],
            ..good
        },
        Query {
            reserved: [0, 1],
            ..good
        },
    ];
    for mut arg in invalid {
        check_errno!(raw::mem_query(&device, &mut arg), INVAL, "{arg:?}");
    }
    for handle in [0, buffer.handle() + 1, u32::MAX] {
        let mut arg = Query { handle, ..good };
        check_errno!(raw::mem_query(&device, &mut arg), NOENT, "handle {handle}");
    }
    Ok(())
}
