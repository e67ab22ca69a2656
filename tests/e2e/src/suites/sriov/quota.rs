// SPDX-License-Identifier: MIT OR Apache-2.0
//! `sriov_admin/`: how the memory of a card is divided.

use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::log::Log;
use crate::system::registers::Registers;
use crate::system::vfs::Vfs;
use crate::system::MIB;
use crate::tests;

const GRANULE: u64 = 2 * MIB;

pub fn tests() -> Vec<Test> {
    tests![
        fair_shares: 180,
        quotas_of_any_size: 180,
        quotas_and_fair_shares: 120,
        wrong_quotas_are_refused: 120,
        quotas_that_do_not_fit: 120,
        bulk_quota: 120,
        scattered_quota: 180,
        a_function_without_memory: 120,
    ]
}

fn fair_shares(context: &Context) -> Outcome {
    let vfs = Vfs::none()?;
    let pf = cards::first()?;
    let total = pf.lmem()?.total;
    let numbers = match context.soak {
        true => &[1, 2, 3, 4, 5, 6, 7][..],
        false => &[1, 3][..],
    };
    for &count in numbers {
        vfs.set(count)?;
        let share = vfs.pf.quota(1)?;
        check!(
            share % GRANULE == 0 && share > 0,
            "a share of {share} bytes"
        );
        // The functions and the card itself get the same, to within a granule.
        let even = total / u64::from(count + 1);
        check!(
            even - share < GRANULE,
            "{share} bytes for one of {count}, expected {even}"
        );
        for number in 1..=count {
            check_eq!(vfs.pf.quota(number)?, share, "share of function {number}");
            check_eq!(vfs.open(number)?.lmem()?.total, share);
        }
        let given = share * u64::from(count);
        let left = pf.lmem()?;
        check_eq!(
            left.total - left.used,
            total - given,
            "what is left for the card"
        );
        vfs.clear()?;
        cards::settles(&pf, 0)?;
        check_eq!(vfs.pf.quota(1)?, 0, "quota after the functions are gone");
    }
    Ok(())
}

fn quotas_of_any_size(_: &Context) -> Outcome {
    let vfs = Vfs::none()?;
    // Not powers of two, and different from each other.
    let quotas = [GRANULE, 3 * GRANULE, 17 * GRANULE];
    for (number, quota) in (1..).zip(quotas) {
        vfs.pf.set_quota(number, quota)?;
        check_eq!(vfs.pf.quota(number)?, quota);
    }
    vfs.set(3)?;
    for (number, quota) in (1..).zip(quotas) {
        let device = vfs.open(number)?;
        check_eq!(device.lmem()?.total, quota, "function {number}");
        let all = Place::Lmem.create(&device, quota)?;
        all.fill(0, quota, number.into())?;
        cards::holds_pattern("all of its memory", &all, number.into())?;
        check_errno!(Place::Lmem.create(&device, 4096), NOSPC, "a page more");
        check_errno!(Place::Lmem.create(&device, quota + 4096), TOOBIG);
    }
    check_errno!(
        vfs.pf.set_quota(1, GRANULE),
        BUSY,
        "a quota while functions are enabled"
    );
    vfs.clear()?;
    check_eq!(
        vfs.pf.quota(3)?,
        quotas[2],
        "a quota that was set stays set"
    );
    Ok(())
}

fn quotas_and_fair_shares(_: &Context) -> Outcome {
    let vfs = Vfs::none()?;
    let pf = cards::first()?;
    vfs.pf.set_quota(2, 10 * MIB)?;
    vfs.set(3)?;
    check_eq!(vfs.pf.quota(2)?, 10 * MIB);
    let (a, b) = (vfs.pf.quota(1)?, vfs.pf.quota(3)?);
    check_eq!(a, b, "the shares of the two without a quota");
    let even = (pf.lmem()?.total - 10 * MIB) / 3;
    check!(
        a <= even && even - a < GRANULE,
        "a share of {a} bytes, expected {even}"
    );
    Ok(())
}

fn wrong_quotas_are_refused(_: &Context) -> Outcome {
    let vfs = Vfs::none()?;
    let total = cards::first()?.lmem()?.total;
    for bytes in [1, 4096, GRANULE - 1, GRANULE + MIB] {
        check_errno!(
            vfs.pf.set_quota(1, bytes),
            INVAL,
            "a quota of {bytes} bytes"
        );
    }
    for bytes in [total + GRANULE, 1 << 40, u64::MAX - GRANULE + 1] {
        check_errno!(
            vfs.pf.set_quota(1, bytes),
            RANGE,
            "a quota of {bytes} bytes"
        );
    }
    let file = vfs
        .pf
        .directory()
        .join("sriov_admin/vf1/profile/vram_quota");
    for text in ["\n", "x", "-2097152", "2M", "0x", "99999999999999999999999"] {
        check_errno!(system::write(&file, text), INVAL, "{text:?}");
    }
    check_eq!(vfs.pf.quota(1)?, 0, "after all that was refused");
    Ok(())
}

