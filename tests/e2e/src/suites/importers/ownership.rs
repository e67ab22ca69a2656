// SPDX-License-Identifier: MIT OR Apache-2.0
//! Importers that cannot be revoked, and the device that somebody owns.

use hlrs::DmaBuf;
use hlrs::Errno;

use super::Pair;
use crate::check;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::suites::faults::each;
use crate::suites::faults::Injection;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::driver;
use crate::system::importer::Importers;
use crate::system::importer::Kind;
use crate::system::MIB;

/// What debugfs says of the owner of a device.
fn owner_file(address: &str) -> Outcome<String> {
    let path = format!("/sys/kernel/debug/hlrs-{address}/owner");
    Ok(std::fs::read_to_string(path)?)
}

pub fn pinned_importers_are_refused(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    pair.device.own()?;
    let (_buffer, dmabuf) = pair.shared(MIB)?;
    let attach = |kind| pair.importers.attach(&dmabuf, &pair.importer.address, kind);
    for kind in [Kind::NoInvalidate, Kind::Static] {
        check_errno!(attach(kind)?, OPNOTSUPP, "{kind:?}");
    }
    Ok(())
}

/// Loads the modules as they were when a test ends, however it ends.
struct Reload(usize);

impl Drop for Reload {
    fn drop(&mut self) {
        let reload = || -> Outcome {
            driver::unload()?;
            driver::load(self.0)
        };
        if let Err(err) = reload() {
            println!("the modules could not be loaded again: {err:?}");
        }
    }
}

/// Where allocations can be made to fail: whoever was not attached does not hold
/// the device.
fn attaching_fails(pair: &Pair, dmabuf: &DmaBuf) -> Outcome {
    let injection = match Injection::new() {
        Err(Stop::Skipped(_)) => return Ok(()),
        injection => injection?,
    };
    // An attachment of which nobody was told goes with the file.
    let importers = Importers::open()?;
    let address = &pair.importer.address;
    each("attach of a pinned importer", &injection, &mut || {
        let attached = importers.attach(dmabuf, address, Kind::NoInvalidate);
        attached.unwrap_or(Err(Errno::IO))?.detach()
    })?;
    drop(importers);
    let text = owner_file(&pair.exporter.address)?;
    check!(text.contains("pinned importers 0"), "debugfs: {text:?}");
    Ok(())
}

pub fn only_the_owner_has_pinned_importers(_: &Context) -> Outcome {
    let count = cards::nodes()?.len();
    driver::unload()?;
    let _reload = Reload(count);
    check!(
        driver::load_with(count, &["pinned_importers=perhaps"]).is_err(),
        "a policy that does not exist"
    );
    driver::load_with(count, &["pinned_importers=own"])?;

    let pair = Pair::new()?;
    let address = &pair.exporter.address;
    let (buffer, dmabuf) = pair.shared(MIB)?;
    let attach = |kind| pair.importers.attach(&dmabuf, &pair.importer.address, kind);
    check_errno!(attach(Kind::NoInvalidate)?, OPNOTSUPP, "without an owner");
    pair.device.own()?;
    check_errno!(attach(Kind::Static)?, OPNOTSUPP, "it needs pages");
    attaching_fails(&pair, &dmabuf)?;
    let importer = attach(Kind::NoInvalidate)?.map_err(Stop::failed)?;
    importer.map().map_err(Stop::failed)?;
    buffer.fill(0, MIB, 0x7070_7070_7070_7070)?;
    if importer.reads()? {
        let seen = importer.read(0, 4096).map_err(Stop::failed)?;
        cards::compare("what the importer reads", &seen, &[0x70; 4096])?;
    }

    // Its owner has gone, the importer stays: nobody else owns the device, and
    // nobody else gets the memory.
    drop((buffer, dmabuf));
    drop(pair.device);
    let device = pair.exporter.open()?;
    check_errno!(device.own(), BUSY, "with a pinned importer");
    cards::settles(&device, MIB)?;
    let text = owner_file(address)?;
    let holder = format!("{} process {} (", pair.importer.address, std::process::id());
    check!(
        text.contains("pinned importers 1") && text.contains(&holder),
        "debugfs: {text:?}"
    );
    let others = crate::suites::mem::exhaust(&device, Place::Lmem, MIB)?;
    for buffer in &others {
        buffer.fill(0, MIB, 0x1111_1111_1111_1111)?;
    }
    if importer.reads()? {
        let seen = importer.read(0, 4096).map_err(Stop::failed)?;
        cards::compare("what the importer reads later", &seen, &[0x70; 4096])?;
    }
    drop((others, device));

    // Nor when the driver has been bound anew meanwhile.
    let bound = driver::Unbound(address);
    driver::unbind(address)?;
    drop(bound);
    let device = driver::wait_node(address)?.open()?;
    check_errno!(device.own(), BUSY, "after another binding");
    let text = owner_file(address)?;
    check!(
        text.contains("owner none")
            && text.contains("pinned importers 1")
            && text.contains(&holder),
        "debugfs after another binding: {text:?}"
    );
    cards::settles(&device, MIB)?;

    importer.unmap().map_err(Stop::failed)?;
    match importer.detach() {
        Ok(()) => {}
        Err(errno) => return Err(Stop::failed(format!("detaching: {}", errno))),
    }
    cards::settles(&device, 0)?;
    device.own()?;
    drop(device);
    drop(pair.importers);
    Ok(())
}
