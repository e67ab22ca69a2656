// SPDX-License-Identifier: MIT OR Apache-2.0
//! The NIC's node: what its calls refuse, and that it comes and goes.

use std::fs::File;
use std::fs::OpenOptions;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;

use rustix::event::PollFlags;

use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::raw;
use crate::raw::nic as sys;
use crate::system::cards;
use crate::system::driver;
use crate::system::driver::Unbound;
use crate::system::nic;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        query: 60,
        unknown_calls: 60,
        what_is_not_zero_but_must_be: 60,
        bad_addresses_of_arguments: 60,
        registering_what_is_no_vm: 60,
        copies_that_are_refused: 60,
        waits_that_are_refused: 60,
        polling_and_fdinfo: 60,
        unbound_while_open: 120,
        accelerator_unbound_while_open: 120,
        module_stays_while_open: 60,
        calls_race_with_unbinding: 180,
        module_goes: 60,
    ]
}

fn open() -> Outcome<File> {
    nic::load()?;
    nic::open(&cards::first_node()?)
}

fn query(_: &Context) -> Outcome {
    nic::load()?;
    for node in cards::nodes()? {
        let file = nic::open(&node)?;
        let mut query = sys::Query::default();
        check_eq!(sys::query(&file, &mut query), Ok(()));
        check_eq!((query.abi_major, query.abi_minor), (1, 0));
        check_eq!(query.uid, node.open()?.info()?.uid);
        check_eq!(query.vf_id, 0);
        check_eq!(query.max_copy_size, 1 << 32);
        check!(query.max_vms >= 32 && query.max_pending > 0);
        check!(query.max_results >= query.max_pending);
        check_eq!(query.reserved, [0; 4]);
        let parent = format!("/sys/class/misc/hlrs_nic{}/device", node.index);
        let parent = Path::new(&parent).canonicalize()?;
        check!(parent.ends_with(format!("{}/{}", node.address, nic::device(&node))));
    }
    Ok(())
}

fn unknown_calls(_: &Context) -> Outcome {
    let file = open()?;
    let mut arg = [0u64; 16];
    let address = arg.as_mut_ptr() as usize;
    for number in [
        0,
        sys::number::<sys::Query>(99),
        // Another size, another letter.
        sys::number::<sys::Wait>(0),
        sys::number::<sys::Query>(0) ^ 0x100,
    ] {
        // SAFETY: the memory is larger than any structure.
        check_errno!(unsafe { raw::at(&file, number, address) }, NOTTY);
    }
    Ok(())
}

fn what_is_not_zero_but_must_be(_: &Context) -> Outcome {
    let file = open()?;
    macro_rules! refused {
        ($call:ident, $type:ident, $($set:expr),+) => {
            $({
                let mut arg = sys::$type::default();
                let set: fn(&mut sys::$type) = $set;
                set(&mut arg);
                check_errno!(sys::$call(&file, &mut arg), INVAL);
            })+
        };
    }
    refused!(
        query,
        Query,
        |a| a.extensions = 1,
        |a| a.reserved[0] = 1,
        |a| a.reserved[3] = 1
    );
    refused!(
        vm_register,
        VmRegister,
        |a| a.extensions = 1,
        |a| a.flags = 1,
        |a| a.pad = 1,
        |a| a.reserved[1] = 1
    );
    refused!(
        vm_unregister,
        VmUnregister,
        |a| a.extensions = 1,
        |a| a.flags = 1,
        |a| a.reserved[1] = 1
    );
    refused!(
        copy,
        Copy,
        |a| (a.size, a.extensions) = (1, 1),
        |a| (a.size, a.flags) = (1, 2),
        |a| (a.size, a.eventfd) = (1, 1),
        |a| (a.size, a.reserved[1]) = (1, 1),
        |a| a.size = 0
    );
    refused!(wait, Wait, |a| a.extensions = 1, |a| a.flags = 1, |a| a
        .reserved[1] =
        1);
    Ok(())
}

fn bad_addresses_of_arguments(_: &Context) -> Outcome {
    let file = open()?;
    let size = size_of::<sys::Query>();
    let number = sys::number::<sys::Query>(0);
    let content = vec![0; size];
    let readable = raw::Pages::new(&content, false)?;
    let writable = raw::Pages::new(&content, true)?;
    for address in [
        0,
        8,
        usize::MAX - 7,
        readable.before_end(size),
        writable.before_end(size - 1),
    ] {
        // SAFETY: what is there is not mapped, or not used by anything else.
        check_errno!(unsafe { raw::at(&file, number, address) }, FAULT);
    }
    // SAFETY: as above, and there the structure fits.
    let result = unsafe { raw::at(&file, number, writable.before_end(size)) };
    check_eq!(result, Ok(()));
    Ok(())
}

fn registering_what_is_no_vm(_: &Context) -> Outcome {
    let file = open()?;
    let register = |fd| {
        let mut arg = sys::VmRegister {
            fd,
            ..Default::default()
        };
        sys::vm_register(&file, &mut arg)
    };
    for fd in [-1, i32::MIN, i32::MAX, 4000] {
        check_errno!(register(fd), BADF);
    }
    let null = File::open("/dev/null")?;
    let device = cards::first()?;
    for fd in [null.as_fd(), file.as_fd(), device.as_fd()] {
        check_errno!(register(fd.as_raw_fd()), INVAL);
    }
    for vm in [0, 1, 64, 65, u32::MAX] {
        let mut arg = sys::VmUnregister {
            vm,
            ..Default::default()
        };
        check_errno!(sys::vm_unregister(&file, &mut arg), NOENT);
    }
    Ok(())
}

