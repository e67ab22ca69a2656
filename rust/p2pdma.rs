// SPDX-License-Identifier: GPL-2.0

//! PCI peer-to-peer DMA: access of one device to a memory BAR of another.
//!
//! C header: [`include/linux/pci-p2pdma.h`](srctree/include/linux/pci-p2pdma.h)
//!
//! A [`Provider`] is a BAR that others may access. Whether a given client can, and by which
//! addresses, depends on what is between the two: [`Provider::map_type`].
//!
//! # Lifetime model
//!
//! A provider can only be made while the driver is bound to its device. It holds a reference on
//! the device and copies what it needs, so using it later is always safe; but once the driver is
//! unbound no client is supported any more. Mappings that exist by then must be revoked by the
//! driver before its `unbind` returns. The C side demands this, and only the driver can do it.
//!
//! # Known limits
//!
//! `pci_p2pdma_map_type()`, which tells whether a transfer stays below a common bridge, is not
//! exported. [`Provider::map_type`] asks `pci_p2pdma_distance_many()` whether there is a way at
//! all, and follows the same bridges and ACS settings for the rest.

use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    io::{
        PhysAddr,
        ResourceSize, //
    },
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

use core::{
    cell::Cell,
    ptr::{
        from_ref,
        NonNull, //
    },
};

mod hold;
mod kernel_map;
mod retained;

pub use hold::{
    for_each_hold,
    Hold, //
};
pub use kernel_map::BarMap;
pub use retained::{
    for_each_retained,
    set_aside,
    Retained, //
};

/// Makes what is shared between drivers ready for use.
///
/// # Safety
///
/// Must be called once, before anything else of this module.
pub unsafe fn init() {
    // SAFETY: By the safety requirements.
    unsafe {
        hold::init();
        retained::init();
    }
}

/// How a client reaches the memory of a provider. C: `enum pci_p2pdma_map_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum MapType {
    /// It does not: see [`Provider::refusal`] for the reason.
    NotSupported = 1,
    /// Directly, below a common bridge: with addresses of the PCI bus, past any IOMMU.
    BusAddr = 2,
    /// Through the host bridge: with addresses that the DMA API maps, by the IOMMU if there is
    /// one.
    ThruHostBridge = 3,
}

/// Why a client cannot reach the memory of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client is not a PCI device.
    NotPci,
    /// The driver of the provider has been unbound.
    ProviderGone,
    /// The way leads through a host bridge that is not known to forward such transfers.
    NoRoute,
}

impl Refusal {
    /// The reason in words, for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotPci => "not a PCI device",
            Self::ProviderGone => "provider has no driver any more",
            Self::NoRoute => "no peer-to-peer route between the devices",
        }
    }
}

/// Number of clients whose map types are remembered.
const CACHE_SLOTS: usize = 8;

/// The way from one client to one provider, as it was found last. Topology does not change under a
/// client that has a driver.
pub(crate) struct KnownRoute {
    /// [`Provider::id`]; 0 for none.
    provider: Cell<u64>,
    map_type: Cell<MapType>,
}

impl KnownRoute {
    /// Nothing is known yet.
    #[inline]
    pub(crate) fn none() -> Self {
        Self {
            provider: Cell::new(0),
            map_type: Cell::new(MapType::NotSupported),
        }
    }
}

/// A memory BAR that other devices may access.
///
/// # Invariants
///
/// `start` and `len` are those of memory BAR `bar` of `pdev`, and `start + len` does not overflow.
pub struct Provider {
    /// Unlike that of all others, also of those that are gone; not 0.
    id: u64,
    pdev: ARef<pci::Device>,
    bar: u32,
    start: PhysAddr,
    len: ResourceSize,
    bus_offset: u64,
    /// Map types that were found before: the client's address in the upper bits, the type in the
    /// lowest two. Topology does not change under a client that has a driver.
    cache: [Atomic<u64>; CACHE_SLOTS],
}

