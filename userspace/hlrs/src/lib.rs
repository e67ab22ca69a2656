// SPDX-License-Identifier: MIT OR Apache-2.0
//! Safe interface to hlrs accelerators.
//!
//! An accelerator has memory of its own, LMEM, and engines that copy, fill and
//! checksum. The crate has one type for each thing that the driver hands out:
//!
//! - [`Device`]: an open accel node. [`list`] finds the nodes of this machine.
//! - [`Buffer`]: memory of the device, or system memory that it can reach.
//! - [`Mapping`]: a buffer in the address space of the process.
//! - [`DmaBuf`]: a buffer, or a part of one, in a file descriptor, to hand to
//!   another device.
//! - [`SyncFile`]: a fence in a file descriptor.
//! - [`Job`]: work that the device was given and has perhaps not done yet.
//! - [`Vm`]: an address space, into which buffers are mapped.
//! - [`Queue`]: jobs of several commands in an address space.
//! - [`Syncobj`]: a place for fences, which jobs and binds wait for and signal.
//! - [`VmFd`]: an address space in a file descriptor, for other drivers.
//! - [`Nic`]: the NIC of a device, which copies between address spaces, also
//!   between those of different processes.
//!
//! [`PhysicalFunction`] divides a card into virtual functions, and [`Usage`]
//! tells what an open device has consumed.
//!
//! Each is released when it is dropped. A [`Buffer`] keeps its device open, a
//! [`Mapping`] and a [`DmaBuf`] keep the memory alive on their own.
//!
//! ```no_run
//! # fn main() -> hlrs::Result<()> {
//! let nodes = hlrs::list()?;
//! let (first, second) = (nodes[0].open()?, nodes[1].open()?);
//!
//! // Eight MiB of the first card's memory, filled by its engine ...
//! let there = first.buffer(8 << 20).cpu_visible().create()?;
//! there.fill(0, there.size(), 0x0123_4567_89ab_cdef)?;
//!
//! // ... pulled over by the engine of the second, without passing host memory.
//! let window = second.import(&there.export()?)?;
//! let here = second.buffer(8 << 20).create()?;
//! here.copy_from(0, &window, 0, here.size())?;
//! assert_eq!(there.crc32c(0, there.size())?, here.crc32c(0, here.size())?);
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! An [`Error`] names the operation with its arguments, the error number, and
//! what the interface documents that number to mean for that operation.
//!
//! # When a device disappears
//!
//! After a device was unplugged or unbound every operation fails with `ENODEV`,
//! and touching a [`Mapping`] of its memory raises `SIGBUS`, which ends the
//! process unless it handles the signal. The same holds for what was imported
//! from, or mapped of, a [`DmaBuf`] that its exporter has revoked.

mod bind;
mod buffer;
mod counters;
mod crc32c;
mod device;
mod dmabuf;
mod error;
mod export;
mod exports;
mod fdinfo;
mod ioctl;
mod job;
mod mapping;
mod nic;
mod node;
mod path;
mod query;
mod queue;
mod sriov;
mod submit;
mod sync_file;
mod syncobj;
mod vm;

pub use bind::Bind;
pub use bind::BindOp;
pub use buffer::Buffer;
pub use buffer::BufferBuilder;
pub use counters::Counters;
pub use crc32c::crc32c;
pub use crc32c::crc32c_combine;
pub use device::Device;
pub use dmabuf::DmaBuf;
pub use error::Cause;
pub use error::Error;
pub use error::Operation;
pub use error::Result;
pub use export::Access;
pub use export::ExportBuilder;
pub use export::Importers;
pub use exports::Exported;
pub use exports::Importer;
pub use exports::Process;
pub use fdinfo::MemoryUsage;
pub use fdinfo::Usage;
pub use job::Job;
pub use mapping::Mapping;
pub use nic::Nic;
pub use nic::NicCopy;
pub use nic::NicCopyBuilder;
pub use nic::NicInfo;
pub use nic::NicVm;
pub use node::list;
pub use node::Function;
pub use node::Node;
pub use path::Path;
pub use path::SgtReason;
pub use query::EngineClass;
pub use query::Engines;
pub use query::Info;
pub use query::Region;
pub use query::RegionClass;
pub use query::SriovMode;
pub use queue::Queue;
pub use queue::QueueState;
pub use queue::Work;
pub use rustix::io::Errno;
pub use sriov::PhysicalFunction;
pub use submit::Command;
pub use submit::Submission;
pub use sync_file::FenceStatus;
pub use sync_file::SyncFile;
pub use syncobj::SyncPoint;
pub use syncobj::Syncobj;
pub use vm::Fault;
pub use vm::FaultReason;
pub use vm::Vm;
pub use vm::VmBuilder;
pub use vm::VmFd;
pub use vm::VmState;
