// SPDX-License-Identifier: GPL-2.0

//! Why a VM is not used any more.

use kernel::fmt;

use crate::queue::Fault;

/// Why an engine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Cause {
    NotPresent = hlrs_abi::DRM_HLRS_FAULT_NOT_PRESENT,
    ReadOnly = hlrs_abi::DRM_HLRS_FAULT_READ_ONLY,
    VaRange = hlrs_abi::DRM_HLRS_FAULT_VA_RANGE,
    Bus = hlrs_abi::DRM_HLRS_FAULT_BUS,
    LmemError = hlrs_abi::DRM_HLRS_FAULT_LMEM_ERROR,
    Timeout = hlrs_abi::DRM_HLRS_FAULT_TIMEOUT,
    Other = hlrs_abi::DRM_HLRS_FAULT_OTHER,
    /// Another queue has stopped the context.
    ContextStopped,
}

impl Cause {
    /// What the device says.
    pub(crate) fn of(fault: &Fault) -> Self {
        match u32::from(fault.info.reason()) {
            hlrs_abi::HLRS_FAULT_NOT_PRESENT => Self::NotPresent,
            hlrs_abi::HLRS_FAULT_READ_ONLY => Self::ReadOnly,
            hlrs_abi::HLRS_FAULT_VA_RANGE => Self::VaRange,
            hlrs_abi::HLRS_FAULT_BUS => Self::Bus,
            hlrs_abi::HLRS_FAULT_LMEM_ERROR => Self::LmemError,
            hlrs_abi::HLRS_FAULT_CTX_DISABLED => Self::ContextStopped,
            _ => Self::Other,
        }
    }

    /// Whether other work is to blame.
    pub(crate) fn is_somebody_else(self) -> bool {
        self == Self::ContextStopped
    }

    /// As user space sees it, `DRM_HLRS_FAULT_*`.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::ContextStopped => hlrs_abi::DRM_HLRS_FAULT_OTHER,
            // CAST: The discriminants are the codes.
            _ => self as u32,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NotPresent => "nothing is mapped",
            Self::ReadOnly => "the mapping is read-only",
            Self::VaRange => "beyond the address space",
            Self::Bus => "the memory behind it did not answer",
            Self::LmemError => "uncorrectable error in LMEM",
            Self::Timeout => "the job did not end in time",
            Self::Other => "fault",
            Self::ContextStopped => "the context was stopped",
        }
    }
}

/// Why a VM is banned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ban {
    pub(crate) cause: Cause,
    /// Address of the access; 0 after a time-out.
    pub(crate) va: u64,
    pub(crate) write: bool,
    /// What the device reported, `HLRS_FAULT_*`.
    pub(crate) info: u32,
    /// The queue whose job was at fault.
    pub(crate) queue_id: u32,
}

impl Ban {
    /// A fault that the device has reported.
    pub(crate) fn by_fault(cause: Cause, fault: &Fault) -> Self {
        Self {
            cause,
            va: fault.address,
            write: fault.info.write(),
            info: fault.info.into_raw(),
            queue_id: 0,
        }
    }

    /// Work that did not end.
    pub(crate) fn by_timeout() -> Self {
        Self {
            cause: Cause::Timeout,
            va: 0,
            write: false,
            info: 0,
            queue_id: 0,
        }
    }

    /// Whether it was an access to an address.
    pub(crate) fn has_address(&self) -> bool {
        self.cause != Cause::Timeout
    }

    /// The same, of queue `queue_id`.
    pub(crate) fn with_queue(self, queue_id: u32) -> Self {
        Self { queue_id, ..self }
    }
}

impl fmt::Display for Ban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Timeout => f.write_str(self.cause.text()),
            _ => write!(
                f,
                "{} at {:#x} failed, {}",
                if self.write { "write" } else { "read" },
                self.va,
                self.cause.text()
            ),
        }
    }
}
