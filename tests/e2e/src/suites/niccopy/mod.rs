// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies of the NIC between address spaces: what arrives, who is told, and all
//! the ways in which copies do not come to their end.

mod alloc;
mod completion;
mod content;
mod ended;
mod faults;
mod policy;
mod processes;
mod races;
mod taken;

pub use processes::join;
pub use processes::lend;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use hlrs::Buffer;
use hlrs::Device;
use hlrs::Nic;
use hlrs::NicCopy;
use hlrs::NicCopyBuilder;
use hlrs::NicVm;
use hlrs::Node;

use crate::check;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::nic;
use crate::system::space::Space;
use crate::system::wait_until;
use crate::system::JOB;
use crate::system::REACTION;

pub fn tests() -> Vec<Test> {
    let mut tests = content::tests();
    tests.extend(completion::tests());
    tests.extend(policy::tests());
    tests.extend(faults::tests());
    tests.extend(taken::tests());
    tests.extend(processes::tests());
    tests.extend(races::tests());
    tests.extend(alloc::tests());
    // The last of these removes the module.
    tests.extend(ended::tests());
    tests
}

/// Where tests map what they look at.
const BASE: u64 = 0x40_0000_0000;

/// An address space that is registered with a NIC. Fields are dropped in this
/// order.
struct Side {
    vm: NicVm,
    space: Space,
}

impl Side {
    fn new(nic: &Nic, device: &Device) -> Outcome<Side> {
        let space = Space::new(device)?;
        let vm = nic.register(space.vm.export()?)?;
        Ok(Side { vm, space })
    }

    /// A buffer that is mapped at [`BASE`] and holds a pattern.
    fn buffer(&self, place: Place, size: u64, pattern: u64) -> Outcome<Buffer> {
        let buffer = place.create(&self.space.device, size)?;
        buffer.fill(0, size, pattern)?;
        self.space.vm.map(BASE, &buffer)?;
        Ok(buffer)
    }
}

/// Two address spaces of two open files of a function, and its NIC.
struct Pair {
    src: Side,
    dst: Side,
    nic: Nic,
}

impl Pair {
    /// Of the first accelerator.
    fn first() -> Outcome<Pair> {
        Self::of(&cards::first_node()?)
    }

    fn of(node: &Node) -> Outcome<Pair> {
        let nic = nic::nic(node)?;
        Ok(Pair {
            src: Side::new(&nic, &node.open()?)?,
            dst: Side::new(&nic, &node.open()?)?,
            nic,
        })
    }

    /// A copy from one to the other.
    fn copy(&self, src: u64, dst: u64, size: u64) -> NicCopyBuilder<'_> {
        self.nic.copy(&self.src.vm, src, &self.dst.vm, dst, size)
    }

    /// A copy from [`BASE`] to [`BASE`].
    fn all(&self, size: u64) -> NicCopyBuilder<'_> {
        self.copy(BASE, BASE, size)
    }

    /// Copies between the two go on, with contents.
    fn works(&self) -> Outcome {
        const SIZE: u64 = 65536;
        let there = 2 * BASE + (1 << 33);
        for (from, to) in [(&self.src, &self.dst), (&self.dst, &self.src)] {
            let (one, two) = (
                Place::Lmem.create(&from.space.device, SIZE)?,
                Place::System.create(&to.space.device, SIZE)?,
            );
            one.fill(0, SIZE, 0x600d_600d)?;
            from.space.vm.map(there, &one)?;
            to.space.vm.map(there, &two)?;
            let copy = self.nic.copy(&from.vm, there, &to.vm, there, SIZE);
            copy.run(JOB)?;
            cards::holds_pattern("another copy", &two, 0x600d_600d)?;
            to.space.holds("another copy", there, SIZE, 0x600d_600d)?;
            from.space.vm.unmap(there, SIZE)?;
            to.space.vm.unmap(there, SIZE)?;
        }
        Ok(())
    }

    /// Nobody is banned for what others have done.
    fn nobody_is_banned(&self) -> Outcome {
        for side in [&self.src, &self.dst] {
            let state = side.space.vm.state()?;
            check!(!state.banned && state.fault.is_none(), "{state:?}");
        }
        Ok(())
    }
}

/// Closes this process's share of an open file under its handles: their calls go
/// nowhere then, so that it is the end of the file that ends registrations.
fn close(nic: &Nic) -> Outcome {
    let null = File::open("/dev/null")?;
    let (from, to) = (null.as_raw_fd(), nic.as_fd().as_raw_fd());
    // SAFETY: the number stays a descriptor, which its owner closes.
    let replaced = unsafe { libc::dup3(from, to, libc::O_CLOEXEC) };
    check!(replaced == to, "dup3: {}", std::io::Error::last_os_error());
    Ok(())
}

/// The error with which a copy has ended; `None` if it succeeded.
fn end(copy: &NicCopy) -> Outcome<Option<hlrs::Errno>> {
    match copy.wait(JOB) {
        Ok(()) => Ok(None),
        Err(err) => match err.errno() {
            None | Some(hlrs::Errno::TIME) => Err(err.into()),
            errno => Ok(errno),
        },
    }
}

/// A copy has ended, and if not with success, then with this error.
fn done_or(what: &str, copy: &NicCopy, errno: hlrs::Errno) -> Outcome<bool> {
    let found = end(copy)?;
    check!(
        found.is_none() || found == Some(errno),
        "{what}: {found:?}, expected success or {errno:?}"
    );
    Ok(found.is_none())
}

/// All LMEM that is free, so that the next who asks gets what is given back.
fn exhaust(device: &Device) -> Vec<Buffer> {
    let mut buffers = Vec::new();
    for size in [64 << 20, 8 << 20, 1 << 20, 65536] {
        while let Ok(buffer) = Place::Lmem.create(device, size) {
            buffers.push(buffer);
        }
    }
    buffers
}

/// Memory that others had before, after [`exhaust`]: what is given back too
/// early, and is still written, shows there.
struct Heir(Buffer);

impl Heir {
    const PATTERN: u64 = 0xdead_0bad_dead_0bad;

    fn new(device: &Device, size: u64) -> Outcome<Heir> {
        let mut got = None;
        wait_until("memory that others had", REACTION, || {
            got = Place::Lmem.create(device, size).ok();
            got.is_some()
        })?;
        let buffer = got.ok_or_else(|| Stop::failed("no memory"))?;
        buffer.fill(0, size, Self::PATTERN)?;
        Ok(Heir(buffer))
    }

    fn is_unharmed(&self) -> Outcome {
        cards::holds_pattern("somebody else's memory", &self.0, Self::PATTERN)
    }
}
