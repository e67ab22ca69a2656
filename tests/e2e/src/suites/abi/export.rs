// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the ioctls about exports refuse, and that they leave nothing behind.

use hlrs::Device;
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
use crate::system::descriptors;
use crate::system::limits::NoDescriptors;
use crate::tests;

use sys::drm_hlrs_device_own as Own;
use sys::drm_hlrs_mem_export as Export;
use sys::drm_hlrs_mem_revoke as Revoke;

const SIZE: u64 = 1 << 20;
const PROBE: u32 = sys::DRM_HLRS_MEM_EXPORT_PROBE;
const PROBE_PEER: u32 = sys::DRM_HLRS_MEM_EXPORT_PROBE_PEER;
/// No such function on any test machine.
const NOBODY: u32 = 0xffff_fff8;

pub fn tests() -> Vec<Test> {
    tests![
        export_refuses,
        export_without_free_descriptors,
        export_with_an_unwritable_argument,
        export_answers,
        revoke_refuses,
        own_refuses,
    ]
}

/// The call is refused as an export and, where that is as wrong, as a probe,
/// and nothing has happened.
macro_rules! refused {
    ($device:expr, $errno:ident, $arg:expr) => {{
        let arg: Export = $arg;
        let before = descriptors()?;
        for flags in [arg.flags, arg.flags | PROBE] {
            // What is wrong about an export can be right about a probe.
            if flags != arg.flags && arg.flags == PROBE_PEER {
                continue;
            }
            let mut given = Export { flags, ..arg };
            check_errno!(raw::export($device, &mut given), $errno, "{given:?}");
            check_eq!(
                raw::bytes_of(&given),
                raw::bytes_of(&Export { flags, ..arg }),
                "the argument of a refused call"
            );
        }
        check_eq!(descriptors()?, before, "descriptors after {arg:?}");
        check_eq!(
            $device.usage()?.exported,
            Some(0),
            "bytes exported after {arg:?}"
        );
    }};
}

fn export_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    for place in [Place::Visible, Place::System] {
        let buffer = place.create(&device, SIZE)?;
        refuses_for(&device, buffer.handle())?;
    }
    // What was imported is the exporter's to give.
    let (other, theirs) = (cards::two()?.1, Place::Visible.create(&device, SIZE)?);
    let import = other.import(&theirs.export()?)?;
    let good = Export {
        handle: import.handle(),
        ..Default::default()
    };
    refused!(&other, OPNOTSUPP, good);
    Ok(())
}

fn refuses_for(device: &Device, handle: u32) -> Outcome {
    let good = Export {
        handle,
        fd_flags: sys::O_RDWR | sys::O_CLOEXEC,
        fd: 77,
        ..Default::default()
    };
    let mut invalid = vec![
        Export {
            extensions: 1,
            ..good
        },
        Export {
            extensions: 1 << 63,
            ..good
        },
        Export {
            reserved: [1, 0],
            ..good
        },
        Export {
            reserved: [0, 1],
            ..good
        },
        // A peer without PROBE_PEER; with PROBE_PEER, but without PROBE.
        Export { peer: 1, ..good },
        Export {
            flags: PROBE_PEER,
            ..good
        },
        Export {
            flags: PROBE_PEER,
            peer: 0x300,
            ..good
        },
    ];
    for flags in [1 << 2, 1 << 31, u32::MAX] {
        invalid.push(Export { flags, ..good });
    }
    let (cloexec, nonblock, create) = (sys::O_CLOEXEC, 0o4000, 0o100);
    for fd_flags in [3, 3 | cloexec, nonblock, create | 2, 4, 1 << 31, u32::MAX] {
        invalid.push(Export { fd_flags, ..good });
    }
    let ranges = [
        // Not of whole pages.
        (1, 4096),
        (4095, 0),
        (4096 + 512, 4096),
        (0, 1),
        (0, 4095),
        (4096, 4097),
        (0, SIZE - 1),
        // Empty.
        (SIZE, 0),
        (SIZE + 4096, 0),
        (1 << 40, 0),
        (u64::MAX - 4095, 0),
        // Beyond the end.
        (0, SIZE + 4096),
        (4096, SIZE),
        (SIZE - 4096, 8192),
        (SIZE, 4096),
        (1 << 62, 4096),
        (u64::MAX - 8191, 4096),
    ];
    for (offset, size) in ranges {
        invalid.push(Export {
            offset,
            size,
            ..good
        });
    }
    for arg in invalid {
        refused!(device, INVAL, arg);
    }
    for (offset, size) in [(u64::MAX - 4095, 4096), (4096, u64::MAX), (u64::MAX, 1)] {
        refused!(
            device,
            OVERFLOW,
            Export {
                offset,
                size,
                ..good
            }
        );
    }
    for handle in [0, handle + 1, u32::MAX] {
        refused!(device, NOENT, Export { handle, ..good });
    }
    let mut nobody = Export {
        flags: PROBE | PROBE_PEER,
        peer: NOBODY,
        ..good
    };
    check_errno!(raw::export(device, &mut nobody), ADDRNOTAVAIL);
    Ok(())
}

