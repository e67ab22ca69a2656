// SPDX-License-Identifier: GPL-2.0

//! Eventfds: what is none. Only processes can make some; the tests that count signals are those of
//! drivers that have eventfds in their interface.

use kernel::prelude::*;

#[kunit_tests(ext_file_eventfd)]
mod tests {
    use crate::support::*;
    use kernel::prelude::*;
    use kernel_ext::{
        anon_inode::FileDescriptorReservation,
        dma_fence::Fence,
        eventfd::EventFd,
        sync_file::SyncFile, //
    };

    #[test]
    fn other_files() -> Result {
        let reservation = FileDescriptorReservation::get_unused_fd_flags(0)?;
        let fd = reservation.reserved_fd() as i32;

        check!(matches!(EventFd::from_fd(fd), Err(err) if err == EBADF));
        SyncFile::new(&Fence::signaled_stub())?.install(reservation);
        check!(matches!(EventFd::from_fd(fd), Err(err) if err == EINVAL));
        close(fd);
        check!(matches!(EventFd::from_fd(-1), Err(err) if err == EBADF));
        Ok(())
    }
}
