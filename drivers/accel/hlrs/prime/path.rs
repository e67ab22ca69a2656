// SPDX-License-Identifier: GPL-2.0

//! How the memory of a buffer is reached, and why so.

use kernel::{
    fmt,
    prelude::*, //
};

use super::native::Pieces;
use crate::hw::VfId;

/// Why there is a scatterlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The exporter knows of nothing else.
    Exporter,
    /// This function is no PF that can have VFs.
    Importer,
    /// The exporter has nothing else for this device: it is not memory of one of its VFs.
    Unrelated,
}

/// How the engines of this function reach the memory of a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path {
    /// It is memory of this function, or system memory that was allocated here.
    Own,
    /// By a scatterlist: over the bus.
    Sgt(Reason),
    /// It is memory of a VF of this device, and used where it is.
    Iov(VfId, Pieces),
    /// It is memory of the card at the other end of the link, and reached over that.
    Link(Pieces),
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("own"),
            Self::Sgt(Reason::Exporter) => f.write_str("sgt: exporter offers no interconnect"),
            Self::Sgt(Reason::Importer) => f.write_str("sgt: this function has no VFs"),
            Self::Sgt(Reason::Unrelated) => {
                f.write_str("sgt: not device memory of a VF of this function")
            }
            Self::Iov(vf, pieces) => f.write_fmt(fmt!(
                "iov: VF {}, {} ranges, {} extents",
                vf.number(),
                pieces.ranges,
                pieces.extents
            )),
            Self::Link(pieces) => f.write_fmt(fmt!("link: {} extents", pieces.extents)),
        }
    }
}
