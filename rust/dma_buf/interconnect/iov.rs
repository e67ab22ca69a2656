// SPDX-License-Identifier: GPL-2.0

//! The type for the memory of a VF and its PF.

use super::{
    descriptor::StaticType,
    record::Record, //
};
use kernel::{
    alloc::{
        allocator::KVmalloc,
        Allocator,
        NumaNode, //
    },
    bindings,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    seq_file::SeqFile,
    seq_print, //
};

use core::{
    alloc::Layout,
    mem::size_of,
    ptr::{
        null_mut,
        NonNull, //
    },
    slice, //
};

type Exporter = ext_bindings::dma_buf_iov_exporter;
type Importer = ext_bindings::dma_buf_iov_importer;
type Match = ext_bindings::dma_buf_iov_match;
pub(super) type RawRange = ext_bindings::dma_buf_iov_range;
pub(super) type RawRanges = ext_bindings::dma_buf_iov_ranges;

/// The memory of a VF, for its PF.
///
/// It has no owner: whoever uses it depends on this module by name.
#[no_mangle]
pub(super) static dma_buf_iov_type: StaticType =
    StaticType::new(ext_bindings::dma_buf_interconnect_type {
        name: c"iov".to_bytes_with_nul().as_ptr(),
        owner: null_mut(),
        match_size: size_of::<Match>(),
        match_: Some(matches),
        finish_match: Some(finish_match),
        release_match: Some(release_match),
        debugfs_dump: Some(debugfs_dump),
    });

pub(super) fn descriptor() -> &'static ext_bindings::dma_buf_interconnect_type {
    dma_buf_iov_type.get()
}

/// The PCI device that is being attached, if it is one.
///
/// # Safety
///
/// `pair` must be valid.
unsafe fn pf_of(pair: &ext_bindings::dma_buf_interconnect_pair) -> Option<*mut bindings::pci_dev> {
    // SAFETY: By the safety requirements. The bus of a device never changes.
    unsafe {
        core::ptr::eq((*pair.dev).bus, &raw const bindings::pci_bus_type)
            .then(|| kernel::container_of!(pair.dev, bindings::pci_dev, dev))
    }
}

/// # Safety
///
/// Called by the core only, with a pair of this type.
unsafe extern "C" fn matches(pair: *const ext_bindings::dma_buf_interconnect_pair) -> c_int {
    from_result(|| {
        // SAFETY: By the safety requirements.
        let (pair, exporter, importer) = unsafe {
            (
                &*pair,
                &*(*pair).exporter.cast::<Exporter>(),
                &*(*pair).importer.cast::<Importer>(),
            )
        };
        // SAFETY: As above.
        let pf = unsafe { pf_of(pair) }.ok_or(EOPNOTSUPP)?;

        // SAFETY: Operations that are named are valid.
        let complete = unsafe { exporter.ops.as_ref() }
            .is_some_and(|ops| ops.map_interconnect.is_some() && ops.unmap_interconnect.is_some());

        if exporter.vf.is_null() || !complete {
            return Err(EINVAL);
        }
        // What is read here never changes while a device exists, and the device itself is not
        // accessed. The PF of a device that is no VF would be the device itself.
        //
        // SAFETY: The exporter has a reference on the VF, and the importer one on its device.
        let related = unsafe {
            (*exporter.vf).is_virtfn() != 0
                && (*pf).is_physfn() != 0
                && core::ptr::eq(ext_bindings::pci_physfn(exporter.vf), pf)
        };

        if related && exporter.bar == importer.bar {
            Ok(0)
        } else {
            Err(EOPNOTSUPP)
        }
    })
}

/// # Safety
///
/// Called by the core only, with a pair for which `matches()` returned 0, and room for a match.
unsafe extern "C" fn finish_match(
    pair: *const ext_bindings::dma_buf_interconnect_pair,
    matched: *mut ext_bindings::dma_buf_interconnect_match,
) -> c_int {
    from_result(|| {
        // SAFETY: By the safety requirements.
        unsafe {
            let exporter = &*(*pair).exporter.cast::<Exporter>();
            let pf = pf_of(&*pair).ok_or(EOPNOTSUPP)?;
            let index = bindings::pci_iov_vf_id(exporter.vf);
            let matched = &mut *matched.cast::<Match>();

            to_result(index)?;
            matched.vf = bindings::pci_dev_get(exporter.vf);
            // The device of the attachment, on which that has a reference.
            matched.pf = pf;
            // CAST: Not negative, as was just checked.
            matched.vf_number = index as u32 + 1;
            matched.bar = exporter.bar;
            matched.ops = exporter.ops;
        }
        Ok(0)
    })
}

