// SPDX-License-Identifier: MIT OR Apache-2.0
//! The driver is taken off a device that is in use, and given to it again.

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
use crate::system::driver;
use crate::system::driver::Unbound;
use crate::system::random::Random;
use crate::system::role::Role;
use crate::system::vfs::Vfs;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        every_call_says_that_the_device_is_gone: 120,
        everything_about_the_device_disappears: 120,
        mappings_of_device_memory_get_sigbus: 120,
        mappings_of_system_memory_are_safe: 120,
        with_jobs_in_flight: 180,
        with_its_memory_imported_elsewhere: 180,
        of_an_importer: 180,
        with_virtual_functions: 180,
        many_times: 300,
    ]
}

/// Every ioctl on an open file whose device is gone.
pub fn all_gone(device: &hlrs::Device, handle: u32) -> Outcome {
    let mut query = sys::drm_hlrs_device_query::default();
    check_errno!(raw::query(device, &mut query, &mut []), NODEV);
    let mut create = sys::drm_hlrs_mem_create {
        size: 4096,
        ..Default::default()
    };
    check_errno!(raw::create(device, &mut create), NODEV);
    let mut offset = sys::drm_hlrs_mem_mmap_offset {
        handle,
        ..Default::default()
    };
    check_errno!(raw::mmap_offset(device, &mut offset), NODEV);
    let mut copy = sys::drm_hlrs_mem_copy {
        src_handle: handle,
        dst_handle: handle,
        dst_offset: 64,
        size: 64,
        ..Default::default()
    };
    check_errno!(raw::copy(device, &mut copy), NODEV);
    let mut fill = sys::drm_hlrs_mem_fill {
        handle,
        size: 64,
        ..Default::default()
    };
    check_errno!(raw::fill(device, &mut fill), NODEV);
    let mut crc = sys::drm_hlrs_mem_crc32c {
        handle,
        size: 64,
        ..Default::default()
    };
    check_errno!(raw::crc32c(device, &mut crc), NODEV);
    let mut wait = sys::drm_hlrs_mem_wait {
        handle,
        ..Default::default()
    };
    check_errno!(raw::wait(device, &mut wait), NODEV);
    let mut query = sys::drm_hlrs_mem_query {
        handle,
        ..Default::default()
    };
    check_errno!(raw::mem_query(device, &mut query), NODEV);
    let mut prime = sys::drm_prime_handle {
        handle,
        flags: 0,
        fd: -1,
    };
    check_errno!(raw::to_fd(device, &mut prime), NODEV);
    let mut export = sys::drm_hlrs_mem_export {
        handle,
        ..Default::default()
    };
    check_errno!(raw::export(device, &mut export), NODEV);
    let mut revoke = sys::drm_hlrs_mem_revoke {
        handle,
        ..Default::default()
    };
    check_errno!(raw::revoke(device, &mut revoke), NODEV);
    check_errno!(
        raw::own(device, &mut sys::drm_hlrs_device_own::default()),
        NODEV
    );
    address_spaces_gone(device)
}

/// The same of ioctls about address spaces and queues.
fn address_spaces_gone(device: &hlrs::Device) -> Outcome {
    check_errno!(raw::vm_create(device, &mut Default::default()), NODEV);
    check_errno!(raw::vm_destroy(device, &mut Default::default()), NODEV);
    check_errno!(raw::vm_query(device, &mut Default::default()), NODEV);
    check_errno!(raw::vm_export(device, &mut Default::default()), NODEV);
    let mut bind = Default::default();
    check_errno!(raw::vm_bind(device, &mut bind, &[], &[]), NODEV);
    check_errno!(raw::queue_create(device, &mut Default::default()), NODEV);
    check_errno!(raw::queue_destroy(device, &mut Default::default()), NODEV);
    check_errno!(raw::queue_query(device, &mut Default::default()), NODEV);
    let mut submit = Default::default();
    check_errno!(raw::submit(device, &mut submit, &[], &[]), NODEV);
    Ok(())
}