impl Provider {
    /// Offers BAR `bar` of `pdev` to other devices.
    ///
    /// Sleeps (allocates). C: `pcim_p2pdma_init()`, `pcim_p2pdma_provider()`.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `bar` is not the number of a memory BAR.
    /// - `EOPNOTSUPP`: BARs of this device cannot be mapped, or the kernel is built without
    ///   peer-to-peer DMA.
    /// - `ENOMEM`.
    pub fn new(pdev: &pci::Device<Bound>, bar: u32) -> Result<Arc<Self>> {
        let raw = from_ref(pdev).cast_mut().cast();
        let (start, len) = (pdev.resource_start(bar)?, pdev.resource_len(bar)?);

        if len == 0 || start.checked_add(len).is_none() {
            return Err(EINVAL);
        }

        // SAFETY: `raw` is a valid PCI device, and bound to a driver during this call.
        to_result(unsafe { bindings::pcim_p2pdma_init(raw) })?;

        // CAST: `resource_start()` has checked that it is the number of a BAR.
        // SAFETY: As above, and `pcim_p2pdma_init()` has been called.
        let provider = NonNull::new(unsafe { bindings::pcim_p2pdma_provider(raw, bar as c_int) })
            .ok_or(EINVAL)?;

        static LAST_ID: Atomic<u64> = Atomic::new(0);

        Ok(Arc::new(
            Self {
                id: LAST_ID.fetch_add(1, Relaxed) + 1,
                pdev: pdev.into(),
                bar,
                // INVARIANT: Checked above.
                start,
                len,
                // SAFETY: The C structure lives until the driver is unbound.
                bus_offset: unsafe { provider.as_ref() }.bus_offset,
                cache: [const { Atomic::new(0) }; CACHE_SLOTS],
            },
            GFP_KERNEL,
        )?)
    }

    /// The device that has the BAR.
    #[inline]
    pub fn device(&self) -> &pci::Device {
        &self.pdev
    }

    /// The number of the BAR.
    #[inline]
    pub fn bar(&self) -> u32 {
        self.bar
    }

    /// CPU physical address of the BAR.
    #[inline]
    pub fn phys_start(&self) -> PhysAddr {
        self.start
    }

    /// Size of the BAR in bytes.
    #[inline]
    pub fn size(&self) -> ResourceSize {
        self.len
    }

    /// Whether `len` bytes from the physical address `start` are within the BAR.
    #[inline]
    pub fn contains(&self, start: PhysAddr, len: u64) -> bool {
        start
            .checked_sub(self.start)
            .is_some_and(|offset| offset <= self.len && len <= self.len - offset)
    }

    /// The address on the PCI bus for a physical address in the BAR, for
    /// [`MapType::BusAddr`]. C: `pci_p2pdma_bus_addr_map()`.
    #[inline]
    pub fn bus_address(&self, phys: PhysAddr) -> bindings::dma_addr_t {
        // The offset is a difference, which wraps where the bus address is the smaller.
        phys.wrapping_add(self.bus_offset)
    }

    /// How `client` reaches the BAR.
    ///
    /// Does not sleep. Reads configuration space when it is asked about a client for the first
    /// time. C: `pci_p2pdma_map_type()`, see [known limits](self#known-limits).
    pub fn map_type(&self, client: &Device) -> MapType {
        match self.route(client) {
            Ok(map_type) => map_type,
            Err(_) => MapType::NotSupported,
        }
    }

    /// Why `client` cannot reach the BAR; `None` if it can. As [`Provider::map_type`].
    pub fn refusal(&self, client: &Device) -> Option<Refusal> {
        self.route(client).err()
    }

    /// The way from `client` to the BAR, which is remembered in `known`; never
    /// [`MapType::NotSupported`]. `known` must always be used for the same client.
    #[inline]
    pub(crate) fn known_route(
        &self,
        client: &Device,
        known: &KnownRoute,
    ) -> Result<MapType, Refusal> {
        if known.provider.get() == self.id {
            return match self.is_bound() {
                true => Ok(known.map_type.get()),
                false => Err(Refusal::ProviderGone),
            };
        }

        let map_type = self.route(client)?;

        known.map_type.set(map_type);
        known.provider.set(self.id);
        Ok(map_type)
    }

