// SPDX-License-Identifier: MIT OR Apache-2.0
//! One operation at a time, compared with what the CPU computes.

use hlrs::Buffer;

use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;
use crate::system::MIB;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![
        fill_at_every_phase,
        copy_at_every_phase,
        copy_between_all_places: 120,
        copy_within_a_buffer,
        checksum_of_known_text,
        checksum_in_parts,
        large_operations: 180,
        random_operations: 300,
    ]
}

/// A buffer and what it must contain.
pub struct Model {
    pub buffer: Buffer,
    pub bytes: Vec<u8>,
}

impl Model {
    pub fn new(buffer: Buffer, random: &mut Random) -> Outcome<Model> {
        let bytes = cards::randomize(&buffer, random)?;
        Ok(Model { buffer, bytes })
    }

    /// What a fill does, on the CPU.
    pub fn fill(&mut self, offset: u64, size: u64, pattern: u64) {
        let pattern = pattern.to_le_bytes();
        let range = &mut self.bytes[offset as usize..(offset + size) as usize];
        for (n, byte) in range.iter_mut().enumerate() {
            *byte = pattern[n % 8];
        }
    }

    pub fn compare(&self, what: &str) -> Outcome {
        let found = cards::read(&self.buffer, 0, self.buffer.size())?;
        cards::compare(what, &found, &self.bytes)
    }

    pub fn slice(&self, offset: u64, size: u64) -> &[u8] {
        &self.bytes[offset as usize..(offset + size) as usize]
    }
}

fn fill_at_every_phase(context: &Context) -> Outcome {
    let device = cards::first()?;
    let mut random = Random::new(context.seed);
    for place in Place::ALL {
        let mut model = Model::new(place.create(&device, 8192)?, &mut random)?;
        for phase in 0..9 {
            for size in [1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65] {
                let pattern = random.next();
                let offset = 4096 - 40 + phase;
                model.buffer.fill(offset, size, pattern)?;
                model.fill(offset, size, pattern);
            }
            model.compare(&format!("{place:?}, fills at phase {phase}"))?;
        }
    }
    Ok(())
}

fn copy_at_every_phase(context: &Context) -> Outcome {
    let device = cards::first()?;
    let mut random = Random::new(context.seed);
    let source = Model::new(Place::Lmem.create(&device, 8192)?, &mut random)?;
    let mut target = Model::new(Place::Lmem.create(&device, 8192)?, &mut random)?;
    for from in 0..9 {
        for to in 0..9 {
            for size in [1, 8, 9, 100] {
                let (from, to) = (4090 + from, 4085 + to);
                target.buffer.copy_from(to, &source.buffer, from, size)?;
                target.bytes[to as usize..(to + size) as usize]
                    .copy_from_slice(source.slice(from, size));
            }
        }
        target.compare(&format!("copies from phase {from}"))?;
    }
    source.compare("the source")
}

fn copy_between_all_places(context: &Context) -> Outcome {
    const LEN: u64 = 200_000 / 4096 * 4096;
    let device = cards::first()?;
    let mut random = Random::new(context.seed);
    for from in Place::ALL {
        let source = Model::new(from.create(&device, LEN)?, &mut random)?;
        for to in Place::ALL {
            let mut target = Model::new(to.create(&device, LEN + 4096)?, &mut random)?;
            for _ in 0..8 {
                let (at, size) = random.range(LEN);
                let to = random.below(LEN + 4096 - size + 1);
                target.buffer.copy_from(to, &source.buffer, at, size)?;
                target.bytes[to as usize..(to + size) as usize]
                    .copy_from_slice(source.slice(at, size));
            }
            target.compare(&format!("{from:?} to {to:?}"))?;
        }
        source.compare("the source")?;
    }
    Ok(())
}

fn copy_within_a_buffer(context: &Context) -> Outcome {
    let device = cards::first()?;
    let mut random = Random::new(context.seed);
    for place in Place::ALL {
        let mut model = Model::new(place.create(&device, 65536)?, &mut random)?;
        for (to, from, size) in [(0, 32768, 32768), (100, 0, 100), (50_001, 13, 9999)] {
            model.buffer.copy_from(to, &model.buffer, from, size)?;
            model
                .bytes
                .copy_within(from as usize..(from + size) as usize, to as usize);
        }
        model.compare(&format!("{place:?}"))?;
    }
    Ok(())
}

