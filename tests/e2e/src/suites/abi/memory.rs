// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the ioctls about buffers refuse.

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
        copy_refuses,
        fill_refuses,
        crc32c_refuses,
        wait_refuses,
        prime_refuses,
        handles_of_another_file,
        closed_handles,
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

fn copy_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    let a = Place::Lmem.create(&device, SIZE)?;
    let b = Place::System.create(&device, SIZE)?;
    use sys::drm_hlrs_mem_copy as Copy;
    let good = Copy {
        src_handle: a.handle(),
        dst_handle: b.handle(),
        size: 4096,
        ..Default::default()
    };
    check_eq!(raw::copy(&device, &mut good.clone()), Ok(()));
    let within = Copy {
        dst_handle: a.handle(),
        ..good
    };
    let invalid = [
        Copy {
            extensions: u64::MAX,
            ..good
        },
        Copy { flags: 2, ..good },
        Copy {
            flags: 1 << 31,
            ..good
        },
        Copy { pad: 1, ..good },
        Copy {
            reserved: [1, 0],
            ..good
        },
        Copy {
            reserved: [0, 1],
            ..good
        },
        Copy { size: 0, ..good },
        // Overlaps: the same range, and by one byte at either end.
        within,
        Copy {
            dst_offset: 4095,
            ..within
        },
        Copy {
            src_offset: 4095,
            ..within
        },
        Copy {
            dst_offset: 1,
            size: SIZE - 1,
            ..within
        },
    ];
    for mut arg in invalid {
        check_errno!(raw::copy(&device, &mut arg), INVAL, "{arg:?}");
    }
    // Next to each other is no overlap.
    check_eq!(
        raw::copy(
            &device,
            &mut Copy {
                dst_offset: 4096,
                ..within
            }
        ),
        Ok(())
    );
    let beyond = [
        Copy {
            src_offset: SIZE,
            size: 1,
            ..good
        },
        Copy {
            dst_offset: SIZE,
            size: 1,
            ..good
        },
        Copy {
            src_offset: SIZE - 4095,
            ..good
        },
        Copy {
            dst_offset: SIZE - 4095,
            ..good
        },
        Copy {
            size: SIZE + 1,
            ..good
        },
        Copy {
            size: u64::MAX,
            ..good
        },
        Copy {
            src_offset: u64::MAX - 4096,
            ..good
        },
    ];
    for mut arg in beyond {
        check_errno!(raw::copy(&device, &mut arg), RANGE, "{arg:?}");
    }
    let overflowing = [
        Copy {
            src_offset: u64::MAX - 4094,
            ..good
        },
        Copy {
            dst_offset: u64::MAX,
            ..good
        },
        Copy {
            src_offset: 1,
            size: u64::MAX,
            ..good
        },
        Copy {
            src_offset: 1 << 63,
            size: 1 << 63,
            ..good
        },
    ];
    for mut arg in overflowing {
        check_errno!(raw::copy(&device, &mut arg), OVERFLOW, "{arg:?}");
    }
    for handle in [0, 100, u32::MAX] {
        let mut from = Copy {
            src_handle: handle,
            ..good
        };
        check_errno!(raw::copy(&device, &mut from), NOENT, "source {handle}");
        let mut to = Copy {
            dst_handle: handle,
            ..good
        };
        check_errno!(raw::copy(&device, &mut to), NOENT, "destination {handle}");
    }
    Ok(())
}

