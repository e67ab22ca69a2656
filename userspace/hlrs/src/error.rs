// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors: what was asked, who refused it, and what that refusal means.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// Result of the operations of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What was asked of the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Look for devices in sysfs.
    List,
    /// Open a device node.
    Open,
    /// Ask about the device.
    Query,
    /// Create a buffer.
    Create,
    /// Map a buffer into the process.
    Map,
    /// Have the device copy.
    Copy,
    /// Have the device fill.
    Fill,
    /// Have the device compute a checksum.
    Crc32c,
    /// Wait for jobs on a buffer.
    Wait,
    /// Make a dma-buf of a buffer.
    Export,
    /// Take exports back, or allow them again.
    Revoke,
    /// Own a device, or no longer.
    Own,
    /// Make a buffer of a dma-buf.
    Import,
    /// Use a dma-buf by itself.
    DmaBuf,
    /// Read or set what concerns virtual functions.
    Sriov,
    /// Read usage statistics or counters.
    Statistics,
}

impl Operation {
    fn verb(self) -> &'static str {
        match self {
            Operation::List => "looking for devices",
            Operation::Open => "opening",
            Operation::Query => "query",
            Operation::Create => "creating a buffer",
            Operation::Map => "mapping",
            Operation::Copy => "copy",
            Operation::Fill => "fill",
            Operation::Crc32c => "checksum",
            Operation::Wait => "waiting",
            Operation::Export => "export as dma-buf",
            Operation::Revoke => "revoking",
            Operation::Own => "ownership of the device",
            Operation::Import => "import of a dma-buf",
            Operation::DmaBuf => "using a dma-buf",
            Operation::Sriov => "virtual functions",
            Operation::Statistics => "reading statistics",
        }
    }
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The kernel returned this error number.
    System(Errno),
    /// The node belongs to another driver, which has this name.
    OtherDriver(String),
    /// The driver speaks another major version of the interface.
    AbiVersion {
        /// Major version of the driver.
        driver: u32,
        /// Major version that this crate was built for.
        library: u32,
    },
    /// The device has no memory region of the kind that was asked for.
    NoSuchRegion,
    /// The buffers of one job belong to different open devices.
    DifferentDevices,
    /// A range of a mapping ends beyond it.
    OutOfRange,
    /// A mapping is for reading only.
    ReadOnly,
    /// Something that should have appeared did not within the time given.
    TimedOut,
    /// Text from the kernel that was not in the documented form.
    Malformed(String),
}

/// An operation that failed: what it was, with its arguments, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    operation: Operation,
    what: String,
    cause: Cause,
}

impl Error {
    pub(crate) fn new(operation: Operation, what: impl Into<String>, cause: Cause) -> Self {
        Error {
            operation,
            what: what.into(),
            cause,
        }
    }

    pub(crate) fn system(operation: Operation, what: impl Into<String>, errno: Errno) -> Self {
        Self::new(operation, what, Cause::System(errno))
    }

    pub(crate) fn io(operation: Operation, what: impl Into<String>, err: &io::Error) -> Self {
        match Errno::from_io_error(err) {
            Some(errno) => Self::system(operation, what, errno),
            None => Self::new(operation, what, Cause::Malformed(err.to_string())),
        }
    }

