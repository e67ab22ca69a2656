// SPDX-License-Identifier: GPL-2.0

//! The driver under test: it counts what happens to it, and fails where it is told to.

use crate::{
    export::TestExporter,
    files::phys, //
};
use core::ops::Deref;
use kernel::{
    bindings,
    device,
    error::from_err_ptr,
    faux,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    str::CString,
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
use kernel_ext::{
    drm::{
        self,
        gem::{
            self,
            Caching,
            IoWindow,
            Object,
            ObjectStatus,
            Resv,
            ShmemPages,
            VmFault,
            VmFaultResult, //
        },
        Device,
        DmaBuf,
        DriverInfo,
        File,
        Printer, //
    },
    drm_accel_ioctls,
    drm_print, //
};

/// A number of events.
pub(crate) struct Count(Atomic<i32>);

impl Count {
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn sub(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    pub(crate) fn get(&self) -> i32 {
        self.0.load(Relaxed)
    }
}

/// What has happened.
pub(crate) struct Counts {
    pub(crate) data_drops: Count,
    pub(crate) file_opens: Count,
    pub(crate) postcloses: Count,
    pub(crate) file_drops: Count,
    pub(crate) object_drops: Count,
    pub(crate) handle_opens: Count,
    pub(crate) handle_closes: Count,
    pub(crate) faults: Count,
    pub(crate) imports: Count,
    pub(crate) calls: Count,
}

impl Counts {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                data_drops: Count::new(),
                file_opens: Count::new(),
                postcloses: Count::new(),
                file_drops: Count::new(),
                object_drops: Count::new(),
                handle_opens: Count::new(),
                handle_closes: Count::new(),
                faults: Count::new(),
                imports: Count::new(),
                calls: Count::new(),
            },
            GFP_KERNEL,
        )?)
    }
}

pub(crate) struct TestDriver;

#[pin_data(PinnedDrop)]
pub(crate) struct TestData {
    pub(crate) counts: Arc<Counts>,
    /// If not 0, what opening a file fails with.
    pub(crate) open_errno: Atomic<i32>,
    /// What the ioctl `UNPLUG` takes and drops.
    #[pin]
    pub(crate) registration: Mutex<Option<drm::Registration<TestDriver>>>,
}

impl TestData {
    pub(crate) fn new(counts: Arc<Counts>) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            counts,
            open_errno: Atomic::new(0),
            registration <- new_mutex!(None),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for TestData {
    fn drop(self: Pin<&mut Self>) {
        self.counts.data_drops.add();
    }
}

#[vtable]
impl drm::Driver for TestDriver {
    type Data = TestData;
    type File = TestFile;
    type Object = TestObject;

    const INFO: DriverInfo = DriverInfo {
        major: 1,
        minor: 2,
        patchlevel: 3,
        name: c"ext_drm_test",
        desc: c"Device without hardware",
    };

    const FEAT_SYNCOBJ: bool = true;
    const FEAT_SYNCOBJ_TIMELINE: bool = true;

    drm_accel_ioctls! {
        (ADD, AddArg, 0, Self::ioctl_add),
        (FAIL, AddArg, 0, Self::ioctl_fail),
        (BIG, BigArg, 0, entered Self::ioctl_big),
        (UNPLUG, AddArg, 0, Self::ioctl_unplug),
    }

    fn show_fdinfo(_dev: &Device<Self>, file: &File<TestFile>, printer: &mut Printer) {
        let mut stats = drm::MemoryStats::default();
        file.for_each_object(|obj| {
            let size = obj.size() as u64;
            if obj.is_shared() {
                stats.shared += size;
            } else {
                stats.private += size;
            }
            if obj.status().contains(ObjectStatus::RESIDENT) {
                stats.resident += size;
            }
        });
        drm_print!(printer, "drm-engine-test:\t{} ns\n", 12345);
        printer.memory_stats(&stats, ObjectStatus::RESIDENT, c"test0");
    }

    fn import(dev: &Device<Self>, dmabuf: &DmaBuf) -> Result<ARef<Object<TestObject>>> {
        dev.counts.imports.add();

        if let Some(exporter) = dmabuf.exported_by::<TestExporter>() {
            return Ok(exporter.object());
        }

        // SAFETY: Both are valid.
        if unsafe { bindings::drm_gem_is_prime_exported_dma_buf(dev.as_raw(), dmabuf.as_raw()) } {
            // SAFETY: The dma-buf was exported by an object of `dev`, to which it has a reference.
            let obj = unsafe { Object::<TestObject>::from_raw((*dmabuf.as_raw()).priv_.cast()) };
            return Ok(obj.into());
        }

        Object::new_private_with_resv(
            dev,
            dmabuf.size(),
            Resv::DmaBuf(dmabuf.into()),
            TestObject::new(dev.counts.clone(), Backing::None),
        )
    }
}

/// Number and type of the arguments of the ioctls.
pub(crate) const ADD: u32 = 0;
pub(crate) const FAIL: u32 = 1;
pub(crate) const BIG: u32 = 2;
pub(crate) const UNPLUG: u32 = 3;

#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct AddArg {
    pub(crate) a: u32,
    pub(crate) b: u32,
    pub(crate) sum: u64,
}

