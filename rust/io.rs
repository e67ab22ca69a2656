// SPDX-License-Identifier: GPL-2.0

//! Runs of accesses to memory-mapped I/O.

use kernel::{
    io::{
        Io,
        IoBackend,
        MmioBackend, //
    },
    prelude::*, //
};

/// Stores `count` values that `next` returns, from byte `offset` on, in ascending order.
///
/// For memory of a device rather than for registers: `next` is called once for each value, and
/// each is stored at once, in little-endian, but neither ordered with other memory nor with the
/// calls of `next`. Who needs that has a barrier afterwards. The range is checked once, so that
/// the loop has nothing in it but `next` and the store. Any context in which `next` may be called.
/// C: a loop of `writeq_relaxed()`.
///
/// # Errors
///
/// `EINVAL`: the range is not within `io`, or is not aligned to 8 bytes. Nothing was stored.
#[inline(always)]
pub fn write64_run<'a, T>(
    io: T,
    offset: usize,
    count: usize,
    mut next: impl FnMut() -> u64,
) -> Result
where
    T: Io<'a, Backend = MmioBackend>,
{
    let base: *mut u8 = MmioBackend::as_ptr(io.as_view()).cast();
    let end = count
        .checked_mul(size_of::<u64>())
        .and_then(|len| len.checked_add(offset));

    if end.is_none_or(|end| end > io.size()) || (base.addr() + offset) % size_of::<u64>() != 0 {
        return Err(EINVAL);
    }

    let start: *mut u64 = base.wrapping_add(offset).cast();
    for i in 0..count {
        // SAFETY: `io` is mapped while it is borrowed, for `size()` bytes from `base` on. The
        // value is within that, because `i < count`, and aligned, both as checked above.
        unsafe { store(start.wrapping_add(i), next()) };
    }
    Ok(())
}

/// # Safety
///
/// `to` must be aligned, and mapped for I/O.
#[inline(always)]
unsafe fn store(to: *mut u64, value: u64) {
    // What `writeq_relaxed()` is in C, which is not inlined into Rust.
    #[cfg(target_arch = "x86_64")]
    // SAFETY: By the safety requirements. On this architecture I/O memory is accessed as memory
    // is; a volatile store is one instruction.
    unsafe {
        to.write_volatile(value)
    };

    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: By the safety requirements.
    unsafe {
        kernel::bindings::writeq_relaxed(value, to.cast())
    };
}
