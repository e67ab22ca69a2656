// SPDX-License-Identifier: GPL-2.0

//! A VM as a file descriptor, for other drivers of the device.
//!
//! The file holds the VM, and the VM the device (not its hardware), until the device file that the
//! VM belongs to is closed; then the file stands for nothing any more.

use core::ops::Deref;

use kernel::{
    new_mutex,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    task::Kuid, //
};
use kernel_ext::anon_inode::{
    self,
    flags,
    FileDescriptorReservation,
    Operations,
    Vtable, //
};

use super::Vm;

/// What a descriptor stands for.
#[pin_data]
pub(super) struct Exported {
    #[pin]
    vm: Mutex<Option<Arc<Vm>>>,
}

impl Exported {
    /// The VM. Sleeps. Fails with `ENOENT` if the device file was closed.
    pub(super) fn vm(&self) -> Result<Arc<Vm>> {
        self.vm.lock().clone().ok_or(ENOENT)
    }

    /// Takes the VM away. Sleeps.
    pub(super) fn revoke(&self) {
        let vm = self.vm.lock().take();
        drop(vm);
    }
}

/// An open file.
pub(super) struct VmFile(Arc<Exported>);

impl Deref for VmFile {
    type Target = Exported;

    fn deref(&self) -> &Exported {
        &self.0
    }
}

impl Drop for VmFile {
    fn drop(&mut self) {
        let vm = self.0.vm.lock().take();

        if let Some(vm) = vm {
            vm.remove_export(&self.0);
        }
    }
}

#[vtable]
impl Operations for VmFile {
    const NAME: &'static CStr = c"[hlrs-vm]";

    fn vtable() -> &'static Vtable<Self> {
        static VTABLE: Vtable<VmFile> = Vtable::new();
        &VTABLE
    }

    fn show_fdinfo(file: &anon_inode::File<Self>, m: &SeqFile) {
        let this = file.data();

        match this.vm() {
            Ok(vm) => {
                seq_print!(m, "hlrs-device:\t{}\n", vm.space().dev().parent().name());
                seq_print!(m, "hlrs-vm:\t{}\n", vm.id());
                seq_print!(m, "hlrs-vm-owner:\t{}\n", vm.client().process());
                seq_print!(
                    m,
                    "hlrs-vm-policy:\t{}\n",
                    if vm.is_shared() {
                        "anybody"
                    } else {
                        "same credentials"
                    }
                );
                seq_print!(m, "hlrs-vm-users:\t{}\n", vm.nr_users());
                seq_print!(
                    m,
                    "hlrs-vm-state:\t{}\n",
                    if vm.is_banned() { "banned" } else { "alive" }
                );
            }
            Err(_) => seq_print!(m, "hlrs-vm-state:\tclosed\n"),
        }
    }
}

/// A VM that is exported, but not seen by anybody yet. Dropped, it is as if it never was.
pub(crate) struct Export {
    file: ARef<anon_inode::File<VmFile>>,
    fd: FileDescriptorReservation,
}

impl Vm {
    /// Exports the VM. Sleeps.
    ///
    /// Fails with `ENOENT` if it is banned or closed, `EEXIST` if it is exported already, `EMFILE`
    /// if no descriptor is free, `ENFILE`, `ENOMEM`.
    pub(crate) fn export(self: &Arc<Self>) -> Result<Export> {
        let fd = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
        let exported = Arc::pin_init(
            pin_init!(Exported {
                vm <- new_mutex!(Some(self.clone()), "hlrs::Exported"),
            }),
            GFP_KERNEL,
        )?;

        // Of two that try, one gets to the end of this.
        self.add_export(&exported)?;
        // If there is no file, what it was to have is dropped, which undoes this.
        let file = anon_inode::File::new(Ok::<_, Error>(VmFile(exported)), flags::O_RDWR)?;
        Ok(Export { file, fd })
    }
}

impl Export {
    /// Number of the descriptor.
    pub(crate) fn fd(&self) -> i32 {
        // CAST: Descriptors are small and positive.
        self.fd.reserved_fd() as i32
    }

    /// Lets the process see it.
    pub(crate) fn install(self) {
        anon_inode::File::install(self.file, self.fd);
    }
}

/// Whether the current process may use a VM that was exported as `file`: it has the effective user
/// of the one that has exported it, or the VM is for everybody.
fn is_for_current(file: &anon_inode::File<VmFile>, vm: &Vm) -> bool {
    vm.is_shared() || Kuid::current_euid() == file.cred().euid()
}

/// The VM behind a descriptor of the current process, if the process may use it. Sleeps.
///
/// Fails with `EBADF` if there is no such descriptor, `EINVAL` if it is not that of a VM, `ENOENT`
/// if the device file was closed, `EACCES` if the process may not use it.
pub(super) fn vm_of_fd(fd: i32) -> Result<Arc<Vm>> {
    let file = anon_inode::File::<VmFile>::from_fd(fd)?;
    let vm = file.data().vm()?;

    if !is_for_current(&file, &vm) {
        return Err(EACCES);
    }
    Ok(vm)
}
