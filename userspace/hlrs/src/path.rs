// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the memory of a buffer is reached.

use std::fmt;

use hlrs_sys as sys;

use crate::buffer::Buffer;
use crate::error::Cause;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::ioctl;

/// How the engines of a device reach the memory of a buffer; from
/// [`Buffer::path`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// It is the device's own, or system memory that it has allocated.
    Own,
    /// Over the bus, by a scatterlist.
    Sgt(SgtReason),
    /// It is memory of a virtual function of the device, and used where it is.
    Iov {
        /// Number of the virtual function, from 1.
        vf: u32,
        /// Ranges of its BAR; 0 while nothing is mapped.
        ranges: u32,
        /// Contiguous pieces of device memory that these are.
        extents: u32,
    },
    /// It is memory of the card at the other end of the link, and reached over
    /// that.
    Link {
        /// Contiguous pieces of it; 0 while nothing is mapped.
        extents: u32,
    },
}

/// Why the memory is reached by a scatterlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SgtReason {
    /// The exporter knows of nothing else.
    Exporter,
    /// The device is not one that can have virtual functions.
    Importer,
    /// It is not device memory of a virtual function of this device.
    Unrelated,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Own => f.write_str("own"),
            Path::Sgt(SgtReason::Exporter) => f.write_str("sgt: exporter offers no interconnect"),
            Path::Sgt(SgtReason::Importer) => f.write_str("sgt: this function has no VFs"),
            Path::Sgt(SgtReason::Unrelated) => {
                f.write_str("sgt: not device memory of a VF of this function")
            }
            Path::Iov {
                vf,
                ranges,
                extents,
            } => write!(f, "iov: VF {vf}, {ranges} ranges, {extents} extents"),
            Path::Link { extents } => write!(f, "link: {extents} extents"),
        }
    }
}

impl Buffer {
    /// How the device reaches the memory, and if by a scatterlist, why so.
    pub fn path(&self) -> Result<Path> {
        let mut arg = sys::drm_hlrs_mem_query {
            handle: self.handle(),
            ..Default::default()
        };
        // SAFETY: the argument has no pointers.
        unsafe { ioctl::call(self.fd(), &mut arg) }.map_err(|errno| {
            let what = format!("how a buffer of {} bytes is reached", self.size());
            Error::system(Operation::Query, what, errno)
        })?;
        let unknown = || {
            let what = format!("path {}, reason {}", arg.path, arg.reason);
            let cause = Cause::Malformed(what);
            Error::new(
                Operation::Query,
                "how a buffer is reached".to_owned(),
                cause,
            )
        };
        match (arg.path, arg.reason) {
            (sys::DRM_HLRS_MEM_PATH_OWN, _) => Ok(Path::Own),
            (sys::DRM_HLRS_MEM_PATH_SGT, reason) => Ok(Path::Sgt(match reason {
                sys::DRM_HLRS_MEM_REASON_EXPORTER => SgtReason::Exporter,
                sys::DRM_HLRS_MEM_REASON_IMPORTER => SgtReason::Importer,
                sys::DRM_HLRS_MEM_REASON_UNRELATED => SgtReason::Unrelated,
                _ => return Err(unknown()),
            })),
            (sys::DRM_HLRS_MEM_PATH_IOV, _) => Ok(Path::Iov {
                vf: arg.vf_id,
                ranges: arg.ranges,
                extents: arg.extents,
            }),
            (sys::DRM_HLRS_MEM_PATH_LINK, _) => Ok(Path::Link {
                extents: arg.extents,
            }),
            _ => Err(unknown()),
        }
    }
}
