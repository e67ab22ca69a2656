// SPDX-License-Identifier: GPL-2.0

//! Files without a name: identity, lifetime, operations.

use crate::support::*;
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    sync::poll::PollTable, //
};
use kernel_ext::{
    anon_inode::{
        File,
        Operations,
        Vtable, //
    },
    poll::{
        PollEvent,
        PollEvents, //
    },
};

/// A file with all operations.
struct Full {
    number: u32,
    _drop: CountDrop,
}

#[vtable]
impl Operations for Full {
    const NAME: &'static CStr = c"[ext_file_full]";

    fn vtable() -> &'static Vtable<Self> {
        static VTABLE: Vtable<Full> = Vtable::new();
        &VTABLE
    }

    fn ioctl(file: &File<Self>, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            1 => Ok(file.data().number as isize + arg as isize),
            _ => Err(EDOM),
        }
    }

    fn poll(_file: &File<Self>, _table: PollTable<'_>) -> PollEvents {
        PollEvent::In | PollEvent::Pri
    }

    fn show_fdinfo(file: &File<Self>, m: &SeqFile) {
        kernel::seq_print!(m, "number:\t{}\n", file.data().number);
    }
}

/// A file with none, and with the same data.
struct Bare {
    _number: u32,
    _drop: CountDrop,
}

#[vtable]
impl Operations for Bare {
    const NAME: &'static CStr = c"[ext_file_bare]";

    fn vtable() -> &'static Vtable<Self> {
        static VTABLE: Vtable<Bare> = Vtable::new();
        &VTABLE
    }
}

#[kunit_tests(ext_file_anon)]
mod tests {
    use super::*;
    use kernel::sync::aref::ARef;
    use kernel_ext::{
        anon_inode::{
            flags,
            FileDescriptorReservation, //
        },
        dma_fence::Fence,
        sync_file::SyncFile, //
    };

    fn full(number: u32, drops: &Counter) -> Result<ARef<File<Full>>> {
        File::new::<Error>(
            Ok(Full {
                number,
                _drop: CountDrop(drops.clone()),
            }),
            flags::O_RDWR,
        )
    }

    fn bare(drops: &Counter) -> Result<ARef<File<Bare>>> {
        File::new::<Error>(
            Ok(Bare {
                _number: 1,
                _drop: CountDrop(drops.clone()),
            }),
            flags::O_RDONLY,
        )
    }

