// SPDX-License-Identifier: GPL-2.0

//! What an entry of a table looks like.

use kernel::prelude::*;

/// Levels of tables; the root is at level 3.
pub(crate) const LEVELS: usize = 4;

/// Entries of a table.
pub(crate) const ENTRIES: usize = 512;

/// Bytes of a table, and of the smallest leaf.
pub(crate) const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

const PAGE_SHIFT: usize = 12;

/// Bits of a virtual address that one level translates.
const LEVEL_BITS: usize = 9;

/// The level of the largest leaves, of 1 GiB.
const LEAF_LEVELS: usize = 3;

// CAST: Bindings of macros have the smallest type that holds the value.
pub(super) const VALID: u64 = hlrs_abi::HLRS_PTE_V as u64;
const WRITABLE: u64 = hlrs_abi::HLRS_PTE_W as u64;
const LOCAL: u64 = hlrs_abi::HLRS_PTE_DM as u64;
const LINK: u64 = hlrs_abi::HLRS_PTE_LINK as u64;
const NULL: u64 = hlrs_abi::HLRS_PTE_NULL as u64;
const LEAF: u64 = hlrs_abi::HLRS_PTE_LEAF as u64;
const ADDRESS: u64 = hlrs_abi::HLRS_PTE_ADDR_MASK;

/// The first address that is not a virtual address.
pub(crate) const VA_END: u64 = 1 << hlrs_abi::HLRS_VA_BITS;

/// log2 of [`size()`].
#[inline]
pub(super) const fn shift(level: usize) -> usize {
    PAGE_SHIFT + LEVEL_BITS * level
}

/// Bytes of virtual addresses that an entry at `level` translates.
#[inline]
pub(super) const fn size(level: usize) -> u64 {
    1 << shift(level)
}

/// The index of the entry for `va` in a table at `level`.
#[inline]
pub(super) const fn index(va: u64, level: usize) -> usize {
    // CAST: The result of the mask is smaller than `ENTRIES`.
    (va >> shift(level)) as usize & (ENTRIES - 1)
}

/// Where memory is that an engine can reach: an address and the space that it is in.
///
/// # Invariants
///
/// The value is what an entry says about it: the address within its bits, and at most one of the
/// bits of the spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u64);

impl Place {
    fn new(address: u64, space: u64) -> Result<Self> {
        if address % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        if address & !ADDRESS != 0 {
            return Err(ERANGE);
        }

        // INVARIANT: The address is within its bits, and callers give one space.
        Ok(Self(address | space))
    }

    /// A device-local address: LMEM of the function.
    ///
    /// Fails with `EINVAL` if the address is not a multiple of [`PAGE_SIZE`], and with `ERANGE`
    /// if it has more than 52 bits; so do the other two.
    pub(crate) fn local(address: u64) -> Result<Self> {
        Self::new(address, LOCAL)
    }

    /// A bus address: system memory, or the BAR of a peer.
    pub(crate) fn bus(address: u64) -> Result<Self> {
        Self::new(address, 0)
    }

    /// An address in the LMEM of the device at the other end of the link.
    pub(crate) fn link(address: u64) -> Result<Self> {
        Self::new(address, LINK)
    }

    /// The same space, `bytes` further, a multiple of [`PAGE_SIZE`].
    #[inline]
    pub(super) fn add(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// Whether `bytes` from here on have addresses that entries can hold.
    pub(super) fn holds(self, bytes: u64) -> bool {
        bytes <= (ADDRESS | (PAGE_SIZE - 1)) - (self.0 & ADDRESS) + 1
    }

    /// Whether address and `va` are at the same distance from a multiple of the size of a leaf at
    /// `level`.
    #[inline]
    pub(super) fn is_congruent(self, va: u64, level: usize) -> bool {
        (self.0 ^ va) & ADDRESS & (size(level) - 1) == 0
    }
}

/// The bits of a leaf besides its place.
#[inline]
pub(super) const fn leaf_bits(writable: bool) -> u64 {
    VALID | LEAF | if writable { WRITABLE } else { 0 }
}

/// A leaf that shows `place`.
#[inline]
pub(super) const fn leaf(place: Place, bits: u64) -> u64 {
    place.0 | bits
}

/// A leaf that reads zeros and drops writes. It has no address.
#[inline]
pub(super) const fn null(bits: u64) -> u64 {
    NULL | bits
}

/// An entry that points to the table at the device-local `address`.
#[inline]
pub(super) const fn table(address: u64) -> u64 {
    root(address) | VALID
}

/// What the register of a context wants for a root table at the device-local `address`.
#[inline]
pub(super) const fn root(address: u64) -> u64 {
    (address & ADDRESS) | LOCAL
}

/// The difference between neighbouring leaves at `level` of one run, of which `entry` is one.
#[inline]
pub(super) const fn stride(entry: u64, level: usize) -> u64 {
    if entry & NULL != 0 {
        0
    } else {
        size(level)
    }
}

/// Whether a leaf at `level` may hold the address of `entry`.
#[inline]
pub(super) const fn may_be_leaf(entry: u64, level: usize) -> bool {
    level < LEAF_LEVELS && entry & ADDRESS & (size(level) - 1) == 0
}

/// A range of virtual addresses.
///
/// # Invariants
///
/// Both ends are multiples of [`PAGE_SIZE`], `start < end <= VA_END`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VaRange {
    start: u64,
    end: u64,
}

impl VaRange {
    /// The `size` bytes from `start` on.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `size` is 0, or one of the two is not a multiple of [`PAGE_SIZE`].
    /// - `EOVERFLOW`: the sum has more than 64 bits.
    /// - `ERANGE`: the range ends beyond [`VA_END`].
    pub(crate) fn new(start: u64, size: u64) -> Result<Self> {
        if size == 0 || (start | size) % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }

        let end = start.checked_add(size).ok_or(EOVERFLOW)?;
        if end > VA_END {
            return Err(ERANGE);
        }

        // INVARIANT: Checked above.
        Ok(Self { start, end })
    }

    /// A range from its ends, which are those of entries or of another range.
    #[inline]
    pub(super) fn between(start: u64, end: u64) -> Self {
        debug_assert!(start < end && end <= VA_END && (start | end) % PAGE_SIZE == 0);

        // INVARIANT: By the caller.
        Self { start, end }
    }

    /// The first address.
    #[inline]
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The first address after the range.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes.
    #[inline]
    pub(crate) fn size(&self) -> u64 {
        self.end - self.start
    }

    /// The smallest range that contains both.
    pub(crate) fn hull(self, other: Self) -> Self {
        // INVARIANT: The ends are ends of valid ranges.
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}
