// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose address spaces go together.

use std::os::fd::AsFd;
use std::thread;

use hlrs::Nic;

use super::Pair;
use super::Side;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::nic;
use crate::system::vfs::Vfs;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        of_another_device_or_function: 180,
        of_another_user,
        numbers_belong_to_open_files,
    ]
}

fn of_another_device_or_function(_: &Context) -> Outcome {
    nic::load()?;
    let vfs = Vfs::enable(1)?;
    let nodes = cards::nodes()?;
    check!(nodes.len() >= 2, "two accelerators are needed");
    let all = [nodes[0].clone(), nodes[1].clone(), vfs.vf_node(1)?];
    for (n, node) in all.iter().enumerate() {
        let own = nic::nic(node)?;
        let vf_id = own.info()?.vf_id;
        check_eq!(vf_id, [0, 0, 1][n], "VF number of {}", node.address);
        for (m, other) in all.iter().enumerate() {
            let vm = other.open()?.vm().shared().create()?;
            let registered = own.register(vm.export()?);
            match n == m {
                true => drop(registered?),
                false => check_errno!(registered, XDEV, "{} with {}", other.address, node.address),
            }
            check!(!vm.state()?.registered, "registered after all");
        }
    }
    // Those of a virtual function among themselves.
    let pair = Pair::of(&all[2])?;
    let _src = pair.src.buffer(Place::Lmem, MIB, 0x61)?;
    let dst = pair.dst.buffer(Place::System, MIB, 0x62)?;
    pair.all(MIB).run(JOB)?;
    cards::holds_pattern("of a virtual function", &dst, 0x61)?;
    check_errno!(pair.copy(3 * BASE, BASE, 8).run(JOB), FAULT);
    pair.nobody_is_banned()?;
    pair.works()
}

/// Does something with the credentials of an ordinary user.
fn as_somebody<T: Send>(call: impl FnOnce() -> T + Send) -> Outcome<T> {
    const SOMEBODY: libc::c_long = 12_345;
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: a call without pointers; it changes this thread alone, which
            // ends with it.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, -1, SOMEBODY, -1) };
            (changed == 0).then(call)
        });
        let result = thread.join().map_err(|_| Stop::failed("a panic"))?;
        result.ok_or_else(|| Stop::failed("setresuid failed"))
    })
}

fn of_another_user(_: &Context) -> Outcome {
    let pair = Pair::first()?;
    let device = &pair.src.space.device;
    let (own, shared) = (device.vm().create()?, device.vm().shared().create()?);
    let (own_fd, shared_fd) = (own.export()?, shared.export()?);
    let register = |nic: &Nic, fd: &hlrs::VmFd| {
        let (nic, fd) = (nic.clone(), fd.as_fd());
        as_somebody(move || nic.register(fd))
    };
    check_errno!(register(&pair.nic, &own_fd)?, ACCESS);
    check!(!own.state()?.registered, "registered after all");
    drop(register(&pair.nic, &shared_fd)??);
    // It is who registers that counts, and not who opened the NIC.
    drop(pair.nic.register(&own_fd)?);
    Ok(())
}

fn numbers_belong_to_open_files(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let pair = Pair::of(&node)?;
    let other = nic::nic(&node)?;
    let size = 4096;
    let refused = other
        .copy(&pair.src.vm, BASE, &pair.dst.vm, BASE, size)
        .start();
    check!(refused.is_err(), "the crate allows what belongs to another");
    let mut arg = hlrs_sys::hlrs_nic_copy {
        src_vm: pair.src.vm.number(),
        dst_vm: pair.dst.vm.number(),
        size,
        ..Default::default()
    };
    check_errno!(crate::raw::nic::copy(&other, &mut arg), NOENT);
    // One address space can be registered in several.
    let vm = pair.src.space.vm.device().vm().create()?;
    let fd = vm.export()?;
    let (_one, two) = (pair.nic.register(&fd)?, other.register(&fd)?);
    check_errno!(other.register(&fd), EXIST);
    two.unregister()?;
    check!(vm.state()?.registered, "one has unregistered it, not both");
    let _again = other.register(&fd)?;
    let side = Side::new(&other, &node.open()?)?;
    drop(other);
    side.vm.unregister()?;
    Ok(())
}
