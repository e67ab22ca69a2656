// SPDX-License-Identifier: MIT OR Apache-2.0
//! Buffers in the address space of the process.

use std::ffi::c_void;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::ptr;

use rustix::io::Errno;
use rustix::mm;

use crate::error::Cause;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;

/// A range of a buffer, mapped for reading, and for writing unless it comes from
/// [`DmaBuf::map_read_only`](crate::DmaBuf::map_read_only).
///
/// The mapping keeps the memory alive, also after the buffer and the device
/// were dropped. The memory can be written by devices and other processes at
/// any time, so there are no references into it: bytes are copied in and out
/// with volatile accesses. Who waits for the jobs on a buffer before reading
/// it sees what they wrote.
///
/// # SIGBUS
///
/// When the device is removed, or the buffer is revoked, the memory goes away
/// and the next access raises `SIGBUS`. That ends the process with an error
/// unless it has a handler; it is never another owner's data that is read
/// instead. Over a reset of the device the memory keeps its contents: an access
/// meanwhile waits for the end, and raises `SIGBUS` only if that takes seconds.
pub struct Mapping {
    ptr: *mut u8,
    len: usize,
    writable: bool,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference the memory is only read, with volatile
// accesses that tolerate its being changed from outside the program.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes from `skip` on of what the file has at `offset`, for
    /// reading, and for writing if `writable`.
    ///
    /// DRM knows buffers by the offset of their first byte only, so what comes
    /// before the range is mapped, too, and unmapped again.
    pub(crate) fn new(
        fd: BorrowedFd<'_>,
        offset: u64,
        skip: u64,
        len: u64,
        writable: bool,
    ) -> std::result::Result<Mapping, Errno> {
        let skip = usize::try_from(skip).map_err(|_| Errno::NOMEM)?;
        let len = usize::try_from(len).map_err(|_| Errno::NOMEM)?;
        let whole = skip.checked_add(len).ok_or(Errno::NOMEM)?;
        let mut prot = mm::ProtFlags::READ;
        prot.set(mm::ProtFlags::WRITE, writable);
        // SAFETY: the kernel chooses an address range that nothing else uses.
        let start = unsafe {
            mm::mmap(
                ptr::null_mut(),
                whole,
                prot,
                mm::MapFlags::SHARED,
                fd,
                offset,
            )?
        };
        if skip > 0 {
            // SAFETY: the start of what was just mapped, not referred to yet.
            if let Err(errno) = unsafe { mm::munmap(start, skip) } {
                // SAFETY: the same for all of it. It cannot fail, because the
                // range is what mmap returned.
                let _ = unsafe { mm::munmap(start, whole) };
                return Err(errno);
            }
        }
        // SAFETY: `skip` bytes into a mapping of `skip + len` bytes.
        let ptr = unsafe { start.cast::<u8>().add(skip) };
        Ok(Mapping { ptr, len, writable })
    }

    /// Size in bytes.
    #[expect(clippy::len_without_is_empty, reason = "mappings are never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Address of the first byte, valid as long as the mapping lives.
    pub fn as_ptr(&self) -> *mut u8 {
        self.ptr
    }

    fn check(&self, offset: usize, len: usize) -> Result<()> {
        if offset.checked_add(len).is_some_and(|end| end <= self.len) {
            return Ok(());
        }
        let what = format!("{len} bytes at {offset} of {}", self.len);
        Err(Error::new(Operation::Map, what, Cause::OutOfRange))
    }

