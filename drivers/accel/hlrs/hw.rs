// SPDX-License-Identifier: GPL-2.0

//! One function of the accelerator: its registers, what it says about itself, its reset.
//!
//! [`Hw`] outlives the binding of the driver, because open files and buffers do. Registers are
//! therefore reached through [`Hw::with`], which fails with `ENODEV` once the device is unbound:
//! there is no way to touch the hardware of a device that is gone.

use core::num::NonZero;

use kernel::{
    device::Bound,
    fmt,
    io::{
        poll::read_poll_timeout,
        register::Array,
        Io, //
    },
    pci,
    prelude::*,
    time::Delta, //
};

use kernel_ext::pci::DeviceExt;

use crate::regs;

/// Size of BAR 0.
const REGS_SIZE: usize = hlrs_abi::HLRS_REGS_SIZE as usize;

/// BAR 0, mapped.
pub(crate) type Bar<'a> = pci::Bar<'a, REGS_SIZE>;

/// How long a reset may take. The device needs microseconds.
const RESET_TIMEOUT: Delta = Delta::from_millis(500);
const RESET_POLL: Delta = Delta::from_micros(20);

/// Number of a VF, from 1 on as in the PCI specification and in sysfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VfId(NonZero<u16>);

impl VfId {
    /// Returns the VF with the 1-based number `number`, or [`None`] for 0, which is the PF.
    pub(crate) fn new(number: u16) -> Option<Self> {
        NonZero::new(number).map(Self)
    }

    /// The VF's 1-based number.
    pub(crate) fn number(self) -> u16 {
        self.0.get()
    }

    /// The VF's place in an array that has no element for the PF.
    pub(crate) fn index(self) -> usize {
        usize::from(self.0.get() - 1)
    }
}

impl fmt::Display for VfId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VF{}", self.number())
    }
}

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// The physical function.
    Pf,
    /// A virtual function.
    Vf(VfId),
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pf => f.write_str("PF"),
            Self::Vf(vf) => vf.fmt(f),
        }
    }
}

/// What a function says about itself; constant while the driver is bound.
pub(crate) struct Info {
    /// PF or VF.
    pub(crate) function: Function,
    /// Bytes of LMEM: all of it on the PF, the quota on a VF.
    pub(crate) lmem_size: u64,
    /// Bytes of LMEM that the CPU and PCIe peers can reach, from address 0 on.
    pub(crate) visible_size: u64,
    /// Number of the card, the same on the PF and its VFs.
    pub(crate) uid: u64,
    /// Whether the card has a link port.
    pub(crate) has_link: bool,
    /// Whether errors can be injected.
    pub(crate) has_inject: bool,
    /// Number of VFs that the function can have; 0 on a VF.
    pub(crate) total_vfs: u16,
    /// PCI device ID and revision.
    pub(crate) pci_device: u16,
    pub(crate) pci_revision: u8,
}

/// The card at the other end of the link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkPeer {
    /// Its number, see [`Info::uid`].
    pub(crate) uid: u64,
    /// Bytes of its LMEM.
    pub(crate) lmem_size: u64,
}

/// A function's registers and constants.
pub(crate) struct Hw {
    bar: pci::DevresBar<REGS_SIZE>,
    aperture: pci::DevresBar,
    pub(crate) info: Info,
}

impl Hw {
    /// Maps the registers, checks that they are those of a device that this driver knows, and
    /// resets the function, so that nothing of an earlier owner is left running.
    ///
    /// Sleeps. Fails with `ENODEV` if the device is another one or does not answer, `ETIMEDOUT`
    /// if it does not get ready.
    pub(crate) fn new(pdev: &pci::Device<Bound>) -> Result<Self> {
        let bar = pdev.iomap_region_sized::<REGS_SIZE>(hlrs_abi::HLRS_BAR_REGS, c"hlrs/regs")?;

        let id = bar.read(regs::ID).into_raw();
        if id != hlrs_abi::HLRS_ID {
            dev_err!(pdev, "not an HLRS accelerator: identification {:#x}\n", id);
            return Err(ENODEV);
        }

        let version = bar.read(regs::VERSION);
        if u32::from(version.major()) != hlrs_abi::HLRS_VERSION >> 16 {
            dev_err!(
                pdev,
                "hardware interface {}.{} is not supported\n",
                u32::from(version.major()),
                u32::from(version.minor())
            );
            return Err(ENODEV);
        }

        let reset = || {
            let status = bar.read(regs::STATUS);
            Ok(status.ready() && !status.resetting())
        };
        bar.write_reg(regs::CTRL::zeroed().with_reset(true));
        read_poll_timeout(reset, |done| *done, RESET_POLL, RESET_TIMEOUT)?;

        let caps = bar.read(regs::CAPS);
        let number = bar.read(regs::FUNCTION).into_raw();
        let lmem_size = bar.try_read(regs::LMEM_SIZE)?.into_raw();
        let info = Info {
            function: match VfId::new(u16::try_from(number)?) {
                None => Function::Pf,
                Some(vf) => Function::Vf(vf),
            },
            lmem_size,
            visible_size: bar.try_read(regs::APERTURE_SIZE)?.into_raw().min(lmem_size),
            uid: bar.try_read(regs::DEVICE_UID)?.into_raw(),
            has_link: caps.link(),
            has_inject: caps.inject(),
            total_vfs: pdev.total_vfs(),
            pci_device: pdev.device_id(),
            pci_revision: pdev.revision_id(),
        };

        if caps.vf() != matches!(info.function, Function::Vf(_)) {
            dev_err!(
                pdev,
                "function number {} contradicts the capabilities\n",
                number
            );
            return Err(ENODEV);
        }

        let aperture = pdev.iomap_region(hlrs_abi::HLRS_BAR_LMEM, c"hlrs/lmem")?;

        Ok(Self {
            bar: bar.into_devres()?,
            aperture: aperture.into_devres()?,
            info,
        })
    }