fn checksum_of_known_text(_: &Context) -> Outcome {
    let device = cards::first()?;
    for place in Place::ALL {
        let buffer = place.create(&device, 4096)?;
        // The check value of the algorithm's catalogue entry.
        cards::write(&buffer, 1001, b"123456789")?;
        check_eq!(buffer.crc32c(1001, 9)?, 0xe306_9283, "CRC32C in {place:?}");
        // 32 zeros, from RFC 3720.
        check_eq!(
            buffer.crc32c(64, 32)?,
            0x8a91_36aa,
            "CRC32C of zeros in {place:?}"
        );
    }
    Ok(())
}

fn checksum_in_parts(context: &Context) -> Outcome {
    let device = cards::first()?;
    let mut random = Random::new(context.seed);
    let model = Model::new(Place::Lmem.create(&device, MIB)?, &mut random)?;
    let size = model.buffer.size();
    let whole = hlrs::crc32c(0, &model.bytes);
    check_eq!(model.buffer.crc32c(0, size)?, whole);
    for _ in 0..4 {
        let mut crc = 0;
        let mut offset = 0;
        while offset < size {
            let (_, part) = random.range(size - offset);
            crc = model.buffer.crc32c_after(crc, offset, part)?;
            offset += part;
        }
        check_eq!(crc, whole, "CRC32C in parts");
    }
    for _ in 0..40 {
        let (offset, part) = random.range(size);
        let expected = hlrs::crc32c(0, model.slice(offset, part));
        check_eq!(
            model.buffer.crc32c(offset, part)?,
            expected,
            "{part} bytes at {offset}"
        );
    }
    Ok(())
}

fn large_operations(context: &Context) -> Outcome {
    let device = cards::first()?;
    let lmem = device.lmem()?;
    // Odd sizes, so that nothing is hidden by a round number.
    let size = ((lmem.total - lmem.used) / 5 * 2) / 4096 * 4096;
    let (a, b) = (
        Place::Lmem.create(&device, size)?,
        Place::Lmem.create(&device, size)?,
    );
    let pattern = Random::new(context.seed).next();
    a.fill(3, size - 5, pattern)?;
    b.copy_from(1, &a, 3, size - 5)?;
    let step = 8 * 4096;
    let content = pattern.to_le_bytes().repeat(step / 8);
    for offset in (0..size - 2 * step as u64).step_by(size as usize / 37) {
        let offset = offset / 8 * 8;
        let found = cards::read(&b, 1 + offset, step as u64)?;
        cards::compare(&format!("copied, from {offset}"), &found, &content)?;
    }
    check_eq!(cards::read(&b, 0, 1)?, [0], "before the copy");
    check_eq!(cards::read(&b, size - 4, 4)?, [0; 4], "after the copy");
    check_eq!(cards::read(&a, size - 2, 2)?, [0; 2], "after the fill");
    check_eq!(a.crc32c(3, size - 5)?, b.crc32c(1, size - 5)?);
    Ok(())
}

fn random_operations(context: &Context) -> Outcome {
    let device = cards::first()?;
    let mut random = Random::new(context.seed);
    let mut models = Vec::new();
    for place in Place::ALL {
        for size in [4096, 100 * 4096] {
            models.push(Model::new(place.create(&device, size)?, &mut random)?);
        }
    }
    for round in context.each(3, 500) {
        for _ in 0..60 {
            let n = random.below(models.len() as u64) as usize;
            let (offset, size) = random.range(models[n].buffer.size());
            match random.below(3) {
                0 => {
                    let pattern = random.next();
                    models[n].buffer.fill(offset, size, pattern)?;
                    models[n].fill(offset, size, pattern);
                }
                1 => {
                    let expected = hlrs::crc32c(0, models[n].slice(offset, size));
                    let crc = models[n].buffer.crc32c(offset, size)?;
                    check_eq!(crc, expected, "CRC32C of {size} bytes at {offset}");
                }
                _ => copy(&mut models, n, (offset, size), &mut random)?,
            }
        }
        for (n, model) in models.iter().enumerate() {
            model.compare(&format!("round {round}, buffer {n}"))?;
        }
    }
    Ok(())
}

/// Copies a range of buffer `from` to a random place in another.
fn copy(
    models: &mut [Model],
    from: usize,
    (offset, size): (u64, u64),
    random: &mut Random,
) -> Outcome {
    let to = (from + 1 + random.below(models.len() as u64 - 1) as usize) % models.len();
    let size = size.min(models[to].buffer.size());
    let at = random.below(models[to].buffer.size() - size + 1);
    models[to]
        .buffer
        .copy_from(at, &models[from].buffer, offset, size)?;
    let bytes = models[from].slice(offset, size).to_vec();
    models[to].bytes[at as usize..(at + size) as usize].copy_from_slice(&bytes);
    Ok(())
}
