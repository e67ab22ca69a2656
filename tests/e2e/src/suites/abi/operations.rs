// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the ioctls that work on the contents of buffers refuse.

use hlrs_sys as sys;

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
    tests![copy_refuses, fill_refuses, crc32c_refuses, wait_refuses,]
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
