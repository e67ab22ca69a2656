// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the ioctls about queues and jobs refuse.

use hlrs::Errno;
use hlrs_sys as sys;

use super::vm::unknown;
use super::vm::unreadable;
use super::vm::wrong_syncobjs;
use super::vm::RESERVED;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::raw;
use crate::system::cards;
use crate::system::role::Role;
use crate::system::space::Space;
use crate::system::space::END;
use crate::system::JOB;
use crate::tests;

use sys::drm_hlrs_command as Cmd;
use sys::drm_hlrs_queue_create as Create;
use sys::drm_hlrs_queue_destroy as Destroy;
use sys::drm_hlrs_queue_query as Query;
use sys::drm_hlrs_queue_submit as Submit;
use sys::drm_hlrs_sync as Sync;

pub fn tests() -> Vec<Test> {
    tests![
        queue_create_refuses,
        queue_destroy_and_query_refuse,
        submit_refuses,
        commands_that_are_refused,
        submit_with_arrays_that_cannot_be_read,
        submit_with_wrong_syncobjs,
        hanging_is_for_the_administrator,
    ]
}

fn queue_create_refuses(_: &Context) -> Outcome {
    let (device, other) = (cards::first()?, cards::first()?);
    let vm = device.vm().create()?;
    let good = Create {
        vm_id: vm.id(),
        queue_id: 77,
        ..Default::default()
    };
    let mut invalid = vec![Create {
        extensions: 1,
        ..good
    }];
    invalid.extend([1, 1 << 31].map(|flags| Create { flags, ..good }));
    invalid.extend(RESERVED.map(|reserved| Create { reserved, ..good }));
    // Engines of this class are not for user space.
    for engine_class in [sys::DRM_HLRS_ENGINE_CLASS_NIC, 2, u32::MAX] {
        invalid.push(Create {
            engine_class,
            ..good
        });
    }
    for mut arg in invalid {
        check_errno!(raw::queue_create(&device, &mut arg), INVAL, "{arg:?}");
        check_eq!(arg.queue_id, 77, "the number of a refused queue");
    }
    for vm_id in unknown(vm.id()) {
        let mut arg = Create { vm_id, ..good };
        check_errno!(raw::queue_create(&device, &mut arg), NOENT, "VM {vm_id}");
    }
    let mut arg = good;
    check_errno!(raw::queue_create(&other, &mut arg), NOENT, "another file's");
    check_eq!(raw::queue_create(&device, &mut arg), Ok(()));
    check!(arg.queue_id != 0, "the number 0");
    Ok(())
}

fn queue_destroy_and_query_refuse(_: &Context) -> Outcome {
    let (device, other) = (cards::first()?, cards::first()?);
    let vm = device.vm().create()?;
    let queue = vm.queue()?;
    let destroy = Destroy {
        queue_id: queue.id(),
        ..Default::default()
    };
    let query = Query {
        queue_id: queue.id(),
        ..Default::default()
    };
    let mut arg = Destroy { pad: 1, ..destroy };
    check_errno!(raw::queue_destroy(&device, &mut arg), INVAL);
    let mut arg = Query {
        extensions: 1,
        ..query
    };
    check_errno!(raw::queue_query(&device, &mut arg), INVAL);
    for reserved in RESERVED {
        let mut arg = Destroy {
            reserved,
            ..destroy
        };
        check_errno!(raw::queue_destroy(&device, &mut arg), INVAL, "{arg:?}");
        let mut arg = Query { reserved, ..query };
        check_errno!(raw::queue_query(&device, &mut arg), INVAL, "{arg:?}");
    }
    let mut unknown: Vec<_> = unknown(queue.id()).map(|id| (&device, id)).into();
    unknown.push((&other, queue.id()));
    for (device, queue_id) in unknown {
        let mut arg = Destroy {
            queue_id,
            ..destroy
        };
        let refused = raw::queue_destroy(device, &mut arg);
        check_errno!(refused, NOENT, "destroying queue {queue_id}");
        let mut arg = Query { queue_id, ..query };
        let refused = raw::queue_query(device, &mut arg);
        check_errno!(refused, NOENT, "asking about queue {queue_id}");
    }
    check_eq!(queue.state()?.vm, vm.id(), "the VM of the queue");
    Ok(())
}

/// A fence, which is a good command.
fn fence(space: &Space) -> Cmd {
    Cmd {
        op: sys::DRM_HLRS_COMMAND_FENCE,
        dst: space.result_va(0),
        data: 1,
        ..Default::default()
    }
}

