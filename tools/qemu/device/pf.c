/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: the physical function.
 */

#include "qemu/osdep.h"
#include "hw/hotplug.h"
#include "hw/pci/pci_bridge.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pcie.h"
#include "hw/qdev-properties.h"
#include "block/aio.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "hlrs.h"

#define HLRS_SRIOV_CAP          0x160
/* Resetting SR-IOV, QEMU writes up to four bytes behind the capability. */
#define HLRS_ACS_CAP            0x1b0
#define HLRS_VF_OFFSET          1
#define HLRS_VF_STRIDE          1

#define HLRS_LMEM_DEFAULT       (256 * MiB)
#define HLRS_LMEM_MAX           (1 * TiB)
#define HLRS_APERTURE_MIN       (1 * MiB)

static bool hlrs_pf_check_properties(HlrsPF *pf, Error **errp)
{
    if (!pf->lmem_size || pf->lmem_size % HLRS_LMTT_GRANULE ||
        pf->lmem_size > HLRS_LMEM_MAX) {
        error_setg(errp, "lmem must be a multiple of 2 MiB, at most 1 TiB");
        return false;
    }
    if (!pf->aperture_size) {
        pf->aperture_size = pow2ceil(pf->lmem_size);
    }
    if (!is_power_of_2(pf->aperture_size) ||
        pf->aperture_size < HLRS_APERTURE_MIN ||
        pf->aperture_size > pow2ceil(pf->lmem_size)) {
        error_setg(errp, "aperture must be a power of two from 1 MiB up to "
                   "the size of the LMEM");
        return false;
    }
    if (pf->total_vfs > HLRS_MAX_VFS) {
        error_setg(errp, "total-vfs must be at most %d", HLRS_MAX_VFS);
        return false;
    }
    return true;
}

/* The same on each start of the same machine, unlike an address. */
static uint64_t hlrs_pf_derive_uid(HlrsPF *pf)
{
    const char *name = DEVICE(pf)->id;
    uint64_t hash = 0xcbf29ce484222325ull;

    for (; name && *name; name++) {
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3ull;
    }
    return (hash ^ hlrs_pci(&pf->fn)->devfn) | 1;
}

static bool hlrs_pf_init_sriov(HlrsPF *pf, Error **errp)
{
    PCIDevice *dev = hlrs_pci(&pf->fn);
    const uint8_t regs = PCI_BASE_ADDRESS_MEM_TYPE_64;

    if (!pcie_sriov_pf_init(dev, HLRS_SRIOV_CAP, TYPE_HLRS_VF,
                            HLRS_PCI_DEVICE_ID_VF, pf->total_vfs,
                            pf->total_vfs, HLRS_VF_OFFSET, HLRS_VF_STRIDE,
                            errp)) {
        return false;
    }
    pcie_sriov_pf_init_vf_bar(dev, HLRS_BAR_REGS, regs, HLRS_REGS_SIZE);
    pcie_sriov_pf_init_vf_bar(dev, HLRS_BAR_LMEM,
                              regs | PCI_BASE_ADDRESS_MEM_PREFETCH,
                              pf->aperture_size);
    pcie_sriov_pf_init_vf_bar(dev, HLRS_BAR_MSIX, regs, HLRS_MSIX_SIZE);
    /*
     * Functions do not reach each other inside the device. Saying so with an
     * empty ACS capability is what lets each have an IOMMU group of its own.
     */
    pcie_acs_init(dev, HLRS_ACS_CAP);
    return true;
}

static void hlrs_pf_realize(PCIDevice *dev, Error **errp)
{
    HlrsPF *pf = HLRS_PF(dev);
    ERRP_GUARD();

    if (!hlrs_pf_check_properties(pf, errp) || !hlrs_lmem_init(pf, errp)) {
        return;
    }
    if (!pf->uid) {
        pf->uid = hlrs_pf_derive_uid(pf);
    }
    hlrs_lmtt_init(pf);

    hlrs_fn_realize(&pf->fn, pf, 0, errp);
    if (*errp) {
        hlrs_lmem_exit(pf);
        return;
    }
    memory_region_add_subregion(&pf->fn.bar_lmem, 0, &pf->lmem_window);

    if (pf->total_vfs && !hlrs_pf_init_sriov(pf, errp)) {
        hlrs_lmem_exit(pf);
        memory_region_del_subregion(&pf->fn.bar_lmem, &pf->lmem_window);
        hlrs_fn_exit(&pf->fn);
        return;
    }
    hlrs_abort_install(pci_get_bus(dev));
    hlrs_link_join(pf);
}

