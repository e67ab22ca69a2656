// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address spaces of several processes, which hand over their descriptors, or
//! share an open NIC.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hlrs::Errno;
use hlrs::Nic;
use hlrs::NicVm;
use hlrs::Node;
use hlrs::VmFd;

use super::close;
use super::done_or;
use super::exhaust;
use super::Heir;
use super::Side;
use super::BASE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::raw;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::nic;
use crate::system::random::Random;
use crate::system::role;
use crate::system::role::Role;
use crate::system::socket;
use crate::system::space::Space;
use crate::system::timing::Slow;
use crate::system::JOB;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        two_that_lend: 120,
        two_that_share_a_nic: 120,
        one_that_lends_is_killed: 180,
        one_that_copies_is_killed: 180,
    ]
}

const SIZE: u64 = 2 * MIB;

/// Another process with an address space.
struct Other {
    role: Role,
    socket: UnixStream,
}

impl Other {
    fn start(role: &str, node: &Node) -> Outcome<Other> {
        let (socket, theirs) = UnixStream::pair()?;
        socket::inheritable(theirs.as_fd())?;
        let node = node.path.display().to_string();
        let fd = theirs.as_raw_fd().to_string();
        let role = Role::start(role, &[&node, &fd])?;
        Ok(Other { role, socket })
    }

    /// One that lends its address space, which is registered.
    fn lending(node: &Node, nic: &Nic) -> Outcome<(Other, NicVm)> {
        let other = Self::start("nic-lend", node)?;
        let fd = VmFd::from(socket::receive(&other.socket)?);
        let vm = nic.register(fd)?;
        Ok((other, vm))
    }

    /// Has it fill its memory.
    fn fill(&mut self, pattern: u64) -> Outcome {
        self.role.tell(&format!("fill {pattern}"))?;
        self.role.expect("filled")
    }

    /// What it sees there is this pattern.
    fn holds(&mut self, pattern: u64) -> Outcome {
        self.role.tell("look")?;
        let expected = cards::crc_of_pattern(pattern, SIZE);
        self.role.expect(&format!("{expected:#x}"))
    }

    /// Has it end.
    fn leave(mut self) -> Outcome {
        self.role.tell("leave")?;
        self.role.succeeds()
    }
}

/// What a role has, and what it does for the test.
struct Lender {
    space: Space,
    buffer: hlrs::Buffer,
}

impl Lender {
    fn new(node: &str) -> Outcome<Lender> {
        let space = Space::new(&hlrs::Device::open(Path::new(node))?)?;
        let buffer = Place::Lmem.create(&space.device, SIZE)?;
        space.vm.map(BASE, &buffer)?;
        Ok(Lender { space, buffer })
    }

    fn serve(&self, mut other: impl FnMut(&str) -> Outcome) -> Outcome {
        loop {
            let line = role::listen()?;
            match line.split_once(' ').unwrap_or((&line, "")) {
                ("fill", pattern) => {
                    let pattern = pattern.parse().map_err(Stop::failed)?;
                    self.space.fill(BASE, SIZE, pattern)?;
                    role::say("filled");
                }
                ("look", _) => {
                    let crc = self.space.crc(BASE, SIZE)?;
                    check_eq!(
                        crc,
                        self.buffer.crc32c(0, SIZE)?,
                        "by its queue, and by handle"
                    );
                    role::say(&format!("{crc:#x}"));
                }
                ("leave", _) => return Ok(()),
                (line, argument) => other(&format!("{line} {argument}"))?,
            }
        }
    }
}

/// Role: sends its address space over a socket.
pub fn lend(node: &str, fd: &str) -> Outcome {
    let lender = Lender::new(node)?;
    let socket = socket::inherited(fd)?;
    socket::send(&socket, lender.space.vm.export()?.as_fd())?;
    lender.serve(|line| Err(Stop::failed(format!("{line}: what?"))))
}

/// Role: is sent an open NIC over a socket, and registers there itself. Copies
/// from and to others, by their numbers.
pub fn join(node: &str, fd: &str) -> Outcome {
    let lender = Lender::new(node)?;
    let nic = Nic::from_fd(socket::receive(&socket::inherited(fd)?)?)?;
    let vm = nic.register(lender.space.vm.export()?)?;
    role::say(&vm.number().to_string());
    lender.serve(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let copy = |src_vm, dst_vm| -> Outcome<u64> {
            let mut arg = raw::nic::Copy {
                src_vm,
                dst_vm,
                src: BASE,
                dst: BASE,
                size: SIZE,
                ..Default::default()
            };
            raw::nic::copy(&nic, &mut arg)
                .map_err(|errno| Stop::failed(format!("copy: {errno}")))?;
            Ok(arg.seqno)
        };
        match words[..] {
            ["pull", from] => {
                let seqno = copy(from.parse().map_err(Stop::failed)?, vm.number())?;
                nic.pending(seqno).wait(JOB)?;
                role::say(&seqno.to_string());
                Ok(())
            }
            // As many as there is time for.
            ["labour", with] => {
                let with = with.parse().map_err(Stop::failed)?;
                role::say("started");
                loop {
                    copy(with, vm.number())?;
                    copy(vm.number(), with)?;
                }
            }
            _ => Err(Stop::failed(format!("{line}: what?"))),
        }
    })
}

