// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the ioctls about address spaces refuse. What is wrong with single
//! operations of a bind is in the suite `vm`.

use hlrs::BindOp;
use hlrs::Errno;
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
use crate::system::space::PAGE;
use crate::tests;

use sys::drm_hlrs_sync as Sync;
use sys::drm_hlrs_vm_bind as Bind;
use sys::drm_hlrs_vm_create as Create;
use sys::drm_hlrs_vm_destroy as Destroy;
use sys::drm_hlrs_vm_export as Export;
use sys::drm_hlrs_vm_query as Query;

pub fn tests() -> Vec<Test> {
    tests![
        vm_create_refuses,
        vm_destroy_refuses,
        vm_query_refuses,
        vm_export_refuses,
        vm_bind_refuses,
        vm_bind_with_arrays_that_cannot_be_read,
        vm_bind_with_wrong_syncobjs,
        vm_answers_have_zeros,
    ]
}

const BASE: u64 = 0x40_0000_0000;

/// Both words that are reserved, one after the other.
pub const RESERVED: [[u64; 2]; 3] = [[1, 0], [0, 1], [1 << 63, u64::MAX]];

/// Numbers of VMs that there are not, given one that there is.
pub fn unknown(id: u32) -> [u32; 4] {
    [0, id + 1, 1 << 31, u32::MAX]
}

fn vm_create_refuses(_: &Context) -> Outcome {
    let device = cards::first()?;
    let before = cards::used(&device)?;
    let good = Create::default();
    let mut invalid = vec![
        Create {
            extensions: 1,
            ..good
        },
        Create {
            extensions: 1 << 63,
            ..good
        },
    ];
    invalid.extend([1 << 1, 1 << 31, u32::MAX].map(|flags| Create { flags, ..good }));
    invalid.extend(RESERVED.map(|reserved| Create { reserved, ..good }));
    for arg in invalid {
        let mut given = arg;
        check_errno!(raw::vm_create(&device, &mut given), INVAL, "{arg:?}");
        check_eq!(raw::bytes_of(&given), raw::bytes_of(&arg), "the argument");
    }
    check_eq!(cards::used(&device)?, before, "LMEM in use");
    // The number is an answer only.
    let mut arg = Create {
        flags: sys::DRM_HLRS_VM_CREATE_SHARED,
        vm_id: 77,
        ..good
    };
    check_eq!(raw::vm_create(&device, &mut arg), Ok(()));
    check!(
        arg.vm_id != 0 && arg.vm_id != 77,
        "the number {}",
        arg.vm_id
    );
    Ok(())
}

fn vm_destroy_refuses(_: &Context) -> Outcome {
    let (device, other) = (cards::first()?, cards::first()?);
    let vm = device.vm().create()?;
    let good = Destroy {
        vm_id: vm.id(),
        ..Default::default()
    };
    let mut invalid = vec![Destroy { pad: 1, ..good }];
    invalid.extend(RESERVED.map(|reserved| Destroy { reserved, ..good }));
    for mut arg in invalid {
        check_errno!(raw::vm_destroy(&device, &mut arg), INVAL, "{arg:?}");
    }
    for vm_id in unknown(vm.id()) {
        let mut arg = Destroy { vm_id, ..good };
        check_errno!(raw::vm_destroy(&device, &mut arg), NOENT, "VM {vm_id}");
    }
    let mut arg = good;
    check_errno!(raw::vm_destroy(&other, &mut arg), NOENT, "another file's");
    vm.state()?;
    Ok(())
}

fn vm_query_refuses(_: &Context) -> Outcome {
    let (device, other) = (cards::first()?, cards::first()?);
    let vm = device.vm().create()?;
    let good = Query {
        vm_id: vm.id(),
        ..Default::default()
    };
    let mut invalid = vec![Query {
        extensions: 1,
        ..good
    }];
    invalid.extend(RESERVED.map(|reserved| Query { reserved, ..good }));
    for mut arg in invalid {
        check_errno!(raw::vm_query(&device, &mut arg), INVAL, "{arg:?}");
    }
    for vm_id in unknown(vm.id()) {
        let mut arg = Query { vm_id, ..good };
        check_errno!(raw::vm_query(&device, &mut arg), NOENT, "VM {vm_id}");
    }
    let mut arg = good;
    check_errno!(raw::vm_query(&other, &mut arg), NOENT, "another file's");
    Ok(())
}

