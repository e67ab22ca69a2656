// SPDX-License-Identifier: GPL-2.0

//! An exporter of objects that is written in Rust.

use crate::driver::TestObject;
use kernel::{
    bindings,
    dma::DataDirection,
    mm::virt::VmaNew,
    prelude::*,
    sync::aref::ARef, //
};
use kernel_ext::{
    dma_buf::{
        DmaBuf,
        ExportInfo,
        ExportedAttachment,
        Exporter,
        NewAttachment,
        SgTable, //
    },
    dma_resv::Guard,
    drm::gem::Object, //
};

/// Exports an object, from some offset on. Its memory is for userspace only.
pub(crate) struct TestExporter {
    obj: ARef<Object<TestObject>>,
    offset: usize,
}

impl TestExporter {
    /// Makes a dma-buf of `size` bytes of `obj`, from `offset` on.
    pub(crate) fn export(
        obj: &Object<TestObject>,
        offset: usize,
        size: usize,
    ) -> Result<ARef<DmaBuf>> {
        // SAFETY: The exporter has a reference to the object.
        let info = unsafe { ExportInfo::new(size, bindings::O_RDWR).with_resv(obj.resv()) };
        let obj = obj.into();
        DmaBuf::export::<Self, _>(info, Self { obj, offset })
    }

    pub(crate) fn object(&self) -> ARef<Object<TestObject>> {
        self.obj.clone()
    }
}

#[vtable]
impl Exporter for TestExporter {
    type AttachmentData = ();

    const NAME: &'static CStr = c"ext_drm_test";

    fn attach(&self, _importer: &NewAttachment) -> Result {
        Err(EOPNOTSUPP)
    }

    fn map<'a>(
        &self,
        _guard: &mut Guard<'_>,
        _importer: &'a ExportedAttachment<Self>,
        _direction: DataDirection,
    ) -> Result<SgTable<'a>> {
        Err(EOPNOTSUPP)
    }

    fn mmap(&self, _dma_buf: &DmaBuf, vma: &VmaNew) -> Result {
        self.obj.mmap_exported(vma, self.offset)
    }
}