fn quotas_that_do_not_fit(_: &Context) -> Outcome {
    let vfs = Vfs::none()?;
    let pf = cards::first()?;
    let total = pf.lmem()?.total;
    vfs.pf.set_quota(1, total / 2)?;
    vfs.pf.set_quota(2, total / 2 + GRANULE)?;
    check_errno!(vfs.pf.set_num_vfs(2), NOSPC, "more than there is");
    check_eq!(vfs.pf.num_vfs()?, 0);
    cards::settles(&pf, 0)?;
    // What the card itself uses is not given away.
    vfs.pf.set_quota(2, total / 2)?;
    let used = Place::Lmem.create(&pf, 4 * MIB)?;
    used.fill(0, used.size(), 9)?;
    check_errno!(vfs.pf.set_num_vfs(2), NOSPC, "memory that is in use");
    cards::holds_pattern("the card's own memory", &used, 9)?;
    drop(used);
    vfs.set(2)
}

fn bulk_quota(_: &Context) -> Outcome {
    let vfs = Vfs::none()?;
    let file = vfs
        .pf
        .directory()
        .join("sriov_admin/.bulk_profile/vram_quota");
    check_errno!(system::write(&file, &MIB.to_string()), INVAL);
    check_errno!(system::write(&file, &(1u64 << 40).to_string()), RANGE);
    system::write(&file, &(6 * MIB).to_string())?;
    for number in 1..=vfs.pf.total_vfs()? {
        check_eq!(vfs.pf.quota(number)?, 6 * MIB, "function {number}");
    }
    vfs.set(2)?;
    check_eq!(vfs.open(2)?.lmem()?.total, 6 * MIB);
    check_errno!(
        system::write(&file, "0"),
        BUSY,
        "while functions are enabled"
    );
    vfs.clear()?;
    system::write(&file, "0")?;
    check_eq!(vfs.pf.quota(7)?, 0);
    Ok(())
}

/// A quota from memory that is not contiguous: the function cannot tell.
fn scattered_quota(_: &Context) -> Outcome {
    let vfs = Vfs::none()?;
    let pf = cards::first()?;
    let mut pieces = (0..16)
        .map(|_| pf.buffer(GRANULE).contiguous().create())
        .collect::<hlrs::Result<Vec<_>>>()?;
    let rest = {
        let lmem = pf.lmem()?;
        Place::Lmem.create(&pf, lmem.total - lmem.used)?
    };
    let mut keep = false;
    pieces.retain(|_| {
        keep = !keep;
        keep
    });
    for (n, piece) in pieces.iter().enumerate() {
        piece.fill(0, GRANULE, n as u64 + 1)?;
    }
    vfs.pf.set_quota(1, 8 * GRANULE)?;
    vfs.set(1)?;
    let device = vfs.open(1)?;
    let all = device.buffer(8 * GRANULE).contiguous().create()?;
    for n in 0..8 {
        all.fill(n * GRANULE, GRANULE, !n)?;
    }
    for n in 0..8 {
        let found = cards::read(&all, n * GRANULE, 8)?;
        check_eq!(found, (!n).to_le_bytes(), "granule {n} of the function");
    }
    check_eq!(all.map().is_ok(), all.size() <= device.lmem()?.cpu_visible);
    for (n, piece) in pieces.iter().enumerate() {
        cards::holds_pattern("the card's own granule", piece, n as u64 + 1)?;
    }
    drop(rest);
    Ok(())
}

/// Offsets of registers of the PF.
const LMTT_VF: usize = 0x4008;
const LMTT_COMMIT: usize = 0x4018;
const LMTT_STATUS: usize = 0x401c;

/// The driver does not bind to a function whose PF, not necessarily under this
/// driver, has given it nothing, and says why.
fn a_function_without_memory(_: &Context) -> Outcome {
    let vfs = Vfs::enable(1)?;
    let address = vfs.vf_node(1)?.address;
    driver::unbind(&address)?;
    let registers = Registers::of(&vfs.node.address)?;
    registers.write(LMTT_VF, 1);
    registers.write(LMTT_COMMIT, 0);
    check_eq!(registers.read(LMTT_STATUS), 0, "the commit was rejected");

    let mut log = Log::from_now()?;
    check_errno!(driver::bind(&address), NODEV);
    let said = format!("{address}: no LMEM: is this a VF without quota?");
    check_eq!(log.count(&said), 1, "times that the log says why");
    check!(vfs.pf.vf_node(1)?.is_none(), "it has a node");
    Ok(())
}
