// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual functions in the hands of VFIO.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use hlrs::DmaBuf;
use hlrs::Errno;

use super::driver;
use super::vfs::Vfs;
use super::write;
use crate::check;
use crate::check_eq;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::raw;
use crate::raw::vfio as sys;
use crate::skip;

/// A driver of VFIO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// The one under test.
    Ours,
    /// vfio-pci.
    Theirs,
}

impl Driver {
    pub const BOTH: [Driver; 2] = [Driver::Theirs, Driver::Ours];

    pub fn name(self) -> &'static str {
        match self {
            Driver::Ours => "hlrs_vfio_pci",
            Driver::Theirs => "vfio-pci",
        }
    }

    /// Loads the module. Where there is no IOMMU, VFIO has to be told that it
    /// shall do without; skips the test if this kernel's cannot.
    pub fn load(self) -> Outcome {
        for module in ["iommufd", self.name()] {
            driver::program("modprobe", &[module])?;
        }
        let mut groups = std::fs::read_dir("/sys/kernel/iommu_groups")?;
        if groups.next().is_none() {
            if !Path::new(WITHOUT_IOMMU).exists() {
                skip!("VFIO needs an IOMMU");
            }
            write(WITHOUT_IOMMU, "Y")?;
        }
        Ok(())
    }
}

/// Whether VFIO takes devices that no IOMMU holds back.
const WITHOUT_IOMMU: &str = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

/// Has the bus look for a driver of this name for a function; no name stands
/// for the one that it matches by itself.
pub fn give(address: &str, name: &str) -> Outcome {
    let folder = driver::pci(address);
    write(folder.join("driver_override"), &format!("{name}\n"))?;
    if folder.join("driver").exists() {
        write(folder.join("driver/unbind"), address)?;
    }
    write("/sys/bus/pci/drivers_probe", address)?;
    Ok(())
}