    /// The way from `client` to the BAR; never [`MapType::NotSupported`].
    fn route(&self, client: &Device) -> Result<MapType, Refusal> {
        let client: &pci::Device = client.try_into().map_err(|_| Refusal::NotPci)?;

        if !self.is_bound() {
            return Err(Refusal::ProviderGone);
        }

        // SAFETY: `client` is a valid PCI device.
        let domain = unsafe { ext_bindings::pci_dev_domain_nr(raw_pci(client)) };
        // CAST: Domain numbers are not negative.
        let key = u64::from(domain as u32) << 16 | u64::from(client.dev_id());
        let slot = &self.cache[key as usize % CACHE_SLOTS];
        let cached = slot.load(Relaxed);

        let map_type = if cached >> 2 == key && cached & 3 != 0 {
            match cached & 3 {
                2 => MapType::BusAddr,
                3 => MapType::ThruHostBridge,
                _ => MapType::NotSupported,
            }
        } else {
            let map_type = self.find_route(client);
            slot.store(key << 2 | map_type as u64, Relaxed);
            map_type
        };

        match map_type {
            MapType::NotSupported => Err(Refusal::NoRoute),
            map_type => Ok(map_type),
        }
    }

    /// Whether the driver that made the provider is still bound.
    #[inline]
    fn is_bound(&self) -> bool {
        // SAFETY: The device is valid. The field is set by `pcim_p2pdma_init()`, cleared when the
        // driver is unbound, and only looked at here.
        !unsafe { (&raw const (*raw_pci(&self.pdev)).p2pdma).read_volatile() }.is_null()
    }

    fn find_route(&self, client: &pci::Device) -> MapType {
        let dev: &Device = client.as_ref();
        let mut clients = [from_ref(dev).cast_mut().cast::<bindings::device>()];

        // SAFETY: Both devices are valid, and `clients` has one entry.
        let distance = unsafe {
            bindings::pci_p2pdma_distance_many(raw_pci(&self.pdev), clients.as_mut_ptr(), 1, false)
        };

        if distance < 0 {
            MapType::NotSupported
        } else if self.has_direct_path(client) {
            MapType::BusAddr
        } else {
            MapType::ThruHostBridge
        }
    }

    /// Whether there is a common bridge, with no port on the way that redirects transfers between
    /// peers to the root complex.
    fn has_direct_path(&self, client: &pci::Device) -> bool {
        let common = Upstream::from(&*self.pdev)
            .find(|above| Upstream::from(client).any(|other| other == *above));
        let Some(common) = common else {
            return false;
        };
        let clear = |pdev| {
            Upstream::from(pdev)
                .take_while(|dev| *dev != common)
                .all(|dev| !redirects(dev))
        };

        clear(&*self.pdev) && clear(client) && !redirects(common)
    }
}

fn raw_pci(pdev: &pci::Device) -> *mut bindings::pci_dev {
    from_ref(pdev).cast_mut().cast()
}

/// A PCI device and the bridges above it, up to the root port.
///
/// Each device holds a reference on the bridge above it, so they are valid as long as the first.
struct Upstream<'a> {
    next: Option<NonNull<bindings::pci_dev>>,
    _pdev: core::marker::PhantomData<&'a pci::Device>,
}

impl<'a> From<&'a pci::Device> for Upstream<'a> {
    fn from(pdev: &'a pci::Device) -> Self {
        Self {
            next: NonNull::new(raw_pci(pdev)),
            _pdev: core::marker::PhantomData,
        }
    }
}

impl Iterator for Upstream<'_> {
    type Item = NonNull<bindings::pci_dev>;

    fn next(&mut self) -> Option<Self::Item> {
        let this = self.next?;

        // SAFETY: `this` is the first device or a bridge above it, hence valid.
        self.next = NonNull::new(unsafe { ext_bindings::pci_upstream_bridge(this.as_ptr()) });
        Some(this)
    }
}

/// Whether the ACS settings of `dev` send transfers between peers to the root complex.
fn redirects(dev: NonNull<bindings::pci_dev>) -> bool {
    const REDIRECT: u16 =
        (bindings::PCI_ACS_RR | bindings::PCI_ACS_CR | bindings::PCI_ACS_EC) as u16;

    // SAFETY: Callers pass valid devices, see `Upstream`.
    let acs_cap = unsafe { dev.as_ref() }.acs_cap;

    if acs_cap == 0 {
        return false;
    }

    let mut control = 0;
    // SAFETY: As above; `control` is a valid place.
    let ret = unsafe {
        bindings::pci_read_config_word(
            dev.as_ptr(),
            c_int::from(acs_cap) + bindings::PCI_ACS_CTRL as c_int,
            &mut control,
        )
    };

    // What cannot be read cannot be relied on.
    ret != 0 || control & REDIRECT != 0
}
