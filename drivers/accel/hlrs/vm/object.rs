// SPDX-License-Identifier: GPL-2.0

//! A VM as files know it.

use core::sync::atomic::{
    AtomicBool,
    Ordering, //
};

use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        Arc,
        Mutex,
        SetOnce, //
    },
    time::{
        msecs_to_jiffies,
        Jiffies, //
    },
};
use kernel_ext::{
    dma_fence::Fence,
    drm::sched::{
        Config,
        Entity,
        Priority,
        Scheduler, //
    },
    new_delayed_task,
    workqueue::{
        DelayedTask,
        Task, //
    },
};

use super::{
    activity::Activity,
    ban::Ban,
    bind::BindBackend,
    ended::Remains,
    handles::Handles,
    page_table::{
        PageTable,
        Walk,
        VA_END, //
    },
    space::{
        GpuVm,
        Space,
        Tree, //
    },
    tables::{
        TableSource,
        Window, //
    },
};
use crate::{
    client::Client,
    device::BoundDevice, //
};

/// How often to look whether what was unmapped is still used, milliseconds.
const TIDY_MS: u32 = 2;

/// Binds that are carried out at a time: they are, as soon as they need not wait.
const BINDS_AT_A_TIME: u32 = 1;

/// A VM.
#[pin_data(PinnedDrop)]
pub(crate) struct Vm {
    id: u32,
    client: Arc<Client>,
    /// Whether any process may use the descriptor that it is exported as.
    shared: bool,
    ban: SetOnce<Ban>,
    closed: AtomicBool,
    space: ARef<GpuVm>,
    /// Who else has it.
    #[pin]
    pub(super) handles: Mutex<Handles>,
    pub(super) tree: Arc<Tree>,
    /// What is left when nobody has it any more.
    remains: Option<KBox<Remains>>,
    /// The last bind that waits, or has waited, for fences.
    #[pin]
    last_bind: Mutex<Option<ARef<Fence>>>,
    /// Binds that wait.
    binds: Entity<BindBackend>,
    #[pin]
    tidier: DelayedTask<Tidier>,
}

impl Vm {
    /// Makes a VM without mappings, which has number `id` in the file of `client`.
    ///
    /// Sleeps. Fails with `ENOSPC` if no context, or no memory for a table, is left, `ENOMEM`,
    /// `ENODEV`.
    pub(crate) fn new(
        dev: &BoundDevice<'_>,
        client: &Arc<Client>,
        id: u32,
        shared: bool,
    ) -> Result<Arc<Self>> {
        let root = TableSource::new(&dev.lmem).next(1)?;
        let tables = PageTable::new(root)?;
        Window::with(dev, |window| tables.blank(window));
        let context = dev.contexts.take(tables.root())?;
        let name = CString::try_from_fmt(kernel::prelude::fmt!("hlrs-{id}"))?;
        let label = CString::try_from_fmt(kernel::prelude::fmt!("{id} {}", client.process()))?;
        let space = Space::new(context, tables, label);
        let tree = GpuVm::new(dev, name, 0..VA_END, None, space)?;
        let space = tree.vm();
        let tree = Arc::pin_init(new_mutex!(Some(tree), "hlrs::Vm::tree"), GFP_KERNEL)?;
        let scheduler = Scheduler::new(Config {
            name: c"hlrs-bind",
            credit_limit: BINDS_AT_A_TIME,
            timeout: None,
            submit_queue: Some(dev.bind_queue.clone()),
            timeout_queue: None,
            device: dev.parent(),
        })?;

        let vm = Arc::pin_init(
            try_pin_init!(Self {
                id,
                client: client.clone(),
                shared,
                ban: SetOnce::new(),
                closed: AtomicBool::new(false),
                tidier <- new_delayed_task!(Tidier(space.clone()), "hlrs_tidy"),
                binds: Entity::new(&scheduler, Priority::Normal)?,
                handles <- new_mutex!(Handles::new(), "hlrs::Vm::handles"),
                remains: Some(Remains::new(&space, &tree)?),
                tree,
                space,
                last_bind <- new_mutex!(None, "hlrs::Vm::last_bind"),
            }? Error),
            GFP_KERNEL,
        )?;
        // Until [`Space::close`] this holds the tree, and with it the space.
        vm.space.set_tree(&vm.tree);
        Ok(vm)
    }

