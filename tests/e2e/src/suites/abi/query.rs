// SPDX-License-Identifier: MIT OR Apache-2.0
//! `DRM_IOCTL_HLRS_DEVICE_QUERY`

use hlrs::EngineClass;
use hlrs::RegionClass;
use hlrs::SriovMode;
use hlrs_sys as sys;

use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::raw;
use crate::system::cards;
use crate::tests;

const QUERIES: [u32; 3] = [
    sys::DRM_HLRS_DEVICE_QUERY_INFO,
    sys::DRM_HLRS_DEVICE_QUERY_MEM_REGIONS,
    sys::DRM_HLRS_DEVICE_QUERY_ENGINES,
];

pub fn tests() -> Vec<Test> {
    tests![
        query_sizes,
        query_refuses,
        query_bad_pointers,
        query_reserved_fields_are_zero,
        query_info,
        query_regions,
        query_engines,
    ]
}

fn size_of_answer(device: &hlrs::Device, query: u32) -> Outcome<u32> {
    let mut arg = sys::drm_hlrs_device_query {
        query,
        ..Default::default()
    };
    let asked = raw::query(device, &mut arg, &mut []);
    check_eq!(asked, Ok(()), "size of query {query}");
    Ok(arg.size)
}

fn query_sizes(_: &Context) -> Outcome {
    let device = cards::first()?;
    for query in QUERIES {
        let size = size_of_answer(&device, query)?;
        check!(
            size >= 8 && size % 8 == 0,
            "query {query} answers {size} bytes"
        );
        let mut answer = vec![0; size as usize / 8 + 2];

        let mut arg = sys::drm_hlrs_device_query {
            query,
            size,
            ..Default::default()
        };
        check_eq!(raw::query(&device, &mut arg, &mut answer), Ok(()));
        check_eq!(arg.size, size);

        // More room than needed is fine, and is left alone.
        *answer.last_mut().unwrap_or(&mut 0) = 0x5a5a;
        let mut arg = sys::drm_hlrs_device_query {
            query,
            size: size + 16,
            ..Default::default()
        };
        check_eq!(raw::query(&device, &mut arg, &mut answer), Ok(()));
        check_eq!(arg.size, size);
        check_eq!(answer.last(), Some(&0x5a5a));

        for less in [1, 4, size - 1] {
            let mut arg = sys::drm_hlrs_device_query {
                query,
                size: less,
                ..Default::default()
            };
            let refused = raw::query(&device, &mut arg, &mut answer);
            check_errno!(
                refused,
                INVAL,
                "query {query} with room for {less} of {size} bytes"
            );
        }
    }
    Ok(())
}

fn query_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    for query in [3, 4, 1000, u32::MAX] {
        for size in [0, 64] {
            let mut arg = sys::drm_hlrs_device_query {
                query,
                size,
                ..Default::default()
            };
            check_errno!(
                raw::query(&device, &mut arg, &mut [0; 8]),
                INVAL,
                "query {query}"
            );
        }
    }
    for query in QUERIES {
        let good = sys::drm_hlrs_device_query {
            query,
            ..Default::default()
        };
        let bad = [
            sys::drm_hlrs_device_query {
                extensions: 1,
                ..good
            },
            sys::drm_hlrs_device_query {
                reserved: [1, 0],
                ..good
            },
            sys::drm_hlrs_device_query {
                reserved: [0, 1 << 63],
                ..good
            },
        ];
        for mut arg in bad {
            let refused = raw::query(&device, &mut arg, &mut []);
            check_errno!(refused, INVAL, "query {arg:?}");
        }
    }
    Ok(())
}

