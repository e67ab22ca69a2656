// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way of the file: host, memory of the first card, memory of the second,
//! host.

use std::time::Instant;

use hlrs::Buffer;
use hlrs::Device;
use hlrs::Errno;
use hlrs::Mapping;
use hlrsctl::Size;

use crate::bytes;
use crate::cards::Card;
use crate::failure::Failure;
use crate::failure::Result;
use crate::input::Input;

/// Buffers are multiples of this, the largest page of the device.
const GRANULE: u64 = 2 << 20;

/// Size of the window in host memory through which the cards are filled and
/// read: large files need not fit into host memory.
const STAGING: u64 = 4 << 20;

/// Laid down before data arrive, so that what was there before cannot pass for
/// them.
const STALE: u64 = 0xdead_beef_dead_beef;

/// A window in host memory that one card can reach.
struct Staging {
    buffer: Buffer,
    mapping: Mapping,
    bytes: Vec<u8>,
}

impl Staging {
    fn new(device: &Device, size: u64) -> Result<Staging> {
        let buffer = device.buffer(size).system_memory().create()?;
        let mapping = buffer.map()?;
        Ok(Staging {
            buffer,
            mapping,
            bytes: vec![0; size as usize],
        })
    }
}

/// Everything that one run uses.
struct Route<'a> {
    input: &'a mut Input,
    from: &'a Card,
    to: &'a Card,
    /// Memory of the first card.
    source: Buffer,
    /// The same memory, as the second card sees it.
    window: Buffer,
    /// Memory of the second card.
    target: Buffer,
    up: Staging,
    down: Staging,
}

/// Moves the whole input from `from` to `to`, in pieces if it must be, and
/// compares.
pub fn run(input: &mut Input, from: &Card, to: &Card, limit: Option<u64>) -> Result<()> {
    let (source, target) = memory(input.len(), from, to, limit)?;
    let piece = source.size().min(limit.unwrap_or(u64::MAX));
    let count = input.len().div_ceil(piece);
    if count > 1 {
        let why = match limit {
            Some(_) => "as asked",
            None => "because the cards have no more memory free",
        };
        println!(
            "  The input goes in {count} pieces of up to {}, {why}.",
            Size(piece)
        );
    }
    let dmabuf = source.export()?;
    let window = to.device.import(&dmabuf)?;
    let staging = STAGING.min(source.size());
    let up = Staging::new(&from.device, staging)?;
    let down = Staging::new(&to.device, staging)?;
    let mut route = Route {
        input,
        from,
        to,
        source,
        window,
        target,
        up,
        down,
    };

    for n in 0..count {
        let offset = n * piece;
        let size = piece.min(route.input.len() - offset);
        if count > 1 {
            println!(
                "  Piece {} of {count}: {} from byte {offset} on",
                n + 1,
                bytes(size)
            );
        }
        route.piece(offset, size)?;
    }
    println!("  All {} arrived intact.", bytes(route.input.len()));
    Ok(())
}

/// Memory on both cards for as much of `len` bytes as fits.
fn memory(len: u64, from: &Card, to: &Card, limit: Option<u64>) -> Result<(Buffer, Buffer)> {
    let (a, b) = (from.device.lmem()?, to.device.lmem()?);
    // Only what the aperture shows of the first card can be read by the second.
    let free = (a.cpu_visible - a.cpu_visible_used).min(b.total - b.used);
    let one_job = from
        .device
        .info()?
        .max_copy_size
        .min(to.device.info()?.max_copy_size);
    let wanted = len.min(limit.unwrap_or(u64::MAX)).next_multiple_of(GRANULE);
    let mut size = wanted.min(free.min(one_job) / GRANULE * GRANULE);
    if size == 0 {
        return Err(Failure(format!(
            "{from} or {to} has less than {} free",
            Size(GRANULE)
        )));
    }
    loop {
        let pair = from
            .device
            .buffer(size)
            .cpu_visible()
            .create()
            .and_then(|source| Ok((source, to.device.buffer(size).create()?)));
        match pair {
            // Somebody else took memory since it was counted.
            Err(err) if err.errno() == Some(Errno::NOSPC) && size > GRANULE => {
                size = (size / 2).next_multiple_of(GRANULE);
            }
            other => return Ok(other?),
        }
    }
}

