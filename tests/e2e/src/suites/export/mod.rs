// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exports by the driver's own ioctl: parts of buffers, access modes, system
//! memory, who may import, what is taken back.

mod access;
mod cpu;
mod fences;
mod lifetime;
mod own;
mod place;
mod probe;
mod ranges;
mod revoke;
mod threads;

pub use lifetime::share;
pub use own::possess;
pub use place::aperture_tests;

use hlrs::Buffer;
use hlrs::Device;
use hlrs::DmaBuf;

use crate::check;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::random::Random;

pub fn tests() -> Vec<Test> {
    let mut tests = ranges::tests();
    tests.extend(access::tests());
    tests.extend(cpu::tests());
    tests.extend(fences::tests());
    tests.extend(probe::tests());
    tests.extend(lifetime::tests());
    tests.extend(revoke::tests());
    tests.extend(own::tests());
    tests.extend(threads::tests());
    tests
}

const PAGE: u64 = 4096;

/// Places whose memory can be exported without being moved.
const PLACES: [Place; 2] = [Place::Visible, Place::System];

/// A buffer with random contents.
fn random_buffer(
    device: &Device,
    place: Place,
    size: u64,
    random: &mut Random,
) -> Outcome<(Buffer, Vec<u8>)> {
    let buffer = place.create(device, size)?;
    let bytes = cards::randomize(&buffer, random)?;
    Ok((buffer, bytes))
}

/// A range of bytes.
fn part(bytes: &[u8], offset: u64, size: u64) -> &[u8] {
    &bytes[offset as usize..(offset + size) as usize]
}

/// Number of a dma-buf's inode, by which debugfs names it.
fn inode(dmabuf: &DmaBuf) -> Outcome<u64> {
    let stat =
        rustix::fs::fstat(dmabuf).map_err(|errno| Stop::failed(format!("fstat: {errno}")))?;
    Ok(stat.st_ino)
}

/// What became of a process that touched memory.
#[derive(Debug, PartialEq, Eq)]
enum Touched {
    /// It read this byte.
    Byte(u8),
    /// A signal ended it.
    Signal(i32),
}

/// Reads a byte of a mapping in a process of its own, which a signal may end.
fn touch(map: &hlrs::Mapping, offset: usize) -> Outcome<Touched> {
    check!(offset < map.len(), "{offset} is beyond the mapping");
    let address = map.as_ptr();
    // SAFETY: the child does nothing but read a byte of the mapping, which it
    // inherits, and exit.
    let child = unsafe { libc::fork() };
    check!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: within the mapping; any value is a byte. _exit() runs nothing
        // that belongs to the parent.
        unsafe { libc::_exit(address.add(offset).read_volatile().into()) };
    }
    let mut status = 0;
    // SAFETY: our own child, and a place for its status.
    let ended = unsafe { libc::waitpid(child, &mut status, 0) };
    check!(ended == child, "the child is not ours");
    if libc::WIFSIGNALED(status) {
        return Ok(Touched::Signal(libc::WTERMSIG(status)));
    }
    Ok(Touched::Byte(libc::WEXITSTATUS(status) as u8))
}