fn query_bad_pointers(_: &Context) -> Outcome {
    let device = cards::first()?;
    for query in QUERIES {
        let size = size_of_answer(&device, query)?;
        let read_only = raw::Pages::new(&[], false)?;
        let straddling = raw::Pages::new(&[], true)?;
        let places = [
            ("null", 0),
            ("kernel", 0xffff_8880_0000_0000),
            ("not canonical", 0x8000_0000_0000_0000),
            ("wrapping", usize::MAX - 8),
            ("read-only", read_only.before_end(size as usize)),
            ("half mapped", straddling.before_end(size as usize / 2)),
        ];
        for (what, address) in places {
            let mut arg = sys::drm_hlrs_device_query {
                query,
                size,
                data: address as u64,
                ..Default::default()
            };
            let number = sys::DRM_IOCTL_HLRS_DEVICE_QUERY;
            // SAFETY: none of the places can be written in full.
            let refused = unsafe { raw::at(&device, number, &raw mut arg as usize) };
            check_errno!(refused, FAULT, "query {query} to {what} memory");
        }
    }
    Ok(())
}

fn query_reserved_fields_are_zero(_: &Context) -> Outcome {
    let device = cards::first()?;
    // In 8-byte words: where the reserved fields of each answer begin, the
    // stride of its elements, and how many words of one are reserved.
    for (query, first, stride, reserved) in [
        (sys::DRM_HLRS_DEVICE_QUERY_INFO, 6, 10, 4),
        (sys::DRM_HLRS_DEVICE_QUERY_MEM_REGIONS, 1 + 5, 8, 3),
        (sys::DRM_HLRS_DEVICE_QUERY_ENGINES, 1 + 1, 4, 3),
    ] {
        let size = size_of_answer(&device, query)?;
        let mut answer = vec![u64::MAX; size as usize / 8];
        let mut arg = sys::drm_hlrs_device_query {
            query,
            size,
            ..Default::default()
        };
        check_eq!(raw::query(&device, &mut arg, &mut answer), Ok(()));
        for start in (first..answer.len()).step_by(stride) {
            check_eq!(
                answer[start..start + reserved],
                vec![0; reserved],
                "query {query}"
            );
        }
        if query != sys::DRM_HLRS_DEVICE_QUERY_INFO {
            check_eq!(answer[0] >> 32, 0, "pad of query {query}");
        }
    }
    Ok(())
}

fn query_info(_: &Context) -> Outcome {
    let (first, second) = cards::two()?;
    let (a, b) = (first.info()?, second.info()?);
    for info in [&a, &b] {
        check_eq!(info.abi.0, sys::DRM_HLRS_ABI_MAJOR);
        check_eq!(
            info.abi.1,
            sys::DRM_HLRS_ABI_MINOR,
            "driver and header are of one build"
        );
        check_eq!((info.vendor_id, info.device_id), (0x1af4, 0x10f0));
        check_eq!(info.sriov, SriovMode::PhysicalFunction);
        check!(
            info.p2p,
            "the test machine allows peer to peer, the driver says no"
        );
        check!(
            info.max_copy_size >= 1 << 20,
            "largest job is {}",
            info.max_copy_size
        );
    }
    check!(a.uid != 0 && b.uid != 0, "a card has no unique number");
    check!(a.uid != b.uid, "two cards have the same unique number");
    Ok(())
}

fn query_regions(_: &Context) -> Outcome {
    let device = cards::first()?;
    let regions = device.regions()?;
    let count = |class| regions.iter().filter(|r| r.class == class).count();
    check_eq!(count(RegionClass::SystemMemory), 1);
    check_eq!(count(RegionClass::Lmem), 1);
    for (n, region) in regions.iter().enumerate() {
        check!(region.min_page_size.is_power_of_two() && region.min_page_size >= 4096);
        check!(regions[n + 1..]
            .iter()
            .all(|r| r.instance != region.instance));
    }
    let system = device.region(RegionClass::SystemMemory)?;
    check_eq!(system.total, 0);
    let lmem = device.lmem()?;
    check!(lmem.total >= 1 << 24, "{} bytes of LMEM", lmem.total);
    check!(lmem.used <= lmem.total);
    check!(lmem.cpu_visible > 0 && lmem.cpu_visible <= lmem.total);
    check!(lmem.cpu_visible_used <= lmem.used);
    Ok(())
}

fn query_engines(_: &Context) -> Outcome {
    let engines = cards::first()?.engines()?;
    let copy = engines.iter().find(|e| e.class == EngineClass::Copy);
    check!(
        copy.is_some_and(|e| e.capacity > 0),
        "no copy engine: {engines:?}"
    );
    Ok(())
}
