// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes that are killed at any moment, with whatever they have.

use std::path::Path;
use std::thread;
use std::time::Duration;

use hlrs::Device;

use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::role;
use crate::system::role::Role;
use crate::system::wait_until;
use crate::system::MIB;
use crate::system::REACTION;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![at_random_moments: 300, the_others_do_not_notice: 180]
}

fn nodes() -> Outcome<(String, String)> {
    let path = |n: usize| -> Outcome<String> { Ok(cards::nodes()?[n].path.display().to_string()) };
    cards::two()?;
    Ok((path(0)?, path(1)?))
}

fn at_random_moments(context: &Context) -> Outcome {
    let (first, second) = nodes()?;
    let (a, b) = cards::two()?;
    let used = (cards::used(&a)?, cards::used(&b)?);
    let mut random = Random::new(context.seed);
    for round in context.each(3, 2000) {
        let seed = random.next().to_string();
        let mut roles = (0..2)
            .map(|_| Role::start("churn", &[&first, &second, &seed]))
            .collect::<Outcome<Vec<_>>>()?;
        roles[0].expect("started")?;
        thread::sleep(Duration::from_micros(random.below(100_000)));
        for role in &mut roles {
            role.kill()?;
        }
        let mut now = used;
        wait_until(
            &format!("memory is free after round {round}"),
            REACTION,
            || {
                now = (cards::used(&a).unwrap_or(0), cards::used(&b).unwrap_or(0));
                now == used
            },
        )?;
        let buffer = Place::Visible.create(&a, 4 * MIB)?;
        cards::holds_pattern("memory after a kill", &buffer, 0)?;
    }
    Ok(())
}

fn the_others_do_not_notice(context: &Context) -> Outcome {
    let (first, second) = nodes()?;
    let (a, b) = cards::two()?;
    let mut random = Random::new(context.seed);
    let buffer = Place::Visible.create(&a, 2 * MIB)?;
    let window = b.import(&buffer.export()?)?;
    let bytes = cards::randomize(&buffer, &mut random)?;
    let expected = hlrs::crc32c(0, &bytes);
    for _ in context.each(2, 500) {
        let seed = random.next().to_string();
        let mut role = Role::start("churn", &[&first, &second, &seed])?;
        role.expect("started")?;
        check_eq!(
            window.crc32c(0, window.size())?,
            expected,
            "while another works"
        );
        role.kill()?;
        check_eq!(
            window.crc32c(0, window.size())?,
            expected,
            "after another was killed"
        );
    }
    cards::compare(
        "in the end",
        &cards::read(&buffer, 0, buffer.size())?,
        &bytes,
    )
}

/// Role: does everything at once, until it is killed.
pub fn churn(first: &str, second: &str, seed: &str) -> Outcome {
    let (a, b) = (
        Device::open(Path::new(first))?,
        Device::open(Path::new(second))?,
    );
    let mut random = Random::new(seed.parse().unwrap_or(0));
    let mut kept = Vec::new();
    let mut maps = Vec::new();
    role::say("started");
    loop {
        let place = *random.pick(&Place::ALL);
        let size = (1 + random.below(256)) * 4096;
        let buffer = place.create(&a, size)?;
        let _fill = buffer.fill_async(0, size, random.next())?;
        if place != Place::Lmem {
            let mut map = buffer.map()?;
            map.write(0, &[1; 64])?;
            maps.push(map);
            let window = b.import(&buffer.export()?)?;
            let target = Place::Lmem.create(&b, size)?;
            let _pull = target.copy_from_async(0, &window, 0, size)?;
            kept.push(window);
            kept.push(target);
        }
        kept.push(buffer);
        if kept.len() > 40 {
            let half = kept.len() / 2;
            kept.drain(..half);
            maps.clear();
        }
    }
}
