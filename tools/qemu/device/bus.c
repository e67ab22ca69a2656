/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: requests to the bus.
 *
 * A request climbs from the device towards the root complex. At each port on
 * its way a switch looks whether the address belongs to something below it,
 * and if so turns the request around: untranslated, past any IOMMU. A port
 * whose ACS control has P2P Request Redirect set sends everything up instead.
 * QEMU models only the way through the root complex, so the turns are taken
 * here, by the address map that QEMU keeps for the secondary side of bridges.
 *
 * Engines access memory only: guest RAM, and BARs that are memory. A request
 * that reaches a register of any device fails. Peer registers are nothing
 * that a copy engine has business with, and it rules out that an engine
 * reconfigures or unplugs the device that it runs on.
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_bridge.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pcie.h"
#include "qemu/rcu.h"
#include "hlrs.h"

/* No request crosses a multiple of this, as in PCI Express. */
#define HLRS_TLP_BOUNDARY       4096

static bool hlrs_port_redirects(PCIDevice *port)
{
    return port->exp.acs_cap &&
           (pci_get_word(port->config + port->exp.acs_cap + PCI_ACS_CTRL) &
            PCI_ACS_RR);
}

/* The memory behind a bus address, or NULL if it is none or may not be used. */
static MemoryRegion *hlrs_bus_memory(AddressSpace *as, uint64_t addr,
                                     bool write)
{
    hwaddr xlat, len = 1;
    MemoryRegion *mr = address_space_translate(as, addr, &xlat, &len, write,
                                               MEMTXATTRS_UNSPECIFIED);

    return memory_region_is_ram(mr) || mr->ops == &hlrs_hole_ops ? mr : NULL;
}

/* Where a request to this address goes. */
static AddressSpace *hlrs_bus_route(PCIDevice *dev, uint64_t addr, bool write)
{
    PCIBus *bus = pci_get_bus(dev);

    while (!pci_bus_is_root(bus)) {
        PCIDevice *port = pci_bridge_get_device(bus);

        if (!pci_is_express(port) ||
            (pci_is_express_downstream_port(port) &&
             hlrs_port_redirects(port))) {
            break;
        }
        if (hlrs_bus_memory(&PCI_BRIDGE(port)->as_mem, addr, write)) {
            return &PCI_BRIDGE(port)->as_mem;
        }
        bus = pci_get_bus(port);
    }
    return pci_get_address_space(dev);
}

/* BAR2 where no LMEM is behind it: memory that answers with all ones. */
static void hlrs_bus_hole(MemoryRegion *mr, void *buf, uint64_t len,
                          bool write)
{
    HlrsFn *owner = mr->opaque;

    if (hlrs_is_vf(owner)) {
        hlrs_count(owner, HLRS_CNT_QUOTA_VIOLATION, 1);
    }
    if (!write) {
        memset(buf, 0xff, len);
    }
}

/* One request: within one multiple of HLRS_TLP_BOUNDARY. */
static MemTxResult hlrs_bus_request(PCIDevice *dev, uint64_t addr, void *buf,
                                    uint64_t len, bool write)
{
    const MemTxAttrs attrs = { .memory = 1 };
    AddressSpace *as;
    MemoryRegion *mr;

    RCU_READ_LOCK_GUARD();
    as = hlrs_bus_route(dev, addr, write);
    mr = hlrs_bus_memory(as, addr, write);
    if (!mr) {
        return MEMTX_DECODE_ERROR;
    }
    if (!memory_region_is_ram(mr)) {
        hlrs_bus_hole(mr, buf, len, write);
        return MEMTX_OK;
    }
    if (as != pci_get_address_space(dev)) {
        return address_space_rw(as, addr, attrs, buf, len, write);
    }
    return pci_dma_rw(dev, addr, buf, len,
                      write ? DMA_DIRECTION_FROM_DEVICE
                            : DMA_DIRECTION_TO_DEVICE, attrs);
}

MemTxResult hlrs_bus_rw(HlrsFn *fn, uint64_t addr, void *buf, uint64_t len,
                        bool write)
{
    PCIDevice *dev = hlrs_pci(fn);
    MemTxResult res = MEMTX_OK;
    uint8_t *p = buf;

    if (!(pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_MASTER)) {
        return MEMTX_ACCESS_ERROR;
    }
    while (len && res == MEMTX_OK) {
        uint64_t n = MIN(len, HLRS_TLP_BOUNDARY - addr % HLRS_TLP_BOUNDARY);

        res = hlrs_bus_request(dev, addr, p, n, write);
        addr += n;
        p += n;
        len -= n;
    }
    return res;
}
