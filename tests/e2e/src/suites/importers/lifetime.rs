// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who keeps the memory, and until when.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::path::Path;

use hlrs::Device;
use hlrs::DmaBuf;

use super::Pair;
use super::LONG;
use crate::check;
use crate::check_eq;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::importer::Attachment;
use crate::system::importer::Importers;
use crate::system::importer::Kind;
use crate::system::importer::Usage;
use crate::system::random::Random;
use crate::system::role;
use crate::system::role::Role;
use crate::system::socket::inheritable;
use crate::system::wait_until;
use crate::system::MIB;
use crate::system::REACTION;

/// What the exporting process writes.
const PATTERN: u64 = 0x0123_4567_89ab_cdef;

/// The importer still sees `bytes`, while others allocate and write.
fn intact(when: &str, importer: &Attachment<'_>, device: &Device, bytes: &[u8]) -> Outcome {
    for _ in 0..4 {
        Place::Visible.create(device, MIB)?.fill(0, MIB, u64::MAX)?;
    }
    let state = importer.state()?;
    check!(state.mapped && !state.stale, "{when}: {state:?}");
    check_eq!(state.invalidations, 0, "{when}");
    if importer.reads()? {
        let seen = importer.read(0, bytes.len() as u64).map_err(Stop::failed)?;
        cards::compare(when, &seen, bytes)?;
    } else {
        println!("{when}: the content was not compared, behind an IOMMU");
    }
    Ok(())
}

pub fn the_memory_outlives_handle_and_file(context: &Context) -> Outcome {
    let pair = Pair::new()?;
    let used = cards::used(&pair.device)?;
    let device = pair.exporter.open()?;
    let buffer = Place::Visible.create(&device, MIB)?;
    let bytes = cards::randomize(&buffer, &mut Random::new(context.seed))?;
    let dmabuf = buffer.export()?;
    let importer = pair
        .importers
        .map(&dmabuf, &pair.importer.address, Kind::Dynamic)?;
    intact("mapped", &importer, &pair.device, &bytes)?;
    drop(buffer);
    intact("after the handle", &importer, &pair.device, &bytes)?;
    drop(device);
    intact("after the file", &importer, &pair.device, &bytes)?;
    drop(dmabuf);
    intact("after the descriptor", &importer, &pair.device, &bytes)?;
    cards::settles(&pair.device, used + MIB)?;
    // An importer that is attached keeps the memory, also without a mapping.
    importer.unmap().map_err(Stop::failed)?;
    importer.map().map_err(Stop::failed)?;
    intact("mapped anew", &importer, &pair.device, &bytes)?;
    importer.detach().map_err(Stop::failed)?;
    cards::settles(&pair.device, used)
}

pub fn the_memory_outlives_the_exporting_process(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let used = cards::used(&pair.device)?;
    inheritable(pair.importers.as_fd())?;
    let bytes = PATTERN.to_le_bytes().repeat(MIB as usize / 8);
    for killed in [false, true] {
        let node = pair.exporter.path.display().to_string();
        let file = pair.importers.as_fd().as_raw_fd().to_string();
        let mut role = Role::start("export", &[&node, &pair.importer.address, &file])?;
        let line = role.line()?;
        let id = line
            .strip_prefix("mapped ")
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| Stop::failed(format!("the exporter said {line:?}")))?;
        let importer = pair.importers.attachment(id);
        intact("mapped", &importer, &pair.device, &bytes)?;
        if killed {
            role.kill()?;
        } else {
            role.tell("end")?;
            role.succeeds()?;
        }
        let when = format!("after the process, killed: {killed}");
        intact(&when, &importer, &pair.device, &bytes)?;
        cards::settles(&pair.device, used + MIB)?;
        importer.detach().map_err(Stop::failed)?;
        cards::settles(&pair.device, used)?;
    }
    Ok(())
}

/// Role: exports a buffer to an importer of an inherited open file, says its
/// number there, and stays until it is told to end.
pub fn export(node: &str, address: &str, file: &str) -> Outcome {
    let file: i32 = file.parse().map_err(Stop::failed)?;
    // SAFETY: the test lets this process inherit the descriptor, which nothing
    // else here uses.
    let importers = Importers::inherited(unsafe { File::from_raw_fd(file) });
    let device = Device::open(Path::new(node))?;
    let buffer = Place::Visible.create(&device, MIB)?;
    buffer.fill(0, MIB, PATTERN)?;
    let importer = importers.map(&buffer.export()?, address, Kind::Dynamic)?;
    role::say(&format!("mapped {}", importer.id()));
    importer.keep();
    role::listen().map(drop)
}

pub fn closing_the_file_ends_all_importers(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let used = cards::used(&pair.device)?;
    let importers = Importers::open()?;
    for kind in Kind::REVOCABLE {
        let (_buffer, dmabuf) = pair.shared(MIB)?;
        let importer = importers.map(&dmabuf, &pair.importer.address, kind)?;
        importer.fence(LONG, Usage::Write)?;
        importer.keep();
    }
    cards::settles(&pair.device, used + Kind::REVOCABLE.len() as u64 * MIB)?;
    drop(importers);
    cards::settles(&pair.device, used)
}

pub fn a_killed_importer_lets_go(_: &Context) -> Outcome {
    let (mut role, device, used) = {
        let pair = Pair::new()?;
        let used = cards::used(&pair.device)?;
        let (_buffer, dmabuf) = pair.shared(MIB)?;
        inheritable(dmabuf.as_fd())?;
        let fd = dmabuf.as_fd().as_raw_fd().to_string();
        let mut role = Role::start("attach", &[&fd, &pair.importer.address])?;
        role.expect("mapped")?;
        (role, pair.exporter.open()?, used)
    };
    check_eq!(cards::used(&device)?, used + MIB, "used by the importer");
    role.kill()?;
    cards::settles(&device, used)?;
    // Nothing of it is left that would keep the module.
    let count = "/sys/module/hlrs_test_importer/refcnt";
    wait_until("the module is not in use", REACTION, || {
        std::fs::read_to_string(count).is_ok_and(|text| text.trim() == "0")
    })
}

/// Role: maps an inherited dma-buf as the worst importer there is, with a job
/// that takes long.
pub fn attach(fd: &str, address: &str) -> Outcome {
    let fd: i32 = fd.parse().map_err(Stop::failed)?;
    // SAFETY: the test lets this process inherit the descriptor, which nothing
    // else here uses.
    let dmabuf = DmaBuf::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let importers = Importers::open()?;
    let importer = importers.map(&dmabuf, address, Kind::NeverUnmap)?;
    importer.fence(LONG, Usage::Bookkeep)?;
    drop(dmabuf);
    role::say("mapped");
    role::listen().map(drop)
}