fn fill_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    let buffer = Place::Lmem.create(&device, SIZE)?;
    use sys::drm_hlrs_mem_fill as Fill;
    let good = Fill {
        handle: buffer.handle(),
        size: 4096,
        ..Default::default()
    };
    check_eq!(raw::fill(&device, &mut good.clone()), Ok(()));
    let invalid = [
        Fill {
            extensions: 1,
            ..good
        },
        Fill { flags: 2, ..good },
        Fill {
            flags: u32::MAX,
            ..good
        },
        Fill {
            reserved: [1, 0],
            ..good
        },
        Fill {
            reserved: [0, 1],
            ..good
        },
        Fill { size: 0, ..good },
        Fill {
            size: 0,
            offset: SIZE,
            ..good
        },
    ];
    for mut arg in invalid {
        check_errno!(raw::fill(&device, &mut arg), INVAL, "{arg:?}");
    }
    let beyond = [
        Fill {
            offset: SIZE,
            ..good
        },
        Fill {
            offset: SIZE - 4095,
            ..good
        },
        Fill {
            size: SIZE + 1,
            ..good
        },
        Fill {
            size: u64::MAX,
            ..good
        },
    ];
    for mut arg in beyond {
        check_errno!(raw::fill(&device, &mut arg), RANGE, "{arg:?}");
    }
    for (offset, size) in [(1, u64::MAX), (u64::MAX, 1), (1 << 63, 1 << 63)] {
        let mut arg = Fill {
            offset,
            size,
            ..good
        };
        check_errno!(raw::fill(&device, &mut arg), OVERFLOW, "{arg:?}");
    }
    for handle in [0, buffer.handle() + 1, u32::MAX] {
        check_errno!(
            raw::fill(&device, &mut Fill { handle, ..good }),
            NOENT,
            "handle {handle}"
        );
    }
    Ok(())
}

fn crc32c_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    let buffer = Place::Lmem.create(&device, SIZE)?;
    use sys::drm_hlrs_mem_crc32c as Crc;
    let good = Crc {
        handle: buffer.handle(),
        size: 4096,
        ..Default::default()
    };
    check_eq!(raw::crc32c(&device, &mut good.clone()), Ok(()));
    let invalid = [
        Crc {
            extensions: 1,
            ..good
        },
        Crc { flags: 1, ..good },
        Crc { flags: 2, ..good },
        Crc { pad: 1, ..good },
        Crc {
            reserved: [1, 0],
            ..good
        },
        Crc {
            reserved: [0, 1],
            ..good
        },
        Crc { size: 0, ..good },
    ];
    for mut arg in invalid {
        check_errno!(raw::crc32c(&device, &mut arg), INVAL, "{arg:?}");
    }
    for (offset, size) in [(SIZE, 1), (SIZE - 1, 2), (0, SIZE + 1), (0, u64::MAX)] {
        let mut arg = Crc {
            offset,
            size,
            ..good
        };
        check_errno!(raw::crc32c(&device, &mut arg), RANGE, "{arg:?}");
    }
    for (offset, size) in [(1, u64::MAX), (u64::MAX, 1)] {
        let mut arg = Crc {
            offset,
            size,
            ..good
        };
        check_errno!(raw::crc32c(&device, &mut arg), OVERFLOW, "{arg:?}");
    }
    for handle in [0, buffer.handle() + 1, u32::MAX] {
        check_errno!(
            raw::crc32c(&device, &mut Crc { handle, ..good }),
            NOENT,
            "handle {handle}"
        );
    }
    Ok(())
}

fn wait_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    let buffer = Place::Lmem.create(&device, SIZE)?;
    use sys::drm_hlrs_mem_wait as Wait;
    let good = Wait {
        handle: buffer.handle(),
        ..Default::default()
    };
    for timeout_ns in [0, 1, 1 << 63, u64::MAX] {
        let mut arg = Wait { timeout_ns, ..good };
        check_eq!(
            raw::wait(&device, &mut arg),
            Ok(()),
            "wait {timeout_ns} ns for nothing"
        );
    }
    let invalid = [
        Wait {
            extensions: 1,
            ..good
        },
        Wait { flags: 1, ..good },
        Wait {
            flags: u32::MAX,
            ..good
        },
        Wait {
            reserved: [1, 0],
            ..good
        },
        Wait {
            reserved: [0, 1],
            ..good
        },
    ];
    for mut arg in invalid {
        check_errno!(raw::wait(&device, &mut arg), INVAL, "{arg:?}");
    }
    for handle in [0, buffer.handle() + 1, u32::MAX] {
        check_errno!(
            raw::wait(&device, &mut Wait { handle, ..good }),
            NOENT,
            "handle {handle}"
        );
    }
    Ok(())
}

