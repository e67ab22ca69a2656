// SPDX-License-Identifier: GPL-2.0

//! The argument of `VFIO_DEVICE_FEATURE_DMA_BUF`.

use super::{
    Driver,
    OpenDevice, //
};
use kernel::{
    alloc::flags::__GFP_NOWARN,
    page::PAGE_SIZE,
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

use core::mem::offset_of;

/// A range of a region, in bytes. Both numbers are multiples of the page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionRange {
    /// Where in the region it begins.
    pub offset: u64,
    /// Not 0.
    pub length: u64,
}

/// What user space wants to have a dma-buf of.
pub struct DmaBufRequest {
    region_index: u32,
    open_flags: u32,
    size: usize,
    raw: KVec<u8>,
}

impl DmaBufRequest {
    /// The region: the number of a BAR.
    pub fn region_index(&self) -> u32 {
        self.region_index
    }

    /// Flags of the descriptor and of the file. They were not checked.
    pub fn open_flags(&self) -> u32 {
        self.open_flags
    }

    /// The sum of the ranges, in bytes; not 0.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Number of ranges; not 0.
    pub fn num_ranges(&self) -> usize {
        self.raw.len() / RANGE
    }

    /// The ranges, in the order of the dma-buf. They may overlap, and be anywhere.
    pub fn ranges(&self) -> impl Iterator<Item = RegionRange> + Clone + '_ {
        self.raw.chunks_exact(RANGE).map(RegionRange::read)
    }
}

/// Size of a range in user memory.
const RANGE: usize = size_of::<ext_bindings::vfio_region_dma_range>();

/// Size of what comes before the ranges.
const HEADER: usize = size_of::<ext_bindings::vfio_device_feature_dma_buf>();

/// `DMA_IOVA_USE_SWIOTLB`: what the DMA API uses as a flag in sizes.
const SIZE_FLAG: usize = 1 << 63;

impl RegionRange {
    fn read(raw: &[u8]) -> Self {
        const {
            assert!(RANGE == 16);
            assert!(offset_of!(ext_bindings::vfio_region_dma_range, offset) == 0);
            assert!(offset_of!(ext_bindings::vfio_region_dma_range, length) == 8);
        }

        let word = |at: usize| {
            let mut bytes = [0; 8];

            bytes.copy_from_slice(&raw[at..at + 8]);
            u64::from_ne_bytes(bytes)
        };

        Self {
            offset: word(0),
            length: word(8),
        }
    }
}

/// Reads and checks the argument, in the order in which vfio-pci does. `None` if that was all that the
/// user wanted to know (`VFIO_DEVICE_FEATURE_PROBE`).
///
/// Sleeps.
///
/// # Errors
///
/// - `EINVAL`: not `VFIO_DEVICE_FEATURE_GET`, or too short; no range, or flags; a range that is empty or
///   not on page boundaries; the sum is too large.
/// - `EFAULT`: a part of the argument cannot be read.
/// - `ENODEV`: the region is not a BAR that the device has.
/// - `ENOMEM`.
pub fn dma_buf_request<T: Driver>(
    device: &OpenDevice<'_, T>,
    flags: u32,
    arg: UserPtr,
    argsz: usize,
) -> Result<Option<DmaBufRequest>> {
    const {
        assert!(HEADER == 16);
        assert!(offset_of!(ext_bindings::vfio_device_feature_dma_buf, region_index) == 0);
        assert!(offset_of!(ext_bindings::vfio_device_feature_dma_buf, open_flags) == 4);
        assert!(offset_of!(ext_bindings::vfio_device_feature_dma_buf, flags) == 8);
        assert!(offset_of!(ext_bindings::vfio_device_feature_dma_buf, nr_ranges) == 12);
        assert!(offset_of!(ext_bindings::vfio_device_feature_dma_buf, dma_ranges) == HEADER);
    }

    // SAFETY: No requirements.
    match unsafe {
        ext_bindings::vfio_check_feature(
            flags,
            argsz,
            ext_bindings::VFIO_DEVICE_FEATURE_GET,
            HEADER,
        )
    } {
        0 => return Ok(None),
        1 => (),
        err => return Err(Error::from_errno(err)),
    }

    let [region_index, open_flags, dma_buf_flags, num_ranges]: [u32; 4] =
        UserSlice::new(arg, HEADER).reader().read()?;

    if num_ranges == 0 || dma_buf_flags != 0 {
        return Err(EINVAL);
    }
    device.check_bar(region_index)?;

    // CAST: 32 bits, and 16 times that, fit.
    let len = num_ranges as usize * RANGE;
    let mut raw = KVec::new();

    UserSlice::new(arg.wrapping_byte_add(HEADER), len)
        .read_all(&mut raw, GFP_KERNEL | __GFP_NOWARN)?;

    let mut request = DmaBufRequest {
        region_index,
        open_flags,
        size: 0,
        raw,
    };
    request.size = checked_size(request.ranges())?;
    Ok(Some(request))
}

/// The sum of the ranges.
fn checked_size(ranges: impl Iterator<Item = RegionRange>) -> Result<usize> {
    // CAST: The size of a page.
    let aligned = |value: u64| value % PAGE_SIZE as u64 == 0;
    let mut size = 0_usize;

    for range in ranges {
        if range.length == 0 || !aligned(range.offset) || !aligned(range.length) {
            return Err(EINVAL);
        }
        let length = usize::try_from(range.length).map_err(|_| EINVAL)?;
        size = size.checked_add(length).ok_or(EINVAL)?;
    }

    if size & SIZE_FLAG != 0 {
        return Err(EINVAL);
    }
    Ok(size)
}