    /// Copies bytes out of the mapping.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        self.check(offset, to.len())?;
        let (mut at, mut rest) = (offset, to);
        while !rest.is_empty() {
            // Words where possible: device memory is read uncached, and every
            // access is a round trip over the bus.
            if at % 8 == 0 && rest.len() >= 8 {
                let (word, tail) = rest.split_at_mut(8);
                // SAFETY: `check` has bounded the range, mappings start on a
                // page so that the address is aligned, and any value is a u64.
                let value = unsafe { self.ptr.add(at).cast::<u64>().read_volatile() };
                word.copy_from_slice(&value.to_ne_bytes());
                (at, rest) = (at + 8, tail);
            } else {
                let (byte, tail) = rest.split_at_mut(1);
                // SAFETY: `check` has bounded the range; any value is a byte.
                byte[0] = unsafe { self.ptr.add(at).read_volatile() };
                (at, rest) = (at + 1, tail);
            }
        }
        Ok(())
    }

    /// Copies bytes into the mapping. Fails if it is for reading only.
    pub fn write(&mut self, offset: usize, from: &[u8]) -> Result<()> {
        self.check(offset, from.len())?;
        if !self.writable {
            let what = format!("writing {} bytes at {offset}", from.len());
            return Err(Error::new(Operation::Map, what, Cause::ReadOnly));
        }
        let (mut at, mut rest) = (offset, from);
        while !rest.is_empty() {
            if at % 8 == 0 && rest.len() >= 8 {
                let (word, tail) = rest.split_at(8);
                let value = u64::from_ne_bytes([
                    word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7],
                ]);
                // SAFETY: as in `read`; the exclusive reference keeps other
                // users of this mapping out.
                unsafe { self.ptr.add(at).cast::<u64>().write_volatile(value) };
                (at, rest) = (at + 8, tail);
            } else {
                // SAFETY: as above.
                unsafe { self.ptr.add(at).write_volatile(rest[0]) };
                (at, rest) = (at + 1, &rest[1..]);
            }
        }
        Ok(())
    }

    /// Copies a range into a vector.
    pub fn to_vec(&self, offset: usize, len: usize) -> Result<Vec<u8>> {
        self.check(offset, len)?;
        let mut bytes = vec![0; len];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new` and nothing refers to it any
        // more, as the type hands out no references into it.
        let unmapped = unsafe { mm::munmap(self.ptr.cast::<c_void>(), self.len) };
        // It fails only for a range that is not page aligned, which cannot be.
        debug_assert!(unmapped.is_ok());
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("ptr", &self.ptr)
            .field("len", &self.len)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// A file of ordinary memory with a mapping of it.
    fn mapping_of(name: &str, len: usize) -> (std::fs::File, Mapping) {
        let path = std::env::temp_dir().join(format!("hlrs-{name}-{}", std::process::id()));
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(len as u64).unwrap();
        let mapping = Mapping::new(file.as_fd(), 0, 0, len as u64, true).unwrap();
        (file, mapping)
    }

    #[test]
    fn bytes_come_back_at_odd_offsets() {
        let (_, mut map) = mapping_of("odd", 8192);
        let bytes: Vec<u8> = (0..100).collect();
        for offset in 0..17 {
            map.write(offset, &[0; 200]).unwrap();
            map.write(offset + 20, &bytes).unwrap();
            assert_eq!(
                map.to_vec(offset + 20, 100).unwrap(),
                bytes,
                "offset {offset}"
            );
            assert_eq!(map.to_vec(offset, 20).unwrap(), [0; 20]);
            assert_eq!(map.to_vec(offset + 120, 20).unwrap(), [0; 20]);
        }
    }

    #[test]
    fn a_range_that_does_not_start_at_the_beginning() {
        let mut whole = mapping_of("range", 4 * 4096);
        whole.1.write(3 * 4096, b"third").unwrap();
        let part = Mapping::new(whole.0.as_fd(), 0, 3 * 4096, 4096, true).unwrap();
        assert_eq!(part.len(), 4096);
        assert_eq!(part.to_vec(0, 5).unwrap(), b"third");
    }

    #[test]
    fn what_is_for_reading_is_not_written() {
        let (file, mut map) = mapping_of("ro", 4096);
        let mut read_only = Mapping::new(file.as_fd(), 0, 0, 4096, false).unwrap();
        let refused = read_only.write(0, &[1]).unwrap_err();
        assert_eq!(refused.cause(), &Cause::ReadOnly);
        map.write(0, &[1]).unwrap();
        assert_eq!(read_only.to_vec(0, 2).unwrap(), [1, 0]);
    }

    #[test]
    fn nothing_beyond_the_end() {
        let (_, mut map) = mapping_of("end", 4096);
        assert!(map.write(4090, &[0; 6]).is_ok());
        assert_eq!(
            map.write(4090, &[0; 7]).unwrap_err().cause(),
            &Cause::OutOfRange
        );
        assert!(map.read(usize::MAX, &mut [0; 2]).is_err());
        assert!(map.to_vec(0, usize::MAX).is_err());
    }
}