    /// Its number in the file that has made it.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The file that has made it.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Whether any process may use the descriptor that it is exported as.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// The mappings.
    pub(crate) fn space(&self) -> &ARef<GpuVm> {
        &self.space
    }

    /// Number of the device's context.
    pub(crate) fn context(&self) -> u32 {
        self.space.context()
    }

    /// What engines do in it.
    pub(crate) fn activity(&self) -> &Activity {
        self.space.activity()
    }

    /// Bans the VM: nothing is done in it any more. The first ban counts. Any context.
    pub(crate) fn ban(&self, ban: Ban) {
        self.ban.populate(ban);
    }

    /// Whether the VM is banned. Any context.
    pub(crate) fn is_banned(&self) -> bool {
        self.ban.as_ref().is_some()
    }

    /// Why the VM is banned, if it is.
    pub(crate) fn why_banned(&self) -> Option<&Ban> {
        self.ban.as_ref()
    }

    /// Fails with `ECANCELED` if the VM is banned or closed.
    pub(crate) fn check_usable(&self) -> Result {
        if self.is_banned() || self.closed.load(Ordering::SeqCst) {
            return Err(ECANCELED);
        }
        Ok(())
    }

    /// The last bind that waits for fences, unless it is done. Sleeps.
    pub(crate) fn pending_bind(&self) -> Option<ARef<Fence>> {
        let mut last = self.last_bind.lock();

        if last.as_ref().is_some_and(|fence| fence.is_signaled()) {
            *last = None;
        }
        last.clone()
    }

    /// The queue of binds that wait.
    pub(super) fn bind_entity(&self) -> &Entity<BindBackend> {
        &self.binds
    }

    /// The file is closed, or the VM destroyed: binds that wait are not carried out. Sleeps.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn set_last_bind(&self, fence: ARef<Fence>) {
        *self.last_bind.lock() = Some(fence);
    }

    /// Bytes of addresses that are mapped. Sleeps.
    pub(crate) fn mapped_bytes(&self) -> u64 {
        self.tree.lock().as_ref().map_or(0, |tree| {
            tree.iter()
                .map(|va| va.range().end - va.range().start)
                .sum()
        })
    }

    /// Bytes of LMEM that page tables take. Sleeps.
    pub(crate) fn table_bytes(&self) -> u64 {
        self.space.table_bytes()
    }

    /// From now on engines of other drivers may begin no access. Takes the reservation lock of the
    /// address space. Sleeps.
    pub(super) fn refuse_accesses(&self) {
        self.space.accesses().refuse(&self.space.resv().lock());
    }

    /// Waits for such accesses, no longer than importers get. Sleeps.
    pub(super) fn wait_for_accesses(&self) {
        self.space
            .accesses()
            .wait(msecs_to_jiffies(crate::revoke_timeout_ms()));
    }

    /// The entries that the MMU reads to translate `va`. Sleeps; does not allocate.
    pub(crate) fn walk(&self, va: u64) -> Walk {
        Window::with(self.space.dev(), |window| {
            self.space.with_tables(|tables| tables.walk(window, va))
        })
    }

    /// Gives back what was unmapped, now or as soon as engines do not use it any more.
    ///
    /// Sleeps; must be called neither with a reservation lock held nor where a fence depends on it.
    pub(super) fn tidy(&self) {
        self.space.deferred_cleanup();
        if self.space.tidy() {
            self.tidier.schedule(msecs_to_jiffies(TIDY_MS));
        }
    }

    /// As [`Vm::tidy`], but later; any context.
    pub(super) fn tidy_later(&self) {
        self.tidier.schedule(0);
    }
}

#[pinned_drop]
impl PinnedDrop for Vm {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();

        // Nothing begins in the VM any more: queues, binds that wait and other users hold it.
        this.tidier.disable();
        let Some(remains) = this.remains.take() else {
            return;
        };

        if this.space.is_idle() {
            remains.give_back();
            return;
        }
        if this.handles.lock().is_revoked() {
            // They were waited for, and have to end now. What is not over may use the memory.
            this.space.close();
        }
        this.space.dev().contexts.keep_until_idle(remains);
    }
}

/// Gives back what was unmapped when it is not used any more.
struct Tidier(ARef<GpuVm>);

impl Task for Tidier {
    fn run(&self) -> Option<Jiffies> {
        self.0.deferred_cleanup();
        self.0.tidy().then(|| msecs_to_jiffies(TIDY_MS))
    }
}
