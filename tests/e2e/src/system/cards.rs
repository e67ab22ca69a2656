// SPDX-License-Identifier: MIT OR Apache-2.0
//! The accelerators of the test machine, and contents of buffers.

use hlrs::Buffer;
use hlrs::Device;
use hlrs::Function;
use hlrs::Node;

use super::random::Random;
use super::wait_until;
use super::MIB;
use super::REACTION;
use crate::check;
use crate::harness::Outcome;
use crate::harness::Stop;

/// Physical functions in the order of their PCI addresses.
pub fn nodes() -> Outcome<Vec<Node>> {
    Ok(hlrs::list()?
        .into_iter()
        .filter(|n| n.function == Function::Physical)
        .collect())
}

/// The first accelerator's node.
pub fn first_node() -> Outcome<Node> {
    let none = || Stop::failed("there is no accelerator; is the module hlrs loaded?");
    nodes()?.into_iter().next().ok_or_else(none)
}

/// Opens the first accelerator.
pub fn first() -> Outcome<Device> {
    Ok(first_node()?.open()?)
}

/// Opens the first two accelerators.
pub fn two() -> Outcome<(Device, Device)> {
    let nodes = nodes()?;
    check!(
        nodes.len() >= 2,
        "the test machine has {} accelerators, not two",
        nodes.len()
    );
    Ok((nodes[0].open()?, nodes[1].open()?))
}

/// Where a buffer can be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// System memory.
    System,
    /// LMEM, wherever the driver likes.
    Lmem,
    /// LMEM inside the aperture.
    Visible,
}

impl Place {
    /// All places.
    pub const ALL: [Place; 3] = [Place::System, Place::Lmem, Place::Visible];

    /// Creates a buffer there.
    pub fn create(self, device: &Device, size: u64) -> hlrs::Result<Buffer> {
        match self {
            Place::System => device.buffer(size).system_memory().create(),
            Place::Lmem => device.buffer(size).create(),
            Place::Visible => device.buffer(size).cpu_visible().create(),
        }
    }
}

/// Largest window through which contents are moved.
const WINDOW: u64 = 4 * MIB;

/// Contents of a range of any buffer, also one that the CPU cannot see.
pub fn read(buffer: &Buffer, offset: u64, size: u64) -> Outcome<Vec<u8>> {
    let window = Place::System.create(buffer.device(), size.min(WINDOW).next_multiple_of(4096))?;
    let map = window.map()?;
    let mut bytes = Vec::with_capacity(size as usize);
    while (bytes.len() as u64) < size {
        let part = (size - bytes.len() as u64).min(window.size());
        window.copy_from(0, buffer, offset + bytes.len() as u64, part)?;
        bytes.extend(map.to_vec(0, part as usize)?);
    }
    Ok(bytes)
}

/// Puts contents into any buffer, also one that the CPU cannot see.
pub fn write(buffer: &Buffer, offset: u64, bytes: &[u8]) -> Outcome {
    let size = (bytes.len() as u64).min(WINDOW).next_multiple_of(4096);
    let window = Place::System.create(buffer.device(), size)?;
    let mut map = window.map()?;
    for (n, part) in bytes.chunks(window.size() as usize).enumerate() {
        map.write(0, part)?;
        buffer.copy_from(
            offset + n as u64 * window.size(),
            &window,
            0,
            part.len() as u64,
        )?;
    }
    Ok(())
}

/// Fills a buffer with random bytes and returns them.
pub fn randomize(buffer: &Buffer, random: &mut Random) -> Outcome<Vec<u8>> {
    let bytes = random.bytes(buffer.size() as usize);
    write(buffer, 0, &bytes)?;
    Ok(bytes)
}

/// Fails at the first byte that differs.
pub fn compare(what: &str, found: &[u8], expected: &[u8]) -> Outcome {
    check!(
        found.len() == expected.len(),
        "{what}: {} bytes, expected {}",
        found.len(),
        expected.len()
    );
    // Byte by byte takes an emulated processor many times as long.
    if found == expected {
        return Ok(());
    }
    if let Some(n) = found.iter().zip(expected).position(|(a, b)| a != b) {
        let count = found.iter().zip(expected).filter(|(a, b)| a != b).count();
        check!(
            false,
            "{what}: byte {n} is {:#04x}, expected {:#04x}; {count} bytes differ",
            found[n],
            expected[n]
        );
    }
    Ok(())
}

/// CRC-32C of a pattern repeated over `size` bytes, in the time of a logarithm
/// of that: megabytes take an emulated processor a tenth of a second.
pub fn crc_of_pattern(pattern: u64, size: u64) -> u32 {
    let bytes = pattern.to_le_bytes();
    let (mut crc, mut power, mut len) = (0, hlrs::crc32c(0, &bytes), 8);
    while len <= size {
        if size & len != 0 {
            crc = hlrs::crc32c_combine(crc, power, len);
        }
        power = hlrs::crc32c_combine(power, power, len);
        len *= 2;
    }
    let rest = &bytes[..(size % 8) as usize];
    hlrs::crc32c_combine(crc, hlrs::crc32c(0, rest), rest.len() as u64)
}

/// A pattern repeated over `size` bytes.
pub fn repeated(pattern: u64, size: u64) -> Vec<u8> {
    let mut bytes = pattern.to_le_bytes().repeat(size.div_ceil(8) as usize);
    bytes.truncate(size as usize);
    bytes
}

/// Checks that a whole buffer holds a pattern, by the device's checksum, which
/// needs no window.
pub fn holds_pattern(what: &str, buffer: &Buffer, pattern: u64) -> Outcome {
    let mut offset = 0;
    while offset < buffer.size() {
        let size = WINDOW.min(buffer.size() - offset);
        let crc = buffer.crc32c(offset, size)?;
        if crc != crc_of_pattern(pattern, size) {
            // Says which byte, and finds out if it is the checksum that errs.
            let found = read(buffer, offset, size)?;
            compare(what, &found, &repeated(pattern, size))?;
            check!(
                false,
                "{what}: the contents are right, but CRC32C is {crc:#x}"
            );
        }
        offset += size;
    }
    Ok(())
}

/// Bytes of LMEM in use.
pub fn used(device: &Device) -> Outcome<u64> {
    Ok(device.lmem()?.used)
}

/// Waits until that much LMEM is in use: jobs that have ended keep their
/// buffers for a moment, and the last reference to a dma-buf may be dropped by
/// the kernel after the call that closed it has returned.
pub fn settles(device: &Device, expected: u64) -> Outcome {
    let what = format!("{expected} bytes of LMEM in use");
    let mut found = Ok(0);
    wait_until(&what, REACTION, || {
        found = used(device);
        found.as_ref().is_ok_and(|found| *found == expected)
    })
    .map_err(|stop| match &found {
        Ok(found) => stop.during(format!("{found} in use")),
        Err(_) => stop,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_patterns() {
        for size in (0..70).chain([4096, 4097, 1_000_003]) {
            let pattern = 0x0123_4567_89ab_cdef;
            let expected = hlrs::crc32c(0, &repeated(pattern, size));
            assert_eq!(crc_of_pattern(pattern, size), expected, "{size} bytes");
        }
    }
}
