// SPDX-License-Identifier: GPL-2.0

//! Buffers as files, and access of the CPU.

use kernel::prelude::*;

#[kunit_tests(ext_dma_file)]
mod tests {
    use crate::{
        exporter::{
            Event::*,
            *, //
        },
        support::*, //
    };
    use kernel::{
        bindings,
        dma::DataDirection::{
            Bidirectional,
            FromDevice,
            ToDevice, //
        },
        fs::file::{
            flags,
            FileDescriptorReservation, //
        },
        page::PAGE_SIZE,
        prelude::*,
        sync::aref::ARef, //
    };
    use kernel_ext::{
        dma_buf::*,
        dma_fence::Fence,
        sync_file, //
    };

    /// Closes a descriptor of the thread of the test.
    fn close(fd: i32) {
        // SAFETY: No requirements.
        unsafe { bindings::close_fd(fd as u32) };
        flush_files();
    }

    #[test]
    fn properties() -> Result {
        let log = Log::new()?;
        let shared = Shared::export(5, &log)?;
        let movable = Movable::export(1, &log)?;
        let mut buf = [0; NAME_LEN];

        check_eq!(shared.size(), 5 * PAGE_SIZE);
        check!(shared.exporter_name() == c"ext_dma_shared");
        check!(shared.name(&mut buf).is_none());
        check!(shared.is_writable());
        check!(!movable.is_writable());
        check!(!core::ptr::eq(shared.resv(), movable.resv()));
        Ok(())
    }

    #[test]
    fn bad_sizes() -> Result {
        let export = |size| DmaBuf::export(ExportInfo::new(size, flags::O_RDWR), Empty).err();

        check_eq!(export(0), Some(EINVAL));
        check_eq!(export(PAGE_SIZE + 1), Some(EINVAL));
        check_eq!(export(PAGE_SIZE), None);
        Ok(())
    }

    /// An exporter that has nothing to export.
    struct Empty;

    #[vtable]
    impl Exporter for Empty {
        type AttachmentData = ();

        const NAME: &'static CStr = c"ext_dma_empty";

        fn attach(&self, _importer: &NewAttachment) -> Result {
            Err(EOPNOTSUPP)
        }

        fn map<'a>(
            &self,
            _guard: &mut kernel_ext::dma_resv::Guard<'_>,
            _importer: &'a ExportedAttachment<Self>,
            _direction: kernel::dma::DataDirection,
        ) -> Result<SgTable<'a>> {
            Err(ENODEV)
        }
    }

    #[test]
    fn failing_data() -> Result {
        let info = ExportInfo::new(PAGE_SIZE, flags::O_RDWR);

        check!(matches!(
            DmaBuf::export::<Empty, Error>(info, Err(EDOM)),
            Err(err) if err == EDOM
        ));
        Ok(())
    }

    #[test]
    fn descriptor() -> Result {
        let log = Log::new()?;
        let dma_buf = Shared::export(1, &log)?;
        let fd = dma_buf.fd(flags::O_CLOEXEC)?;
        let found = DmaBuf::from_fd(fd)?;

        check!(core::ptr::eq(&*found, &*dma_buf));
        drop(found);
        drop(dma_buf);
        flush_files();
        // The descriptor holds it.
        check_eq!(*log.take(), []);
        check!(DmaBuf::from_fd(fd).is_ok());
        close(fd);
        check_eq!(*log.take(), [Release]);
        check!(matches!(DmaBuf::from_fd(fd), Err(err) if err == EBADF));
        Ok(())
    }

    #[test]
    fn descriptor_closed_first() -> Result {
        let log = Log::new()?;
        let dma_buf = Shared::export(1, &log)?;

        close(dma_buf.fd(0)?);
        check_eq!(*log.take(), []);
        drop(dma_buf);
        flush_files();
        check_eq!(*log.take(), [Release]);
        Ok(())
    }

    #[test]
    fn bad_descriptor_flags() -> Result {
        let log = Log::new()?;
        let dma_buf = Shared::export(1, &log)?;

        check_eq!(dma_buf.fd(flags::O_APPEND), Err(EINVAL));
        Ok(())
    }

    #[test]
    fn reserved_descriptor() -> Result {
        let log = Log::new()?;
        let dma_buf = Shared::export(1, &log)?;
        let reservation = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
        let fd = reservation.reserved_fd() as i32;

        check!(DmaBuf::from_fd(fd).is_err());
        reservation.fd_install(dma_buf.file());
        check!(core::ptr::eq(&*DmaBuf::from_fd(fd)?, &*dma_buf));
        drop(dma_buf);
        close(fd);
        check_eq!(*log.take(), [Release]);
        Ok(())
    }

    #[test]
    fn other_files() -> Result {
        let reservation = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
        let fd = reservation.reserved_fd() as i32;

        sync_file::SyncFile::new(&Fence::signaled_stub())?.install(reservation);
        check!(matches!(DmaBuf::from_fd(fd), Err(err) if err == EINVAL));
        let fence = sync_file::fence_from_fd(fd)?;
        check_eq!(fence.status(), Some(Ok(())));
        close(fd);
        check!(matches!(sync_file::fence_from_fd(fd), Err(err) if err == EINVAL));
        Ok(())
    }

    #[test]
    fn try_get() -> Result {
        let log = Log::new()?;
        let dma_buf = Shared::export(1, &log)?;
        let raw = core::ptr::NonNull::from(&*dma_buf).cast();
        // SAFETY: The buffer exists.
        let found: ARef<DmaBuf> = unsafe { DmaBuf::try_get(raw) }.ok_or(ENOENT)?;

        check!(core::ptr::eq(&*found, &*dma_buf));
        drop(dma_buf);
        flush_files();
        check_eq!(*log.take(), []);
        drop(found);
        flush_files();
        check_eq!(*log.take(), [Release]);
        Ok(())
    }

    #[test]
    fn vmap() -> Result {
        let log = Log::new()?;
        let dma_buf = Movable::export(1, &log)?;
        let first = dma_buf.vmap()?;
        let second = dma_buf.vmap()?;
        let map = *first;
        let data = dma_buf.exported_by::<Movable>().ok_or(ENOENT)?;

        // The exporter is asked for the first, and told of the last.
        check_eq!(*log.take(), [Vmap]);
        check_eq!(map, KernelMap::Io(core::ptr::NonNull::from(data).cast()));
        check_eq!(*second, map);
        drop(first);
        check_eq!(*log.take(), []);
        // The mapping holds the buffer.
        drop(dma_buf);
        flush_files();
        check_eq!(*log.take(), []);
        check!(!second.dma_buf().is_writable());
        drop(second);
        flush_files();
        check_eq!(*log.take(), [Vunmap(map), Release]);
        Ok(())
    }

    #[test]
    fn cpu_access() -> Result {
        let log = Log::new()?;
        let shared = Shared::export(1, &log)?;
        let movable = Movable::export(1, &log)?;

        drop(shared.begin_cpu_access(FromDevice)?);
        check_eq!(*log.take(), [BeginCpu(FromDevice), EndCpu(FromDevice)]);
        shared.begin_cpu_access(ToDevice)?.end()?;
        check_eq!(*log.take(), [BeginCpu(ToDevice), EndCpu(ToDevice)]);
        // An exporter without these operations has nothing to do.
        movable.begin_cpu_access(Bidirectional)?.end()?;
        check_eq!(*log.take(), []);
        check!(matches!(shared.vmap(), Err(err) if err == EINVAL));
        Ok(())
    }
}
