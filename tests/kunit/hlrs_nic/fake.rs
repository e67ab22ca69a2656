// SPDX-License-Identifier: GPL-2.0

//! An engine that runs when it is told to, and VMs that are numbers.

use core::any::Any;

use kernel::{
    device::Device,
    faux,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use kernel_ext::dma_fence::Fence;

use hlrs::{
    nic::{
        QueueFault,
        QueueRegisters,
        QUEUES, //
    },
    vm_api::{
        Revoked,
        VmUser,
        Vms, //
    },
};

use crate::{
    client::{
        Client,
        Outcome, //
    },
    engine::{
        Command,
        Engine,
        Memory,
        Request,
        COMMAND_WORDS,
        LEN,
        SLOTS, //
    },
    vms::Registered, //
};

/// A copy from here faults.
pub(crate) const BAD: u64 = 0xbad_000;
/// A copy from here does not end.
pub(crate) const HANG: u64 = 0xbad_001;
/// A copy from here faults because its context was stopped, as long as [`FakeEngine::stopped`].
pub(crate) const STOPPED: u64 = 0xbad_002;

/// Where slots are, on a bus that nobody looks at.
const SLOT_BASE: u64 = 0x1000;

/// A copy that was run: contexts, addresses, size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) contexts: (u16, u16),
    pub(crate) src: u64,
    pub(crate) dst: u64,
    pub(crate) size: u64,
}

struct Queue {
    on: bool,
    commands: [[u64; COMMAND_WORDS]; LEN],
    slots: [u64; SLOTS],
    head: u32,
    tail: u32,
    fault: Option<QueueFault>,
    stops: u32,
}

/// The engine.
#[pin_data]
pub(crate) struct FakeEngine {
    #[pin]
    queues: Mutex<KVec<Queue>>,
    /// Whether the device answers.
    pub(crate) present: Atomic<u32>,
    /// How often copies from [`STOPPED`] still fault.
    pub(crate) stopped: Atomic<u32>,
}