    /// What was asked.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The error number, if it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self.cause {
            Cause::System(errno) => Some(errno),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): ", self.operation.verb(), self.what)?;
        match &self.cause {
            Cause::System(errno) => {
                match meaning(self.operation, *errno) {
                    Some(text) => f.write_str(text)?,
                    None => write!(f, "{}", io::Error::from(*errno).kind())?,
                }
                match name(*errno) {
                    Some(name) => write!(f, " ({name})"),
                    None => write!(f, " (errno {})", errno.raw_os_error()),
                }
            }
            Cause::OtherDriver(name) => write!(f, "the driver of this node is {name}, not hlrs"),
            Cause::AbiVersion { driver, library } => write!(
                f,
                "the driver speaks version {driver} of the interface, this program version {library}"
            ),
            Cause::NoSuchRegion => f.write_str("the device has no such memory region"),
            Cause::DifferentDevices => f.write_str(
                "the buffers belong to different open devices; export one and import it on the other",
            ),
            Cause::OutOfRange => f.write_str("the range ends beyond the mapping"),
            Cause::ReadOnly => f.write_str("the mapping is for reading only"),
            Cause::TimedOut => f.write_str("it did not happen in the time given"),
            Cause::Malformed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(err: Error) -> Self {
        let kind = match err.errno() {
            Some(errno) => io::Error::from(errno).kind(),
            None => io::ErrorKind::Other,
        };
        io::Error::new(kind, err)
    }
}

/// Name of an error number that the interface documents.
fn name(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::PERM => "EPERM",
        Errno::NOENT => "ENOENT",
        Errno::INTR => "EINTR",
        Errno::IO => "EIO",
        Errno::NXIO => "ENXIO",
        Errno::TOOBIG => "E2BIG",
        Errno::BADF => "EBADF",
        Errno::AGAIN => "EAGAIN",
        Errno::NOMEM => "ENOMEM",
        Errno::ACCESS => "EACCES",
        Errno::FAULT => "EFAULT",
        Errno::BUSY => "EBUSY",
        Errno::NODEV => "ENODEV",
        Errno::INVAL => "EINVAL",
        Errno::NFILE => "ENFILE",
        Errno::MFILE => "EMFILE",
        Errno::NOTTY => "ENOTTY",
        Errno::NOSPC => "ENOSPC",
        Errno::RANGE => "ERANGE",
        Errno::NOSYS => "ENOSYS",
        Errno::OVERFLOW => "EOVERFLOW",
        Errno::DQUOT => "EDQUOT",
        Errno::ADDRNOTAVAIL => "EADDRNOTAVAIL",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::TIMEDOUT => "ETIMEDOUT",
        Errno::CANCELED => "ECANCELED",
        Errno::TIME => "ETIME",
        _ => return None,
    })
}