fn submit_refuses(_: &Context) -> Outcome {
    let (space, other) = (Space::first()?, cards::first()?);
    let device = &space.device;
    let commands = vec![fence(&space); 65];
    let kept = device.signalled_syncobj()?;
    let wait = Sync {
        handle: kept.handle(),
        ..Default::default()
    };
    let syncs = vec![wait; 65];
    let good = Submit {
        queue_id: space.queue.id(),
        num_commands: 1,
        ..Default::default()
    };
    let mut wrong = vec![
        (
            Errno::INVAL,
            Submit {
                extensions: 1,
                ..good
            },
        ),
        (Errno::INVAL, Submit { flags: 1, ..good }),
        (
            Errno::INVAL,
            Submit {
                num_commands: 0,
                ..good
            },
        ),
        (
            Errno::TOOBIG,
            Submit {
                num_commands: 65,
                ..good
            },
        ),
        (
            Errno::TOOBIG,
            Submit {
                num_syncs: 65,
                ..good
            },
        ),
    ];
    wrong.extend(RESERVED.map(|reserved| (Errno::INVAL, Submit { reserved, ..good })));
    for queue_id in unknown(space.queue.id()) {
        wrong.push((Errno::NOENT, Submit { queue_id, ..good }));
    }
    for (errno, arg) in wrong {
        let mut given = arg;
        let refused = raw::submit(device, &mut given, &commands, &syncs);
        check!(refused == Err(errno), "{arg:?}: {refused:?}");
        let va = given.fault_va;
        check!([0, u64::MAX].contains(&va), "{arg:?}: the address {va:#x}");
    }
    let mut arg = good;
    let refused = raw::submit(&other, &mut arg, &commands, &syncs);
    check_errno!(refused, NOENT, "another file's queue");
    check_eq!(space.queue.state()?.pending, 0, "jobs of refused calls");
    let mut most = Submit {
        num_commands: 64,
        num_syncs: 64,
        ..good
    };
    check_eq!(raw::submit(device, &mut most, &commands, &syncs), Ok(()));
    check_eq!(most.fault_va, u64::MAX, "the address after success");
    space.queue.job().fence(space.result_va(0), 1).run(JOB)?;
    Ok(())
}

/// Commands that are wrong by themselves, and why.
fn wrong_commands(space: &Space) -> Vec<(Errno, Cmd)> {
    let (va, fence) = (space.result_va(0), fence(space));
    let copy = Cmd {
        op: sys::DRM_HLRS_COMMAND_COPY,
        src: va,
        dst: va + 64,
        size: 64,
        ..Default::default()
    };
    let fill = Cmd {
        op: sys::DRM_HLRS_COMMAND_FILL,
        src: 0,
        ..copy
    };
    let crc = Cmd {
        op: sys::DRM_HLRS_COMMAND_CRC32C,
        ..copy
    };
    let hang = Cmd {
        op: sys::DRM_HLRS_COMMAND_HANG,
        ..Default::default()
    };
    let mut wrong = Vec::new();
    let mut add = |errno, commands: &[Cmd]| wrong.extend(commands.iter().map(|c| (errno, *c)));
    for good in [copy, fill, crc, fence, hang] {
        let reserved = 1;
        add(Errno::INVAL, &[Cmd { reserved, ..good }]);
        for flags in [1, 1 << 8, 1 << 31] {
            add(Errno::INVAL, &[Cmd { flags, ..good }]);
        }
        for op in [5, 1 << 31, u32::MAX] {
            add(Errno::INVAL, &[Cmd { op, ..good }]);
        }
    }
    // What they do not name must be zero.
    let (src, dst, size, data) = (4096, 4096, 64, 1);
    add(Errno::INVAL, &[Cmd { data, ..copy }, Cmd { src, ..fill }]);
    add(Errno::INVAL, &[Cmd { src, ..fence }, Cmd { size, ..fence }]);
    add(Errno::INVAL, &[Cmd { src, ..hang }, Cmd { dst, ..hang }]);
    add(Errno::INVAL, &[Cmd { size, ..hang }, Cmd { data, ..hang }]);
    let more_than_a_checksum = Cmd {
        data: 1 << 32,
        ..crc
    };
    add(Errno::INVAL, &[more_than_a_checksum]);
    for good in [copy, fill, crc] {
        let size = |size| Cmd { size, ..good };
        add(Errno::INVAL, &[size(0)]);
        add(Errno::TOOBIG, &[size((1 << 32) + 1), size(1 << 63)]);
    }
    for offset in [1, 8, 15] {
        let dst = va + offset;
        add(Errno::INVAL, &[Cmd { dst, ..fence }]);
    }
    // Addresses that there are not: of all that is read and written.
    let beyond = [END, END - 8, 1 << 63, u64::MAX - 4095];
    for va in beyond {
        for good in [copy, fill, crc] {
            add(Errno::ADDRNOTAVAIL, &[Cmd { dst: va, ..good }]);
        }
        for good in [copy, crc] {
            add(Errno::ADDRNOTAVAIL, &[Cmd { src: va, ..good }]);
        }
    }
    wrong.retain(|(_, cmd)| cmd.op != crc.op || cmd.dst != END - 8);
    add_fences(&mut wrong, fence);
    for va in [u64::MAX, u64::MAX - 62] {
        for good in [copy, fill] {
            wrong.push((Errno::OVERFLOW, Cmd { dst: va, ..good }));
        }
        for good in [copy, crc] {
            wrong.push((Errno::OVERFLOW, Cmd { src: va, ..good }));
        }
    }
    wrong
}

