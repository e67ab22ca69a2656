# SPDX-License-Identifier: GPL-2.0
"""The test machines: QEMU's command line for each variant.

All have two accelerators, acc0 and acc1, below hot-pluggable ports whose
physical slot numbers are 1 and 2. Where there is a link between them, it takes
what goes over the bus elsewhere."""

from dataclasses import dataclass

import tsc

MIB = 1 << 20


@dataclass(frozen=True)
class Variant:
    name: str
    about: str
    switch: bool = True
    iommu: bool = False
    aperture: int = 0
    forwards: bool = True
    link: bool = False


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("switch", "two accelerators below one PCIe switch"),
        Variant("link", "the same, and a link between the accelerators", link=True),
        Variant("iommu", "the same, behind an emulated Intel IOMMU", iommu=True),
        Variant("small-switch", "the same, with an aperture of a quarter of the memory", aperture=64 * MIB),
        Variant("ports", "each accelerator on a root port of its own", switch=False),
        Variant("iommu-ports", "root ports, behind an emulated Intel IOMMU", switch=False, iommu=True),
        Variant("refused", "root ports of a machine that does not forward between them", switch=False, forwards=False),
        Variant("small", "root ports, with an aperture of a quarter of the memory", switch=False, aperture=64 * MIB),
    )
}

# Physical slot of each accelerator, and the id of the port that has it.
SLOTS = {"acc0": (1, "port0"), "acc1": (2, "port1")}
PEER = {"acc0": "acc1", "acc1": "acc0"}


# The peer-to-peer rules of Linux list this processor. What the emulation
# cannot do is switched off, or QEMU warns about it at every start.
CPU = "EPYC,fxsr-opt=off,misalignsse=off,osvw=off,topoext=off,nrip-save=off,xsavec=off"


# They do not list processors before this one's family 17h.
OLD_CPU = CPU.replace("EPYC", "EPYC,family=16")


def accelerator(variant, name):
    """The device's properties, as device_add takes them and -device prints them."""
    properties = {
        "driver": "hlrs",
        "id": name,
        "bus": SLOTS[name][1],
        "lmem": 256 * MIB,
        "total-vfs": 7,
    }
    if variant.link:
        properties["link"] = PEER[name]
    if variant.aperture:
        properties["aperture"] = variant.aperture
    return properties


def _device(properties):
    properties = dict(properties)
    return ["-device", ",".join([properties.pop("driver")] + [f"{k}={v}" for k, v in properties.items()])]


def kernel_command_line(variant, flavour, extra="", *, icount=False, leaks=True):
    words = [
        "console=ttyS0",
        "printk.devkmsg=on",
        "panic=-1",
        # The emulated processors cannot always answer the watchdog in time.
        "tsc=reliable",
        # A test cannot say anything about a kernel that has oopsed.
        "oops=panic",
        # Linux sizes the windows for VFs and for replugged accelerators.
        "pci=realloc=on",
    ]
    if variant.iommu:
        words.append("intel_iommu=on")
    if flavour == "debug":
        words.append("sysctl.kernel.hung_task_timeout_secs=30")
        # Without slab_debug the allocator keeps allocated objects' addresses in
        # its per-processor arrays, and kmemleak takes these for references.
        words += ["kmemleak=on", "slab_debug=F"] if leaks else ["kmemleak=off"]
        # Unbinding a device waits for some twenty grace periods, one after the other.
        words.append("rcupdate.rcu_expedited=1")
    # Under -icount the counter counts instructions, and Linux measures it right.
    rate = None if icount else tsc.khz()
    if rate:
        words.append(f"tsc_early_khz={rate}")
    if extra:
        words.append(extra)
    return " ".join(words)


def command(qemu, variant, kernel, initrd, command_line, *, icount=False, memory="2G", cpus=2):
    """Everything but the channels to the guest, which the caller adds."""
    args = [qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    args += ["-L", "/usr/share/seabios", "-L", "/usr/share/qemu"]
    args += ["-machine", "q35,usb=off", "-cpu", CPU if variant.forwards else OLD_CPU, "-m", memory]
    args += ["-global", "q35-pcihost.pci-hole64-size=64G"]
    # Native PCIe hot plug, as real machines have it, and not ACPI's.
    args += ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
    if icount:
        # Guest time is the number of executed instructions.
        args += ["-accel", "tcg,thread=single", "-smp", "1", "-icount", "shift=0,sleep=off"]
        args += ["-rtc", "base=2026-01-01,clock=vm"]
    else:
        args += ["-accel", "tcg,thread=multi", "-smp", str(cpus)]
    args += ["-kernel", kernel, "-initrd", initrd, "-append", command_line]
    if variant.iommu:
        args += ["-device", "intel-iommu,intremap=on,caching-mode=on"]
    if variant.switch:
        args += ["-device", "pcie-root-port,id=root0,chassis=10,slot=10,pref64-reserve=16G"]
        args += ["-device", "x3130-upstream,id=up0,bus=root0"]
        for slot, port in SLOTS.values():
            args += ["-device", f"xio3130-downstream,id={port},bus=up0,chassis={slot},slot={slot}"]
    else:
        for slot, port in SLOTS.values():
            args += ["-device", f"pcie-root-port,id={port},chassis={slot},slot={slot},pref64-reserve=8G"]
    for name in SLOTS:
        args += _device(accelerator(variant, name))
    return args
