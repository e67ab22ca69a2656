// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's own importers that need no other hardware: vgem and iommufd.
//!
//! udmabuf and the heaps only export. Device memory for TCP and zero-copy
//! receive of io_uring take dma-bufs for a queue of a network device that can
//! do that, and there is none.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use hlrs::Access;
use hlrs::Buffer;
use hlrs::DmaBuf;
use hlrs_sys as sys;

use super::Pair;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::raw;
use crate::raw::kernel;
use crate::skip;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::log::DebugLog;
use crate::system::log::Log;
use crate::system::random::Random;
use crate::system::JOB;
use crate::system::MIB;

/// A file of vgem, the GEM driver without hardware. It imports without mapping
/// the memory for any device, and lets nobody map what it has imported.
struct Vgem(File);

impl Vgem {
    /// Skips the test if the kernel has no vgem.
    fn open() -> Outcome<Vgem> {
        const DEVICE: &str = "/sys/bus/faux/devices/vgem";
        if driver::program("modprobe", &["vgem"]).is_err() {
            skip!("there is no vgem");
        }
        for entry in std::fs::read_dir(Path::new(DEVICE).join("drm"))? {
            let name = entry?.file_name();
            if name.to_string_lossy().starts_with("renderD") {
                let node = Path::new("/dev/dri").join(name);
                let file = File::options().read(true).write(true).open(node)?;
                return Ok(Vgem(file));
            }
        }
        Err(Stop::failed("vgem has no render node"))
    }

    /// Imports a dma-buf; returns the handle.
    fn import(&self, dmabuf: &DmaBuf) -> raw::Result<u32> {
        let mut arg = sys::drm_prime_handle {
            fd: dmabuf.as_fd().as_raw_fd(),
            ..Default::default()
        };
        raw::to_handle(&self.0, &mut arg)?;
        Ok(arg.handle)
    }

    /// Exports what it has imported, for reading and writing.
    fn export(&self, handle: u32) -> raw::Result<DmaBuf> {
        let mut arg = sys::drm_prime_handle {
            handle,
            flags: (libc::O_CLOEXEC | libc::O_RDWR) as u32,
            fd: -1,
        };
        raw::to_fd(&self.0, &mut arg)?;
        // SAFETY: the kernel has just installed this descriptor for us alone.
        Ok(DmaBuf::from(unsafe { OwnedFd::from_raw_fd(arg.fd) }))
    }

    /// Adds a fence, as for a job that writes or reads; returns its number.
    fn fence(&self, handle: u32, write: bool) -> raw::Result<u32> {
        let mut arg = kernel::FenceAttach {
            handle,
            flags: if write { kernel::VGEM_FENCE_WRITE } else { 0 },
            ..Default::default()
        };
        kernel::fence_attach(&self.0, &mut arg)?;
        Ok(arg.out_fence)
    }

    fn signal(&self, fence: u32) -> raw::Result {
        kernel::fence_signal(&self.0, &mut kernel::FenceSignal { fence, flags: 0 })
    }
}

/// Jobs of the exporting device wait for a fence of vgem.
fn jobs_wait(vgem: &Vgem, handle: u32, buffer: &Buffer) -> Outcome {
    let last = buffer.size() as usize - 8;
    let map = buffer.map()?;
    for (write, pattern) in [(true, 1u64), (false, 2)] {
        buffer.wait(JOB)?;
        let before = map.to_vec(last, 8)?;
        let fence = vgem.fence(handle, write).map_err(Stop::failed)?;
        thread::scope(|scope| -> Outcome {
            let job = scope.spawn(|| buffer.fill(0, buffer.size(), pattern));
            thread::sleep(Duration::from_millis(30));
            check_eq!(map.to_vec(last, 8)?, before, "while vgem is at work");
            // In time: by itself it signals after 10 s.
            vgem.signal(fence).map_err(Stop::failed)?;
            job.join().map_err(|_| Stop::failed("a panic"))??;
            Ok(())
        })?;
        cards::holds_pattern("after vgem's fence", buffer, pattern)?;
    }
    Ok(())
}