fn vm_export_refuses(_: &Context) -> Outcome {
    let (device, other) = (cards::first()?, cards::first()?);
    let vm = device.vm().create()?;
    let good = Export {
        vm_id: vm.id(),
        fd: 77,
        ..Default::default()
    };
    let before = descriptors()?;
    let refused = |device: &hlrs::Device, errno: Errno, arg: Export| -> Outcome {
        let mut given = arg;
        let refused = raw::vm_export(device, &mut given);
        check!(refused == Err(errno), "{arg:?}: {refused:?}");
        check_eq!(raw::bytes_of(&given), raw::bytes_of(&arg), "the argument");
        check_eq!(descriptors()?, before, "descriptors");
        check!(!vm.state()?.exported, "exported by {arg:?}");
        Ok(())
    };
    for word in [1, 1 << 31, u32::MAX] {
        refused(&device, Errno::INVAL, Export { pad: word, ..good })?;
        refused(&device, Errno::INVAL, Export { pad1: word, ..good })?;
    }
    for reserved in RESERVED {
        refused(&device, Errno::INVAL, Export { reserved, ..good })?;
    }
    for vm_id in unknown(vm.id()) {
        refused(&device, Errno::NOENT, Export { vm_id, ..good })?;
    }
    refused(&other, Errno::NOENT, good)?;
    // The descriptor is an answer only.
    let fd = vm.export()?;
    check_eq!(descriptors()?.0, before.0 + 1, "descriptors");
    drop(fd);
    Ok(())
}

fn vm_bind_refuses(_: &Context) -> Outcome {
    let (device, other) = (cards::first()?, cards::first()?);
    let vm = device.vm().create()?;
    let buffer = Place::Lmem.create(&device, PAGE)?;
    let ops = vec![BindOp::map(BASE, &buffer).raw(); 4097];
    let syncobj = device.signalled_syncobj()?;
    let wait = Sync {
        handle: syncobj.handle(),
        ..Default::default()
    };
    let syncs = vec![wait; 65];
    let good = Bind {
        vm_id: vm.id(),
        num_ops: 1,
        ..Default::default()
    };
    let mut wrong = vec![
        (
            Errno::INVAL,
            Bind {
                extensions: 1,
                ..good
            },
        ),
        (Errno::INVAL, Bind { flags: 1, ..good }),
        (
            Errno::INVAL,
            Bind {
                flags: 1 << 31,
                ..good
            },
        ),
        (Errno::INVAL, Bind { pad: 1, ..good }),
        (Errno::INVAL, Bind { num_ops: 0, ..good }),
        (
            Errno::TOOBIG,
            Bind {
                num_ops: 4097,
                ..good
            },
        ),
        (
            Errno::TOOBIG,
            Bind {
                num_syncs: 65,
                ..good
            },
        ),
    ];
    wrong.extend(RESERVED.map(|reserved| (Errno::INVAL, Bind { reserved, ..good })));
    for vm_id in unknown(vm.id()) {
        wrong.push((Errno::NOENT, Bind { vm_id, ..good }));
    }
    for (errno, arg) in wrong {
        let mut given = Bind {
            failed_op: 5,
            ..arg
        };
        let refused = raw::vm_bind(&device, &mut given, &ops, &syncs);
        check!(refused == Err(errno), "{arg:?}: {refused:?}");
        // Before it looks at operations.
        let index = given.failed_op;
        check!([5, u32::MAX].contains(&index), "{arg:?}: the index {index}");
    }
    let mut arg = good;
    let refused = raw::vm_bind(&other, &mut arg, &ops, &syncs);
    check_errno!(refused, NOENT, "another file's VM");
    check_eq!(vm.state()?.mapped, 0, "bytes mapped");
    let mut most = Bind {
        num_ops: 4096,
        num_syncs: 64,
        ..good
    };
    // To take away what is not there is done sooner than to map as often.
    let nothing = vec![BindOp::unmap(BASE, PAGE).raw(); 4096];
    check_eq!(raw::vm_bind(&device, &mut most, &nothing, &syncs), Ok(()));
    check_eq!(most.failed_op, u32::MAX, "the index after success");
    Ok(())
}

