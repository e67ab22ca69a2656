// SPDX-License-Identifier: MIT OR Apache-2.0
//! Probe, with each of its allocations failing once.

use super::inject::Injected;
use super::inject::Injection;
use crate::check;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::driver::Unbound;
use crate::system::random::Random;
use crate::system::vfs::Vfs;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        probe_of_the_pf: 600,
        probe_of_a_vf: 600,
        enabling_virtual_functions: 600,
    ]
}

/// More than probe allocates.
const PLENTY: u64 = 10_000_000;

/// The failures that can be tried, of `total`: all of them, in an order that the
/// seed gives. A short run tries the first few.
fn order(total: u64, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    let mut rest: Vec<u64> = (1..=total).collect();
    let mut order = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let next = random.below(rest.len() as u64);
        order.push(rest.swap_remove(next as usize));
    }
    order
}

fn count_of(injected: Injected) -> Outcome<u64> {
    match injected {
        Injected::No(left) => Ok(PLENTY - left),
        Injected::Yes => Err(Stop::failed("more allocations than can be")),
    }
}

/// Fails a probe of the function at `address`, which is bound, at one allocation
/// after the other; a short run goes on after `short` of them until one was
/// reported. It is bound again when this returns.
fn failing_probe(address: &str, context: &Context, short: u32) -> Outcome {
    // A failure there the kernel forgets, and warns about when the interrupt
    // is freed.
    let injection = Injection::of_the_driver("register_irq_proc")?;
    let bound = Unbound(address);
    driver::unbind(address)?;
    let (first, injected) = injection.run(PLENTY, || driver::bind(address))?;
    first?;
    let total = count_of(injected)?;
    let mut node = driver::wait_node(address)?;

    let (mut refused, mut unnoticed) = (0, 0);
    let enough = context.rounds(short, u32::MAX);
    for n in order(total, context.seed) {
        if refused > 0 && refused + unnoticed >= enough {
            break;
        }
        driver::unbind(address)?;
        let (result, injected) = injection.run(n, || driver::bind(address))?;
        match result {
            Ok(()) => {
                unnoticed += 1;
                // The driver core goes on where devtmpfs cannot make a node.
                if !node.path.exists() {
                    check!(
                        injected == Injected::Yes,
                        "there is no {}",
                        node.path.display()
                    );
                    driver::unbind(address)?;
                    driver::bind(address)?;
                }
            }
            Err(err) => {
                check!(
                    injected == Injected::Yes,
                    "probe failed without cause: {err}"
                );
                refused += 1;
                let listed = hlrs::list()?.iter().any(|node| node.address == address);
                check!(!listed, "a node is left after failure {n}, {err}");
                check!(!node.path.exists(), "{} is left", node.path.display());
                driver::bind(address)
                    .map_err(|err| Stop::failed(format!("probe after failure {n}: {err}")))?;
            }
        }
        node = driver::wait_node(address)?;
    }
    println!("{total} allocations in probe; {refused} failures reported, {unnoticed} not");
    check!(refused > 0, "no failure of probe was reported");
    drop(bound);
    let device = driver::wait_node(address)?.open()?;
    cards::holds_pattern(
        "after the failures",
        &Place::Visible.create(&device, MIB)?,
        0,
    )
}

fn probe_of_the_pf(context: &Context) -> Outcome {
    failing_probe(&cards::first_node()?.address, context, 5)
}

fn probe_of_a_vf(context: &Context) -> Outcome {
    let vfs = Vfs::enable(1)?;
    failing_probe(&vfs.vf_node(1)?.address, context, 3)?;
    // Nothing of that was the PF's business.
    cards::holds_pattern(
        "memory of the PF",
        &Place::Visible.create(&cards::first()?, MIB)?,
        0,
    )
}

fn enabling_virtual_functions(context: &Context) -> Outcome {
    // The kernel does not survive a failure there: it removes a device that it
    // has not added.
    let injection = Injection::of_the_driver("pci_iov_add_virtfn")?;
    let vfs = Vfs::none()?;
    let pf = cards::first()?;
    let (first, injected) = injection.run(PLENTY, || vfs.pf.set_num_vfs(1))?;
    first?;
    let total = count_of(injected)?;
    vfs.clear()?;
    let mut refused = 0;
    let enough = context.rounds(3, u32::MAX) as usize;
    for n in order(total, context.seed).into_iter().take(enough) {
        let (result, injected) = injection.run(n, || vfs.pf.set_num_vfs(1))?;
        match result {
            Ok(()) => vfs.clear()?,
            Err(err) => {
                check!(injected == Injected::Yes, "failed without cause: {err}");
                check!(
                    vfs.pf.num_vfs()? == 0,
                    "a function is enabled after failure {n}, {err}"
                );
                refused += 1;
            }
        }
        check!(pf.lmem()?.used == 0, "memory is in use after failure {n}");
    }
    println!("{total} allocations; {refused} failures reported");
    vfs.set(1)?;
    cards::holds_pattern("after it", &Place::Lmem.create(&vfs.open(1)?, MIB)?, 0)
}
