// SPDX-License-Identifier: GPL-2.0

//! A private type: ports on a fabric.

use crate::{
    exporter::{
        Event,
        Log, //
    },
    LocalModule, //
};
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::Arc, //
};
use kernel_ext::dma_buf::interconnect::{
    Descriptor,
    Pair,
    PrivateType, //
};

/// The type.
pub(crate) struct Link;

static LINK: Descriptor<Link> = Descriptor::new::<LocalModule>(c"test-link");

/// Another type, which is the same in all but the address of its descriptor.
pub(crate) struct OtherLink;

static OTHER_LINK: Descriptor<OtherLink> = Descriptor::new::<LocalModule>(c"test-link");

/// A side.
pub(crate) struct Port {
    pub(crate) fabric: u32,
    /// What `matches()` is to say when the fabrics are the same; it is the exporter's that counts.
    pub(crate) answer: Result,
    /// What `finish_match()` is to say.
    pub(crate) finish: Result,
    pub(crate) log: Arc<Log>,
}

impl Port {
    pub(crate) fn new(fabric: u32, log: &Arc<Log>) -> Self {
        Self {
            fabric,
            answer: Ok(()),
            finish: Ok(()),
            log: log.clone(),
        }
    }
}

/// What was negotiated.
pub(crate) struct Route {
    pub(crate) fabric: u32,
    log: Arc<Log>,
}

impl Drop for Route {
    fn drop(&mut self) {
        self.log.add(Event::RouteDropped);
    }
}

impl PrivateType for Link {
    type Exporter = Port;
    type Importer = Port;
    type Match = Route;
    type Mapping = KVec<u64>;

    fn descriptor() -> &'static Descriptor<Self> {
        &LINK
    }

    fn matches(pair: &Pair<'_, Self>) -> Result {
        pair.exporter.log.add(Event::Match);
        if pair.exporter.fabric != pair.importer.fabric {
            return Err(EOPNOTSUPP);
        }
        pair.exporter.answer
    }

    fn finish_match(pair: &Pair<'_, Self>) -> Result<Route> {
        pair.exporter.finish?;
        Ok(Route {
            fabric: pair.exporter.fabric,
            log: pair.exporter.log.clone(),
        })
    }

    fn debugfs_dump(matched: &Route, seq: &SeqFile) {
        seq_print!(seq, " fabric={}", matched.fabric);
    }
}

impl PrivateType for OtherLink {
    type Exporter = u32;
    type Importer = u32;
    type Match = ();
    type Mapping = ();

    fn descriptor() -> &'static Descriptor<Self> {
        &OTHER_LINK
    }

    fn matches(_pair: &Pair<'_, Self>) -> Result {
        Ok(())
    }

    fn finish_match(_pair: &Pair<'_, Self>) -> Result {
        Ok(())
    }
}
