// SPDX-License-Identifier: GPL-2.0

//! What may be done with shared memory: read it, write it, or both.

use kernel::{
    dma::DataDirection,
    fs::file::flags,
    mm::virt::{
        flags as vma_flags,
        VmaNew, //
    },
    prelude::*, //
};

/// What devices, and the CPU, may do with an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Access {
    /// What the access mode in the flags of a file allows. Fails with `EINVAL` if it is none.
    pub(crate) fn from_file_flags(file_flags: u32) -> Result<Self> {
        let (read, write) = match file_flags & flags::O_ACCMODE {
            flags::O_RDONLY => (true, false),
            flags::O_WRONLY => (false, true),
            flags::O_RDWR => (true, true),
            _ => return Err(EINVAL),
        };

        Ok(Self { read, write })
    }

    /// The flags of a file that allows it.
    pub(super) fn file_flags(self) -> u32 {
        match (self.read, self.write) {
            (true, true) => flags::O_RDWR,
            (false, true) => flags::O_WRONLY,
            _ => flags::O_RDONLY,
        }
    }

    /// How memory is mapped for it.
    pub(super) fn direction(self) -> DataDirection {
        match self {
            Self { write: false, .. } => DataDirection::ToDevice,
            Self { read: false, .. } => DataDirection::FromDevice,
            _ => DataDirection::Bidirectional,
        }
    }

    /// Fails with `EACCES` unless a mapping with `direction` is allowed.
    pub(super) fn check(self, direction: DataDirection) -> Result {
        let (reads, writes) = match direction {
            DataDirection::ToDevice => (true, false),
            DataDirection::FromDevice => (false, true),
            DataDirection::Bidirectional => (true, true),
            DataDirection::None => (false, false),
        };

        if reads && !self.read || writes && !self.write {
            return Err(EACCES);
        }
        Ok(())
    }

    /// Keeps a mapping of a process to it, which must be a shared one.
    ///
    /// The mode of the dma-buf's file does the same for those who map that. Importers offer the
    /// memory through files of their own, of any mode. Fails with `EACCES` unless the mapping is
    /// allowed; one that is only for reading stays so.
    pub(super) fn restrict(self, vma: &VmaNew) -> Result {
        // What the CPU can write it can read.
        if !self.read {
            return Err(EACCES);
        }
        if !self.write && vma.flags() & vma_flags::SHARED != 0 {
            vma.try_clear_maywrite().map_err(|_| EACCES)?;
        }
        Ok(())
    }
}
