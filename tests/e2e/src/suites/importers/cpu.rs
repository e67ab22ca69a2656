// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory in the address space of the kernel, and in that of processes
//! through the files of importers.

use hlrs::Access;
use hlrs::Buffer;
use hlrs::DmaBuf;
use hlrs::Errno;
use libc::PROT_READ;
use libc::PROT_WRITE;

use super::Pair;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::skip;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::importer::Attachment;
use crate::system::importer::Kind;
use crate::system::random::Random;

const PAGE: u64 = 4096;
const SIZE: u64 = 16 * PAGE;

/// A buffer in LMEM of one block, and one in system memory.
fn places(pair: &Pair) -> Outcome<[(&'static str, Buffer); 2]> {
    let lmem = pair.device.buffer(SIZE).cpu_visible().contiguous();
    Ok([
        ("LMEM", lmem.create()?),
        ("system memory", Place::System.create(&pair.device, SIZE)?),
    ])
}

impl Pair {
    fn attach(&self, dmabuf: &DmaBuf) -> Outcome<Attachment<'_>> {
        let importer = self
            .importers
            .attach(dmabuf, &self.importer.address, Kind::Dynamic)?;
        importer.map_err(Stop::failed)
    }

    /// Mappings of everything that is exported.
    fn mappings(&self) -> Outcome<u64> {
        let exports = self.exporter.exports();
        let Some(exports) = exports else {
            skip!("debugfs shows no exports to this process");
        };
        Ok(exports.iter().map(|export| export.mappings).sum())
    }
}

pub fn the_kernel_maps_it(context: &Context) -> Outcome {
    let pair = Pair::new()?;
    let mut random = Random::new(context.seed);
    for (memory, buffer) in places(&pair)? {
        let mut bytes = cards::randomize(&buffer, &mut random)?;
        for (offset, size) in [(0, SIZE), (3 * PAGE, 5 * PAGE)] {
            let what = format!("{size} bytes at {offset} of {memory}");
            let dmabuf = buffer.dma_buf().range(offset, size).create()?;
            let kernel = pair.attach(&dmabuf)?;
            check_errno!(kernel.read_by_kernel(0, 1), NOTCONN, "{what}: not mapped");
            kernel.vmap().map_err(Stop::failed)?;
            check_errno!(kernel.vmap(), BUSY, "{what}: mapped already");
            check_eq!(pair.mappings()?, 1, "{what}: mappings");

            // What the engine wrote, and the other way round; nothing beside it.
            let range = offset as usize..(offset + size) as usize;
            let found = kernel.read_by_kernel(0, size).map_err(Stop::failed)?;
            cards::compare(&what, &found, &bytes[range.clone()])?;
            let new = random.bytes(size as usize - 1001);
            kernel.write_by_kernel(1000, &new).map_err(Stop::failed)?;
            bytes[range][1000..size as usize - 1].copy_from_slice(&new);
            let found = buffer.crc32c(0, SIZE)?;
            check_eq!(found, hlrs::crc32c(0, &bytes), "{what}: the device's view");

            // Others share the mapping, and it stays until the last has gone.
            let other = pair.attach(&dmabuf)?;
            other.vmap().map_err(Stop::failed)?;
            kernel.vunmap().map_err(Stop::failed)?;
            let last = other.read_by_kernel(size - 1, 1);
            check_eq!(
                last,
                Ok(vec![bytes[(offset + size) as usize - 1]]),
                "{what}"
            );
            check_eq!(pair.mappings()?, 1, "{what}: mappings");
            drop(other);
            check_eq!(pair.mappings()?, 0, "{what}: mappings");
            check_errno!(kernel.vunmap(), NOTCONN, "{what}: unmapped");

            buffer.revoke()?;
            check_errno!(kernel.vmap(), NODEV, "{what}: revoked");
            buffer.undo_revoke()?;
            kernel.vmap().map_err(Stop::failed)?;
        }
    }
    Ok(())
}

