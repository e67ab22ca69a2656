// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of the first accelerator in the hands of importers of every kind,
//! well-behaved and not. They attach the second accelerator's PCI device, and
//! the CPU reads and writes for it.

mod access;
mod cpu;
mod fences;
mod interface;
mod kernel;
mod lifetime;
mod ownership;
mod quarantine;
mod revoke;

use std::time::Duration;

use hlrs::Buffer;
use hlrs::Device;
use hlrs::DmaBuf;
use hlrs::Node;

use crate::check;
use crate::harness::Outcome;
use crate::harness::Test;
use crate::system::cards;
use crate::system::cards::Place;
use crate::system::importer::Importers;
use crate::tests;

pub use lifetime::attach;
pub use lifetime::export;

use access::a_dynamic_importer_reads_and_writes;
use access::an_importer_that_cannot_let_go_is_refused;
use access::an_importer_without_peer_to_peer_is_refused;
use access::scattered_memory;
use cpu::processes_keep_to_the_access_mode;
use cpu::the_kernel_keeps_to_the_access_mode;
use cpu::the_kernel_maps_it;
use cpu::the_kernel_maps_scattered_memory_or_says_so;
use fences::an_importer_unmaps_after_its_fences;
use fences::jobs_of_the_exporter_are_not_waited_for;
use fences::jobs_wait_for_fences_by_their_usage;
use fences::nobody_is_kept_from_taking_memory_back;
use fences::unbind_does_not_wait_for_ever;
use fences::unbind_waits_for_fences;
use interface::arguments_are_checked;
use interface::every_kind_with_memory_of_a_heap;
use kernel::iommufd_refuses;
use kernel::vgem_imports_system_memory;
use kernel::vgem_is_refused_memory_of_the_device;
use lifetime::a_killed_importer_lets_go;
use lifetime::closing_the_file_ends_all_importers;
use lifetime::the_memory_outlives_handle_and_file;
use lifetime::the_memory_outlives_the_exporting_process;
use ownership::only_the_owner_has_pinned_importers;
use ownership::pinned_importers_are_refused;
use quarantine::an_importer_keeps_what_it_does_not_let_go_of;
use quarantine::another_binding_does_not_get_it_either;
use quarantine::memory_is_kept_until_the_work_on_it_ends;
use revoke::reset_invalidates_every_kind;
use revoke::resets_while_importers_work;
use revoke::unbind_revokes_every_kind;

pub fn tests() -> Vec<Test> {
    tests![
        arguments_are_checked,
        every_kind_with_memory_of_a_heap,
        a_dynamic_importer_reads_and_writes,
        scattered_memory,
        an_importer_that_cannot_let_go_is_refused,
        an_importer_without_peer_to_peer_is_refused,
        the_kernel_maps_it,
        the_kernel_maps_scattered_memory_or_says_so,
        the_kernel_keeps_to_the_access_mode,
        processes_keep_to_the_access_mode,
        the_memory_outlives_handle_and_file,
        the_memory_outlives_the_exporting_process,
        closing_the_file_ends_all_importers,
        a_killed_importer_lets_go,
        vgem_imports_system_memory,
        vgem_is_refused_memory_of_the_device,
        iommufd_refuses,
        jobs_wait_for_fences_by_their_usage,
        jobs_of_the_exporter_are_not_waited_for: 120,
        nobody_is_kept_from_taking_memory_back: 120,
        reset_invalidates_every_kind: 120,
        an_importer_unmaps_after_its_fences: 120,
        resets_while_importers_work: 180,
        unbind_revokes_every_kind: 120,
        unbind_waits_for_fences: 120,
        unbind_does_not_wait_for_ever: 120,
        an_importer_keeps_what_it_does_not_let_go_of: 120,
        memory_is_kept_until_the_work_on_it_ends: 120,
        another_binding_does_not_get_it_either: 180,
        pinned_importers_are_refused: 120,
        only_the_owner_has_pinned_importers: 180,
    ]
}

/// The longest fence there is.
const LONG: Duration = Duration::from_secs(20);

/// How long the driver may keep somebody waiting for importers that do not let
/// go: it gives all of them together 2 s, and the rest takes its time.
const BOUND: Duration = Duration::from_secs(8);

/// Timers of the kernel can be early by the length of a tick.
const TICK: Duration = Duration::from_millis(20);

/// The exporter, the device that imports, and where it does so.
struct Pair {
    exporter: Node,
    importer: Node,
    device: Device,
    importers: Importers,
}

impl Pair {
    fn new() -> Outcome<Pair> {
        let nodes = cards::nodes()?;
        check!(nodes.len() >= 2, "two accelerators are needed");
        Ok(Pair {
            device: nodes[0].open()?,
            exporter: nodes[0].clone(),
            importer: nodes[1].clone(),
            importers: Importers::open()?,
        })
    }

    /// A buffer that peers can reach, and its dma-buf.
    fn shared(&self, size: u64) -> Outcome<(Buffer, DmaBuf)> {
        let buffer = Place::Visible.create(&self.device, size)?;
        let dmabuf = buffer.export()?;
        Ok((buffer, dmabuf))
    }
}