static void hlrs_pf_exit(PCIDevice *dev)
{
    HlrsPF *pf = HLRS_PF(dev);

    hlrs_link_leave(pf);
    pcie_sriov_pf_exit(dev);
    hlrs_fn_exit(&pf->fn);
    /*
     * QEMU keeps the flat view of an address space, and with it references to
     * this device, until the next change of any region. The guest may have
     * switched everything else off, so the change has to come from here, after
     * the address space is gone.
     */
    hlrs_lmem_exit(pf);
    memory_region_del_subregion(&pf->fn.bar_lmem, &pf->lmem_window);
}

static void hlrs_pf_finalize(Object *obj)
{
    HlrsPF *pf = HLRS_PF(obj);

    hlrs_lmtt_finalize(pf);
    hlrs_lmem_finalize(pf);
}

static void hlrs_pf_config_write(PCIDevice *dev, uint32_t addr, uint32_t val,
                                 int len)
{
    HlrsPF *pf = HLRS_PF(dev);

    pf->config_write = true;
    pci_default_write_config(dev, addr, val, len);
    pf->config_write = false;
    pcie_cap_flr_write_config(dev, addr, val, len);
    pcie_aer_write_config(dev, addr, val, len);
    hlrs_vf_sync_decode(pf);
}

/*
 * device_del asks the guest to let go of the device first. Pulling the card
 * is what this does: the device is gone at once, and the slot then reports
 * that presence and link changed.
 */
static void hlrs_pf_pull(void *opaque)
{
    PCIDevice *port = opaque;
    uint16_t ctl, sta;

    pcie_cap_slot_get(port, &ctl, &sta);
    if (sta & PCI_EXP_SLTSTA_PDS) {
        uint16_t on = (ctl & ~(PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PIC)) |
                      PCI_EXP_SLTCTL_PWR_IND_ON;
        uint16_t off = on | PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PWR_IND_OFF;

        /* Slot control keeps its value: nobody told the port to power off. */
        pcie_cap_slot_write_config(port, on, sta,
                                   port->exp.exp_cap + PCI_EXP_SLTCTL, off, 2);
    }
    object_unref(port);
}

static bool hlrs_pf_get_pull(Object *obj, Error **errp)
{
    return false;
}

static void hlrs_pf_set_pull(Object *obj, bool value, Error **errp)
{
    PCIDevice *port;

    if (!value) {
        return;
    }
    if (!DEVICE(obj)->realized) {
        error_setg(errp, "the device is not plugged in");
        return;
    }
    port = pci_bridge_get_device(pci_get_bus(PCI_DEVICE(obj)));
    if (!port || !pci_is_express_downstream_port(port) ||
        !(pci_get_long(port->config + port->exp.exp_cap + PCI_EXP_SLTCAP) &
          PCI_EXP_SLTCAP_HPC)) {
        error_setg(errp, "the device is not in a slot with native hot plug");
        return;
    }
    /* Not here: the caller still uses the object that would go away. */
    DEVICE(obj)->pending_deleted_event = true;
    object_ref(port);
    aio_bh_schedule_oneshot(qemu_get_aio_context(), hlrs_pf_pull, port);
}

static const Property hlrs_pf_properties[] = {
    DEFINE_PROP_SIZE("lmem", HlrsPF, lmem_size, HLRS_LMEM_DEFAULT),
    DEFINE_PROP_SIZE("aperture", HlrsPF, aperture_size, 0),
    DEFINE_PROP_UINT32("total-vfs", HlrsPF, total_vfs, 7),
    DEFINE_PROP_UINT64("uid", HlrsPF, uid, 0),
    DEFINE_PROP_STRING("link", HlrsPF, link),
    DEFINE_PROP_BOOL("inject", HlrsPF, inject, true),
};

static void hlrs_pf_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(oc);

    pc->realize = hlrs_pf_realize;
    pc->exit = hlrs_pf_exit;
    pc->config_write = hlrs_pf_config_write;
    pc->device_id = HLRS_PCI_DEVICE_ID_PF;
    dc->desc = "HLRS accelerator with local memory and SR-IOV";
    device_class_set_props(dc, hlrs_pf_properties);
    object_class_property_add_bool(oc, "pull", hlrs_pf_get_pull,
                                   hlrs_pf_set_pull);
    object_class_property_set_description(oc, "pull",
        "write true to remove the device without asking the guest");
}

static const TypeInfo hlrs_pf_info = {
    .name = TYPE_HLRS_PF,
    .parent = TYPE_HLRS_FN,
    .instance_size = sizeof(HlrsPF),
    .instance_finalize = hlrs_pf_finalize,
    .class_init = hlrs_pf_class_init,
};

static void hlrs_pf_register_types(void)
{
    type_register_static(&hlrs_pf_info);
}

type_init(hlrs_pf_register_types)