/// Without `CONFIG_VMAP_PFN` modules have no way to map one piece of a BAR
/// after the other.
pub fn the_kernel_maps_scattered_memory_or_says_so(context: &Context) -> Outcome {
    let pair = Pair::new()?;
    let mut random = Random::new(context.seed);
    let mut holes: Vec<_> = (0..8)
        .map(|_| Place::Visible.create(&pair.device, 2 * SIZE))
        .collect::<hlrs::Result<_>>()?;
    let mut keep = false;
    holes.retain(|_| {
        keep = !keep;
        keep
    });
    // The largest block fits into a hole, the others do not go with it.
    let size = 3 * SIZE + PAGE;
    let (buffer, dmabuf) = pair.shared(size)?;
    let bytes = cards::randomize(&buffer, &mut random)?;
    let kernel = pair.attach(&dmabuf)?;
    let segments = kernel.map().map_err(Stop::failed)?;
    kernel.unmap().map_err(Stop::failed)?;
    check!(segments.len() > 1, "the memory is in one piece");
    match kernel.vmap() {
        Ok(()) => {
            let found = kernel.read_by_kernel(0, size).map_err(Stop::failed)?;
            cards::compare("several blocks", &found, &bytes)?;
        }
        Err(errno) => {
            check_eq!(errno, Errno::OPNOTSUPP, "several blocks");
            check_eq!(pair.mappings()?, 0, "mappings");
        }
    }
    // A part that is in one block is mapped all the same.
    let dmabuf = buffer.dma_buf().range(0, PAGE).create()?;
    let kernel = pair.attach(&dmabuf)?;
    kernel.vmap().map_err(Stop::failed)?;
    let found = kernel.read_by_kernel(0, PAGE).map_err(Stop::failed)?;
    cards::compare("one block", &found, &bytes[..PAGE as usize])
}

/// A mapping of the kernel is one for reading and writing.
pub fn the_kernel_keeps_to_the_access_mode(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    for (memory, buffer) in places(&pair)? {
        for access in [Access::Read, Access::Write] {
            let dmabuf = buffer.dma_buf().access(access).create()?;
            let kernel = pair.attach(&dmabuf)?;
            check_errno!(kernel.vmap(), ACCESS, "{memory} for {access:?}");
        }
        let dmabuf = buffer.dma_buf().create()?;
        pair.attach(&dmabuf)?.vmap().map_err(Stop::failed)?;
        check_eq!(pair.mappings()?, 0, "{memory}: mappings");
    }
    Ok(())
}

/// Importers have files of their own, which are open for writing although the
/// dma-buf is not.
pub fn processes_keep_to_the_access_mode(context: &Context) -> Outcome {
    let pair = Pair::new()?;
    let mut random = Random::new(context.seed);
    for (memory, buffer) in places(&pair)? {
        let mut bytes = cards::randomize(&buffer, &mut random)?;
        let (offset, len) = (2 * PAGE, 3 * PAGE);
        let export = || buffer.dma_buf().range(PAGE, 8 * PAGE);
        let expected = |bytes: &[u8]| bytes[(PAGE + offset) as usize..][..100].to_vec();

        let dmabuf = export().access(Access::Read).create()?;
        let reader = pair.attach(&dmabuf)?;
        let what = format!("{memory} for reading");
        for prot in [PROT_WRITE, PROT_READ | PROT_WRITE] {
            check_errno!(reader.mmap(offset, len, prot), ACCESS, "{what}: {prot:#x}");
        }
        let map = reader.mmap(offset, len, PROT_READ).map_err(Stop::failed)?;
        cards::compare(&what, &map.to_vec(0, 100), &expected(&bytes))?;
        check_errno!(map.protect(PROT_READ | PROT_WRITE), ACCESS, "{what}: later");
        // The mapping needs neither the attachment nor the file of the dma-buf.
        drop((reader, dmabuf));
        cards::compare(&what, &map.to_vec(0, 100), &expected(&bytes))?;

        let dmabuf = export().access(Access::Write).create()?;
        let writer = pair.attach(&dmabuf)?;
        for prot in [PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE] {
            let refused = writer.mmap(offset, len, prot);
            check_errno!(refused, ACCESS, "{memory} for writing: {prot:#x}");
        }

        let dmabuf = export().create()?;
        let both = pair.attach(&dmabuf)?;
        let what = format!("{memory} for both");
        let mut map = both.mmap(offset, len, PROT_READ).map_err(Stop::failed)?;
        cards::compare(&what, &map.to_vec(0, 100), &expected(&bytes))?;
        map.protect(PROT_READ | PROT_WRITE).map_err(Stop::failed)?;
        let new = random.bytes(100);
        map.write(0, &new);
        bytes[(PAGE + offset) as usize..][..100].copy_from_slice(&new);
        let found = buffer.crc32c(0, SIZE)?;
        check_eq!(found, hlrs::crc32c(0, &bytes), "{what}: the device's view");
        check_errno!(both.mmap(6 * PAGE, len, PROT_READ), INVAL, "beyond it");
    }
    Ok(())
}
