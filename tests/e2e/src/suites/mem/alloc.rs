// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every kind of buffer, and many of them.

use hlrs::Buffer;
use hlrs_sys as sys;

use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::raw;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        every_kind_of_buffer: 120,
        accounting,
        closing_the_file_frees_all,
        buffers_do_not_overlap: 120,
        threads: 120,
    ]
}

fn every_kind_of_buffer(_: &Context) -> Outcome {
    let device = cards::first()?;
    for size in [4096, 65536, 2 * MIB, 2 * MIB + 4096] {
        let system = device.buffer(size).system_memory();
        let mut kinds = vec![system.clone(), system.page_size(4096)];
        for page_size in [0, 4096, 65536, 2 << 20] {
            if size % u64::from(page_size.max(1)) == 0 {
                let lmem = device.buffer(size).page_size(page_size);
                kinds.push(lmem.clone());
                kinds.push(lmem.clone().contiguous());
                kinds.push(lmem.clone().cpu_visible());
                kinds.push(lmem.cpu_visible().contiguous());
            }
        }
        for kind in kinds {
            let what = kind.to_string();
            let buffer = kind.create()?;
            check_eq!(buffer.size(), size, "{what}");
            cards::holds_pattern(&what, &buffer, 0)?;
            buffer.fill(0, size, 0x1122_3344_5566_7788)?;
            cards::holds_pattern(&what, &buffer, 0x1122_3344_5566_7788)?;
        }
    }
    Ok(())
}

fn accounting(_: &Context) -> Outcome {
    let device = cards::first()?;
    let start = device.lmem()?;
    for size in [4096, MIB, 5 * MIB] {
        let hidden = Place::Lmem.create(&device, size)?;
        let with_one = device.lmem()?;
        check_eq!(
            with_one.used,
            start.used + size,
            "used with {size} bytes more"
        );
        let visible = Place::Visible.create(&device, size)?;
        let with_two = device.lmem()?;
        check_eq!(with_two.used, start.used + 2 * size);
        check_eq!(with_two.cpu_visible_used, with_one.cpu_visible_used + size);
        let _system = Place::System.create(&device, size)?;
        check_eq!(
            device.lmem()?.used,
            with_two.used,
            "used after a system buffer"
        );
        drop((hidden, visible));
        cards::settles(&device, start.used)?;
        let end = device.lmem()?;
        check_eq!(end.cpu_visible_used, start.cpu_visible_used);
    }
    check_eq!(device.lmem()?.total, start.total);
    Ok(())
}

fn closing_the_file_frees_all(_: &Context) -> Outcome {
    let device = cards::first()?;
    let before = cards::used(&device)?;
    let other = cards::first()?;
    let region = other.lmem()?.instance;
    for _ in 0..10 {
        // Behind the library's back, so that it does not close them.
        let mut arg = sys::drm_hlrs_mem_create {
            size: MIB,
            region,
            ..Default::default()
        };
        check_eq!(raw::create(&other, &mut arg), Ok(()));
    }
    check_eq!(cards::used(&device)?, before + 10 * MIB);
    drop(other);
    cards::settles(&device, before)
}

/// Many buffers of all sizes; each holds its own number, and still does when
/// all of them were written and some of them replaced.
fn buffers_do_not_overlap(context: &Context) -> Outcome {
    let device = cards::first()?;
    let mut random = Random::new(context.seed);
    let mut make = |number: u64| -> Outcome<(u64, Buffer)> {
        let size = (1 + random.below(64)) * *random.pick(&[4096, 4096, 16384]);
        let place = *random.pick(&[Place::Lmem, Place::Visible]);
        let buffer = place.create(&device, size)?;
        buffer.fill(0, size, number)?;
        Ok((number, buffer))
    };
    let mut buffers = (0..100).map(&mut make).collect::<Outcome<Vec<_>>>()?;
    for round in context.each(2, 200) {
        for n in (round as usize % 3..buffers.len()).step_by(3) {
            let number = buffers[n].0 + 1_000_000;
            buffers[n] = make(number)?;
        }
        for (number, buffer) in &buffers {
            cards::holds_pattern(&format!("buffer {number}"), buffer, *number)?;
        }
    }
    Ok(())
}

fn threads(context: &Context) -> Outcome {
    let device = cards::first()?;
    let rounds = context.rounds(8, 2000);
    std::thread::scope(|scope| {
        let work = |thread: u64| -> Outcome {
            let mut random = Random::new(context.seed ^ thread);
            // Half of the threads share an open file.
            let device = if thread % 2 == 0 {
                device.clone()
            } else {
                cards::first()?
            };
            for round in 0..rounds {
                let place = *random.pick(&Place::ALL);
                let size = (1 + random.below(128)) * 4096;
                let buffer = place.create(&device, size)?;
                cards::holds_pattern("a new buffer", &buffer, 0)?;
                let pattern = (thread << 32) | u64::from(round);
                buffer.fill(0, size, pattern)?;
                cards::holds_pattern("a thread's own buffer", &buffer, pattern)?;
            }
            Ok(())
        };
        let threads: Vec<_> = (1..=4).map(|n| scope.spawn(move || work(n))).collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| Stop::failed("a thread panicked"))??;
        }
        check!(rounds > 0);
        Ok(())
    })
}