/// Addresses from which nothing can be read.
pub fn unreadable() -> Outcome<(raw::Pages, Vec<(&'static str, u64)>)> {
    let pages = raw::Pages::new(&[], true)?;
    let half = pages.before_end(20) as u64;
    let places = vec![
        ("null", 0),
        ("kernel", 0xffff_8880_0000_0000),
        ("wrapping", u64::MAX - 16),
        ("half mapped", half),
    ];
    Ok((pages, places))
}

fn vm_bind_with_arrays_that_cannot_be_read(_: &Context) -> Outcome {
    let device = cards::first()?;
    let vm = device.vm().create()?;
    let buffer = Place::Lmem.create(&device, PAGE)?;
    let op = BindOp::map(BASE, &buffer).raw();
    let before = vm.state()?;
    let (_pages, places) = unreadable()?;
    for (what, address) in places {
        for syncs in [false, true] {
            let mut arg = Bind {
                vm_id: vm.id(),
                num_ops: 1,
                num_syncs: syncs.into(),
                ops: if syncs { &raw const op as u64 } else { address },
                syncs: address,
                ..Default::default()
            };
            let number = sys::DRM_IOCTL_HLRS_VM_BIND;
            // SAFETY: the arrays are one operation, or cannot be read.
            let refused = unsafe { raw::at(&device, number, &raw mut arg as usize) };
            check_errno!(refused, FAULT, "an array in {what} memory");
            check_eq!(vm.state()?, before, "the VM");
        }
    }
    Ok(())
}

/// Syncobjs that a bind or a job refuses, and why.
pub fn wrong_syncobjs(device: &hlrs::Device) -> Outcome<(hlrs::Syncobj, Vec<(Errno, Sync)>)> {
    let signalled = device.signalled_syncobj()?;
    let good = Sync {
        handle: signalled.handle(),
        ..Default::default()
    };
    let timeline = Sync {
        flags: sys::DRM_HLRS_SYNC_TIMELINE,
        timeline_value: 1,
        ..good
    };
    let mut wrong = Vec::new();
    for signal in [0, sys::DRM_HLRS_SYNC_SIGNAL] {
        for sync in [good, timeline] {
            let sync = Sync {
                flags: sync.flags | signal,
                ..sync
            };
            for handle in [0, good.handle + 1000, u32::MAX] {
                wrong.push((Errno::NOENT, Sync { handle, ..sync }));
            }
            for reserved in RESERVED {
                wrong.push((Errno::INVAL, Sync { reserved, ..sync }));
            }
            for flag in [1 << 2, 1 << 31] {
                let flags = sync.flags | flag;
                wrong.push((Errno::INVAL, Sync { flags, ..sync }));
            }
        }
        let (flags, timeline_value) = (good.flags | signal, 1);
        let point_of_binary = Sync {
            flags,
            timeline_value,
            ..good
        };
        let no_point = Sync {
            flags: timeline.flags | signal,
            timeline_value: 0,
            ..timeline
        };
        wrong.extend([(Errno::INVAL, point_of_binary), (Errno::INVAL, no_point)]);
    }
    Ok((signalled, wrong))
}

fn vm_bind_with_wrong_syncobjs(_: &Context) -> Outcome {
    let device = cards::first()?;
    let vm = device.vm().create()?;
    let buffer = Place::Lmem.create(&device, PAGE)?;
    let op = BindOp::map(BASE, &buffer).raw();
    let before = vm.state()?;
    let (kept, wrong) = wrong_syncobjs(&device)?;
    let good = Sync {
        handle: kept.handle(),
        ..Default::default()
    };
    for (errno, sync) in wrong {
        for syncs in [[good, sync], [sync, good]] {
            let mut arg = Bind {
                vm_id: vm.id(),
                num_ops: 1,
                num_syncs: 2,
                ..Default::default()
            };
            let refused = raw::vm_bind(&device, &mut arg, &[op], &syncs);
            check!(refused == Err(errno), "{sync:?}: {refused:?}");
            check_eq!(vm.state()?, before, "the VM after {sync:?}");
        }
    }
    // What was to be signalled by a refused bind has kept its fence.
    check!(kept.binary().is_done()?, "the syncobj has another fence");
    Ok(())
}

fn vm_answers_have_zeros(_: &Context) -> Outcome {
    let device = cards::first()?;
    let vm = device.vm().create()?;
    let mut arg = Query {
        vm_id: vm.id(),
        state: u32::MAX,
        mapped: u64::MAX,
        page_tables: u64::MAX,
        ..Default::default()
    };
    arg.fault.va = u64::MAX;
    arg.fault.pad = u32::MAX;
    arg.fault.reserved = [u64::MAX; 2];
    check_eq!(raw::vm_query(&device, &mut arg), Ok(()));
    check_eq!((arg.state, arg.mapped), (0, 0), "of a new VM");
    check_eq!(arg.reserved, [0; 2], "reserved");
    let fault = raw::bytes_of(&arg.fault);
    check!(
        fault.iter().all(|byte| *byte == 0),
        "no fault: {:?}",
        arg.fault
    );
    Ok(())
}