fn prime_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    let buffer = Place::Visible.create(&device, SIZE)?;
    use sys::drm_prime_handle as Prime;
    let good = Prime {
        handle: buffer.handle(),
        flags: sys::DRM_CLOEXEC,
        fd: -1,
    };
    for flags in [1, 1 << 31, sys::DRM_CLOEXEC | 4] {
        let mut arg = Prime { flags, ..good };
        check_errno!(raw::to_fd(&device, &mut arg), INVAL, "flags {flags:#x}");
    }
    for handle in [0, buffer.handle() + 1, u32::MAX] {
        let mut arg = Prime { handle, ..good };
        check_errno!(raw::to_fd(&device, &mut arg), NOENT, "handle {handle}");
    }
    for fd in [-1, i32::MAX] {
        let mut arg = Prime {
            handle: 0,
            flags: 0,
            fd,
        };
        check_errno!(raw::to_handle(&device, &mut arg), BADF, "descriptor {fd}");
    }
    // A descriptor of something that is no dma-buf.
    let null = std::fs::File::open("/dev/null")?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&null);
    check_errno!(
        raw::to_handle(
            &device,
            &mut Prime {
                handle: 0,
                flags: 0,
                fd
            }
        ),
        INVAL
    );
    Ok(())
}

/// Every operation on a handle that belongs to another open file.
fn every_operation(device: &hlrs::Device, handle: u32, own: u32) -> Outcome {
    let mut offset = sys::drm_hlrs_mem_mmap_offset {
        handle,
        ..Default::default()
    };
    check_errno!(raw::mmap_offset(device, &mut offset), NOENT);
    let copy = sys::drm_hlrs_mem_copy {
        src_handle: own,
        dst_handle: handle,
        size: 64,
        ..Default::default()
    };
    check_errno!(raw::copy(device, &mut copy.clone()), NOENT);
    let mut back = sys::drm_hlrs_mem_copy {
        src_handle: handle,
        dst_handle: own,
        ..copy
    };
    check_errno!(raw::copy(device, &mut back), NOENT);
    let mut fill = sys::drm_hlrs_mem_fill {
        handle,
        size: 64,
        ..Default::default()
    };
    check_errno!(raw::fill(device, &mut fill), NOENT);
    let mut crc = sys::drm_hlrs_mem_crc32c {
        handle,
        size: 64,
        ..Default::default()
    };
    check_errno!(raw::crc32c(device, &mut crc), NOENT);
    let mut wait = sys::drm_hlrs_mem_wait {
        handle,
        ..Default::default()
    };
    check_errno!(raw::wait(device, &mut wait), NOENT);
    let mut prime = sys::drm_prime_handle {
        handle,
        flags: 0,
        fd: -1,
    };
    check_errno!(raw::to_fd(device, &mut prime), NOENT);
    // The DRM core's own answer for a handle that does not exist.
    check_errno!(
        raw::close(device, &mut sys::drm_gem_close { handle, pad: 0 }),
        INVAL
    );
    Ok(())
}

fn handles_of_another_file(_: &Context) -> Outcome {
    let (mine, other) = (cards::first()?, cards::first()?);
    let own = Place::Lmem.create(&mine, SIZE)?;
    // More than this file has, so that the numbers mean nothing here.
    let theirs = (0..4).map(|_| Place::Visible.create(&other, SIZE));
    let theirs = theirs.collect::<hlrs::Result<Vec<_>>>()?;
    let last = &theirs[3];
    last.fill(0, SIZE, 0x77)?;
    check!(last.handle() > own.handle());
    every_operation(&mine, last.handle(), own.handle())?;
    cards::holds_pattern("the other file's buffer", last, 0x77)
}

fn closed_handles(_: &Context) -> Outcome {
    let device = cards::first()?;
    let own = Place::Lmem.create(&device, SIZE)?;
    let closed = Place::Lmem.create(&device, SIZE)?;
    let handle = closed.handle();
    drop(closed);
    every_operation(&device, handle, own.handle())
}
