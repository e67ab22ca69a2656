// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything at the same time, from several threads.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::thread;

use hlrs::Device;
use hlrs::Errno;
use hlrs::Nic;
use hlrs::NicVm;

use super::end;
use super::Side;
use super::BASE;
use crate::check;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::nic;
use crate::system::random::Random;
use crate::system::space::Space;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![threads_at_everything: 120, threads_and_the_end_of_owners: 120]
}

const SIZE: u64 = 65536;

/// Runs in four threads, with a number and a random seed each.
fn in_threads(context: &Context, f: impl Fn(u64, Random) -> Outcome + Sync) -> Outcome {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let (f, random) = (&f, Random::new(context.seed.wrapping_add(n)));
                scope.spawn(move || f(n, random))
            })
            .collect();
        // All are waited for, whatever the first says.
        let ended: Vec<_> = threads.into_iter().map(|t| t.join()).collect();
        for thread in ended {
            thread.map_err(|_| Stop::failed("a panic"))??;
        }
        Ok(())
    })
}

/// One of these errors, or success.
fn expected<T>(what: &str, result: hlrs::Result<T>, errors: &[Errno]) -> Outcome<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(err) if err.errno().is_some_and(|errno| errors.contains(&errno)) => Ok(None),
        Err(err) => Err(Stop::failed(format!("{what}: {err}"))),
    }
}

/// An address space with some memory, which nobody is done with.
fn space(device: &Device, pattern: u64) -> Outcome<Space> {
    let space = Space::new(device)?;
    let buffer = Place::Lmem.create(device, SIZE)?;
    buffer.fill(0, SIZE, pattern)?;
    space.vm.map(BASE, &buffer)?;
    Ok(space)
}

/// Registering, copying, waiting, unregistering and closing, in two address
/// spaces of which every copy leaves the same contents.
fn threads_at_everything(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    let mut spaces = [space(&device, 0x5a)?, space(&device, 0x5a)?];
    let rounds = context.rounds(60, 2500);
    let copies = AtomicU32::new(0);
    {
        let fds = [spaces[0].vm.export()?, spaces[1].vm.export()?];
        let shared = nic::nic(&node)?;
        in_threads(context, |_, mut random| {
            let mut own: Option<Nic> = None;
            let mut vms: Vec<NicVm> = Vec::new();
            for _ in 0..rounds {
                let nic = match random.below(8) {
                    // Close and open.
                    0 => {
                        vms.clear();
                        own = None;
                        continue;
                    }
                    1..4 => shared.clone(),
                    _ => match &own {
                        Some(nic) => nic.clone(),
                        None => own.insert(node.open_nic()?).clone(),
                    },
                };
                if random.below(3) == 0 || vms.len() < 2 {
                    let fd = random.pick(&fds);
                    let full = [Errno::EXIST, Errno::BUSY, Errno::NOSPC];
                    let registered = nic.register(fd);
                    vms.extend(expected("registering", registered, &full)?);
                    continue;
                }
                let n = random.below(vms.len() as u64) as usize;
                if random.below(4) == 0 {
                    vms.swap_remove(n).unregister()?;
                    continue;
                }
                let (src, dst) = (&vms[n], random.pick(&vms));
                let half = SIZE / 2;
                let bad = if random.below(8) == 0 { BASE } else { 0 };
                let copy = nic.copy(src, BASE, dst, BASE + half + bad, half);
                // Of another open file, or overlapping: none.
                let Ok(copy) = copy.start() else { continue };
                if random.below(2) == 0 {
                    let found = end(&copy)?;
                    let allowed = [
                        None,
                        Some(Errno::FAULT),
                        Some(Errno::CANCELED),
                        Some(Errno::STALE),
                    ];
                    check!(allowed.contains(&found), "a copy: {found:?}");
                    copies.fetch_add(u32::from(found.is_none()), Ordering::Relaxed);
                }
            }
            Ok(())
        })?;
    }
    println!("{} copies were done", copies.load(Ordering::Relaxed));
    check!(copies.load(Ordering::Relaxed) > 0, "no copy was done");
    for space in &mut spaces {
        space.holds("in the end", BASE, SIZE, 0x5a)?;
        let state = space.vm.state()?;
        check!(
            !state.banned && !state.registered && !state.exported,
            "{state:?}"
        );
        space.queue.destroy()?;
        space.vm.destroy()?;
    }
    Ok(())
}

/// Owners close their device files while others register, copy and unregister.
fn threads_and_the_end_of_owners(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    let stays = node.open()?;
    let before = cards::used(&stays)?;
    {
        let shared = nic::nic(&node)?;
        let target = Side::new(&shared, &stays)?;
        let buffer = target.buffer(Place::Lmem, SIZE, 0x6b)?;
        let rounds = context.rounds(6, 2500);
        in_threads(context, |_, mut random| {
            for _ in 0..rounds {
                let goes = space(&node.open()?, 0x6b)?;
                let fd = goes.vm.export()?;
                let ends = thread::scope(|scope| -> Outcome {
                    let copying = scope.spawn(|| -> Outcome {
                        let gone = [Errno::NOENT];
                        let Some(vm) = expected("registering", shared.register(&fd), &gone)? else {
                            return Ok(());
                        };
                        for _ in 0..6 {
                            let copy = shared.copy(&vm, BASE, &target.vm, BASE, SIZE).start();
                            if let Some(copy) = expected("a copy", copy, &[Errno::STALE])? {
                                let found = end(&copy)?;
                                let allowed = [None, Some(Errno::CANCELED), Some(Errno::STALE)];
                                check!(allowed.contains(&found), "a copy: {found:?}");
                            }
                        }
                        Ok(vm.unregister()?)
                    });
                    if random.below(2) == 0 {
                        thread::yield_now();
                    }
                    drop(goes);
                    copying.join().map_err(|_| Stop::failed("a panic"))?
                });
                ends?;
            }
            Ok(())
        })?;
        cards::holds_pattern("what all have copied to", &buffer, 0x6b)?;
        check!(!target.space.vm.state()?.banned, "the target is banned");
    }
    drop(stays);
    cards::settles(&node.open()?, before)
}
