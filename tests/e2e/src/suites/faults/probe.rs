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
    tests![probe_of_the_pf: 600, enabling_virtual_functions: 600]
}

/// More than probe allocates.
const PLENTY: u64 = 10_000_000;

/// The failures to try, of `total`: all, or in a short run the first, because
/// there the own steps are, and some of the others.
fn choose(total: u64, context: &Context, short: u32) -> Vec<u64> {
    let count = u64::from(context.rounds(short, u32::MAX)).min(total);
    if count == total {
        return (1..=total).collect();
    }
    let mut random = Random::new(context.seed);
    let mut chosen: Vec<u64> = (0..count).map(|n| 1 + n * total / count).collect();
    // Elsewhere in each run, so that many runs cover all.
    for n in &mut chosen {
        *n = (*n + random.below(total / count)).min(total);
    }
    chosen
}

fn count_of(injected: Injected) -> Outcome<u64> {
    match injected {
        Injected::No(left) => Ok(PLENTY - left),
        Injected::Yes => Err(Stop::failed("more allocations than can be")),
    }
}

fn probe_of_the_pf(context: &Context) -> Outcome {
    // A failure there the kernel forgets, and warns about when the interrupt
    // is freed.
    let injection = Injection::of_the_driver("register_irq_proc")?;
    let node = cards::first_node()?;
    let address = node.address.as_str();
    let bound = Unbound(address);
    driver::unbind(address)?;
    let (first, injected) = injection.run(PLENTY, || driver::bind(address))?;
    first?;
    let total = count_of(injected)?;
    driver::wait_node(address)?;

    let (mut refused, mut unnoticed) = (0, 0);
    for n in choose(total, context, 8) {
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
        driver::wait_node(address)?;
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
    for n in choose(total, context, 4) {
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
