// SPDX-License-Identifier: GPL-2.0

//! `sriov_admin/` in sysfs, as the Xe driver has it.
//!
//! Documented in `Documentation/ABI/testing/sysfs-driver-hlrs`:
//!
//! ```text
//! sriov_admin/
//! ├── .bulk_profile/vram_quota
//! ├── pf/device -> ../../
//! └── vf<N>/
//!     ├── stop
//!     └── profile/vram_quota
//! ```

use kernel::{
    device::{
        Bound,
        Device, //
    },
    io::Io,
    prelude::*,
    str::{
        parse_int::ParseInt,
        BStr, //
    },
    sync::Arc, //
};
use kernel_ext::sysfs::{
    Attribute,
    Directory,
    Output, //
};

use super::provision::Provisioning;
use crate::{
    hw::{
        Hw,
        VfId, //
    },
    regs, //
};

/// What the files of a directory are about.
struct Target {
    provisioning: Arc<Provisioning>,
    hw: Arc<Hw>,
    /// [`None`]: all VFs.
    vf: Option<VfId>,
}

fn parse_bytes(input: &[u8]) -> Result<u64> {
    u64::from_str(BStr::from_bytes(input.trim_ascii()))
}

fn show_quota(target: &Target, out: &mut Output<'_>) -> Result {
    let vf = target.vf.ok_or(EIO)?;
    out.write_fmt(fmt!("{}\n", target.provisioning.quota(vf)?))
}

fn store_quota(target: &Target, input: &[u8]) -> Result {
    target
        .provisioning
        .set_quota(target.vf, parse_bytes(input)?)
}

/// Resets the engines of a VF; it stays as it is until its driver notices.
fn store_stop(target: &Target, input: &[u8]) -> Result {
    let vf = target.vf.ok_or(EIO)?;
    if input.trim_ascii() != b"1" {
        return Err(EINVAL);
    }

    target
        .hw
        .with(|bar| bar.write_reg(regs::VF_RESET::from(u32::from(vf.number()))))
}

static PROFILE: [Attribute<Target>; 1] = [Attribute::read_write(
    c"vram_quota",
    show_quota,
    store_quota,
)];
static BULK_PROFILE: [Attribute<Target>; 1] = [Attribute::write_only(c"vram_quota", store_quota)];
static VF: [Attribute<Target>; 1] = [Attribute::write_only(c"stop", store_stop)];
static NO_FILES: [Attribute<()>; 0] = [];

/// The directory; removed when dropped. Inner directories come first: they are dropped first.
pub(crate) struct Admin {
    _profiles: KVec<Directory<Target>>,
    _vfs: KVec<Directory<Target>>,
    _pf: Directory<()>,
    _root: Directory<()>,
}

impl Admin {
    /// Creates the directory for the PF `dev`. Sleeps.
    pub(crate) fn new(
        dev: &Device<Bound>,
        hw: &Arc<Hw>,
        provisioning: &Arc<Provisioning>,
    ) -> Result<Self> {
        let target = |vf| Target {
            provisioning: provisioning.clone(),
            hw: hw.clone(),
            vf,
        };

        let root = Directory::new(dev, fmt!("sriov_admin"), (), &NO_FILES)?;
        let pf = Directory::new(&root, fmt!("pf"), (), &NO_FILES)?;
        pf.add_link(dev, c"device")?;

        let mut vfs = KVec::new();
        let mut profiles = KVec::new();
        profiles.push(
            Directory::new(&root, fmt!(".bulk_profile"), target(None), &BULK_PROFILE)?,
            GFP_KERNEL,
        )?;

        for vf in (1..=provisioning.total_vfs()).filter_map(VfId::new) {
            let dir = Directory::new(&root, fmt!("vf{}", vf.number()), target(Some(vf)), &VF)?;
            profiles.push(
                Directory::new(&dir, fmt!("profile"), target(Some(vf)), &PROFILE)?,
                GFP_KERNEL,
            )?;
            vfs.push(dir, GFP_KERNEL)?;
        }

        Ok(Self {
            _profiles: profiles,
            _vfs: vfs,
            _pf: pf,
            _root: root,
        })
    }
}