fn export_without_free_descriptors(_: &Context) -> Outcome {
    let device = cards::first()?;
    let buffer = Place::Visible.create(&device, SIZE)?;
    let before = descriptors()?;
    let mut arg = Export {
        handle: buffer.handle(),
        fd: 77,
        ..Default::default()
    };
    let (refused, probed) = {
        let _none = NoDescriptors::new()?;
        let mut probe = Export {
            flags: PROBE,
            ..arg
        };
        (
            raw::export(&device, &mut arg),
            raw::export(&device, &mut probe),
        )
    };
    check_errno!(refused, MFILE, "an export without a free descriptor");
    check_eq!(arg.fd, 77, "the descriptor of a refused export");
    check_eq!(probed, Ok(()), "a probe, which needs no descriptor");
    check_eq!(descriptors()?, before, "descriptors");
    check_eq!(device.usage()?.exported, Some(0), "bytes exported");
    Ok(())
}

/// The one failure that leaves something behind, as documented.
fn export_with_an_unwritable_argument(_: &Context) -> Outcome {
    let device = cards::first()?;
    let buffer = Place::Visible.create(&device, SIZE)?;
    let before = descriptors()?;
    let arg = Export {
        handle: buffer.handle(),
        ..Default::default()
    };
    let argument = raw::bytes_of(&arg);
    let pages = raw::Pages::new(&argument, false)?;
    let address = pages.before_end(argument.len());
    // SAFETY: the argument is whole, has no pointers, and cannot be written.
    let refused = unsafe { raw::at(&device, sys::DRM_IOCTL_HLRS_MEM_EXPORT, address) };
    check_errno!(refused, FAULT);
    check_eq!(descriptors()?.0, before.0 + 1, "descriptors");
    check_eq!(device.usage()?.exported, Some(SIZE), "bytes exported");
    Ok(())
}

fn export_answers(_: &Context) -> Outcome {
    let device = cards::first()?;
    let buffer = Place::Visible.create(&device, SIZE)?;
    for cloexec in [0, sys::O_CLOEXEC] {
        let before = descriptors()?;
        let mut arg = Export {
            handle: buffer.handle(),
            fd_flags: sys::O_RDWR | cloexec,
            fd: -7,
            importers: 7,
            ..Default::default()
        };
        check_eq!(raw::export(&device, &mut arg), Ok(()));
        check_eq!(arg.importers, 0, "importers, which only a probe tells");
        check_eq!(
            descriptors()?.0,
            before.0 + 1,
            "descriptors after an export"
        );
        // SAFETY: asks about, and closes, a descriptor that was just made and
        // that nothing else knows.
        let (flags, closed) = unsafe { (libc::fcntl(arg.fd, libc::F_GETFD), libc::close(arg.fd)) };
        check_eq!(closed, 0);
        check_eq!(flags == libc::FD_CLOEXEC, cloexec != 0, "close on exec");

        let mut probe = Export {
            handle: buffer.handle(),
            flags: PROBE,
            fd: 7,
            ..Default::default()
        };
        check_eq!(raw::export(&device, &mut probe), Ok(()));
        check_eq!(probe.fd, -1, "the descriptor of a probe");
        check!(probe.importers != 0, "nobody could import");
        check_eq!(descriptors()?, before, "descriptors after a probe");
    }
    Ok(())
}

fn revoke_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    let buffer = Place::Visible.create(&device, SIZE)?;
    let good = Revoke {
        handle: buffer.handle(),
        ..Default::default()
    };
    // There need not be any export.
    check_eq!(raw::revoke(&device, &mut good.clone()), Ok(()));
    let invalid = [
        Revoke {
            extensions: 1,
            ..good
        },
        Revoke {
            reserved: [1, 0],
            ..good
        },
        Revoke {
            reserved: [0, 1],
            ..good
        },
        Revoke { flags: 2, ..good },
        Revoke {
            flags: 1 << 31,
            ..good
        },
        Revoke {
            flags: u32::MAX,
            ..good
        },
    ];
    for mut arg in invalid {
        check_errno!(raw::revoke(&device, &mut arg), INVAL, "{arg:?}");
    }
    for handle in [0, buffer.handle() + 1, u32::MAX] {
        for flags in [0, sys::DRM_HLRS_MEM_REVOKE_UNDO] {
            let mut arg = Revoke {
                handle,
                flags,
                ..good
            };
            check_errno!(raw::revoke(&device, &mut arg), NOENT, "{arg:?}");
        }
    }
    Ok(())
}

fn own_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    let acquire = Own {
        op: sys::DRM_HLRS_DEVICE_OWN_ACQUIRE,
        ..Default::default()
    };
    let release = Own {
        op: sys::DRM_HLRS_DEVICE_OWN_RELEASE,
        ..Default::default()
    };
    for good in [acquire, release] {
        let invalid = [
            Own {
                extensions: 1,
                ..good
            },
            Own { pad: 1, ..good },
            Own {
                reserved: [1, 0],
                ..good
            },
            Own {
                reserved: [0, 1],
                ..good
            },
            Own { op: 2, ..good },
            Own {
                op: u32::MAX,
                ..good
            },
        ];
        for mut arg in invalid {
            check_errno!(raw::own(&device, &mut arg), INVAL, "{arg:?}");
        }
    }
    check_errno!(raw::own(&device, &mut release.clone()), PERM);
    // Nothing of this has made the file an owner.
    let second = cards::first()?;
    check_errno!(raw::own(&device, &mut acquire.clone()), BUSY);
    check_errno!(raw::own(&second, &mut release.clone()), PERM);
    Ok(())
}
