// SPDX-License-Identifier: GPL-2.0

//! Lists of what was exported, shared reservation objects, and operations in larger structures.

use kernel::prelude::*;

#[kunit_tests(ext_dma_list)]
mod tests {
    use crate::{
        exporter::{
            Event::*,
            *, //
        },
        support::*, //
    };
    use core::ptr::NonNull;
    use kernel::{
        bindings,
        dma::DataDirection,
        fs::file::flags,
        page::PAGE_SIZE,
        prelude::*,
        sync::{
            aref::ARef,
            Arc, //
        },
    };
    use kernel_ext::{
        dma_buf::*,
        dma_resv::Guard, //
    };

    /// A buffer with the reservation object of another, whose release is in its log.
    struct Sharing {
        _own: Shared,
        other: ARef<DmaBuf>,
        list: Arc<ExportList>,
    }

    #[vtable]
    impl Exporter for Sharing {
        type AttachmentData = ();

        const NAME: &'static CStr = c"ext_dma_sharing";

        fn attach(&self, _importer: &NewAttachment) -> Result {
            Err(EOPNOTSUPP)
        }

        fn map<'a>(
            &self,
            _guard: &mut Guard<'_>,
            _importer: &'a ExportedAttachment<Self>,
            _direction: DataDirection,
        ) -> Result<SgTable<'a>> {
            Err(ENODEV)
        }
    }

    fn export(list: &Arc<ExportList>, log: &Arc<Log>, owner: &DmaBuf) -> Result<ARef<DmaBuf>> {
        ExportPlace::new(ExportInfo::new(PAGE_SIZE, flags::O_RDWR))?.export_listed(
            Sharing {
                _own: Shared::new(1, log)?,
                other: owner.into(),
                list: list.clone(),
            },
            |data| (data.other.resv(), &*data.list),
            |_, _| Ok(()),
        )
    }

    fn lists(list: &ExportList, expected: &[&DmaBuf]) -> bool {
        list.iter()
            .map(|dma_buf| core::ptr::from_ref(&*dma_buf))
            .eq(expected.iter().map(|dma_buf| core::ptr::from_ref(*dma_buf)))
    }

    #[test]
    fn shares_reservation_object() -> Result {
        let (log, owner_log) = (Log::new()?, Log::new()?);
        let list = ExportList::new()?;
        let owner = Shared::export(1, &owner_log)?;
        let dma_buf = export(&list, &log, &owner)?;

        check!(core::ptr::eq(dma_buf.resv(), owner.resv()));
        check!(dma_buf.exported_by::<Sharing>().is_some());
        drop(owner);
        flush_files();
        // The buffer keeps the owner.
        check_eq!(*owner_log.take(), []);
        drop(dma_buf.resv().lock());
        drop(dma_buf);
        flush_files();
        flush_files();
        check_eq!(*log.take(), [Release]);
        check_eq!(*owner_log.take(), [Release]);
        Ok(())
    }

    #[test]
    fn keeps_order() -> Result {
        let log = Log::new()?;
        let list = ExportList::new()?;
        let owner = Shared::export(1, &log)?;

        check!(lists(&list, &[]));
        let first = export(&list, &log, &owner)?;
        let second = export(&list, &log, &owner)?;
        let third = export(&list, &log, &owner)?;
        check!(lists(&list, &[&first, &second, &third]));
        check_eq!(list.iter().count(), 3);
        drop(second);
        flush_files();
        check!(lists(&list, &[&first, &third]));
        drop(first);
        flush_files();
        check!(lists(&list, &[&third]));
        drop(third);
        flush_files();
        check!(lists(&list, &[]));
        Ok(())
    }

    #[test]
    fn does_not_keep_alive() -> Result {
        let log = Log::new()?;
        let list = ExportList::new()?;
        let owner = Shared::export(1, &log)?;
        let dma_buf = export(&list, &log, &owner)?;
        let mut iter = list.iter();
        let found = iter.next().ok_or(ENOENT)?;

        drop(dma_buf);
        drop(found);
        flush_files();
        // The place in the list is held by the iterator only.
        check_eq!(*log.take(), []);
        check!(iter.next().is_none());
        flush_files();
        check_eq!(*log.take(), [Release]);
        check!(lists(&list, &[]));
        Ok(())
    }

    #[test]
    fn changes_while_iterated() -> Result {
        const ROUNDS: usize = 100;

        let log = Log::new()?;
        let list = ExportList::new()?;
        let owner = Shared::export(1, &log)?;
        let stays = export(&list, &log, &owner)?;
        let changer = Thread::spawn({
            let (log, list, owner) = (log.clone(), list.clone(), owner.clone());
            move || -> Result {
                for _ in 0..ROUNDS {
                    let one = export(&list, &log, &owner)?;
                    let two = export(&list, &log, &owner)?;

                    drop(one);
                    drop(two);
                }
                Ok(())
            }
        })?;

        for _ in 0..ROUNDS {
            let mut found = false;

            for dma_buf in list.iter() {
                check!(dma_buf.exported_by::<Sharing>().is_some());
                found |= core::ptr::eq(&*dma_buf, &*stays);
            }
            check!(found);
        }
        changer.join()??;
        flush_files();
        check!(lists(&list, &[&stays]));
        check_eq!(log.take().len(), 2 * ROUNDS);
        Ok(())
    }

    /// Operations with something more behind them.
    #[repr(C)]
    struct LargerOps {
        base: bindings::dma_buf_ops,
        more: u32,
    }

    struct StaticOps(LargerOps);

    // SAFETY: Functions and a number.
    unsafe impl Sync for StaticOps {}

    static LARGER: StaticOps = StaticOps(LargerOps {
        base: vtable::<Shared>(),
        more: 4711,
    });

    #[test]
    fn operations_can_be_embedded() -> Result {
        let log = Log::new()?;
        // SAFETY: The operations are those of `Shared`, and static.
        let info = unsafe {
            ExportInfo::new(PAGE_SIZE, flags::O_RDWR).with_ops(NonNull::from(&LARGER.0.base))
        };
        let dma_buf = DmaBuf::export(info, Shared::new(1, &log)?)?;

        // SAFETY: The dma-buf exists.
        let ops = unsafe { (*dma_buf.as_raw()).ops };
        check!(core::ptr::eq(ops, &LARGER.0.base));
        // SAFETY: Recognised by its address.
        check_eq!(unsafe { (*ops.cast::<LargerOps>()).more }, 4711);
        // The identity does not hang on the operations.
        check!(dma_buf.exported_by::<Shared>().is_some());
        check!(dma_buf.exported_by::<Movable>().is_none());
        Ok(())
    }
}