fn two_that_lend(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let nic = nic::nic(&node)?;
    let (mut a, vm_a) = Other::lending(&node, &nic)?;
    let (mut b, vm_b) = Other::lending(&node, &nic)?;
    let own = Side::new(&nic, &node.open()?)?;
    let buffer = own.buffer(Place::System, SIZE, 0)?;
    for round in context.each(3, 200) {
        let pattern = 0x100 + u64::from(round % 8);
        a.fill(pattern)?;
        b.fill(pattern + 0x10)?;
        nic.copy(&vm_a, BASE, &vm_b, BASE, SIZE).run(JOB)?;
        b.holds(pattern)?;
        nic.copy(&vm_b, BASE, &own.vm, BASE, SIZE).run(JOB)?;
        cards::holds_pattern("of two others", &buffer, pattern)?;
        // A fault is nobody's but that of who copies.
        let bad = nic.copy(&vm_a, 3 * BASE, &vm_b, BASE, SIZE).run(JOB);
        check_errno!(bad, FAULT);
    }
    a.leave()?;
    let refused = nic.copy(&vm_a, BASE, &vm_b, BASE, SIZE).start();
    check_errno!(refused, STALE, "of a process that has ended");
    b.leave()
}

/// By the number of the other's address space, which says nothing in another
/// open file.
fn two_that_share_a_nic(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let nic = nic::nic(&node)?;
    let mut others = Vec::new();
    let mut numbers = Vec::new();
    for pattern in [0x200, 0x201] {
        let mut other = Other::start("nic-join", &node)?;
        socket::send(&other.socket, nic.as_fd())?;
        numbers.push(other.role.line()?);
        other.fill(pattern)?;
        others.push(other);
    }
    others[0].role.tell(&format!("pull {}", numbers[1]))?;
    others[0].role.expect("1")?;
    others[0].holds(0x201)?;
    others[1].fill(0x202)?;
    others[0].role.tell(&format!("pull {}", numbers[1]))?;
    others[0].role.expect("2")?;
    others[0].holds(0x202)?;
    // The results are those of the open file.
    nic.pending(2).wait(JOB)?;
    others.into_iter().try_for_each(Other::leave)
}

/// Its memory is somebody else's then.
fn one_that_lends_is_killed(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let nic = nic::nic(&node)?;
    let own = Side::new(&nic, &node.open()?)?;
    let buffer = own.buffer(Place::Lmem, SIZE, 0x300)?;
    let device = &own.space.device;
    let before = cards::used(device)?;
    let mut random = Random::new(context.seed);
    let mut cancelled = 0;
    for round in context.each(3, 200) {
        let (mut other, vm) = Other::lending(&node, &nic)?;
        let rest = exhaust(device);
        let slow = Slow::commands(&node.address, Duration::from_millis(30))?;
        let copies = (0..4)
            .map(|n| match n % 2 {
                0 => nic.copy(&own.vm, BASE, &vm, BASE, SIZE).start(),
                _ => nic.copy(&vm, BASE, &own.vm, BASE, SIZE).start(),
            })
            .collect::<hlrs::Result<Vec<_>>>()?;
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        other.role.kill()?;
        let heir = Heir::new(device, SIZE)?;
        for copy in &copies {
            let what = format!("round {round}, copy {}", copy.seqno());
            cancelled += u32::from(!done_or(&what, copy, Errno::CANCELED)?);
        }
        drop(slow);
        heir.is_unharmed()?;
        check_errno!(nic.copy(&own.vm, BASE, &vm, BASE, 8).start(), STALE);
        drop((heir, rest, vm));
        cards::settles(device, before)?;
        buffer.fill(0, SIZE, 0x300)?;
    }
    check!(cancelled > 0, "no copy was ever in flight");
    check!(!own.space.vm.state()?.banned, "the other one is banned");
    Ok(())
}

/// It shares the NIC with this process, whose copies go on.
fn one_that_copies_is_killed(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    let before = cards::used(&device)?;
    let mut random = Random::new(context.seed);
    for round in context.each(4, 300) {
        let nic = nic::nic(&node)?;
        let own = Side::new(&nic, &device)?;
        let target = Side::new(&nic, &device)?;
        let _a = own.buffer(Place::Lmem, SIZE, 0x400)?;
        let b = target.buffer(Place::Lmem, SIZE, 0x401)?;
        let mut other = Other::start("nic-join", &node)?;
        socket::send(&other.socket, nic.as_fd())?;
        let number = other.role.line()?;
        other.fill(0x402)?;
        let vm = own.vm.number();
        other.role.tell(&format!("labour {vm}"))?;
        other.role.expect("started")?;
        // Every other time it has the NIC alone, and its end is that of the file.
        let alone = round % 2 == 0;
        if alone {
            close(&nic)?;
        }
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        other.role.kill()?;
        if !alone {
            nic.wait_idle(JOB)?;
            let mut arg = raw::nic::Copy {
                src_vm: number.parse().map_err(Stop::failed)?,
                dst_vm: vm,
                size: 8,
                ..Default::default()
            };
            let refused = raw::nic::copy(&nic, &mut arg);
            check_errno!(refused, STALE, "of a process that was killed");
            own.space.fill(BASE, SIZE, 0x403)?;
            nic.copy(&own.vm, BASE, &target.vm, BASE, SIZE).run(JOB)?;
            cards::holds_pattern("of the others", &b, 0x403)?;
        }
        let Side { vm, mut space } = own;
        drop(vm);
        // Its registrations are gone: the address space can be destroyed.
        crate::system::wait_until("nobody uses the address space", JOB, || {
            space.vm.state().is_ok_and(|state| !state.registered)
        })?;
        space.fill(BASE, SIZE, 0x404)?;
        space.holds("its own", BASE, SIZE, 0x404)?;
        space.queue.destroy()?;
        space.vm.destroy()?;
    }
    drop(device);
    let device = node.open()?;
    cards::settles(&device, before)
}