/// Larger than the buffer that `drm_ioctl()` has on its stack.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct BigArg {
    pub(crate) words: [u64; 100],
}

impl TestDriver {
    fn ioctl_add(dev: &Device<Self>, arg: &mut AddArg, _file: &File<TestFile>) -> Result<u32> {
        dev.counts.calls.add();
        arg.sum = u64::from(arg.a) + u64::from(arg.b);
        Ok(7)
    }

    /// Fails with the errno that is asked for, if any, after it has changed the argument.
    fn ioctl_fail(dev: &Device<Self>, arg: &mut AddArg, _file: &File<TestFile>) -> Result<u32> {
        dev.counts.calls.add();
        arg.sum = 99;
        if arg.a != 0 {
            return Err(Error::from_errno(-(arg.a as i32)));
        }
        Ok(u32::MAX)
    }

    /// Turns the words around.
    fn ioctl_big(
        guard: &drm::DeviceGuard<'_, Self>,
        arg: &mut BigArg,
        _file: &File<TestFile>,
    ) -> Result<u32> {
        guard.counts.calls.add();
        arg.words.reverse();
        Ok(0)
    }

    /// Unplugs the device that it is called on.
    fn ioctl_unplug(dev: &Device<Self>, arg: &mut AddArg, _file: &File<TestFile>) -> Result<u32> {
        dev.counts.calls.add();
        arg.a = dev.enter().is_some().into();
        let registration = dev.registration.lock().take();
        drop(registration);
        arg.b = dev.enter().is_some().into();
        Ok(0)
    }
}

pub(crate) struct TestFile {
    counts: Arc<Counts>,
}

impl drm::FileData for TestFile {
    type Driver = TestDriver;

    fn open(dev: &Device<TestDriver>) -> Result<Pin<KBox<Self>>> {
        let errno = dev.open_errno.load(Relaxed);
        if errno != 0 {
            return Err(Error::from_errno(errno));
        }
        let counts = dev.counts.clone();
        counts.file_opens.add();
        Ok(KBox::pin(Self { counts }, GFP_KERNEL)?)
    }

    fn postclose(dev: &Device<TestDriver>, file: &File<Self>) {
        // The data is still there, and handles are closed.
        let inner = file.inner();
        if inner.counts.file_drops.get() < dev.counts.file_opens.get()
            && dev.counts.handle_closes.get() == dev.counts.handle_opens.get()
        {
            dev.counts.postcloses.add();
        }
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        self.counts.file_drops.add();
    }
}

/// Where the memory of an object is.
pub(crate) enum Backing {
    /// Nowhere; it cannot be mapped.
    None,
    /// In shmem pages, which are taken on the first fault.
    Shmem(Option<ShmemPages<TestObject>>),
    /// In pages that are taken for device memory, as many at a time as the second number says.
    Io(KVec<u8>, usize),
    /// It was there, but is gone.
    Revoked,
}

#[pin_data(PinnedDrop)]
pub(crate) struct TestObject {
    counts: Arc<Counts>,
    /// If not 0, what creating a handle fails with.
    pub(crate) open_errno: Atomic<i32>,
    /// Whether the object is exported by [`TestExporter`], or by the DRM core.
    pub(crate) rust_exporter: Atomic<bool>,
    /// Locked while a fault looks up the page and inserts it.
    #[pin]
    pub(crate) backing: Mutex<Backing>,
}

impl TestObject {
    pub(crate) fn new(counts: Arc<Counts>, backing: Backing) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            counts,
            open_errno: Atomic::new(0),
            rust_exporter: Atomic::new(false),
            backing <- new_mutex!(backing),
        })
    }

    /// Takes the memory away from an object, as a driver does.
    pub(crate) fn revoke(obj: &Object<Self>) {
        let old = core::mem::replace(&mut *obj.backing.lock(), Backing::Revoked);
        obj.unmap_cpu();
        drop(old);
    }
}

#[pinned_drop]
impl PinnedDrop for TestObject {
    fn drop(self: Pin<&mut Self>) {
        self.counts.object_drops.add();
    }
}

#[vtable]
impl gem::DriverObject for TestObject {
    type Driver = TestDriver;

    fn open(obj: &Object<Self>, file: &File<TestFile>) -> Result {
        let errno = obj.open_errno.load(Relaxed);
        if errno != 0 {
            return Err(Error::from_errno(errno));
        }
        file.inner().counts.handle_opens.add();
        Ok(())
    }

