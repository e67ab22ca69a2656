// SPDX-License-Identifier: MIT OR Apache-2.0
//! `sriov_numvfs`, also while everything is in use.

use hlrs::Function;
use hlrs::SriovMode;

use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::suites::unbind::all_gone;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::role::Role;
use crate::system::vfs::Vfs;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        every_number_of_functions: 240,
        wrong_numbers_are_refused: 120,
        what_a_function_tells: 120,
        functions_work_like_cards: 180,
        disabling_takes_everything_away: 180,
        both_cards_at_once: 180,
        with_buffers_live: 600,
    ]
}

fn every_number_of_functions(context: &Context) -> Outcome {
    let vfs = Vfs::none()?;
    let total = vfs.pf.total_vfs()?;
    check_eq!(total, 7, "functions of the test machine's accelerators");
    let numbers: Vec<_> = (1..=total).collect();
    let numbers = match context.soak {
        true => &numbers[..],
        false => &[1, total][..],
    };
    for &count in numbers {
        vfs.set(count)?;
        check_eq!(vfs.pf.num_vfs()?, count);
        let nodes = hlrs::list()?;
        let own = nodes.iter().filter(|node| match &node.function {
            Function::Virtual { parent, .. } => parent == vfs.pf.address(),
            Function::Physical => false,
        });
        check_eq!(own.count() as u32, count, "nodes of functions");
        for number in 1..=count {
            let device = vfs.open(number)?;
            Place::Visible
                .create(&device, MIB)?
                .fill(0, MIB, number.into())?;
        }
        vfs.clear()?;
        check!(vfs.pf.vf_node(1)?.is_none(), "a node is left");
    }
    Ok(())
}

fn wrong_numbers_are_refused(_: &Context) -> Outcome {
    let vfs = Vfs::none()?;
    let total = vfs.pf.total_vfs()?;
    check_errno!(vfs.pf.set_num_vfs(total + 1), RANGE);
    vfs.set(2)?;
    check_errno!(
        vfs.pf.set_num_vfs(3),
        BUSY,
        "another number without 0 between"
    );
    check_eq!(vfs.pf.num_vfs()?, 2);
    let device = vfs.open(2)?;
    cards::holds_pattern("a function", &Place::Lmem.create(&device, MIB)?, 0)
}

fn what_a_function_tells(_: &Context) -> Outcome {
    let vfs = Vfs::enable(3)?;
    let card = cards::first()?.info()?;
    for number in 1..=3 {
        let device = vfs.open(number)?;
        let info = device.info()?;
        check_eq!(info.sriov, SriovMode::VirtualFunction(number));
        check_eq!(info.uid, card.uid, "unique number of the card");
        check_eq!((info.vendor_id, info.device_id), (0x1af4, 0x10f1));
        let lmem = device.lmem()?;
        check_eq!(
            lmem.total,
            vfs.pf.quota(number)?,
            "memory of function {number}"
        );
        check_eq!(lmem.used, 0);
    }
    Ok(())
}

fn functions_work_like_cards(context: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    let (_, peer) = cards::two()?;
    let mut random = Random::new(context.seed);
    for number in 1..=2 {
        let device = vfs.open(number)?;
        for place in Place::ALL {
            let buffer = place.create(&device, 2 * MIB)?;
            let bytes = cards::randomize(&buffer, &mut random)?;
            cards::compare("its own memory", &cards::read(&buffer, 0, 2 * MIB)?, &bytes)?;
            check_eq!(
                buffer.crc32c(1, MIB)?,
                hlrs::crc32c(0, &bytes[1..=MIB as usize])
            );
        }
        // Mapped, and pulled over by the other card.
        let buffer = Place::Visible.create(&device, 3 * MIB)?;
        let bytes = random.bytes(3 * MIB as usize);
        buffer.map()?.write(0, &bytes)?;
        let window = peer.import(&buffer.export()?)?;
        let target = Place::Lmem.create(&peer, 3 * MIB)?;
        target.copy_from(0, &window, 0, 3 * MIB)?;
        cards::compare("pulled", &cards::read(&target, 0, 3 * MIB)?, &bytes)?;
    }
    Ok(())
}

fn disabling_takes_everything_away(_: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    let pf = cards::first()?;
    let kept = Place::Visible.create(&pf, 4 * MIB)?;
    kept.fill(0, 4 * MIB, 0xf00d)?;
    let path = vfs.vf_node(1)?.path.display().to_string();
    let mut holder = Role::start("hold", &[&path, "visible"])?;
    holder.expect("ready")?;
    holder.tell("work")?;
    holder.expect("working")?;
    let vf = vfs.open(2)?;
    let buffer = Place::Visible.create(&vf, MIB)?;
    vfs.clear()?;
    all_gone(&vf, buffer.handle())?;
    holder.tell("read")?;
    holder.ends_by_signal(libc::SIGBUS)?;
    cards::settles(&pf, 4 * MIB)?;
    cards::holds_pattern("the physical function's memory", &kept, 0xf00d)?;
    // The memory is somebody else's now, and the old owner cannot disturb it.
    let again = Place::Lmem.create(&pf, pf.lmem()?.total / 2)?;
    drop((buffer, vf));
    cards::holds_pattern("what was a function's memory", &again, 0)
}

fn both_cards_at_once(_: &Context) -> Outcome {
    let vfs = Vfs::enable(2)?;
    let nodes = cards::nodes()?;
    let Some(other) = nodes.get(1).and_then(|node| node.physical()) else {
        crate::skip!("there is one accelerator only");
    };
    other.set_num_vfs(2)?;
    let both = || -> Outcome {
        let mine = vfs.open(1)?;
        let theirs = other.wait_vf_node(2, crate::system::REACTION)?.open()?;
        let source = Place::Visible.create(&mine, MIB)?;
        source.fill(0, MIB, 0x1234)?;
        let target = Place::Lmem.create(&theirs, MIB)?;
        target.copy_from(0, &theirs.import(&source.export()?)?, 0, MIB)?;
        cards::holds_pattern(
            "from a VF of one card to a VF of the other",
            &target,
            0x1234,
        )
    };
    let outcome = both();
    other.set_num_vfs(0)?;
    outcome
}

fn with_buffers_live(context: &Context) -> Outcome {
    let vfs = Vfs::none()?;
    let (pf, peer) = cards::two()?;
    let mut random = Random::new(context.seed);
    let kept = Place::Visible.create(&pf, 8 * MIB)?;
    let bytes = cards::randomize(&kept, &mut random)?;
    let map = kept.map()?;
    for round in context.each(2, 50) {
        let count = 1 + random.below(7) as u32;
        vfs.set(count)?;
        let mut live = Vec::new();
        for number in 1..=count {
            let device = vfs.open(number)?;
            let buffer = Place::Visible.create(&device, 2 * MIB)?;
            let window = peer.import(&buffer.export()?)?;
            let mapping = buffer.map()?;
            for n in 0..4 {
                let _job = buffer.fill_async(0, buffer.size(), n)?;
            }
            live.push((device, buffer, window, mapping));
        }
        let _job = kept.crc32c(0, 64)?;
        vfs.clear()?;
        for (device, buffer, window, _) in &live {
            check_errno!(buffer.fill(0, 8, 1), NODEV, "round {round}");
            check!(device.info().is_err(), "the device still answers");
            check!(
                window.fill(0, 8, 1).is_err(),
                "round {round}: the peer still writes"
            );
        }
        cards::compare(
            "the physical function's memory",
            &map.to_vec(0, map.len())?,
            &bytes,
        )?;
    }
    Ok(())
}
