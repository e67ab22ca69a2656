// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes of what is mapped in an address space.

use std::fmt;
use std::sync::Arc;

use hlrs_sys as sys;

use crate::buffer::Buffer;
use crate::error::Cause;
use crate::error::Detail;
use crate::error::Error;
use crate::error::Operation;
use crate::error::Result;
use crate::ioctl;
use crate::syncobj::SyncPoint;
use crate::vm::Shared;

/// Mapping or unmapping of one range of addresses.
///
/// Addresses, sizes and offsets are multiples of 4096. A mapping replaces what
/// is mapped in its range; of what is only partly in the range the rest stays.
#[derive(Debug, Clone, Copy)]
#[must_use = "nothing is mapped before the bind it is given to is submitted"]
pub struct BindOp<'a> {
    raw: sys::drm_hlrs_vm_bind_op,
    buffer: Option<&'a Buffer>,
}

impl<'a> BindOp<'a> {
    /// Maps all of a buffer at `va`.
    pub fn map(va: u64, buffer: &'a Buffer) -> Self {
        Self::map_range(va, buffer, 0, buffer.size())
    }

    /// Maps `size` bytes of a buffer, from `offset` on, at `va`.
    pub fn map_range(va: u64, buffer: &'a Buffer, offset: u64, size: u64) -> Self {
        let raw = sys::drm_hlrs_vm_bind_op {
            op: sys::DRM_HLRS_VM_BIND_OP_MAP,
            handle: buffer.handle(),
            va,
            range: size,
            offset,
            ..Default::default()
        };
        BindOp {
            raw,
            buffer: Some(buffer),
        }
    }

    /// Maps no memory at all: reads give zeros, writes are dropped.
    pub fn map_null(va: u64, size: u64) -> Self {
        let raw = sys::drm_hlrs_vm_bind_op {
            op: sys::DRM_HLRS_VM_BIND_OP_MAP,
            flags: sys::DRM_HLRS_VM_BIND_NULL,
            va,
            range: size,
            ..Default::default()
        };
        BindOp { raw, buffer: None }
    }

    /// Unmaps a range, whatever is mapped there.
    pub fn unmap(va: u64, size: u64) -> Self {
        let raw = sys::drm_hlrs_vm_bind_op {
            op: sys::DRM_HLRS_VM_BIND_OP_UNMAP,
            va,
            range: size,
            ..Default::default()
        };
        BindOp { raw, buffer: None }
    }

    /// Of a mapping: writing to it is a fault.
    pub fn read_only(mut self) -> Self {
        self.raw.flags |= sys::DRM_HLRS_VM_BIND_READONLY;
        self
    }

    /// The structure that the kernel is given, for calls that this crate does not
    /// make.
    pub fn raw(&self) -> sys::drm_hlrs_vm_bind_op {
        self.raw
    }
}

impl fmt::Display for BindOp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = &self.raw;
        f.write_str(match raw.op {
            sys::DRM_HLRS_VM_BIND_OP_UNMAP => "unmap",
            _ => "map",
        })?;
        write!(f, " {} bytes at {:#x}", raw.range, raw.va)?;
        if raw.flags & sys::DRM_HLRS_VM_BIND_READONLY != 0 {
            f.write_str(" read-only")?;
        }
        if raw.flags & sys::DRM_HLRS_VM_BIND_NULL != 0 {
            f.write_str(" to nothing")?;
        }
        if let Some(buffer) = self.buffer {
            let size = buffer.size();
            write!(f, ", from {} of a buffer of {size} bytes", raw.offset)?;
        }
        Ok(())
    }
}

/// Operations that together change what is mapped; from
/// [`Vm::bind`](crate::Vm::bind).
///
/// They take effect in their order. If one cannot be done none is, and
/// [`Error::failed_op`] is its index.
#[derive(Clone)]
#[must_use = "nothing is mapped before submit()"]
pub struct Bind<'a> {
    vm: &'a Arc<Shared>,
    ops: Vec<BindOp<'a>>,
    syncs: Vec<(SyncPoint<'a>, bool)>,
}

impl<'a> Bind<'a> {
    pub(crate) fn new(vm: &'a Arc<Shared>) -> Self {
        Bind {
            vm,
            ops: Vec::new(),
            syncs: Vec::new(),
        }
    }

    /// Adds an operation.
    pub fn op(mut self, op: BindOp<'a>) -> Self {
        self.ops.push(op);
        self
    }

    /// Adds operations.
    pub fn ops(mut self, ops: impl IntoIterator<Item = BindOp<'a>>) -> Self {
        self.ops.extend(ops);
        self
    }

    /// Adds [`BindOp::map`].
    pub fn map(self, va: u64, buffer: &'a Buffer) -> Self {
        self.op(BindOp::map(va, buffer))
    }

    /// Adds [`BindOp::unmap`].
    pub fn unmap(self, va: u64, size: u64) -> Self {
        self.op(BindOp::unmap(va, size))
    }

    /// Begins after a fence. Jobs that are submitted later wait for the bind.
    pub fn wait_for(mut self, point: impl Into<SyncPoint<'a>>) -> Self {
        self.syncs.push((point.into(), false));
        self
    }

    /// Gives a syncobj the fence of the bind.
    pub fn signal(mut self, point: impl Into<SyncPoint<'a>>) -> Self {
        self.syncs.push((point.into(), true));
        self
    }

    /// Does it. Without a fence to wait for it is done when this returns.
    pub fn submit(self) -> Result<()> {
        if let Some(n) = self.ops.iter().position(|op| {
            op.buffer
                .is_some_and(|buffer| !buffer.device().is_same_file(&self.vm.device))
        }) {
            return Err(self.failed(Some(n), Cause::DifferentDevices));
        }
        let syncs = self.syncs.iter();
        let syncs = syncs
            .map(|(point, signal)| point.raw(&self.vm.device, *signal))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|cause| self.failed(None, cause))?;
        let ops: Vec<_> = self.ops.iter().map(BindOp::raw).collect();
        let mut arg = sys::drm_hlrs_vm_bind {
            vm_id: self.vm.id(),
            ops: ops.as_ptr() as u64,
            syncs: syncs.as_ptr() as u64,
            // Those that do not fit into 32 bits do not fit into memory.
            num_ops: u32::try_from(ops.len()).unwrap_or(u32::MAX),
            num_syncs: u32::try_from(syncs.len()).unwrap_or(u32::MAX),
            failed_op: u32::MAX,
            ..Default::default()
        };
        // SAFETY: `ops` and `syncs` designate as many elements as are told, and
        // are read only.
        unsafe { ioctl::call(self.vm.fd(), &mut arg) }.map_err(|errno| {
            let op = (arg.failed_op != u32::MAX).then_some(arg.failed_op as usize);
            self.failed(op, Cause::System(errno))
        })
    }

    fn failed(&self, index: Option<usize>, cause: Cause) -> Error {
        let count = self.ops.len();
        let op = index.and_then(|n| Some((n, self.ops.get(n)?)));
        let what = match op {
            Some((n, op)) => format!("operation {n} of {count}: {op}"),
            None => format!("{count} operations"),
        };
        let err = Error::new(Operation::Bind, what, cause);
        match index {
            Some(n) => err.with_detail(Detail::Op(n)),
            None => err,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_it_does() {
        let text = BindOp::map_null(0x2000, 4096).read_only().to_string();
        assert_eq!(text, "map 4096 bytes at 0x2000 read-only to nothing");
        let text = BindOp::unmap(0x1000, 8192).to_string();
        assert_eq!(text, "unmap 8192 bytes at 0x1000");
    }
}
