// SPDX-License-Identifier: MIT OR Apache-2.0
//! The importers themselves: what tests rely on when they use them.

use std::os::fd::AsFd;
use std::time::Duration;

use hlrs::Errno;

use super::Pair;
use crate::check;
use crate::check_eq;
use crate::check_errno;
use crate::harness::Context;
use crate::harness::Outcome;
use crate::harness::Stop;
use crate::raw::importer as sys;
use crate::suites::prime;
use crate::system::importer::Kind;
use crate::system::random::Random;
use crate::system::MIB;

pub fn arguments_are_checked(_: &Context) -> Outcome {
    let pair = Pair::new()?;
    let (_buffer, dmabuf) = pair.shared(MIB)?;
    let address = &pair.importer.address;
    let good = Kind::Dynamic.attach(dmabuf.as_fd(), address)?;

    let attach = |change: fn(&mut sys::Attach)| {
        let mut arg = good;
        change(&mut arg);
        pair.importers.attach_as(&mut arg)
    };
    check_errno!(attach(|arg| arg.kind = 7)?, INVAL);
    check_errno!(attach(|arg| arg.flags = 1 << 1)?, INVAL);
    check_errno!(attach(|arg| arg.pad = 1)?, INVAL);
    check_errno!(attach(|arg| arg.delay_ms = 1)?, INVAL, "not a late one");
    check_errno!(attach(|arg| arg.domain = u32::MAX)?, INVAL);
    check_errno!(attach(|arg| arg.bus = 0xfe)?, NXIO, "no such device");
    check_errno!(attach(|arg| arg.fd = -1)?, BADF);
    let mut arg = good;
    arg.fd = std::os::fd::AsRawFd::as_raw_fd(&pair.importers.as_fd());
    check_errno!(
        pair.importers.attach_as(&mut arg)?,
        INVAL,
        "another kind of file"
    );

    let nobody = pair.importers.attachment(12_345);
    check_errno!(nobody.map(), NOENT);
    check_errno!(nobody.unmap(), NOENT);
    check_errno!(nobody.read(0, 1), NOENT);
    check_errno!(nobody.signal(), NOENT);
    check_errno!(nobody.detach(), NOENT);

    let importer = attach(|_| {})?.map_err(Stop::failed)?;
    check_errno!(importer.unmap(), NOTCONN, "not mapped");
    check_errno!(importer.map_for(3), INVAL);
    let mut map = sys::Map {
        id: importer.id(),
        max_segments: 1,
        ..Default::default()
    };
    check_errno!(sys::map_unwritable(&pair.importers, &mut map), FAULT);
    check!(
        !importer.state()?.mapped,
        "it is mapped although the call has failed"
    );
    let first = importer.map().map_err(Stop::failed)?;
    check!(!first.is_empty(), "no segments");
    check_errno!(importer.map(), BUSY, "mapped already");
    if importer.reads()? {
        check_errno!(importer.read(MIB, 1), RANGE);
        check_errno!(importer.read(u64::MAX, 1), RANGE);
        importer.unmap().map_err(Stop::failed)?;
        check_errno!(importer.read(0, 1), NOTCONN);
        importer.map_for(1).map_err(Stop::failed)?;
        check_errno!(importer.write(0, &[1]), ACCESS, "mapped for reading");
        importer.unmap().map_err(Stop::failed)?;
        importer.map_for(2).map_err(Stop::failed)?;
        check_errno!(importer.read(0, 1), ACCESS, "mapped for writing");
    }
    for (timeout_ms, usage) in [(0, 0), (20_001, 0), (1, 3)] {
        let mut fence = sys::Fence {
            id: importer.id(),
            timeout_ms,
            usage,
            pad: 0,
        };
        check_errno!(sys::fence(&pair.importers, &mut fence), INVAL);
    }
    let id = importer.id();
    importer.detach().map_err(Stop::failed)?;
    check_errno!(pair.importers.attachment(id).detach(), NOENT, "detached");
    Ok(())
}

/// An exporter of system memory, which revokes nothing, takes all of them.
pub fn every_kind_with_memory_of_a_heap(context: &Context) -> Outcome {
    let pair = Pair::new()?;
    let mut random = Random::new(context.seed);
    let others = [Kind::NoInvalidate, Kind::Static];
    let mut read = true;
    for kind in Kind::REVOCABLE.into_iter().chain(others) {
        let dmabuf = prime::heap(MIB)?;
        let importer = pair.importers.map(&dmabuf, &pair.importer.address, kind)?;
        let state = importer.state()?;
        check_eq!(state.pinned, kind == Kind::Pin, "{kind:?} is pinned");
        check!(state.mapped && !state.stale, "{kind:?}: {state:?}");
        read = importer.reads()?;
        if read {
            let bytes = random.bytes(100_000);
            importer.write(5_000, &bytes).map_err(Stop::failed)?;
            let other = pair.device.import(&dmabuf)?;
            check_eq!(
                other.crc32c(5_000, 100_000)?,
                hlrs::crc32c(0, &bytes),
                "{kind:?}: the other device's checksum"
            );
            other.fill(MIB - 8, 8, 0x1122_3344_5566_7788)?;
            check_eq!(
                importer.read(MIB - 8, 8),
                Ok(0x1122_3344_5566_7788u64.to_le_bytes().to_vec()),
                "{kind:?}: what the other device wrote"
            );
        }
        importer.unmap().map_err(Stop::failed)?;
        let state = importer.state()?;
        check!(!state.mapped && !state.pinned, "{kind:?}: {state:?}");
        check_eq!(state.invalidations, 0, "{kind:?}");
        check_eq!(state.unmapped_after, None::<Duration>, "{kind:?}");
        check_eq!(importer.unmap(), Err(Errno::NOTCONN), "{kind:?}");
    }
    if !read {
        println!("contents were not compared: behind an IOMMU the CPU cannot see them");
    }
    Ok(())
}
