// SPDX-License-Identifier: GPL-2.0

//! The memory of buffers in address spaces: found out, written to the tables, taken away.
//!
//! For the order of locks see [`super::space`].

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};
use kernel_ext::{
    dma_resv::Guard,
    drm::{
        gem::WeakRef,
        gpuvm::{
            Linked,
            VmBo, //
        },
    },
};

use super::{
    limbo::Batch,
    page_table::{
        Mapping,
        Place,
        Reserve,
        Segments,
        VaRange, //
    },
    space::{
        va_range,
        Space, //
    },
    tables::{
        TableSource,
        Window, //
    },
};
use crate::{
    device::BoundDevice,
    gem::{
        Buffer,
        BufferData, //
    },
    queue::Address, //
};

/// How often mappings are made again with more tables, if others change them meanwhile.
const MAX_ATTEMPTS: usize = 8;

/// A buffer in an address space.
#[pin_data]
pub(crate) struct Binding {
    /// The memory of the whole buffer, as engines see it; [`None`] if it is not known, or was taken
    /// away. Only accessed with [`Space::tables`] locked.
    #[pin]
    pub(super) memory: Mutex<Option<Segments>>,
}

impl Binding {
    /// Nothing is known of the memory.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            memory <- new_mutex!(None, "hlrs::Binding"),
        })
    }
}

/// The memory of `buffer`, whose lock is held, as engines see it. Sleeps.
fn memory_of(dev: &BoundDevice<'_>, buffer: &Buffer, guard: &mut Guard<'_>) -> Result<Segments> {
    let mut memory = Segments::new();
    let mut left = buffer.size() as u64;

    buffer
        .backing
        .for_each_segment(dev, buffer, guard, |address, len| {
            let place = match address {
                Address::Lmem(address) => Place::local(address)?,
                Address::Bus(address) => Place::bus(address)?,
                Address::Link(address) => Place::link(address)?,
                Address::Virtual(_) => return Err(EINVAL),
            };
            let len = len.min(left);

            left -= len;
            match len {
                0 => Ok(()),
                _ => memory.push(place, len),
            }
        })?;
    if left > 0 {
        return Err(ERANGE);
    }
    Ok(memory)
}

/// Finds out where the memory of a buffer is, and writes it to the tables wherever the buffer is
/// mapped. `guard` is that of the buffer. Sleeps.
///
/// Fails as [`crate::gem::Backing::segments`] does, and with `ENOSPC` if there is no room for
/// tables.
pub(super) fn bind_memory(
    dev: &BoundDevice<'_>,
    vm_bo: &VmBo<Space>,
    guard: &mut Guard<'_>,
) -> Result {
    let vm = vm_bo.vm();
    let mut memory = Some(memory_of(dev, vm_bo.obj(), guard)?);

    for _ in 0..MAX_ATTEMPTS {
        let mut reserve = Reserve::new();
        vm_bo.with_vas(|linked| {
            for_each_mapping(&linked, memory.as_ref(), |mapping| reserve.map(mapping))
        })?;

        let mut batch = Batch::new()?;
        let mut source = TableSource::new(&dev.lmem);
        let mut update = reserve.allocate(|left| source.next(left))?;
        let result = Window::with(vm.dev(), |window| {
            // Mappings that are made meanwhile see the memory, or are seen here.
            vm_bo.with_vas(|linked| {
                let mut tables = vm.tables.lock();
                let result = for_each_mapping(&linked, memory.as_ref(), |mapping| {
                    tables.map(window, mapping, &mut update)
                });

                vm.invalidate(update.stale());
                if result.is_ok() && !update.ran_short() {
                    *linked.memory.lock() = memory.take();
                }
                result
            })
        });

        batch.add_tables(update);
        vm.put_aside(batch);
        result?;
        if memory.is_none() {
            return Ok(());
        }
    }
    Err(EAGAIN)
}

/// Calls `f` for each mapping of a buffer with the given memory.
fn for_each_mapping(
    linked: &Linked<'_, Space>,
    memory: Option<&Segments>,
    mut f: impl FnMut(&Mapping<'_>),
) -> Result {
    let memory = memory.ok_or(EINVAL)?;

    for va in linked.vas() {
        let range = va_range(&va.range())?;

        f(&Mapping::memory(
            range,
            memory,
            va.offset(),
            va.data().writable,
        )?);
    }
    Ok(())
}

/// Takes the memory of `buffer` out of all address spaces, until the next submission there.
///
/// `guard` is that of the buffer. Nothing uses the memory any more, or what does is waited for by
/// the caller before it changes hands. Sleeps; does not allocate.
pub(crate) fn evict(buffer: &Buffer, guard: &Guard<'_>) {
    Window::with(buffer.dev(), |window| {
        buffer.for_each_vm_bo(|linked| take_away(window, &linked, guard));
    });
    // A mapping that is being replaced is not found any more, and its entries may still be there.
    buffer.dev().contexts.wait_for_changes();
}

/// As [`evict`], for a buffer that may be about to be freed.
pub(crate) fn evict_weak(buffer: &WeakRef<BufferData>, guard: &Guard<'_>) {
    Window::with(buffer.dev(), |window| {
        buffer.for_each_vm_bo(|linked| take_away(window, &linked, guard));
    });
    buffer.dev().contexts.wait_for_changes();
}

/// Has the address spaces in which `buffer` is mapped ask for its memory again before they run the
/// next job. What they map stays. `guard` is that of the buffer. Sleeps; does not allocate.
pub(crate) fn expire_weak(buffer: &WeakRef<BufferData>, guard: &Guard<'_>) {
    buffer.for_each_vm_bo(|linked: Linked<'_, Space>| {
        // The guard is that of the buffer, so that this does not fail.
        let _ = linked.set_evicted(guard, true);
    });
}

fn take_away(window: &Window<'_>, linked: &Linked<'_, Space>, guard: &Guard<'_>) {
    // The guard is that of the buffer, so that this does not fail.
    let _ = linked.set_evicted(guard, true);

    let vm = linked.vm();
    let mut tables = vm.tables.lock();
    let mut stale = None::<VaRange>;

    *linked.memory.lock() = None;
    for va in linked.vas() {
        let Ok(range) = va_range(&va.range()) else {
            continue;
        };
        if let Some(cleared) = tables.clear(window, range) {
            stale = Some(stale.map_or(cleared, |stale| stale.hull(cleared)));
        }
    }
    vm.invalidate(stale);
}

/// Whether a buffer may be mapped, and how: its own lock is held by `guard`.
pub(super) fn make_known(
    dev: &BoundDevice<'_>,
    vm_bo: &VmBo<Space>,
    guard: &mut Guard<'_>,
) -> Result {
    let known = {
        let _tables = vm_bo.vm().tables.lock();
        let known = vm_bo.memory.lock().is_some();
        known
    };

    if known {
        return Ok(());
    }
    bind_memory(dev, vm_bo, guard)?;
    vm_bo.set_evicted(guard, false)
}

/// Adds what mapping `range` to a part of `vm_bo` takes.
pub(super) fn reserve_mapping(
    reserve: &mut Reserve,
    vm_bo: &VmBo<Space>,
    range: VaRange,
    offset: u64,
    writable: bool,
) -> Result {
    let _tables = vm_bo.vm().tables.lock();
    let memory = vm_bo.memory.lock();

    match &*memory {
        Some(memory) => reserve.map(&Mapping::memory(range, memory, offset, writable)?),
        None => reserve.map_any(range),
    }
    Ok(())
}
