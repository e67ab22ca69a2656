// SPDX-License-Identifier: MIT OR Apache-2.0
//! An address space with a queue, and a place where results of jobs go.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use hlrs::Command;
use hlrs::Device;
use hlrs::Errno;
use hlrs::Fault;
use hlrs::Mapping;
use hlrs::Queue;
use hlrs::Vm;

use super::cards;
use super::cards::Place;
use super::coredump::Dumps;
use super::JOB;
use crate::check;
use crate::check_eq;
use crate::harness::Outcome;
use crate::harness::Stop;

/// The granularity of mappings.
pub const PAGE: u64 = 4096;
/// Size of the largest leaves but one.
pub const LARGE: u64 = 2 << 20;
/// Addresses have 48 bits.
pub const END: u64 = 1 << 48;
/// Where results are mapped: beyond what tests use themselves.
pub const RESULTS: u64 = END - (1 << 40);
/// Bytes there.
pub const RESULTS_SIZE: u64 = 65536;
/// Bytes of a result.
const RESULT: u64 = 16;
/// Commands of one job.
const COMMANDS: usize = hlrs_sys::DRM_HLRS_MAX_COMMANDS as usize;

/// A VM with a queue.
pub struct Space {
    pub device: Device,
    pub queue: Queue,
    pub vm: Vm,
    results: Mutex<Mapping>,
}

impl Space {
    /// A new VM of an open device.
    pub fn new(device: &Device) -> Outcome<Space> {
        let vm = device.vm().create()?;
        let buffer = Place::System.create(device, RESULTS_SIZE)?;
        vm.map(RESULTS, &buffer)?;
        Ok(Space {
            device: device.clone(),
            queue: vm.queue()?,
            results: Mutex::new(buffer.map()?),
            vm,
        })
    }

    /// A new VM of the first accelerator.
    pub fn first() -> Outcome<Space> {
        Self::new(&cards::first()?)
    }

    fn results(&self) -> MutexGuard<'_, Mapping> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the `n`-th result goes, for jobs that a test makes itself.
    pub fn result_va(&self, n: usize) -> u64 {
        RESULTS + n as u64 * RESULT
    }

    /// The two words of the `n`-th result.
    pub fn result(&self, n: usize) -> Outcome<(u64, u64)> {
        let bytes = self
            .results()
            .to_vec(n * RESULT as usize, RESULT as usize)?;
        let word = |n: usize| -> Outcome<u64> {
            let word = bytes[8 * n..8 * n + 8].try_into();
            Ok(u64::from_le_bytes(word.map_err(Stop::failed)?))
        };
        Ok((word(0)?, word(1)?))
    }

    /// Forgets all results.
    pub fn clear_results(&self) -> Outcome {
        let zeros = [0; RESULTS_SIZE as usize];
        Ok(self.results().write(0, &zeros)?)
    }

    /// The checksum that a job has left as the `n`-th result.
    pub fn crc_result(&self, n: usize) -> Outcome<u32> {
        let word = self.result(n)?.0;
        check_eq!(word >> 32, 1, "the word after checksum {n}");
        Ok(word as u32)
    }

    /// Checksums of ranges of addresses, by the device.
    pub fn crcs(&self, ranges: &[(u64, u64)]) -> Outcome<Vec<u32>> {
        let mut crcs = Vec::with_capacity(ranges.len());
        for ranges in ranges.chunks(COMMANDS) {
            self.clear_results()?;
            self.crc_job(ranges).run(JOB)?;
            for n in 0..ranges.len() {
                crcs.push(self.crc_result(n)?);
            }
        }
        Ok(crcs)
    }

    /// A job that computes the checksums of up to 64 ranges, as results from 0
    /// on.
    pub fn crc_job(&self, ranges: &[(u64, u64)]) -> hlrs::Submission<'_> {
        let commands = ranges.iter().enumerate();
        let commands = commands.map(|(n, &(src, size))| Command::Crc32c {
            src,
            size,
            dst: self.result_va(n),
            initial: 0,
        });
        self.queue.job().commands(commands.collect::<Vec<_>>())
    }

    /// The checksum of a range of addresses, by the device.
    pub fn crc(&self, va: u64, size: u64) -> Outcome<u32> {
        Ok(self.crcs(&[(va, size)])?[0])
    }

    /// Has the device fill a range of addresses.
    pub fn fill(&self, va: u64, size: u64, pattern: u64) -> Outcome {
        Ok(self.queue.job().fill(va, size, pattern).run(JOB)?)
    }

    /// Checks that a range of addresses holds a pattern.
    pub fn holds(&self, what: &str, va: u64, size: u64, pattern: u64) -> Outcome {
        let crc = self.crc(va, size)?;
        let expected = cards::crc_of_pattern(pattern, size);
        check!(
            crc == expected,
            "{what}: CRC32C of {size} bytes at {va:#x} is {crc:#x}, not that of {pattern:#x}"
        );
        Ok(())
    }

    /// Has the device do what must fault, and says what the kernel tells of it;
    /// its dump is thrown away. The VM is of no use afterwards.
    pub fn fault(&self, command: Command) -> Outcome<Fault> {
        let dumps = self.dumps()?;
        let fault = self.fault_with_dump(command)?;
        dumps.wait()?;
        Ok(fault)
    }

    /// The dumps of its device.
    pub fn dumps(&self) -> Outcome<Dumps> {
        let address = self.device.usage()?.pci_address;
        Ok(Dumps::of(&address.ok_or_else(|| {
            Stop::failed("the device has no PCI address")
        })?))
    }

    /// As [`fault`](Self::fault), but leaves the dump.
    pub fn fault_with_dump(&self, command: Command) -> Outcome<Fault> {
        let ran = self.queue.job().command(command).run(JOB);
        check!(
            ran.as_ref().err().and_then(hlrs::Error::errno) == Some(Errno::FAULT),
            "{command:?}: {ran:?}, expected FAULT"
        );
        let state = self.vm.state()?;
        check!(state.banned, "the VM is not banned after {command:?}");
        check!(self.queue.state()?.banned, "the queue is not banned");
        let fault = state
            .fault
            .ok_or_else(|| Stop::failed("banned without a reason"))?;
        check_eq!(fault.queue, self.queue.id(), "the queue that has failed");
        Ok(fault)
    }

    /// Checks that an address faults, when read or written.
    pub fn faults_at(&self, va: u64, write: bool, reason: hlrs::FaultReason) -> Outcome {
        let (dst, pattern) = (self.result_va(0), 0);
        let fault = self.fault(match write {
            true => Command::Fill {
                dst: va,
                size: 8,
                pattern,
            },
            false => Command::Copy {
                src: va,
                dst,
                size: 8,
            },
        })?;
        check_eq!(
            (fault.va, fault.write, fault.reason),
            (va, write, reason),
            "address, write and reason of the fault"
        );
        Ok(())
    }
}