impl FakeEngine {
    fn new() -> Result<Arc<Self>> {
        let mut queues = KVec::new();

        for _ in 0..QUEUES {
            queues.push(
                Queue {
                    on: false,
                    commands: [[0; COMMAND_WORDS]; LEN],
                    slots: [0; SLOTS],
                    head: 0,
                    tail: 0,
                    fault: None,
                    stops: 0,
                },
                GFP_KERNEL,
            )?;
        }
        Arc::pin_init(
            pin_init!(Self {
                queues <- new_mutex!(queues),
                present: Atomic::new(1),
                stopped: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    fn with<R>(&self, queue: usize, f: impl FnOnce(&mut Queue) -> R) -> Result<R> {
        if self.present.load(Relaxed) == 0 {
            return Err(ENODEV);
        }
        Ok(f(self.queues.lock().get_mut(queue).ok_or(EINVAL)?))
    }

    /// Runs at most `copies` copies of a queue, with their fences; returns those that were.
    pub(crate) fn run(&self, queue: usize, copies: usize) -> Result<KVec<Ran>> {
        let mut ran = KVec::new();
        let mut fences = 0;

        self.with(queue, |queue| -> Result {
            while queue.on && queue.fault.is_none() && queue.head != queue.tail && fences < copies {
                let words = queue.commands[queue.head as usize % LEN];

                // CAST: The low half.
                match words[0] as u32 & 0xff {
                    hlrs_nic_abi::HLRS_OP_NOP => {}
                    hlrs_nic_abi::HLRS_OP_FENCE => {
                        queue.slots[((words[2] - SLOT_BASE) / 16) as usize] = words[4];
                        fences += 1;
                    }
                    hlrs_nic_abi::HLRS_OP_XCOPY => {
                        let left = self.stopped.load(Relaxed);
                        let reason = match words[1] {
                            HANG => break,
                            BAD => hlrs_nic_abi::HLRS_FAULT_NOT_PRESENT,
                            STOPPED if left > 0 => {
                                self.stopped.store(left - 1, Relaxed);
                                hlrs_nic_abi::HLRS_FAULT_CTX_DISABLED
                            }
                            _ => 0,
                        };

                        if reason != 0 {
                            queue.fault = Some(QueueFault {
                                address: words[1],
                                reason,
                                write: false,
                            });
                            break;
                        }
                        ran.push(
                            Ran {
                                contexts: ((words[0] >> 32) as u16, (words[0] >> 48) as u16),
                                src: words[1],
                                dst: words[2],
                                size: words[3],
                            },
                            GFP_KERNEL,
                        )?;
                    }
                    _ => return Err(EIO),
                }
                queue.head = queue.head.wrapping_add(1);
            }
            Ok(())
        })??;
        Ok(ran)
    }

    /// How often a queue was stopped.
    pub(crate) fn stops(&self, queue: usize) -> Result<u32> {
        self.with(queue, |queue| queue.stops)
    }

    /// What somebody else does to the function.
    pub(crate) fn reset_by_others(&self) -> Result {
        for queue in 0..QUEUES {
            self.with(queue, |queue| queue.on = false)?;
        }
        Ok(())
    }
}

impl QueueRegisters for FakeEngine {
    fn stop(&self, queue: usize) -> Result {
        self.with(queue, |queue| {
            queue.on = false;
            queue.head = 0;
            queue.tail = 0;
            queue.fault = None;
            queue.stops += 1;
        })
    }

    fn start(&self, queue: usize, ring: u64, order: u32) -> Result {
        if ring != queue as u64 || 1 << order != LEN {
            return Err(EDOM);
        }
        self.with(queue, |queue| queue.on = true)
    }

    fn ring_doorbell(&self, queue: usize, tail: u32) -> Result {
        self.with(queue, |queue| queue.tail = tail)
    }

    fn fault(&self, queue: usize) -> Result<Option<QueueFault>> {
        self.with(queue, |queue| queue.fault)
    }

    fn is_on(&self, queue: usize) -> Result<bool> {
        self.with(queue, |queue| queue.on)
    }

    fn reset_function(&self) -> Result {
        self.reset_by_others()
    }

    fn is_present(&self) -> bool {
        self.present.load(Relaxed) != 0
    }
}

/// The memory of a queue.
struct FakeMemory {
    engine: Arc<FakeEngine>,
    queue: usize,
}

impl Memory for FakeMemory {
    fn ring_address(&self) -> u64 {
        self.queue as u64
    }

    fn slot_address(&self, slot: usize) -> u64 {
        SLOT_BASE + 16 * slot as u64
    }

    fn write(&mut self, index: usize, command: &Command) -> Result {
        self.engine
            .with(self.queue, |queue| queue.commands[index] = *command.words())
    }

    fn clear(&mut self, slot: usize) -> Result {
        self.engine.with(self.queue, |queue| queue.slots[slot] = 0)
    }

    fn seqno(&self, slot: usize) -> Result<u64> {
        self.engine.with(self.queue, |queue| queue.slots[slot])
    }
}

/// A VM, for one registration.
struct FakeUser {
    vm: u16,
    recovered: Arc<Atomic<u32>>,
    banned: Arc<Atomic<u32>>,
    users: Arc<Atomic<u32>>,
    registered: Atomic<u32>,
}

impl VmUser for FakeUser {
    fn context(&self) -> u16 {
        self.vm
    }

    fn is_same_vm(&self, other: &dyn VmUser) -> bool {
        other.context() == self.vm
    }

    fn recover(&self) -> bool {
        self.recovered.fetch_add(1u32, Relaxed);
        self.banned.load(Relaxed) == 0
    }

    fn unregister(&self) {
        self.users
            .fetch_sub(self.registered.xchg(0u32, Relaxed), Relaxed);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for FakeUser {
    fn drop(&mut self) {
        self.unregister();
    }
}

struct VmsState {
    /// Those to be told, with their VMs.
    revoked: KVec<(u16, Arc<dyn Revoked>)>,
    fences: KVec<ARef<Fence>>,
    access_error: Option<Error>,
    /// VM that goes in the middle of the next access.
    revoke_in_access: Option<u16>,
}

/// The VMs: descriptor n is VM n.
#[pin_data]
pub(crate) struct FakeVms {
    #[pin]
    state: Mutex<VmsState>,
    pub(crate) recovered: Arc<Atomic<u32>>,
    /// Not 0: their contexts cannot be made usable again.
    pub(crate) banned: Arc<Atomic<u32>>,
    pub(crate) users: Arc<Atomic<u32>>,
}

impl FakeVms {
    fn new() -> Result<Arc<Self>> {
        let state = VmsState {
            revoked: KVec::new(),
            fences: KVec::new(),
            access_error: None,
            revoke_in_access: None,
        };
        let (recovered, banned, users) = (
            Arc::new(Atomic::new(0), GFP_KERNEL)?,
            Arc::new(Atomic::new(0), GFP_KERNEL)?,
            Arc::new(Atomic::new(0), GFP_KERNEL)?,
        );

        Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(state),
                recovered,
                banned,
                users,
            }),
            GFP_KERNEL,
        )
    }

    /// Lets accesses fail, or succeed again.
    pub(crate) fn fail(&self, error: Option<Error>) {
        self.state.lock().access_error = error;
    }

    /// Lets a VM go while the next access is announced.
    pub(crate) fn revoke_in_access(&self, vm: u16) {
        self.state.lock().revoke_in_access = Some(vm);
    }

    /// Lets a VM go.
    pub(crate) fn revoke(&self, vm: u16) {
        loop {
            let mut state = self.state.lock();
            let Some(found) = state.revoked.iter().position(|(of, _)| *of == vm) else {
                break;
            };
            let Ok((_, revoked)) = state.revoked.remove(found) else {
                break;
            };
            drop(state);
            revoked.revoked();
        }
    }

    /// The fences that were announced, the oldest first.
    pub(crate) fn fences(&self) -> KVec<ARef<Fence>> {
        core::mem::take(&mut self.state.lock().fences)
    }
}

impl Vms for FakeVms {
    fn register(&self, fd: i32, revoked: Arc<dyn Revoked>) -> Result<Arc<dyn VmUser>> {
        let vm = u16::try_from(fd).map_err(|_| EBADF)?;

        self.state.lock().revoked.push((vm, revoked), GFP_KERNEL)?;
        self.users.fetch_add(1u32, Relaxed);
        Ok(Arc::new(
            FakeUser {
                vm,
                recovered: self.recovered.clone(),
                banned: self.banned.clone(),
                users: self.users.clone(),
                registered: Atomic::new(1),
            },
            GFP_KERNEL,
        )?)
    }

    fn access(&self, users: &[&dyn VmUser], fence: &Fence) -> Result {
        let mut state = self.state.lock();

        if let Some(error) = state.access_error {
            return Err(error);
        }
        if users.len() != 2 {
            return Err(EDOM);
        }
        state.fences.push(fence.into(), GFP_KERNEL)?;
        let going = state.revoke_in_access.take();
        drop(state);
        if let Some(vm) = going {
            self.revoke(vm);
        }
        Ok(())
    }
}

/// An engine with clients, VMs and no hardware.
pub(crate) struct Fixture {
    pub(crate) hw: Arc<FakeEngine>,
    pub(crate) vms: Arc<FakeVms>,
    pub(crate) engine: Arc<Engine>,
    _dev: faux::Registration,
}

impl Fixture {
    /// An engine that runs.
    pub(crate) fn new(timeout_ms: u32) -> Result<Self> {
        let dev = faux::Registration::new(c"hlrs_nic_kunit", None)?;
        let faux: &faux::Device<kernel::device::Bound> = dev.as_ref();
        let raw: &Device = faux.as_ref();
        let hw = FakeEngine::new()?;
        let mut memory = KVec::new();

        for queue in 0..QUEUES {
            let engine = hw.clone();

            memory.push(FakeMemory { engine, queue }, GFP_KERNEL)?;
        }
        let engine = Engine::new(raw, hw.clone(), memory, timeout_ms)?;
        engine.start()?;

        Ok(Self {
            vms: FakeVms::new()?,
            engine,
            hw,
            _dev: dev,
        })
    }

    /// A client, and the number of its queue.
    pub(crate) fn client(&self) -> Result<(Arc<Client>, usize)> {
        let client = Client::new()?;
        let queue = (client.id() % QUEUES as u64) as usize;

        Ok((client, queue))
    }

    /// Registers a VM.
    pub(crate) fn vm(&self, vm: u16) -> Result<Arc<Registered>> {
        Registered::new(&*self.vms, &self.engine, vm.into())
    }

    /// Submits a copy of 64 bytes to address 0x2000, without waiting.
    pub(crate) fn copy(
        &self,
        client: &Arc<Client>,
        vms: (&Arc<Registered>, &Arc<Registered>),
        src: u64,
    ) -> Result<u64> {
        let request = Request {
            src_vm: vms.0.clone(),
            dst_vm: vms.1.clone(),
            src,
            dst: 0x2000,
            size: 64,
            eventfd: None,
        };

        self.engine.submit(&*self.vms, client, request, false)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.engine.shutdown();
    }
}

/// How a copy has ended, now; `ETIME` if it has not.
pub(crate) fn outcome(client: &Client, seqno: u64) -> Result<Outcome> {
    client.wait(seqno, 0)
}
