/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HLRS accelerator: virtual functions.
 *
 * QEMU decodes a VF's BARs by the Memory Space bit of the VF's own Command
 * register. In a real VF that bit is hardwired to zero and the VF MSE bit of
 * the PF's SR-IOV capability decides for all VFs. The functions here make it
 * so: the bit follows VF MSE, and the guest neither sees nor changes it.
 */

#include "qemu/osdep.h"
#include "hw/pci/pcie.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "qemu/range.h"
#include "hlrs.h"

#define HLRS_VF_ACS_CAP         0x160

/* The VF if it is enabled, else NULL. */
HlrsFn *hlrs_vf_get(HlrsPF *pf, unsigned number)
{
    PCIDevice *vf;

    if (!pf->total_vfs || !number) {
        return NULL;
    }
    vf = pcie_sriov_get_vf_at_index(hlrs_pci(&pf->fn), number - 1);
    return vf && vf->enabled ? HLRS_FN(vf) : NULL;
}

static void hlrs_vf_set_decode(PCIDevice *vf, bool on)
{
    uint16_t cmd = pci_get_word(vf->config + PCI_COMMAND);
    uint16_t want = on ? cmd | PCI_COMMAND_MEMORY : cmd & ~PCI_COMMAND_MEMORY;

    if (cmd != want) {
        pci_default_write_config(vf, PCI_COMMAND, want, 2);
    }
}

static bool hlrs_vf_decode(HlrsPF *pf)
{
    PCIDevice *dev = hlrs_pci(&pf->fn);

    return pci_get_word(dev->config + dev->exp.sriov_cap + PCI_SRIOV_CTRL) &
           PCI_SRIOV_CTRL_MSE;
}

void hlrs_vf_sync_decode(HlrsPF *pf)
{
    PCIDevice *dev = hlrs_pci(&pf->fn);
    unsigned n = pcie_sriov_num_vfs(dev);

    for (unsigned i = 0; i < n; i++) {
        hlrs_vf_set_decode(pcie_sriov_get_vf_at_index(dev, i),
                           hlrs_vf_decode(pf));
    }
}

static uint32_t hlrs_vf_config_read(PCIDevice *dev, uint32_t addr, int len)
{
    uint32_t val = pci_default_read_config(dev, addr, len);

    if (ranges_overlap(addr, len, PCI_COMMAND, 1)) {
        val &= ~((uint32_t)PCI_COMMAND_MEMORY << (PCI_COMMAND - addr) * 8);
    }
    return val;
}

static void hlrs_vf_config_write(PCIDevice *dev, uint32_t addr, uint32_t val,
                                 int len)
{
    HlrsFn *fn = HLRS_FN(dev);

    if (ranges_overlap(addr, len, PCI_COMMAND, 1)) {
        uint32_t bit = (uint32_t)PCI_COMMAND_MEMORY << (PCI_COMMAND - addr) * 8;

        val = hlrs_vf_decode(fn->pf) ? val | bit : val & ~bit;
    }
    pci_default_write_config(dev, addr, val, len);
    pcie_cap_flr_write_config(dev, addr, val, len);
    pcie_aer_write_config(dev, addr, val, len);
    /* An FLR leaves the decoding of the BARs alone. */
    hlrs_vf_set_decode(dev, hlrs_vf_decode(fn->pf));
}

static void hlrs_vf_realize(PCIDevice *dev, Error **errp)
{
    HlrsVF *vf = HLRS_VF(dev);
    HlrsPF *pf = HLRS_PF(pcie_sriov_get_pf(dev));
    ERRP_GUARD();

    vf->windows = g_ptr_array_new();
    hlrs_fn_realize(&vf->fn, pf, pcie_sriov_vf_number(dev) + 1, errp);
    if (*errp) {
        g_ptr_array_free(g_steal_pointer(&vf->windows), true);
        return;
    }
    /* A VF is a function of a multi-function device by definition. */
    dev->cap_present |= QEMU_PCI_CAP_MULTIFUNCTION;
    pcie_acs_init(dev, HLRS_VF_ACS_CAP);
}

static void hlrs_vf_exit(PCIDevice *dev)
{
    HlrsVF *vf = HLRS_VF(dev);

    hlrs_lmtt_unmap(vf);
    g_ptr_array_free(g_steal_pointer(&vf->windows), true);
    hlrs_fn_exit(&vf->fn);
}

static void hlrs_vf_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(oc);

    pc->realize = hlrs_vf_realize;
    pc->exit = hlrs_vf_exit;
    pc->config_read = hlrs_vf_config_read;
    pc->config_write = hlrs_vf_config_write;
    pc->device_id = HLRS_PCI_DEVICE_ID_VF;
    dc->desc = "HLRS accelerator, virtual function";
    dc->user_creatable = false;
}

static const TypeInfo hlrs_vf_info = {
    .name = TYPE_HLRS_VF,
    .parent = TYPE_HLRS_FN,
    .instance_size = sizeof(HlrsVF),
    .class_init = hlrs_vf_class_init,
};

static void hlrs_vf_register_types(void)
{
    type_register_static(&hlrs_vf_info);
}

type_init(hlrs_vf_register_types)
