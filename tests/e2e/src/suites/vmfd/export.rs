// SPDX-License-Identifier: MIT OR Apache-2.0
//! Making a descriptor, and what kind of file it is.

use std::fs;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::thread;

use hlrs::Errno;
use hlrs::VmFd;

use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::raw;
use crate::system::cards;
use crate::system::descriptors;
use crate::system::limits::NoDescriptors;
use crate::system::random::Random;
use crate::system::wait_until;
use crate::system::REACTION;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        one_at_a_time,
        duplicates_are_the_same_export,
        an_exported_vm_is_not_destroyed,
        which_vms_can_be_exported,
        the_kind_of_file,
        what_it_says_of_itself,
        without_a_free_descriptor,
        threads_that_export_and_close: 120,
    ]
}

fn one_at_a_time(context: &Context) -> Outcome {
    let device = cards::first()?;
    let (vm, other) = (device.vm().create()?, device.vm().shared().create()?);
    for _ in context.each(20, 5000) {
        check!(!vm.state()?.exported, "exported before it was");
        let fd = vm.export()?;
        check!(vm.state()?.exported, "not exported");
        check_errno!(vm.export(), EXIST, "a second time");
        check!(!other.state()?.exported, "the other one is exported");
        drop(other.export()?);
        check_errno!(vm.export(), EXIST, "after the other one's");
        drop(fd);
        check!(!vm.state()?.exported, "exported after it was closed");
    }
    Ok(())
}

fn duplicates_are_the_same_export(_: &Context) -> Outcome {
    let vm = cards::first()?.vm().create()?;
    let first = vm.export()?;
    let (second, third) = (first.try_clone()?, first.try_clone()?);
    drop(first);
    check_errno!(vm.export(), EXIST, "with two duplicates");
    drop(second);
    check_errno!(vm.export(), EXIST, "with one duplicate");
    // A child has them, too, until it ends.
    // SAFETY: the child does nothing but wait to be killed.
    let child = unsafe { libc::fork() };
    check!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
    }
    drop(third);
    let refused = vm.export();
    // SAFETY: our own child, which is waited for next.
    unsafe { libc::kill(child, libc::SIGKILL) };
    let mut status = 0;
    // SAFETY: our own child, and a place for its status.
    check_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    check_errno!(refused, EXIST, "with that of a child");
    let mut again = None;
    wait_until("the child's descriptors are closed", REACTION, || {
        again = vm.export().ok();
        again.is_some()
    })
}

fn an_exported_vm_is_not_destroyed(_: &Context) -> Outcome {
    let device = cards::first()?;
    let mut vm = device.vm().create()?;
    let fd = vm.export()?;
    let same = fd.try_clone()?;
    check_errno!(vm.destroy(), BUSY);
    drop(fd);
    check_errno!(vm.destroy(), BUSY, "with a duplicate");
    // Refused, but otherwise as before.
    let queue = vm.queue()?;
    check!(vm.state()?.exported, "no longer exported");
    drop(same);
    check_errno!(vm.destroy(), BUSY, "with a queue");
    drop(queue);
    vm.destroy()?;
    check_errno!(vm.export(), NOENT, "after it was destroyed");
    Ok(())
}

fn which_vms_can_be_exported(_: &Context) -> Outcome {
    let (device, other) = (cards::first()?, cards::first()?);
    let vms = (0..3)
        .map(|_| device.vm().create())
        .collect::<hlrs::Result<Vec<_>>>()?;
    let last = vms[2].id();
    let before = descriptors()?;
    let export = |device: &hlrs::Device, vm_id| {
        let mut arg = hlrs_sys::drm_hlrs_vm_export {
            vm_id,
            fd: 77,
            ..Default::default()
        };
        let exported = raw::vm_export(device, &mut arg);
        (exported, arg.fd)
    };
    for vm_id in [0, last + 1, 1 << 31, u32::MAX] {
        check_eq!(
            export(&device, vm_id),
            (Err(Errno::NOENT), 77),
            "VM {vm_id}"
        );
    }
    // Numbers belong to files.
    check_eq!(
        export(&other, last),
        (Err(Errno::NOENT), 77),
        "of another file"
    );
    check_eq!(descriptors()?, before, "descriptors");
    Ok(())
}