pub fn vgem_imports_system_memory(context: &Context) -> Outcome {
    let pair = Pair::new()?;
    let (vgem, peer) = (Vgem::open()?, pair.importer.open()?);
    let mut random = Random::new(context.seed);
    let buffer = Place::System.create(&pair.device, MIB)?;
    let bytes = cards::randomize(&buffer, &mut random)?;
    let handle = {
        let dmabuf = buffer.dma_buf().create()?;
        vgem.import(&dmabuf).map_err(Stop::failed)?
    };

    // What it hands on is the memory.
    let through = vgem.export(handle).map_err(Stop::failed)?;
    let window = peer.import(&through)?;
    check_eq!(
        window.crc32c(0, MIB)?,
        hlrs::crc32c(0, &bytes),
        "through it"
    );
    window.fill(0, MIB, 7)?;
    cards::holds_pattern("written through it", &buffer, 7)?;
    jobs_wait(&vgem, handle, &buffer)?;

    // With what the exporter has made of it.
    let dmabuf = buffer.dma_buf().access(Access::Read).create()?;
    let handle = vgem.import(&dmabuf).map_err(Stop::failed)?;
    let through = vgem.export(handle).map_err(Stop::failed)?;
    check_errno!(through.map(), ACCESS, "for reading: mapped by the CPU");
    let window = peer.import(&through)?;
    check_errno!(window.fill(0, 8, 1), ACCESS, "for reading: filled");
    let found = window.crc32c(0, MIB)?;
    check_eq!(found, cards::crc_of_pattern(2, MIB), "for reading");
    Ok(())
}

/// Nobody is attached any more to anything that the device has exported.
fn nobody_is_attached(pair: &Pair, what: &str) -> Outcome {
    let exports = pair.exporter.exports().unwrap_or_default();
    check_eq!(exports.len(), 1, "{what}: exports");
    check!(exports[0].importers.is_empty(), "{what}: {exports:?}");
    check_eq!(exports[0].mappings, 0, "{what}: mappings");
    Ok(())
}

pub fn vgem_is_refused_memory_of_the_device(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let vgem = Vgem::open()?;
    let (buffer, dmabuf) = pair.shared(MIB)?;
    let _debug = DebugLog::on()?;
    let mut log = Log::from_now()?;
    check_errno!(vgem.import(&dmabuf), OPNOTSUPP);
    let reason = log.count("it does not support peer-to-peer memory");
    check_eq!(reason, 1, "messages with the reason");
    nobody_is_attached(&pair, "vgem")?;
    buffer.fill(0, MIB, 3)?;
    cards::holds_pattern("afterwards", &buffer, 3)
}

/// It takes dma-bufs of vfio-pci only, and finds that out after it has attached.
pub fn iommufd_refuses(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    if driver::program("modprobe", &["iommufd"]).is_err() {
        skip!("there is no iommufd");
    }
    let iommu = File::options().read(true).write(true).open("/dev/iommu")?;
    let mut space = kernel::IoasAlloc::default();
    kernel::ioas_alloc(&iommu, &mut space).map_err(Stop::failed)?;
    let _debug = DebugLog::on()?;
    let mut log = Log::from_now()?;
    for (place, reasons) in [(Place::Visible, 1), (Place::System, 0)] {
        let buffer = place.create(&pair.device, MIB)?;
        let dmabuf = buffer.dma_buf().create()?;
        let mut map = kernel::IoasMapFile {
            flags: kernel::IOAS_MAP_READABLE | kernel::IOAS_MAP_WRITEABLE,
            ioas_id: space.out_ioas_id,
            fd: dmabuf.as_fd().as_raw_fd(),
            length: MIB,
            ..Default::default()
        };
        check_errno!(
            kernel::ioas_map_file(&iommu, &mut map),
            OPNOTSUPP,
            "{place:?}"
        );
        let found = log.count("not a PCI device");
        check_eq!(found, reasons, "{place:?}: messages with the reason");
        nobody_is_attached(&pair, &format!("{place:?}"))?;
        buffer.fill(0, MIB, 4)?;
        cards::holds_pattern("afterwards", &buffer, 4)?;
    }
    Ok(())
}
