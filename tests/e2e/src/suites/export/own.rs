// SPDX-License-Identifier: MIT OR Apache-2.0
//! Having a device to oneself. The importers that this is for are in the suite
//! `importers`.

use std::path::Path;

use hlrs::Device;
use hlrs::Node;

use super::PAGE;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::role;
use crate::system::role::Role;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        nobody_else_opens_an_owned_device,
        one_owner_at_a_time,
        the_owner_is_killed: 120,
    ]
}

/// What debugfs says about the owner.
fn owner(node: &Node) -> Outcome<String> {
    let file = format!("/sys/kernel/debug/hlrs-{}/owner", node.address);
    system::need(&file, "the owner in debugfs")?;
    Ok(std::fs::read_to_string(file)?)
}

const NOBODY: &str = "owner none\npinned importers 0\n";

fn nobody_else_opens_an_owned_device(_: &Context) -> Outcome {
    let nodes = cards::nodes()?;
    let device = nodes[0].open()?;
    check_eq!(owner(&nodes[0])?, NOBODY);
    device.own()?;
    check_errno!(nodes[0].open(), BUSY, "while it is owned");
    check_errno!(nodes[0].open(), BUSY, "while it is owned");
    let other = nodes[1].open()?;
    let said = owner(&nodes[0])?;
    check!(
        said.starts_with(&format!("owner {} (", std::process::id())),
        "debugfs says {said:?}"
    );
    // The owner works as before, also with others.
    let buffer = Place::Visible.create(&device, MIB)?;
    buffer.fill(0, MIB, 5)?;
    let window = other.import(&buffer.dma_buf().range(PAGE, PAGE).create()?)?;
    cards::holds_pattern("an export of the owner", &window, 5)?;
    check!(
        !buffer.dma_buf().probe()?.pinned,
        "pinned importers may attach"
    );

    device.disown()?;
    check_eq!(owner(&nodes[0])?, NOBODY, "after the release");
    let second = nodes[0].open()?;
    check_errno!(device.disown(), PERM, "a second release");
    check_errno!(device.own(), BUSY, "while another file is open");
    drop(second);
    device.own()?;
    drop((buffer, window, device));
    check_eq!(owner(&nodes[0])?, NOBODY, "after the file was closed");
    drop(nodes[0].open()?);
    Ok(())
}

fn one_owner_at_a_time(context: &Context) -> Outcome {
    let node = cards::first_node()?;
    for _ in context.each(3, 100) {
        // Whoever comes first gets it, and only one.
        let files = (0..4).map(|_| node.open());
        let files = files.collect::<hlrs::Result<Vec<_>>>()?;
        for file in &files {
            check_errno!(file.own(), BUSY, "with four files open");
            check_errno!(file.disown(), PERM, "by who does not own it");
        }
        let last = files.into_iter().next_back();
        if let Some(last) = last {
            last.own()?;
            check_errno!(last.own(), BUSY, "by who owns it already");
            check_errno!(node.open(), BUSY);
            // A file that two have is one.
            let clone = last.clone();
            clone.disown()?;
            drop(node.open()?);
        }
    }
    Ok(())
}

/// Role: owns a device until it is killed.
pub fn possess(node: &str) -> Outcome {
    let device = Device::open(Path::new(node))?;
    device.own()?;
    role::say("owned");
    role::listen().map(drop)
}

fn the_owner_is_killed(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let mut role = Role::start("possess", &[&node.path.display().to_string()])?;
    role.expect("owned")?;
    check_errno!(node.open(), BUSY);
    role.kill()?;
    let device = node.open()?;
    device.own()?;
    check_eq!(Place::Lmem.create(&device, MIB)?.size(), MIB);
    Ok(())
}

/// With `pinned_importers=own`: those that cannot be revoked may attach to what
/// the owner exports, and to nothing else.
pub fn pinned_importers() -> Outcome {
    let nodes = cards::nodes()?;
    let device = nodes[0].open()?;
    let buffer = Place::Visible.create(&device, MIB)?;
    let pinned = |importers: hlrs::Importers| importers.pinned;
    check!(!pinned(buffer.dma_buf().probe()?), "without an owner");
    device.own()?;
    check!(pinned(buffer.dma_buf().probe()?), "by the owner");
    let peer = buffer.dma_buf().probe_peer(&nodes[1].address)?;
    check!(pinned(peer) && peer.revocable, "by the owner, for a peer");
    check!(!peer.needs_pages, "LMEM has no pages");
    device.disown()?;
    check!(!pinned(buffer.dma_buf().probe()?), "after the release");
    Ok(())
}