fn every_call_says_that_the_device_is_gone(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    let buffer = Place::Visible.create(&device, MIB)?;
    let bound = Unbound(&node.address);
    driver::unbind(&node.address)?;
    all_gone(&device, buffer.handle())?;
    drop(bound);
    // A new device is not the old one: the old file stays dead.
    let new = driver::wait_node(&node.address)?.open()?;
    all_gone(&device, buffer.handle())?;
    drop(buffer);
    cards::holds_pattern(
        "a buffer of the new device",
        &Place::Lmem.create(&new, MIB)?,
        0,
    )
}

fn everything_about_the_device_disappears(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let _open = node.open()?;
    let directory = driver::pci(&node.address).join("sriov_admin");
    check!(directory.exists(), "{} does not exist", directory.display());
    let bound = Unbound(&node.address);
    driver::unbind(&node.address)?;
    let gone = |path: &std::path::Path| !path.exists();
    check!(gone(&node.path), "{} is still there", node.path.display());
    check!(gone(&directory), "{} is still there", directory.display());
    check!(
        node.counters().is_none(),
        "the debugfs files are still there"
    );
    check!(
        hlrs::list()?.iter().all(|n| n.address != node.address),
        "it is still listed"
    );
    drop(bound);
    driver::wait_node(&node.address)?;
    check!(
        directory.exists(),
        "{} does not come back",
        directory.display()
    );
    Ok(())
}

fn mappings_of_device_memory_get_sigbus(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let path = node.path.display().to_string();
    let mut readers = [Role::start("hold", &[&path, "visible"])?];
    let mut writer = Role::start("hold", &[&path, "visible"])?;
    let mut late = Role::start("hold", &[&path, "visible"])?;
    for role in readers.iter_mut().chain([&mut writer, &mut late]) {
        role.expect("ready")?;
        role.tell("read")?;
        role.expect("[52, 18, 0, 0, 0, 0, 0, 0]")?;
    }
    let bound = Unbound(&node.address);
    driver::unbind(&node.address)?;
    readers[0].tell("read")?;
    readers[0].ends_by_signal(libc::SIGBUS)?;
    writer.tell("write")?;
    writer.ends_by_signal(libc::SIGBUS)?;
    drop(bound);
    driver::wait_node(&node.address)?;
    // Also when there is a new device that has the same memory.
    late.tell("read")?;
    late.ends_by_signal(libc::SIGBUS)
}

/// System memory need not go with the device. What must not happen is that
/// something else is read.
fn mappings_of_system_memory_are_safe(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let mut role = Role::start("hold", &[&node.path.display().to_string(), "system"])?;
    role.expect("ready")?;
    let bound = Unbound(&node.address);
    driver::unbind(&node.address)?;
    role.tell("read")?;
    if let Ok(line) = role.line() {
        check_eq!(line, "[52, 18, 0, 0, 0, 0, 0, 0]");
        role.tell("end")?;
        role.succeeds()?;
    } else {
        role.ends_by_signal(libc::SIGBUS)?;
    }
    drop(bound);
    driver::wait_node(&node.address)?;
    Ok(())
}

fn with_jobs_in_flight(context: &Context) -> Outcome {
    let address = cards::first_node()?.address;
    for _ in context.each(2, 100) {
        // Under another number than before, if the old node is still open.
        let device = driver::wait_node(&address)?.open()?;
        let (a, b) = (
            Place::Lmem.create(&device, 16 * MIB)?,
            Place::System.create(&device, MIB)?,
        );
        for n in 0..32 {
            let _fill = a.fill_async(0, a.size(), n)?;
            let _copy = b.copy_from_async(0, &a, MIB, MIB)?;
        }
        // Threads that wait in the kernel return, and say why.
        let refused = std::thread::scope(|scope| -> Outcome<Vec<Option<Errno>>> {
            let work = || loop {
                if let Err(err) = a.fill(0, a.size(), 1) {
                    return err.errno();
                }
            };
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
            std::thread::sleep(std::time::Duration::from_millis(20));
            let bound = Unbound(&address);
            driver::unbind(&address)?;
            let ended = threads
                .into_iter()
                .map(|t| t.join().unwrap_or(None))
                .collect();
            drop(bound);
            Ok(ended)
        })?;
        for errno in refused {
            let documented = [Errno::NODEV, Errno::CANCELED, Errno::IO].map(Some);
            check!(
                documented.contains(&errno),
                "a waiting call ended with {errno:?}"
            );
        }
        drop((a, b, device));
        let new = driver::wait_node(&address)?.open()?;
        cards::holds_pattern("after it", &Place::Lmem.create(&new, 16 * MIB)?, 0)?;
    }
    Ok(())
}