/// The name of a function's driver; empty if it has none.
pub fn driver_of(address: &str) -> String {
    let link = std::fs::read_link(driver::pci(address).join("driver")).unwrap_or_default();
    link.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// A virtual function of the first accelerator with a driver of VFIO.
pub struct Taken {
    pub vfs: Vfs,
    pub address: String,
}

impl Taken {
    /// Enables one function, and gives it to the driver. No other driver has it
    /// before.
    pub fn by(driver: Driver) -> Outcome<Taken> {
        Self::when(driver, 1, |_| Ok(()))
    }

    /// As [`by`](Self::by), of the function with a number, the last that is enabled; after
    /// something has been done which lasts until then.
    pub fn when<T>(
        driver: Driver,
        number: u32,
        prepare: impl FnOnce(&Vfs) -> Outcome<T>,
    ) -> Outcome<Taken> {
        driver.load()?;
        let vfs = Vfs::none()?;
        let prepared = prepare(&vfs)?;
        let autoprobe = driver::pci(vfs.pf.address()).join("sriov_drivers_autoprobe");
        write(&autoprobe, "0")?;
        let enabled = vfs.pf.set_num_vfs(number);
        write(&autoprobe, "1")?;
        drop(prepared);
        enabled?;
        let address = vfs
            .pf
            .vf_address(number)
            .ok_or_else(|| Stop::failed("there is no virtual function"))?;
        let taken = Taken { vfs, address };
        taken.give(driver)?;
        Ok(taken)
    }

    /// Gives it to another driver. It must not be open.
    pub fn give(&self, driver: Driver) -> Outcome {
        driver.load()?;
        give(&self.address, driver.name())?;
        check_eq!(driver_of(&self.address), driver.name());
        Ok(())
    }

    /// Opens it.
    pub fn open(&self) -> Outcome<Function> {
        Function::open(&self.address)?
            .map_err(|errno| Stop::failed(format!("{} cannot be opened: {errno}", self.address)))
    }
}

/// A function that is open.
pub struct Function {
    device: File,
    _iommufd: File,
}

/// Where the command register is, and what switches the memory on.
const COMMAND: u64 = 4;
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;

/// PCI Express capability: its ID, the control register and the FLR bit in it.
const EXPRESS: u8 = 0x10;
const EXPRESS_CONTROL: u64 = 8;
const EXPRESS_FLR: u16 = 1 << 15;

impl Function {
    /// Opens a function that a driver of VFIO has; the kernel may refuse.
    pub fn open(address: &str) -> Outcome<raw::Result<Function>> {
        let mut names = std::fs::read_dir(driver::pci(address).join("vfio-dev"))?;
        let name = names
            .next()
            .ok_or_else(|| Stop::failed("VFIO does not have the function"))??
            .file_name();
        let open = |path: &Path| File::options().read(true).write(true).open(path);
        let device = open(&Path::new("/dev/vfio/devices").join(name))?;
        let iommufd = open(Path::new("/dev/iommu"))?;
        Ok(sys::bind(&device, &iommufd).map(|()| Function {
            device,
            _iommufd: iommufd,
        }))
    }

    /// Size of a region.
    pub fn region_size(&self, index: u32) -> Outcome<u64> {
        Ok(sys::region_info(self, index).map_err(Stop::failed)?.size)
    }

    /// Ranges of a BAR, pairs of offset and length, as a dma-buf.
    pub fn export(&self, bar: u32, ranges: &[(u64, u64)]) -> raw::Result<DmaBuf> {
        let flags = (libc::O_RDWR | libc::O_CLOEXEC) as u32;
        let fd = sys::feature_words(self, &mut request(bar, flags, ranges))?;
        // SAFETY: the ioctl has made the descriptor for us.
        Ok(DmaBuf::from(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Maps a range of a BAR for the CPU.
    pub fn map(&self, bar: u32, offset: u64, len: u64) -> Outcome<BarMap> {
        let info = sys::region_info(self, bar).map_err(Stop::failed)?;
        check!(offset + len <= info.size, "the BAR has {} bytes", info.size);
        // SAFETY: the kernel chooses an address range that nothing else uses.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                self.device.as_raw_fd(),
                (info.offset + offset) as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(BarMap {
            start: start.cast(),
            len: len as usize,
        })
    }

    pub fn reset(&self) -> raw::Result {
        sys::reset(self)
    }

    pub fn hot_reset(&self) -> raw::Result {
        sys::hot_reset(self)
    }

    pub fn low_power(&self, on: bool) -> raw::Result {
        let feature = if on {
            sys::LOW_POWER_ENTRY
        } else {
            sys::LOW_POWER_EXIT
        };
        sys::feature(self, sys::FEATURE_SET | feature)
    }

    fn config_offset(&self) -> raw::Result<u64> {
        Ok(sys::region_info(self, sys::CONFIG_REGION)?.offset)
    }

    /// Reads configuration space.
    pub fn config<const N: usize>(&self, at: u64) -> raw::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.device
            .read_exact_at(&mut bytes, self.config_offset()? + at)
            .map_err(errno)?;
        Ok(bytes)
    }

    /// Writes configuration space.
    pub fn set_config(&self, at: u64, bytes: &[u8]) -> raw::Result {
        self.device
            .write_all_at(bytes, self.config_offset()? + at)
            .map_err(errno)
    }

    /// Switches the memory on or off.
    pub fn set_memory(&self, on: bool) -> raw::Result {
        self.set_command(COMMAND_MEMORY, on)
    }

    /// Lets the function access the bus, or not.
    pub fn set_master(&self, on: bool) -> raw::Result {
        self.set_command(COMMAND_MASTER, on)
    }

    fn set_command(&self, bit: u16, on: bool) -> raw::Result {
        let command = u16::from_le_bytes(self.config(COMMAND)?);
        let command = match on {
            true => command | bit,
            false => command & !bit,
        };
        self.set_config(COMMAND, &command.to_le_bytes())
    }

    /// Sets the FLR bit in the PCI Express capability.
    pub fn flr(&self) -> raw::Result {
        let [mut at] = self.config(0x34)?;
        while at != 0 {
            let [id, next] = self.config(at.into())?;
            if id == EXPRESS {
                let at = u64::from(at) + EXPRESS_CONTROL;
                let control = u16::from_le_bytes(self.config(at)?) | EXPRESS_FLR;
                return self.set_config(at, &control.to_le_bytes());
            }
            at = next;
        }
        Err(Errno::NODEV)
    }
}

impl AsFd for Function {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

fn errno(err: std::io::Error) -> Errno {
    Errno::from_io_error(&err).unwrap_or(Errno::IO)
}

/// The argument of the ioctl for a dma-buf.
pub fn request(region: u32, open_flags: u32, ranges: &[(u64, u64)]) -> Vec<u64> {
    let pair = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
    let argsz = size_of::<sys::DmaBufHeader>() + 16 * ranges.len();
    let mut words = vec![
        pair(argsz as u32, sys::FEATURE_GET | sys::DMA_BUF),
        pair(region, open_flags),
        pair(0, ranges.len() as u32),
    ];
    words.extend(ranges.iter().flat_map(|(offset, len)| [offset, len]));
    words
}

/// A range of a BAR, as the CPU sees it.
pub struct BarMap {
    start: *mut u64,
    len: usize,
}

impl BarMap {
    /// Writes words from the start on.
    pub fn write(&self, bytes: &[u8]) {
        assert!(bytes.len() <= self.len && bytes.len() % 8 == 0);
        for (n, word) in bytes.chunks_exact(8).enumerate() {
            let word = u64::from_ne_bytes(word.try_into().unwrap_or_default());
            // SAFETY: within the mapping, to which nothing in Rust refers.
            unsafe { self.start.add(n).write_volatile(word) };
        }
    }

    /// Reads words from the start on.
    pub fn read(&self, len: usize) -> Vec<u8> {
        assert!(len <= self.len && len % 8 == 0);
        let word = |n| {
            // SAFETY: within the mapping, to which nothing in Rust refers.
            unsafe { self.start.add(n).read_volatile() }.to_ne_bytes()
        };
        (0..len / 8).flat_map(word).collect()
    }
}

impl Drop for BarMap {
    fn drop(&mut self) {
        // SAFETY: mapped by `Function::map`.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}
