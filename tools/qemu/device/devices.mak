# SPDX-License-Identifier: GPL-2.0-or-later
# Devices of the test machine. Everything else is left out, which makes the
# build several times shorter.
CONFIG_Q35=y
CONFIG_HLRS=y
# The PCIe topology.
CONFIG_PCIE_PORT=y
CONFIG_XIO3130=y
CONFIG_VTD=y
# What the guest needs to boot, to talk and to be stopped.
CONFIG_PCI_DEVICES=n
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_BLK=y
CONFIG_VIRTIO_RNG=y
CONFIG_VIRTIO_SERIAL=y
CONFIG_SERIAL_ISA=y
CONFIG_ISA_DEBUG=y
CONFIG_HPET=y
# Peers that are not ours: PCIe functions of other vendors with DMA.
CONFIG_TEST_DEVICES=y
CONFIG_EDU=y
CONFIG_NVME_PCI=y