/// It cannot be read, written, mapped or asked.
fn the_kind_of_file(_: &Context) -> Outcome {
    let vm = cards::first()?.vm().create()?;
    let fd = vm.export()?;
    let flags = rustix::io::fcntl_getfd(&fd).map_err(Stop::failed)?;
    check!(flags.contains(rustix::io::FdFlags::CLOEXEC), "{flags:?}");
    let number = fd.as_fd().as_raw_fd();
    let link = fs::read_link(format!("/proc/self/fd/{number}"))?;
    let link = link.display().to_string();
    check!(
        link.starts_with("anon_inode:") && link.contains("hlrs"),
        "the file is called {link}"
    );
    let mut bytes = [0u8; 8];
    check!(rustix::io::read(&fd, &mut bytes).is_err(), "it can be read");
    check!(rustix::io::write(&fd, &bytes).is_err(), "it can be written");
    for number in [hlrs_sys::DRM_IOCTL_HLRS_VM_QUERY, 0x5401, 0] {
        let mut arg = hlrs_sys::drm_hlrs_vm_query::default();
        // SAFETY: the argument is at least as large as the number says.
        let refused = unsafe { raw::at(&fd, number, &raw mut arg as usize) };
        check_errno!(refused, NOTTY, "ioctl {number:#x}");
    }
    // SAFETY: the kernel chooses a range that nothing else uses.
    let map = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            raw::PAGE,
            libc::PROT_READ,
            libc::MAP_SHARED,
            number,
            0,
        )
    };
    check!(map == libc::MAP_FAILED, "it can be mapped");
    // It is no dma-buf, no syncobj and no accelerator.
    let device = cards::first()?;
    let copy = || -> Outcome<OwnedFd> { Ok(fd.try_clone()?.into()) };
    check!(
        device.import(&hlrs::DmaBuf::from(copy()?)).is_err(),
        "dma-buf"
    );
    check_errno!(device.import_syncobj(copy()?), INVAL, "as a syncobj");
    check!(hlrs::Device::from_fd(copy()?).is_err(), "an accelerator");
    Ok(())
}

fn what_it_says_of_itself(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    let (_one, two) = (device.vm().create()?, device.vm().shared().create()?);
    let fd = two.export()?;
    let info = |fd: &VmFd| {
        let number = fd.as_fd().as_raw_fd();
        fs::read_to_string(format!("/proc/self/fdinfo/{number}"))
    };
    let text = info(&fd)?;
    for needed in ["hlrs", node.address.as_str(), &two.id().to_string()] {
        check!(
            text.contains(needed),
            "fdinfo says nothing of {needed}:\n{text}"
        );
    }
    drop((two, _one, device));
    let after = info(&fd)?;
    check!(
        after != text && after.contains("hlrs"),
        "fdinfo after the device file was closed:\n{after}"
    );
    Ok(())
}

fn without_a_free_descriptor(_: &Context) -> Outcome {
    let vm = cards::first()?.vm().create()?;
    let before = descriptors()?;
    let refused = {
        let _none = NoDescriptors::new()?;
        vm.export()
    };
    check_errno!(refused, MFILE);
    check_eq!(descriptors()?, before, "descriptors");
    check!(!vm.state()?.exported, "exported, without a descriptor");
    drop(vm.export()?);
    Ok(())
}

/// Of those that export at the same time one wins, and nothing is left behind.
fn threads_that_export_and_close(context: &Context) -> Outcome {
    let device = cards::first()?;
    let before = descriptors()?;
    {
        let vm = device.vm().create()?;
        let (open, won) = (AtomicU32::new(0), AtomicU32::new(0));
        let rounds = context.rounds(200, 10_000);
        thread::scope(|scope| -> Outcome {
            let threads: Vec<_> = (0..4)
                .map(|n| {
                    let (vm, open, won) = (&vm, &open, &won);
                    let mut random = Random::new(context.seed + n);
                    scope.spawn(move || -> Outcome {
                        for _ in 0..rounds {
                            let fd = match vm.export() {
                                Ok(fd) => fd,
                                Err(err) if err.errno() == Some(Errno::EXIST) => continue,
                                Err(err) => return Err(err.into()),
                            };
                            won.fetch_add(1, Ordering::Relaxed);
                            let others = open.fetch_add(1, Ordering::Relaxed);
                            check!(others == 0, "exported twice at a time");
                            if random.below(2) == 0 {
                                thread::yield_now();
                            }
                            open.fetch_sub(1, Ordering::Relaxed);
                            drop(fd);
                        }
                        Ok(())
                    })
                })
                .collect();
            for thread in threads {
                let ended = thread.join();
                ended.map_err(|_| Stop::failed("a thread panicked"))??;
            }
            Ok(())
        })?;
        check!(won.load(Ordering::Relaxed) > 0, "nobody has exported it");
        drop(vm.export()?);
    }
    check_eq!(descriptors()?, before, "descriptors");
    Ok(())
}