impl Route<'_> {
    fn piece(&mut self, offset: u64, size: u64) -> Result<()> {
        let (from, to) = (self.from, self.to);
        let expected = self.load(offset, size)?;
        println!(
            "  1. load      {from} fetched {} into its memory, by DMA",
            bytes(size)
        );
        self.agree(&self.source, size, expected, from)?;
        println!("  2. checksum  CRC32C {expected:08x} on {from}, the same on the CPU");
        println!("  3. share     {from} exported the memory as a dma-buf, {to} imported it");
        self.pull(size)?;
        self.agree(&self.target, size, expected, to)?;
        println!("  5. checksum  CRC32C {expected:08x} on {to}, the same again");
        self.read_back(offset, size)?;
        println!(
            "  6. compare   {} read back from {to} equal the input",
            bytes(size)
        );
        Ok(())
    }

    /// Brings a piece of the input into the first card's memory; returns the
    /// checksum that the CPU computed on the way.
    fn load(&mut self, offset: u64, size: u64) -> Result<u32> {
        let Staging {
            buffer,
            mapping,
            bytes,
        } = &mut self.up;
        let mut crc = 0;
        self.source.fill(0, self.source.size(), STALE)?;
        for at in (0..size).step_by(bytes.len()) {
            let part = &mut bytes[..(size - at).min(buffer.size()) as usize];
            self.input.read(offset + at, part)?;
            crc = hlrs::crc32c(crc, part);
            mapping.write(0, part)?;
            self.source.copy_from(at, buffer, 0, part.len() as u64)?;
        }
        Ok(crc)
    }

    /// Has the second card fetch the piece out of the first card's memory.
    fn pull(&mut self, size: u64) -> Result<()> {
        let (from, to) = (self.from, self.to);
        self.target.fill(0, self.target.size(), STALE)?;
        let before = to.counters();
        let start = Instant::now();
        self.target.copy_from(0, &self.window, 0, size)?;
        let time = start.elapsed();
        println!(
            "  4. pull      the engine of {to} read {} out of the memory of",
            bytes(size)
        );
        println!(
            "               {from}, peer to peer over PCIe, in {:.1} ms",
            ms(time)
        );
        let after = to.counters();
        let read = before.zip(after).and_then(|(b, a)| a.since(&b, "bus_read"));
        if let Some(read) = read {
            if read < size {
                return Err(Failure(format!(
                    "the counters of {to} say that its engine read {} over the bus, not {}",
                    bytes(read),
                    bytes(size)
                )));
            }
            println!("               its own counter of bytes read over the bus grew by {read}");
        }
        Ok(())
    }

    /// Compares a checksum computed by a card with that of the CPU.
    fn agree(&self, buffer: &Buffer, size: u64, expected: u32, card: &Card) -> Result<()> {
        let crc = buffer.crc32c(0, size)?;
        if crc == expected {
            return Ok(());
        }
        Err(Failure(format!(
            "CRC32C of {} is {crc:08x} on {card}, but {expected:08x} on the CPU",
            bytes(size)
        )))
    }

    /// Brings the piece back from the second card and compares every byte.
    fn read_back(&mut self, offset: u64, size: u64) -> Result<()> {
        let Staging {
            buffer,
            mapping,
            bytes,
        } = &mut self.down;
        let mut original = vec![0; bytes.len()];
        for at in (0..size).step_by(bytes.len()) {
            let len = (size - at).min(buffer.size()) as usize;
            let (got, original) = (&mut bytes[..len], &mut original[..len]);
            buffer.fill(0, buffer.size(), STALE)?;
            buffer.copy_from(0, &self.target, at, len as u64)?;
            mapping.read(0, got)?;
            self.input.read(offset + at, original)?;
            if let Some(n) = got.iter().zip(original.iter()).position(|(a, b)| a != b) {
                return Err(Failure(format!(
                    "byte {} of the input is {:#04x}, but {:#04x} came back from {}",
                    offset + at + n as u64,
                    original[n],
                    got[n],
                    self.to
                )));
            }
        }
        Ok(())
    }
}

fn ms(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