/// The importer may not reach the memory any more: the next owner has it.
fn with_its_memory_imported_elsewhere(context: &Context) -> Outcome {
    let nodes = cards::nodes()?;
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    let buffer = Place::Visible.create(&a, 4 * MIB)?;
    let window = b.import(&buffer.export()?)?;
    let target = Place::Lmem.create(&b, 4 * MIB)?;
    cards::randomize(&buffer, &mut random)?;
    for _ in 0..8 {
        let _job = target.copy_from_async(0, &window, 0, 4 * MIB)?;
    }
    let bound = Unbound(&nodes[0].address);
    driver::unbind(&nodes[0].address)?;
    check!(
        window.fill(0, 64, u64::MAX).is_err(),
        "the importer still writes"
    );
    check!(
        target.copy_from(0, &window, 0, 64).is_err(),
        "the importer still reads"
    );
    drop(bound);
    let new = driver::wait_node(&nodes[0].address)?.open()?;
    let size = new.lmem()?.cpu_visible / 2;
    let next = Place::Visible.create(&new, size)?;
    check!(
        window.fill(0, 4 * MIB, u64::MAX).is_err(),
        "it writes the next owner's memory"
    );
    cards::holds_pattern("the next owner's memory", &next, 0)?;
    drop(window);
    target.fill(0, 4 * MIB, 5)?;
    cards::holds_pattern("the importer's own memory", &target, 5)
}

fn of_an_importer(_: &Context) -> Outcome {
    let nodes = cards::nodes()?;
    let (a, b) = cards::two()?;
    let buffer = Place::Visible.create(&a, 4 * MIB)?;
    let dmabuf = buffer.export()?;
    let window = b.import(&dmabuf)?;
    for n in 0..8 {
        let _job = window.fill_async(0, 4 * MIB, n)?;
    }
    let bound = Unbound(&nodes[1].address);
    driver::unbind(&nodes[1].address)?;
    // The exporter goes on, and is not held up by the importer's jobs.
    buffer.fill(0, 4 * MIB, 0x77)?;
    cards::holds_pattern("the exporter's memory", &buffer, 0x77)?;
    drop(bound);
    let again = driver::wait_node(&nodes[1].address)?
        .open()?
        .import(&dmabuf)?;
    check_eq!(again.crc32c(0, 8)?, hlrs::crc32c(0, &0x77u64.to_le_bytes()));
    drop(window);
    Ok(())
}

fn with_virtual_functions(_: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    let vf = vfs.open(1)?;
    let buffer = Place::Lmem.create(&vf, MIB)?;
    let bound = Unbound(&vfs.node.address);
    driver::unbind(&vfs.node.address)?;
    check_eq!(
        vfs.pf.num_vfs()?,
        0,
        "virtual functions without their driver"
    );
    check_errno!(buffer.fill(0, 8, 0), NODEV);
    drop(bound);
    driver::wait_node(&vfs.node.address)?;
    vfs.set(2)?;
    cards::holds_pattern("a new VF", &Place::Lmem.create(&vfs.open(1)?, MIB)?, 0)
}

fn many_times(context: &Context) -> Outcome {
    let address = cards::first_node()?.address;
    for round in context.each(4, 500) {
        let device = driver::wait_node(&address)?.open()?;
        let buffer = Place::Visible.create(&device, 2 * MIB)?;
        let map = buffer.map()?;
        let _job = buffer.fill_async(0, buffer.size(), u64::from(round))?;
        let bound = Unbound(&address);
        driver::unbind(&address)?;
        // In either order: files before the new probe, or after it.
        if round % 2 == 0 {
            drop((map, buffer, device));
            drop(bound);
        } else {
            drop(bound);
            drop((map, buffer, device));
        }
        driver::wait_node(&address)?;
    }
    Ok(())
}