    fn close(_obj: &Object<Self>, file: &File<TestFile>) {
        file.inner().counts.handle_closes.add();
    }

    fn mmap(obj: &Object<Self>) -> Result {
        match *obj.backing.lock() {
            Backing::None => Err(EPERM),
            _ => Ok(()),
        }
    }

    fn mmap_caching(obj: &Object<Self>) -> Caching {
        match *obj.backing.lock() {
            Backing::Io(..) => Caching::WriteCombined,
            _ => Caching::Cached,
        }
    }

    fn fault(obj: &Object<Self>, fault: &mut VmFault) -> VmFaultResult {
        obj.counts.faults.add();

        match &mut *obj.backing.lock() {
            Backing::None | Backing::Revoked => VmFaultResult::SIGBUS,
            Backing::Shmem(pages) => {
                if pages.is_none() {
                    match obj.shmem_pages() {
                        Ok(new) => *pages = Some(new),
                        Err(e) => return e.into(),
                    }
                }
                match pages {
                    Some(pages) => fault.insert_shmem(pages),
                    None => VmFaultResult::SIGBUS,
                }
            }
            Backing::Io(memory, batch) => {
                // SAFETY: The memory belongs to the object, and is freed after its last mapping is
                // gone.
                let window = unsafe { IoWindow::new(phys(memory), memory.len() as u64) };
                fault.insert_io_range(&window, fault.page_offset() as u64, *batch)
            }
        }
    }

    fn export(obj: &Object<Self>, flags: u32) -> Result<ARef<DmaBuf>> {
        if obj.rust_exporter.load(Relaxed) {
            let dmabuf = TestExporter::export(obj, 0, obj.size())?;
            obj.share_mappings(&dmabuf)?;
            return Ok(dmabuf);
        }

        // SAFETY: The object is valid, and not freed as long as the dma-buf holds it.
        let dmabuf = unsafe { bindings::drm_gem_prime_export(obj.as_raw(), flags as i32) };
        let dmabuf = from_err_ptr(dmabuf)?;

        // SAFETY: The new dma-buf is valid; its reference is handed over.
        Ok(unsafe { ARef::from_raw(DmaBuf::from_raw(dmabuf).into()) })
    }

    fn status(obj: &Object<Self>) -> ObjectStatus {
        // Called with a spinlock held: no waiting for the mutex.
        match obj.backing.try_lock().as_deref() {
            Some(Backing::Shmem(Some(_)) | Backing::Io(..)) => ObjectStatus::RESIDENT,
            _ => ObjectStatus::NONE,
        }
    }

    fn rss(obj: &Object<Self>) -> usize {
        obj.size()
    }
}

/// A parent that is bound, and a registered device.
///
/// Fields are dropped in order: the device is unplugged before the parent is unbound.
pub(crate) struct Fixture {
    pub(crate) registration: drm::Registration<TestDriver>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) parent: faux::Registration,
}

impl Fixture {
    pub(crate) fn new() -> Result<Self> {
        let parent = parent()?;
        let counts = Counts::new()?;
        let dev = drm::UnregisteredDevice::new(bound(&parent), TestData::new(counts.clone()))?;
        Ok(Self {
            registration: drm::Registration::new(bound(&parent), dev)?,
            counts,
            parent,
        })
    }

    /// Creates an object with the given backing, of `pages` pages.
    pub(crate) fn object(
        &self,
        pages: usize,
        backing: Backing,
    ) -> Result<ARef<Object<TestObject>>> {
        let shmem = matches!(backing, Backing::Shmem(_));
        let data = TestObject::new(self.counts.clone(), backing);

        if shmem {
            Object::new_shmem(self, pages * PAGE_SIZE, data)
        } else {
            Object::new_private(self, pages * PAGE_SIZE, data)
        }
    }
}

impl Deref for Fixture {
    type Target = Device<TestDriver>;

    fn deref(&self) -> &Self::Target {
        self.registration.device()
    }
}

/// Creates a device to be the parent of a DRM device.
///
/// Each has a name of its own, since a failed assertion leaves devices behind.
pub(crate) fn parent() -> Result<faux::Registration> {
    static NEXT: Atomic<i32> = Atomic::new(0);

    let name = CString::try_from_fmt(fmt!("ext_drm_test.{}", NEXT.fetch_add(1, Relaxed)))?;
    faux::Registration::new(&name, None)
}

/// Returns the device, which is bound as long as its registration exists.
pub(crate) fn bound(parent: &faux::Registration) -> &device::Device<device::Bound> {
    let dev: &faux::Device<device::Bound> = parent.as_ref();
    dev.as_ref()
}