/// # Safety
///
/// Called by the core only, with what `finish_match()` has filled in.
unsafe extern "C" fn release_match(matched: *mut ext_bindings::dma_buf_interconnect_match) {
    // SAFETY: By the safety requirements.
    unsafe { bindings::pci_dev_put((*matched.cast::<Match>()).vf) };
}

/// # Safety
///
/// Called by the core only, with what `finish_match()` has filled in.
unsafe extern "C" fn debugfs_dump(
    seq: *mut bindings::seq_file,
    matched: *const ext_bindings::dma_buf_interconnect_match,
) {
    // SAFETY: By the safety requirements.
    let (seq, matched) = unsafe { (SeqFile::from_raw(seq), &*matched.cast::<Match>()) };

    seq_print!(seq, " vf={} bar={}", matched.vf_number, matched.bar);
}

/// The layout of `count` ranges with what precedes them.
fn layout(count: u32) -> Result<Layout> {
    let ranges = Layout::array::<RawRange>(count as usize).map_err(|_| EOVERFLOW)?;
    let (layout, _) = Layout::new::<RawRanges>()
        .extend(ranges)
        .map_err(|_| EOVERFLOW)?;

    Ok(layout)
}

/// Room for ranges, which are not initialised. One allocation. Sleeps.
pub(super) fn alloc(count: u32) -> Result<NonNull<RawRanges>> {
    let memory = KVmalloc::alloc(layout(count)?, GFP_KERNEL, NumaNode::NO_NODE)?;
    let ranges = memory.cast::<RawRanges>();

    // SAFETY: The memory is large enough and aligned.
    unsafe { (&raw mut (*ranges.as_ptr()).count).write(count) };
    Ok(ranges)
}

/// The ranges of a mapping.
///
/// # Safety
///
/// `ranges` must have come from [`alloc`], be initialised, and not change during `'a`.
pub(super) unsafe fn ranges_of<'a>(ranges: NonNull<RawRanges>) -> &'a [RawRange] {
    // SAFETY: By the safety requirements.
    unsafe {
        slice::from_raw_parts(
            (&raw const (*ranges.as_ptr()).ranges).cast(),
            (*ranges.as_ptr()).count as usize,
        )
    }
}

/// Checks ranges against a BAR, a limit and the size of the buffer.
pub(super) fn check(ranges: &[RawRange], bar: u32, limit: u64, size: u64) -> Result {
    let mut total: u64 = 0;

    for range in ranges {
        if range.bar != bar || range.len == 0 {
            return Err(EINVAL);
        }
        let end = range.offset.checked_add(range.len).ok_or(ERANGE)?;

        if end > limit {
            return Err(ERANGE);
        }
        total = total.checked_add(range.len).ok_or(ERANGE)?;
    }
    if total == size {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// Allocates room for ranges.
///
/// # Safety
///
/// None; `extern "C"` functions of the API are uniformly unsafe.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_iov_ranges_alloc(count: u32) -> *mut RawRanges {
    alloc(count).map_or(null_mut(), NonNull::as_ptr)
}

/// Frees what `dma_buf_iov_ranges_alloc()` returned.
///
/// # Safety
///
/// `ranges` must be null or have come from there, and not be used any more.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_iov_ranges_free(ranges: *mut RawRanges) {
    // SAFETY: By the safety requirements.
    unsafe { bindings::kvfree(ranges.cast()) };
}

/// Checks the ranges of a mapping.
///
/// # Safety
///
/// `ica` and `ranges` must be valid.
#[no_mangle]
pub(super) unsafe extern "C" fn dma_buf_iov_ranges_check(
    ica: *const ext_bindings::dma_buf_interconnect_attachment,
    ranges: *const RawRanges,
    limit: u64,
) -> c_int {
    from_result(|| {
        // SAFETY: By the safety requirements.
        let record = unsafe { Record::from_public(ica) };

        if !core::ptr::eq(record.ty(), descriptor()) {
            return Err(EINVAL);
        }
        let ranges = NonNull::new(ranges.cast_mut()).ok_or(EINVAL)?;

        // SAFETY: By the safety requirements, and the match is of this type.
        unsafe {
            let bar = (*record.public.match_.cast::<Match>()).bar;
            let size = (*record.public.dmabuf).size;

            check(ranges_of(ranges), bar, limit, size as u64)?;
        }
        Ok(0)
    })
}