/// What the interface documents an error number to mean for an operation.
fn meaning(operation: Operation, errno: Errno) -> Option<&'static str> {
    use Operation as O;
    Some(match (operation, errno) {
        (O::Create, Errno::INVAL) => {
            "the size is 0 or no multiple of the page size, or the page size or a flag does not fit the region"
        }
        (O::Create, Errno::NXIO) => "the device has no such memory region",
        (O::Create, Errno::TOOBIG) => "the size is larger than the region",
        (O::Create, Errno::NOSPC) => {
            "the region, or the part of it that the CPU can see, is full, or no contiguous range is left"
        }
        (O::Map, Errno::NXIO) => {
            "part of the buffer lies outside the aperture; create it with cpu_visible()"
        }
        (O::Map, Errno::OPNOTSUPP) => "the buffer was imported; map it at its exporter",
        (O::Copy | O::Fill | O::Crc32c, Errno::INVAL) => "the size is 0, or the ranges overlap",
        (O::Copy | O::Fill | O::Crc32c, Errno::RANGE) => "a range ends beyond its buffer",
        (O::Copy | O::Fill | O::Crc32c, Errno::OVERFLOW) => "offset plus size exceeds 64 bits",
        (O::Copy | O::Fill | O::Crc32c, Errno::IO) => "the device reported a fault",
        (O::Copy | O::Fill | O::Crc32c, Errno::TIMEDOUT) => {
            "the job did not end in time, and its queue was reset"
        }
        (O::Copy | O::Fill | O::Crc32c, Errno::CANCELED) => {
            "the device was reset before the job ended"
        }
        (O::Wait, Errno::TIME) => "the time is up and the buffer is still in use",
        (O::Wait, Errno::IO) => "a job that wrote the buffer failed",
        (O::Export, Errno::INVAL) => {
            "the offset or the size is not a multiple of 4096, or the range is empty or ends beyond the buffer"
        }
        (O::Export, Errno::OVERFLOW) => "offset plus size exceeds 64 bits",
        (O::Export, Errno::NXIO) => {
            "the range lies outside the aperture, and the buffer cannot be moved into it"
        }
        (O::Export, Errno::OPNOTSUPP) => {
            "the buffer was imported, or the device offers no peer-to-peer memory"
        }
        (O::Export, Errno::DQUOT) => {
            "the file has exported as much as the module parameter export_limit_mib allows"
        }
        (O::Export, Errno::ADDRNOTAVAIL) => "there is no PCI function of this address",
        (O::Revoke, Errno::TIMEDOUT) => {
            "an importer has not let go; the kernel's log names it"
        }
        (O::Own, Errno::BUSY) => {
            "the device is open elsewhere, or an importer that cannot be revoked is attached"
        }
        (O::Own, Errno::PERM) => "this file does not own the device",
        (O::Open, Errno::BUSY) => "another file owns the device",
        (O::DmaBuf, Errno::ACCESS) => "the dma-buf was exported without the right to do this",
        (O::Copy | O::Fill | O::Crc32c, Errno::ACCESS) => {
            "a buffer was imported without the right to do this"
        }
        (O::Copy | O::Fill | O::Crc32c | O::Import | O::DmaBuf, Errno::NODEV) => {
            "the device is gone, or the memory was revoked"
        }
        (O::Import, Errno::OPNOTSUPP) => {
            "exporter and device have no way to reach each other's memory"
        }
        (O::Sriov, Errno::BUSY) => "virtual functions are enabled or in use; disable them first",
        (O::Sriov, Errno::INVAL) => "the value is not accepted; a quota must be a multiple of 2 MiB",
        (O::Sriov, Errno::NOSPC) => "the card has not enough free memory for these virtual functions",
        (O::Sriov, Errno::RANGE) => "the card has not so many virtual functions, or not so much memory",
        (O::Open | O::Sriov | O::Statistics, Errno::ACCESS | Errno::PERM) => "permission denied",
        (O::Open, Errno::NOENT) => "there is no such device node",
        (O::Open, Errno::NOTTY) => "this is no DRM device",
        (O::List, Errno::NOENT) => "this kernel has no accelerator devices",
        (_, Errno::NODEV | Errno::NXIO) if operation != O::Sriov => "the device is gone",
        (_, Errno::NOMEM) => "out of system memory",
        (_, Errno::NOENT) if !matches!(operation, O::Sriov | O::Statistics) => {
            "the device does not know this buffer handle"
        }
        (_, Errno::INTR) => "interrupted by a signal",
        (_, Errno::MFILE | Errno::NFILE) => "too many open files",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_and_why() {
        let err = Error::system(Operation::Create, "4096 bytes of lmem0", Errno::NOSPC);
        let text = err.to_string();
        assert!(text.contains("4096 bytes of lmem0"), "{text}");
        assert!(
            text.contains("is full") && text.ends_with("(ENOSPC)"),
            "{text}"
        );
        assert_eq!(err.errno(), Some(Errno::NOSPC));
    }

    #[test]
    fn the_meaning_depends_on_the_operation() {
        let io = |op| Error::system(op, "x", Errno::IO).to_string();
        assert_ne!(
            io(Operation::Copy),
            io(Operation::Wait).replace("waiting", "copy")
        );
    }

    #[test]
    fn an_undocumented_number_is_still_told() {
        let text = Error::system(Operation::Fill, "x", Errno::from_raw_os_error(113)).to_string();
        assert!(text.contains("113"), "{text}");
    }

    #[test]
    fn becomes_an_io_error_of_the_same_kind() {
        let err: io::Error = Error::system(Operation::Open, "x", Errno::NOENT).into();
        assert_eq!(err.kind(), io::ErrorKind::NotFound);
    }
}
