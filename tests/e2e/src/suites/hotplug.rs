// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accelerators that are taken out of their slot, asked for or by surprise.

use std::time::Duration;

use super::unbind::all_gone;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::machine::Slot;
use crate::system::role::Role;
use crate::system::vfs::Vfs;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        orderly: 180,
        by_surprise_when_idle: 180,
        by_surprise_with_everything_in_use: 240,
        by_surprise_with_its_memory_imported_elsewhere: 240,
        by_surprise_with_virtual_functions: 240,
        many_times: 600,
    ]
}

/// The machine has its accelerators, and the first works.
fn works() -> Outcome {
    let (a, b) = cards::two()?;
    let buffer = Place::Visible.create(&a, 2 * MIB)?;
    cards::holds_pattern("new memory", &buffer, 0)?;
    b.import(&buffer.export()?)?.fill(0, 2 * MIB, 0x42)?;
    cards::holds_pattern("written by the peer", &buffer, 0x42)
}

fn orderly(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    let buffer = Place::Visible.create(&device, MIB)?;
    let slot = Slot::of(&node)?;
    slot.unplug()?;
    all_gone(&device, buffer.handle())?;
    drop((buffer, device));
    slot.plug()?;
    works()
}

fn by_surprise_when_idle(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let device = node.open()?;
    let buffer = Place::Visible.create(&device, MIB)?;
    let slot = Slot::of(&node)?;
    slot.yank()?;
    all_gone(&device, buffer.handle())?;
    check!(
        !node.path.exists(),
        "{} is still there",
        node.path.display()
    );
    slot.plug()?;
    // The old file knows that the new device is another one.
    all_gone(&device, buffer.handle())?;
    drop((buffer, device));
    works()
}

fn by_surprise_with_everything_in_use(_: &Context) -> Outcome {
    let node = cards::first_node()?;
    let path = node.path.display().to_string();
    let mut reader = Role::start("hold", &[&path, "visible"])?;
    let mut writer = Role::start("hold", &[&path, "visible"])?;
    let mut worker = Role::start("hold", &[&path, "visible"])?;
    for role in [&mut reader, &mut writer, &mut worker] {
        role.expect("ready")?;
        role.tell("read")?;
        role.expect("[52, 18, 0, 0, 0, 0, 0, 0]")?;
    }
    let device = node.open()?;
    let buffer = Place::Lmem.create(&device, 16 * MIB)?;
    worker.tell("work")?;
    worker.expect("working")?;
    let slot = Slot::of(&node)?;
    std::thread::scope(|scope| -> Outcome {
        let busy = scope.spawn(|| while buffer.fill(0, buffer.size(), 1).is_ok() {});
        std::thread::sleep(Duration::from_millis(50));
        slot.yank()?;
        check!(busy.join().is_ok(), "the busy thread panicked");
        Ok(())
    })?;
    all_gone(&device, buffer.handle())?;
    reader.tell("read")?;
    reader.ends_by_signal(libc::SIGBUS)?;
    writer.tell("write")?;
    writer.ends_by_signal(libc::SIGBUS)?;
    worker.tell("fill")?;
    worker.expect(&format!("errno {}", libc::ENODEV))?;
    worker.tell("end")?;
    worker.succeeds()?;
    slot.plug()?;
    drop((buffer, device));
    works()
}

fn by_surprise_with_its_memory_imported_elsewhere(_: &Context) -> Outcome {
    let nodes = cards::nodes()?;
    let (a, b) = cards::two()?;
    let buffer = Place::Visible.create(&a, 4 * MIB)?;
    let window = b.import(&buffer.export()?)?;
    let target = Place::Lmem.create(&b, 4 * MIB)?;
    let slot = Slot::of(&nodes[0])?;
    for _ in 0..16 {
        let _job = target.copy_from_async(0, &window, 0, 4 * MIB)?;
    }
    slot.yank()?;
    check!(
        window.fill(0, 64, 1).is_err(),
        "the importer writes memory that is not there"
    );
    // The importer itself is unharmed.
    target.fill(0, 4 * MIB, 6)?;
    cards::holds_pattern("the importer's own memory", &target, 6)?;
    slot.plug()?;
    check!(
        window.fill(0, 64, 1).is_err(),
        "the importer writes the new device's memory"
    );
    drop((window, buffer, a));
    works()
}

fn by_surprise_with_virtual_functions(_: &Context) -> Outcome {
    let vfs = Vfs::enable(3)?;
    let path = vfs.vf_node(2)?.path.display().to_string();
    let mut role = Role::start("hold", &[&path, "visible"])?;
    role.expect("ready")?;
    role.tell("work")?;
    role.expect("working")?;
    let vf = vfs.open(1)?;
    let buffer = Place::Lmem.create(&vf, MIB)?;
    let slot = Slot::of(&vfs.node)?;
    slot.yank()?;
    all_gone(&vf, buffer.handle())?;
    role.tell("read")?;
    role.ends_by_signal(libc::SIGBUS)?;
    drop((buffer, vf));
    slot.plug()?;
    check_eq!(vfs.pf.num_vfs()?, 0, "virtual functions of a new device");
    works()
}

fn many_times(context: &Context) -> Outcome {
    for round in context.each(1, 100) {
        let node = cards::first_node()?;
        let device = node.open()?;
        let buffer = Place::Visible.create(&device, 8 * MIB)?;
        let _map = buffer.map()?;
        for n in 0..8 {
            let _job = buffer.fill_async(0, buffer.size(), n)?;
        }
        let slot = Slot::of(&node)?;
        if round % 3 == 2 {
            slot.unplug()?;
        } else {
            slot.yank()?;
        }
        slot.plug()?;
    }
    works()
}