fn copies_that_are_refused(_: &Context) -> Outcome {
    let file = open()?;
    let copy = |arg: sys::Copy| {
        let mut arg = sys::Copy {
            src_vm: 1,
            dst_vm: 2,
            ..arg
        };
        sys::copy(&file, &mut arg)
    };
    let sized = |src, dst, size| sys::Copy {
        src,
        dst,
        size,
        ..Default::default()
    };
    check_errno!(copy(sized(0, 0, 1)), NOENT);
    check_errno!(copy(sized(0, 0, (1 << 32) + 1)), TOOBIG);
    let end = 1 << 48;
    for (src, dst) in [
        (end, 0),
        (0, end),
        (end - 7, 0),
        (u64::MAX, 0),
        (0, u64::MAX - 6),
    ] {
        check_errno!(copy(sized(src, dst, 8)), RANGE, "{src:#x} to {dst:#x}");
    }
    check_errno!(copy(sized(end - 8, end - 8, 8)), NOENT);
    let with_eventfd = |eventfd| sys::Copy {
        flags: sys::COPY_EVENTFD,
        eventfd,
        ..sized(0, 0, 1)
    };
    check_errno!(copy(with_eventfd(-1)), BADF);
    check_errno!(copy(with_eventfd(file.as_raw_fd())), INVAL);
    Ok(())
}

fn waits_that_are_refused(_: &Context) -> Outcome {
    let file = open()?;
    for (seqno, timeout_ns) in [(0, 0), (1, 0), (u64::MAX, 1), (0, -1), (0, i64::MIN)] {
        let mut arg = sys::Wait {
            seqno,
            timeout_ns,
            ..Default::default()
        };
        check_errno!(sys::wait(&file, &mut arg), INVAL);
    }
    Ok(())
}

fn polling_and_fdinfo(_: &Context) -> Outcome {
    let file = open()?;
    // Nothing is pending, and there is room.
    check_eq!(nic::readiness(&file)?, PollFlags::IN | PollFlags::OUT);
    let path = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
    let info = std::fs::read_to_string(path)?;
    for line in [
        "hlrs-nic-submitted:\t0",
        "hlrs-nic-pending:\t0",
        "hlrs-nic-vms:\t0",
    ] {
        check!(info.lines().any(|found| found == line), "{line}: {info}");
    }
    Ok(())
}

/// Every call on an open file whose device is gone.
fn all_gone(file: &File) -> Outcome {
    check_errno!(sys::query(file, &mut sys::Query::default()), NODEV);
    check_errno!(
        sys::vm_register(file, &mut sys::VmRegister::default()),
        NODEV
    );
    check_errno!(
        sys::vm_unregister(file, &mut sys::VmUnregister::default()),
        NODEV
    );
    check_errno!(sys::copy(file, &mut sys::Copy::default()), NODEV);
    check_errno!(sys::wait(file, &mut sys::Wait::default()), NODEV);
    check_eq!(nic::readiness(file)?, PollFlags::HUP | PollFlags::ERR);
    Ok(())
}

fn unbound_while_open(_: &Context) -> Outcome {
    let file = open()?;
    let node = cards::first_node()?;
    // The accelerator does not care.
    let accelerator = node.open()?;
    nic::unbind(&node)?;
    check!(!nic::path(&node).exists());
    let result = all_gone(&file);
    nic::bind(&node)?;
    result?;
    all_gone(&file)?;
    let new = nic::open(&node)?;
    check_eq!(sys::query(&new, &mut sys::Query::default()), Ok(()));
    accelerator.info()?;
    Ok(())
}

fn accelerator_unbound_while_open(_: &Context) -> Outcome {
    let file = open()?;
    let node = cards::first_node()?;
    let bound = Unbound(&node.address);
    driver::unbind(&node.address)?;
    check!(!nic::path(&node).exists());
    check!(!Path::new("/sys/bus/auxiliary/devices")
        .join(nic::device(&node))
        .exists());
    all_gone(&file)?;
    drop(bound);
    let new = nic::open(&driver::wait_node(&node.address)?)?;
    check_eq!(sys::query(&new, &mut sys::Query::default()), Ok(()));
    all_gone(&file)
}

fn module_stays_while_open(_: &Context) -> Outcome {
    let file = open()?;
    check!(nic::unload().is_err());
    // The NIC's driver uses code of the accelerator's.
    check!(driver::program("rmmod", &["hlrs"]).is_err());
    check_eq!(sys::query(&file, &mut sys::Query::default()), Ok(()));
    Ok(())
}

fn calls_race_with_unbinding(context: &Context) -> Outcome {
    nic::load()?;
    let node = cards::first_node()?;
    let options = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .clone();
    for _ in context.each(20, 1000) {
        let file = nic::open_with(&node, &options)?;
        let outcome = thread::scope(|scope| -> Outcome {
            let calls = scope.spawn(|| loop {
                match sys::query(&file, &mut sys::Query::default()) {
                    Ok(()) => {}
                    result => break result,
                }
            });
            let opens = scope.spawn(|| while options.open(nic::path(&node)).is_ok() {});
            let unbound = nic::unbind(&node);
            let bound = {
                check_errno!(calls.join().expect("no panic"), NODEV);
                opens.join().expect("no panic");
                nic::bind(&node)
            };
            unbound?;
            Ok(bound?)
        });
        outcome?;
    }
    Ok(())
}

fn module_goes(_: &Context) -> Outcome {
    nic::load()?;
    let node = cards::first_node()?;
    drop(nic::open(&node)?);
    nic::unload()?;
    check!(!nic::path(&node).exists());
    Ok(())
}
