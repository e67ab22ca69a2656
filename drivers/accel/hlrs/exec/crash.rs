// SPDX-License-Identifier: GPL-2.0

//! What is kept of a job that failed, and how it gets to user space: as a device coredump.
//!
//! It is recorded where a fence depends on it, in memory that the queue has had from the start,
//! and written out as text later. Each line is a name, a colon and a value.

use kernel::{
    device::Device,
    fmt::{
        self,
        Write, //
    },
    io::{
        register::Array,
        Io, //
    },
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    time::Jiffies,
};
use kernel_ext::{
    devcoredump,
    workqueue::Task, //
};

use super::{
    Queue,
    MAX_COMMANDS, //
};
use crate::{
    hw::Hw,
    queue::Command,
    regs,
    vm::{
        page_table::Walk,
        Ban,
        Vm, //
    },
};

/// Registers of a hardware queue and its context.
#[derive(Clone, Copy, Default)]
struct Registers {
    ctrl: u32,
    status: u32,
    head: u32,
    tail: u32,
    context_status: u32,
    context_fault_va: u64,
    context_fault_info: u32,
}

impl Registers {
    fn read(hw: &Hw, queue: usize, context: usize) -> Result<Self> {
        macro_rules! read {
            ($bar:ident, $register:ident, $index:ident) => {
                $bar.try_read(regs::$register::try_at($index).ok_or(EINVAL)?)?
                    .into_raw()
            };
        }

        hw.try_with(|bar| {
            Ok(Self {
                ctrl: read!(bar, Q_CTRL, queue),
                status: read!(bar, Q_STATUS, queue),
                head: read!(bar, Q_HEAD, queue),
                tail: read!(bar, Q_TAIL, queue),
                context_status: read!(bar, CTX_STATUS, context),
                context_fault_va: read!(bar, CTX_FAULT_VA, context),
                context_fault_info: read!(bar, CTX_FAULT_INFO, context),
            })
        })
    }
}

/// What is known of a failed job at the time.
struct Facts {
    vm: Arc<Vm>,
    ban: Ban,
    queue_id: u32,
    hw_queue: usize,
    registers: Registers,
    walk: Option<Walk>,
    commands: [Option<Command>; MAX_COMMANDS],
}

/// A place for what is known of a failed job.
pub(super) struct Crash {
    facts: Option<Facts>,
    next: Option<KBox<Crash>>,
}

impl Crash {
    /// An empty place. Sleeps (allocates). Fails with `ENOMEM`.
    pub(super) fn new() -> Result<KBox<Self>> {
        Ok(KBox::new(
            Self {
                facts: None,
                next: None,
            },
            GFP_KERNEL,
        )?)
    }

    /// Records what is known of a job of `queue` that has failed on hardware queue `hw_queue`.
    ///
    /// Sleeps; does not allocate. [`None`] if the queue had a failed job before.
    pub(super) fn record(
        hw: &Hw,
        queue: &Queue,
        hw_queue: usize,
        commands: &[Command],
        ban: &Ban,
    ) -> Option<KBox<Self>> {
        let mut crash = queue.take_crash()?;
        let vm = queue.vm();
        let mut kept = [None; MAX_COMMANDS];

        for (place, command) in kept.iter_mut().zip(commands) {
            *place = Some(*command);
        }
        crash.facts = Some(Facts {
            vm: vm.clone(),
            ban: *ban,
            queue_id: queue.id(),
            hw_queue,
            // CAST: A small number.
            registers: Registers::read(hw, hw_queue, vm.context() as usize).unwrap_or_default(),
            walk: ban.has_address().then(|| vm.walk(ban.va)),
            commands: kept,
        });
        Some(crash)
    }
}

impl Facts {
    fn print(&self, f: &mut impl Write) -> fmt::Result {
        let ban = &self.ban;
        let registers = &self.registers;

        f.write_fmt(fmt!("driver: hlrs\n"))?;
        f.write_fmt(fmt!("process: {}\n", self.vm.client().process()))?;
        f.write_fmt(fmt!("vm: {}\n", self.vm.id()))?;
        f.write_fmt(fmt!("context: {}\n", self.vm.context()))?;
        f.write_fmt(fmt!("queue: {}\n", self.queue_id))?;
        f.write_fmt(fmt!("hardware-queue: {}\n", self.hw_queue))?;
        f.write_fmt(fmt!("reason: {ban}\n"))?;
        if ban.has_address() {
            f.write_fmt(fmt!("fault-va: {:#x}\n", ban.va))?;
            f.write_fmt(fmt!(
                "fault-access: {}\n",
                if ban.write { "write" } else { "read" }
            ))?;
            f.write_fmt(fmt!("fault-info: {:#x}\n", ban.info))?;
        }
        if let Some(walk) = &self.walk {
            for step in walk.steps() {
                let (level, table, index) = (step.level, step.table, step.index);

                match step.entry {
                    Some(entry) => f.write_fmt(fmt!(
                        "walk: level {level} table {table:#x} index {index} entry {entry:#x}\n"
                    ))?,
                    None => f.write_fmt(fmt!(
                        "walk: level {level} table {table:#x} index {index} entry ?\n"
                    ))?,
                }
            }
        }
        f.write_fmt(fmt!("queue-ctrl: {:#x}\n", registers.ctrl))?;
        f.write_fmt(fmt!("queue-status: {:#x}\n", registers.status))?;
        f.write_fmt(fmt!("queue-head: {}\n", registers.head))?;
        f.write_fmt(fmt!("queue-tail: {}\n", registers.tail))?;
        f.write_fmt(fmt!("context-status: {:#x}\n", registers.context_status))?;
        f.write_fmt(fmt!(
            "context-fault-va: {:#x}\n",
            registers.context_fault_va
        ))?;
        f.write_fmt(fmt!(
            "context-fault-info: {:#x}\n",
            registers.context_fault_info
        ))?;
        for command in self.commands.iter().flatten() {
            f.write_fmt(fmt!("command: {command}\n"))?;
        }
        Ok(())
    }
}

/// Text that grows.
struct Text(VVec<u8>);

impl Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0
            .extend_from_slice(s.as_bytes(), GFP_KERNEL)
            .map_err(|_| fmt::Error)
    }
}

/// Gives what was recorded to user space.
pub(super) struct Reporter {
    dev: ARef<Device>,
    crashes: Pin<KBox<Mutex<Option<KBox<Crash>>>>>,
}

impl Reporter {
    /// For the device of the function. Sleeps (allocates). Fails with `ENOMEM`.
    pub(super) fn new(dev: &Device) -> Result<Self> {
        Ok(Self {
            dev: dev.into(),
            crashes: KBox::pin_init(new_mutex!(None, "hlrs::Reporter"), GFP_KERNEL)?,
        })
    }

    /// Adds a crash; the task is to be scheduled afterwards. Sleeps; does not allocate.
    pub(super) fn add(&self, mut crash: KBox<Crash>) {
        let mut crashes = self.crashes.lock();

        crash.next = crashes.take();
        *crashes = Some(crash);
    }
}

impl Task for Reporter {
    fn run(&self) -> Option<Jiffies> {
        let mut next = self.crashes.lock().take();

        while let Some(mut crash) = next {
            next = crash.next.take();

            let mut text = Text(VVec::new());
            if let Some(facts) = &crash.facts {
                // What did not fit into memory is missing at the end.
                let _ = facts.print(&mut text);
            }
            devcoredump::emit(&self.dev, text.0);
        }
        None
    }
}