    fn reserve() -> Result<FileDescriptorReservation> {
        FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)
    }

    #[test]
    fn data_lives_as_long_as_the_file() -> Result {
        let drops = Counter::new()?;
        let file = full(7, &drops)?;
        let second = file.clone();

        check_eq!(file.data().number, 7);
        drop(file);
        flush_files();
        check_eq!(drops.get(), 0);
        check_eq!(second.data().number, 7);
        drop(second);
        flush_files();
        check_eq!(drops.get(), 1);
        Ok(())
    }

    #[test]
    fn properties() -> Result {
        let drops = Counter::new()?;
        let file = full(1, &drops)?;

        check_eq!(&*file.path()?, b"anon_inode:[ext_file_full]");
        check_eq!(file.flags() & flags::O_ACCMODE, flags::O_RDWR);
        check_eq!(bare(&drops)?.flags() & flags::O_ACCMODE, flags::O_RDONLY);
        // Of the credentials of who made it.
        check!(file.cred().euid() == kernel::task::Kuid::current_euid());
        Ok(())
    }

    #[test]
    fn failures() -> Result {
        let drops = Counter::new()?;
        let references = module_references();
        let data = || -> Result<Bare> {
            Ok(Bare {
                _number: 1,
                _drop: CountDrop(drops.clone()),
            })
        };

        // CLOEXEC is no flag of a file; the data was not even made.
        let refused = File::<Bare>::new(data(), flags::O_RDWR | flags::O_CLOEXEC);
        check!(matches!(refused, Err(err) if err == EINVAL));
        check_eq!(drops.get(), 1);
        check!(matches!(
            File::<Bare>::new::<Error>(Err(EDOM), 0),
            Err(err) if err == EDOM
        ));
        check_eq!(module_references(), references);
        Ok(())
    }

    #[test]
    fn file_holds_the_module() -> Result {
        let drops = Counter::new()?;
        let before = module_references();
        let file = full(1, &drops)?;

        check_eq!(module_references(), before + 1);
        // Not a reference for each reference.
        let second = file.clone();
        check_eq!(module_references(), before + 1);
        drop(file);
        check_eq!(module_references(), before + 1);
        let fd = File::install(second, reserve()?);
        check_eq!(module_references(), before + 1);
        close(fd);
        check_eq!(module_references(), before);
        check_eq!(drops.get(), 1);
        Ok(())
    }

    #[test]
    fn invisible_before_install() -> Result {
        let drops = Counter::new()?;
        let reservation = reserve()?;
        let fd = reservation.reserved_fd() as i32;
        let file = full(3, &drops)?;

        check!(matches!(File::<Full>::from_fd(fd), Err(err) if err == EBADF));
        // What a failure in between does.
        drop(file);
        drop(reservation);
        flush_files();
        check_eq!(drops.get(), 1);
        check!(matches!(File::<Full>::from_fd(fd), Err(err) if err == EBADF));
        Ok(())
    }

    #[test]
    fn descriptor() -> Result {
        let drops = Counter::new()?;
        let file = full(4, &drops)?;
        let fd = File::install(file.clone(), reserve()?);
        let found = File::<Full>::from_fd(fd)?;

        check!(found == file);
        check_eq!(found.data().number, 4);
        check!(is_cloexec(fd));
        drop(file);
        drop(found);
        flush_files();
        // The descriptor holds it.
        check_eq!(drops.get(), 0);
        close(fd);
        check_eq!(drops.get(), 1);
        check!(matches!(File::<Full>::from_fd(fd), Err(err) if err == EBADF));

        let fd = File::install(
            full(5, &drops)?,
            FileDescriptorReservation::get_unused_fd_flags(0)?,
        );
        check!(!is_cloexec(fd));
        close(fd);
        Ok(())
    }

    #[test]
    fn duplicate_is_the_same_file() -> Result {
        let drops = Counter::new()?;
        let file = full(5, &drops)?;
        let first = File::install(file.clone(), reserve()?);
        let second = file.dup()?;

        check!(first != second);
        check!(File::<Full>::from_fd(second)? == file);
        close(first);
        check!(File::<Full>::from_fd(second)? == file);
        drop(file);
        flush_files();
        check_eq!(drops.get(), 0);
        close(second);
        check_eq!(drops.get(), 1);
        Ok(())
    }

    #[test]
    fn number_used_again_is_another_file() -> Result {
        let drops = Counter::new()?;
        let file = full(6, &drops)?;
        let fd = File::install(file.clone(), reserve()?);

        close(fd);
        // The lowest number that is free.
        check_eq!(File::install(full(7, &drops)?, reserve()?), fd);
        let found = File::<Full>::from_fd(fd)?;
        check!(found != file);
        check_eq!(found.data().number, 7);
        drop(found);

        close(fd);
        check_eq!(File::install(bare(&drops)?, reserve()?), fd);
        check!(matches!(File::<Full>::from_fd(fd), Err(err) if err == EINVAL));
        check!(File::<Bare>::from_fd(fd).is_ok());
        close(fd);
        Ok(())
    }

    #[test]
    fn other_files() -> Result {
        let drops = Counter::new()?;
        let reservation = reserve()?;
        let fd = reservation.reserved_fd() as i32;

        SyncFile::new(&Fence::signaled_stub())?.install(reservation);
        check!(matches!(File::<Full>::from_fd(fd), Err(err) if err == EINVAL));
        close(fd);
        for fd in [-1, i32::MIN, i32::MAX, fd] {
            check!(matches!(File::<Full>::from_fd(fd), Err(err) if err == EBADF));
        }

        check!(File::<Full>::from_file(&*open(c"/dev/null")?).is_err());
        let file = File::into_file(full(8, &drops)?);
        check_eq!(File::<Full>::from_file(&file)?.data().number, 8);
        check!(matches!(File::<Bare>::from_file(&file), Err(err) if err == EINVAL));
        check!(matches!(
            File::<Full>::from_file(&*bare(&drops)?),
            Err(err) if err == EINVAL
        ));
        Ok(())
    }

    #[test]
    fn operations() -> Result {
        let drops = Counter::new()?;
        let file = full(40, &drops)?;

        check_eq!(file.ioctl(1, 2), Ok(42));
        check_eq!(file.compat_ioctl(1, 2), Ok(42));
        check_eq!(file.ioctl(2, 0), Err(EDOM));
        check_eq!(file.poll(), 3);
        check_eq!(&*file.fdinfo()?, b"number:\t40\n");

        let file = bare(&drops)?;
        check_eq!(file.ioctl(1, 2), Err(ENOTTY));
        check_eq!(file.compat_ioctl(1, 2), Err(ENOTTY));
        check_eq!(&*file.fdinfo()?, b"");
        Ok(())
    }
}