    /// Calls `f` with the registers.
    ///
    /// `f` runs in an RCU read-side critical section and must not sleep. May be called in any
    /// context. Fails with `ENODEV` when the device is unbound.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&Bar<'_>) -> R) -> Result<R> {
        self.bar.try_access_with(|bar| f(bar)).ok_or(ENODEV)
    }

    /// As [`Hw::with`], for an `f` that can fail itself.
    pub(crate) fn try_with<R>(&self, f: impl FnOnce(&Bar<'_>) -> Result<R>) -> Result<R> {
        self.with(f)?
    }

    /// As [`Hw::with`], with LMEM as the CPU sees it, from device-local address 0 on.
    ///
    /// No reset must be going on, see [`crate::device::DeviceData::outside_reset`].
    pub(crate) fn with_aperture<R>(&self, f: impl FnOnce(&pci::Bar<'_>) -> R) -> Result<R> {
        self.aperture.try_access_with(|bar| f(bar)).ok_or(ENODEV)
    }

    /// Whether registers can be read; a device that was pulled out reads all ones.
    pub(crate) fn is_present(&self) -> bool {
        matches!(
            self.with(|bar| bar.read(regs::ID).into_raw()),
            Ok(hlrs_abi::HLRS_ID)
        )
    }

    /// Resets the engines and contexts of this function. LMEM keeps its contents.
    ///
    /// Sleeps. Fails with `ETIMEDOUT` if the reset does not end, `ENODEV` if the device is gone.
    pub(crate) fn reset(&self) -> Result {
        self.with(|bar| bar.write_reg(regs::CTRL::zeroed().with_reset(true)))?;
        self.poll(RESET_TIMEOUT, |bar| {
            let status = bar.read(regs::STATUS);
            status.ready() && !status.resetting()
        })
    }

    /// Waits until `done` says so; sleeps between the looks.
    ///
    /// Fails with `ETIMEDOUT` after `timeout`, and with `ENODEV` when the device is gone.
    pub(crate) fn poll(&self, timeout: Delta, done: impl Fn(&Bar<'_>) -> bool) -> Result {
        read_poll_timeout(
            || {
                if !self.is_present() {
                    return Err(ENODEV);
                }
                self.with(&done)
            },
            |done| *done,
            RESET_POLL,
            timeout,
        )
        .map(|_| ())
    }

    /// Forgets old events and lets all of them interrupt.
    pub(crate) fn enable_events(&self) -> Result {
        self.with(|bar| {
            bar.write_reg(regs::EVENT_STATUS::from(hlrs_abi::HLRS_EVENT_ALL));
            bar.write_reg(regs::QUEUE_IRQ::from(u32::MAX));
            bar.write_reg(regs::EVENT_ENABLE::from(hlrs_abi::HLRS_EVENT_ALL));
        })
    }

    /// Stops all event interrupts.
    pub(crate) fn disable_events(&self) -> Result {
        self.with(|bar| bar.write_reg(regs::EVENT_ENABLE::from(0)))
    }

    /// Who is at the other end of the link; [`None`] if nobody is, or this function has no link. It
    /// may be gone at once.
    pub(crate) fn link_peer(&self) -> Option<LinkPeer> {
        if !self.info.has_link {
            return None;
        }
        self.try_with(|bar| {
            let peer = LinkPeer {
                uid: bar.try_read(regs::LINK_PEER_UID)?.into_raw(),
                lmem_size: bar.try_read(regs::LINK_PEER_SIZE)?.into_raw(),
            };

            // Looked at last: while it is up the others are what they say.
            if !bar.read(regs::LINK_STATUS).up() {
                return Err(ENOLINK);
            }
            Ok(peer)
        })
        .ok()
    }

    /// Reads counter `index` of [`regs::COUNTER_NAMES`].
    pub(crate) fn counter(&self, index: usize) -> Result<u64> {
        let location = regs::COUNTER::try_at(index).ok_or(EINVAL)?;
        self.try_with(|bar| Ok(bar.try_read(location)?.into_raw()))
    }
}