/// Fences beyond the end of the address space.
fn add_fences(wrong: &mut Vec<(Errno, Cmd)>, fence: Cmd) {
    for dst in [END, 1 << 63] {
        wrong.push((Errno::ADDRNOTAVAIL, Cmd { dst, ..fence }));
    }
}

fn commands_that_are_refused(_: &Context) -> Outcome {
    let space = Space::first()?;
    let good = fence(&space);
    for (n, (errno, command)) in wrong_commands(&space).into_iter().enumerate() {
        let mut commands = [good; 3];
        commands[n % 3] = command;
        let mut arg = Submit {
            queue_id: space.queue.id(),
            num_commands: 3,
            ..Default::default()
        };
        let refused = raw::submit(&space.device, &mut arg, &commands, &[]);
        check!(
            refused == Err(errno),
            "{command:?}: {refused:?}, expected {errno:?}"
        );
    }
    check_eq!(space.queue.state()?.pending, 0, "jobs of refused calls");
    check_eq!(space.result(0)?, (0, 0), "what refused jobs have written");
    check!(!space.vm.state()?.banned, "the VM is banned");
    Ok(())
}

fn submit_with_arrays_that_cannot_be_read(_: &Context) -> Outcome {
    let space = Space::first()?;
    let command = fence(&space);
    let (_pages, places) = unreadable()?;
    for (what, address) in places {
        for syncs in [false, true] {
            let mut arg = Submit {
                queue_id: space.queue.id(),
                num_commands: 1,
                num_syncs: syncs.into(),
                commands: if syncs {
                    &raw const command as u64
                } else {
                    address
                },
                syncs: address,
                ..Default::default()
            };
            let number = sys::DRM_IOCTL_HLRS_QUEUE_SUBMIT;
            // SAFETY: the arrays are one command, or cannot be read.
            let refused = unsafe { raw::at(&space.device, number, &raw mut arg as usize) };
            check_errno!(refused, FAULT, "an array in {what} memory");
            // The error is not that of a buffer.
            let va = arg.fault_va;
            check!([0, u64::MAX].contains(&va), "the address {va:#x}");
        }
    }
    check_eq!(space.queue.state()?.pending, 0, "jobs of refused calls");
    Ok(())
}

fn submit_with_wrong_syncobjs(_: &Context) -> Outcome {
    let space = Space::first()?;
    let command = fence(&space);
    let (kept, wrong) = wrong_syncobjs(&space.device)?;
    let good = Sync {
        handle: kept.handle(),
        ..Default::default()
    };
    for (errno, sync) in wrong {
        for syncs in [[good, sync], [sync, good]] {
            let mut arg = Submit {
                queue_id: space.queue.id(),
                num_commands: 1,
                num_syncs: 2,
                ..Default::default()
            };
            let refused = raw::submit(&space.device, &mut arg, &[command], &syncs);
            check!(refused == Err(errno), "{sync:?}: {refused:?}");
        }
    }
    check_eq!(space.queue.state()?.pending, 0, "jobs of refused calls");
    check_eq!(space.result(0)?, (0, 0), "what refused jobs have written");
    Ok(())
}

/// As another user, who may use the device, but not block it.
fn hanging_is_for_the_administrator(_: &Context) -> Outcome {
    let node = cards::first_node()?.path.display().to_string();
    let mut role = Role::start("ordinary", &[&node])?;
    role.expect("refused")?;
    role.succeeds()
}

/// Role: gives up its rights, and tries to block an engine.
pub fn ordinary(node: &str) -> Outcome {
    let space = Space::new(&hlrs::Device::open(node)?)?;
    // SAFETY: a call without pointers.
    let given_up = unsafe { libc::setresuid(65534, 65534, 65534) };
    check_eq!(given_up, 0, "setresuid");
    let hang = space.queue.job().command(hlrs::Command::Hang).submit();
    check_errno!(hang, PERM, "a job that never ends");
    space.queue.job().fence(space.result_va(0), 1).run(JOB)?;
    crate::system::role::say("refused");
    Ok(())
}
