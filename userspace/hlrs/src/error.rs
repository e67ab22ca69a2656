// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors: what was asked, who refused it, and what that refusal means.

use std::fmt;
use std::io;

use rustix::io::Errno;

mod meaning;

use meaning::meaning;
use meaning::name;

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
    /// Create, ask about, export or destroy an address space.
    Vm,
    /// Change what is mapped in an address space.
    Bind,
    /// Create, ask about or destroy a queue.
    Queue,
    /// Submit a job.
    Submit,
    /// Run a job that was submitted.
    Job,
    /// Use a syncobj.
    Syncobj,
    /// Use a fence in a file.
    Fence,
    /// Register an address space with a NIC, or end that.
    Nic,
    /// Have a NIC copy.
    NicCopy,
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
            Operation::Vm => "address space",
            Operation::Bind => "changing what is mapped",
            Operation::Queue => "queue",
            Operation::Submit => "submitting a job",
            Operation::Job => "job",
            Operation::Syncobj => "syncobj",
            Operation::Fence => "fence",
            Operation::Nic => "NIC",
            Operation::NicCopy => "copy by the NIC",
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
    /// What was to be used together belongs to different open devices.
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
    detail: Option<Detail>,
}

/// Where in its arguments an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The operation of a bind with this index.
    Op(usize),
    /// This address.
    Va(u64),
}

impl Error {
    pub(crate) fn new(operation: Operation, what: impl Into<String>, cause: Cause) -> Self {
        Error {
            operation,
            what: what.into(),
            cause,
            detail: None,
        }
    }

    pub(crate) fn with_detail(mut self, detail: Detail) -> Self {
        self.detail = Some(detail);
        self
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

    /// Of a bind: the index of the operation that could not be done.
    pub fn failed_op(&self) -> Option<usize> {
        match self.detail {
            Some(Detail::Op(index)) => Some(index),
            _ => None,
        }
    }

    /// Of a submission: the address of a buffer that cannot be mapped again.
    pub fn fault_va(&self) -> Option<u64> {
        match self.detail {
            Some(Detail::Va(va)) => Some(va),
            _ => None,
        }
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
                "this belongs to different open devices; export one and import it on the other",
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
    fn where_it_failed() {
        let bind = Error::system(Operation::Bind, "2 operations", Errno::RANGE);
        assert_eq!((bind.failed_op(), bind.fault_va()), (None, None));
        let op = bind.clone().with_detail(Detail::Op(1));
        assert_eq!((op.failed_op(), op.fault_va()), (Some(1), None));
        let submit = Error::system(Operation::Submit, "x", Errno::FAULT);
        let va = submit.with_detail(Detail::Va(0x1000));
        assert_eq!((va.failed_op(), va.fault_va()), (None, Some(0x1000)));
    }

    #[test]
    fn no_address_space_is_no_buffer() {
        let text = Error::system(Operation::Vm, "x", Errno::NOENT).to_string();
        assert!(!text.contains("buffer"), "{text}");
        let text = Error::system(Operation::Job, "x", Errno::CANCELED).to_string();
        assert!(text.contains("banned") && text.contains("reset"), "{text}");
    }

    #[test]
    fn what_a_nic_refuses() {
        let text = |op, errno| Error::system(op, "x", errno).to_string();
        let stale = text(Operation::NicCopy, Errno::STALE);
        assert!(stale.contains("revoked") && stale.ends_with("(ESTALE)"));
        let xdev = text(Operation::Nic, Errno::XDEV);
        assert!(xdev.contains("another") && xdev.ends_with("(EXDEV)"));
        assert!(!text(Operation::Nic, Errno::NOENT).contains("buffer"));
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
