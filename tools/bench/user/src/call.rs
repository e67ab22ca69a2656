// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ioctls with as little around them as possible.

use std::ffi::c_void;
use std::fs::File;
use std::io;

use hlrs_sys as sys;
use rustix::ioctl;

/// Argument of the peer's ioctl, `struct drm_bench_create` of hlrs_bench_peer.h.
#[repr(C)]
#[derive(Default)]
pub struct BenchCreate {
    pub size: u64,
    pub handle: u32,
    pub pad: u32,
}

/// Argument of the peer's ioctl, `struct drm_bench_export`.
#[repr(C)]
#[derive(Default)]
pub struct BenchExport {
    pub size: u64,
    pub fd_flags: u32,
    pub fd: i32,
}

/// `struct drm_bench_segment`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Segment {
    pub address: u64,
    pub length: u64,
}

/// Argument of the peer's ioctl, `struct drm_bench_map`. `segments` must be the
/// address of room for `max_segments` of them.
#[repr(C)]
#[derive(Default)]
pub struct BenchMap {
    pub fd: i32,
    pub importer: u32,
    pub rounds: u32,
    pub max_segments: u32,
    pub segments: u64,
    pub ns: u64,
    pub num_segments: u32,
    pub pad: u32,
}

/// Argument of the peer's ioctl, `struct drm_bench_store`.
#[repr(C)]
#[derive(Default)]
pub struct BenchStore {
    pub device: u32,
    pub pad: u32,
    pub offset: u64,
    pub count: u64,
    pub ns: u64,
}

/// Argument of the peer's ioctl, `struct drm_bench_hurry`.
#[repr(C)]
#[derive(Default)]
pub struct BenchHurry {
    pub device: u32,
    pub pad: u32,
}

/// Argument of the peer's ioctl, `struct drm_bench_ic_map`.
#[repr(C)]
#[derive(Default)]
pub struct BenchIcMap {
    pub fd: i32,
    pub importer: u32,
    pub rounds: u32,
    pub form: u32,
    pub ns: u64,
    pub count: u32,
    pub pad: u32,
}

/// Argument of the peer's ioctl, `struct drm_bench_ic_attach`.
#[repr(C)]
#[derive(Default)]
pub struct BenchIcAttach {
    pub fd: i32,
    pub importer: u32,
    pub rounds: u32,
    pub negotiate: u32,
    pub ns: u64,
}

/// Argument of `DRM_IOCTL_PRIME_FD_TO_HANDLE`.
#[repr(transparent)]
pub struct Import(pub sys::drm_prime_handle);

/// `struct hlrs_cmd` of hlrs_hw.h: all zeros is one that does nothing.
#[repr(C)]
#[derive(Default)]
pub struct HardwareCommand {
    pub words: [u64; 8],
}

/// Argument of the ioctl of hlrs-bench-submit, `struct drm_bench_submit`.
/// `commands` must be the address of `num_commands` commands.
#[repr(C)]
#[derive(Default)]
pub struct BenchSubmit {
    pub commands: u64,
    pub num_commands: u32,
    pub syncobj: u32,
}

/// An argument structure, and the ioctl that takes it.
///
/// # Safety
///
/// The ioctl must access nothing but the structure, and memory that pointers
/// in it designate.
pub unsafe trait Call: Sized {
    /// Number of the ioctl.
    const NUMBER: u32;

    /// Performs the ioctl.
    fn call(&mut self, node: &File) -> io::Result<()> {
        struct Ioctl<'a, T>(&'a mut T, u32);

        // SAFETY: The pointer is to a structure that is borrowed exclusively,
        // and whose size the number encodes.
        unsafe impl<T> ioctl::Ioctl for Ioctl<'_, T> {
            type Output = ();
            const IS_MUTATING: bool = true;

            fn opcode(&self) -> ioctl::Opcode {
                self.1 as ioctl::Opcode
            }

            fn as_ptr(&mut self) -> *mut c_void {
                (&raw mut *self.0).cast()
            }

            unsafe fn output_from_ptr(
                _: ioctl::IoctlOutput,
                _: *mut c_void,
            ) -> rustix::io::Result<()> {
                Ok(())
            }
        }

        // SAFETY: By the safety requirements of the trait; the structures of
        // this crate hold no pointers other than to buffers of the caller.
        unsafe { ioctl::ioctl(node, Ioctl(self, Self::NUMBER)) }?;
        Ok(())
    }
}

/// `DRM_IOWR(DRM_COMMAND_BASE + nr, T)`.
const fn iowr<T>(nr: u32) -> u32 {
    (3 << 30) | ((size_of::<T>() as u32) << 16) | (0x64 << 8) | (0x40 + nr)
}

// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for BenchCreate {
    const NUMBER: u32 = iowr::<BenchCreate>(0);
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for BenchExport {
    const NUMBER: u32 = iowr::<BenchExport>(1);
}
// SAFETY: The ioctl accesses only the structure, and the segments, for which
// there is room as its description demands.
unsafe impl Call for BenchMap {
    const NUMBER: u32 = iowr::<BenchMap>(2);
}
// SAFETY: The ioctl accesses only the structure, and memory of the device.
unsafe impl Call for BenchStore {
    const NUMBER: u32 = iowr::<BenchStore>(3);
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for BenchHurry {
    const NUMBER: u32 = iowr::<BenchHurry>(4);
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for BenchIcMap {
    const NUMBER: u32 = iowr::<BenchIcMap>(5);
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for BenchIcAttach {
    const NUMBER: u32 = iowr::<BenchIcAttach>(6);
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for Import {
    const NUMBER: u32 = sys::DRM_IOCTL_PRIME_FD_TO_HANDLE;
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for sys::drm_hlrs_mem_copy {
    const NUMBER: u32 = sys::DRM_IOCTL_HLRS_MEM_COPY;
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for sys::drm_hlrs_mem_wait {
    const NUMBER: u32 = sys::DRM_IOCTL_HLRS_MEM_WAIT;
}
// SAFETY: The ioctl accesses the structure, and the commands, which are there as
// its description demands.
unsafe impl Call for BenchSubmit {
    const NUMBER: u32 = iowr::<BenchSubmit>(0);
}
// SAFETY: With a size of 0 the ioctl accesses only the structure.
unsafe impl Call for sys::drm_hlrs_device_query {
    const NUMBER: u32 = sys::DRM_IOCTL_HLRS_DEVICE_QUERY;
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for sys::drm_hlrs_mem_create {
    const NUMBER: u32 = sys::DRM_IOCTL_HLRS_MEM_CREATE;
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for sys::drm_hlrs_mem_export {
    const NUMBER: u32 = sys::DRM_IOCTL_HLRS_MEM_EXPORT;
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for sys::drm_hlrs_vm_create {
    const NUMBER: u32 = sys::DRM_IOCTL_HLRS_VM_CREATE;
}
// SAFETY: The ioctl accesses the structure, and reads operations and syncobjs, of
// which callers set the numbers to those that there are.
unsafe impl Call for sys::drm_hlrs_vm_bind {
    const NUMBER: u32 = sys::DRM_IOCTL_HLRS_VM_BIND;
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for sys::drm_hlrs_vm_export {
    const NUMBER: u32 = sys::DRM_IOCTL_HLRS_VM_EXPORT;
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for sys::drm_hlrs_queue_create {
    const NUMBER: u32 = sys::DRM_IOCTL_HLRS_QUEUE_CREATE;
}
// SAFETY: The ioctl accesses the structure, and reads commands and syncobjs, of
// which callers set the numbers to those that there are.
unsafe impl Call for sys::drm_hlrs_queue_submit {
    const NUMBER: u32 = sys::DRM_IOCTL_HLRS_QUEUE_SUBMIT;
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for sys::drm_syncobj_create {
    const NUMBER: u32 = sys::DRM_IOCTL_SYNCOBJ_CREATE;
}
// SAFETY: The ioctl accesses the structure, and as many handles and points as
// it says.
unsafe impl Call for sys::drm_syncobj_timeline_wait {
    const NUMBER: u32 = sys::DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT;
}
// SAFETY: The ioctl accesses only the structure.
unsafe impl Call for sys::drm_gem_close {
    const NUMBER: u32 = sys::DRM_IOCTL_GEM_CLOSE;
}
// SAFETY: The ioctl accesses the structure, and the strings as far as the
// lengths allow, which callers set to the size of their buffers.
unsafe impl Call for sys::drm_version {
    const NUMBER: u32 = sys::DRM_IOCTL_VERSION;
}

/// An argument of `DRM_IOCTL_VERSION` that asks for no strings.
pub fn empty_version() -> sys::drm_version {
    sys::drm_version {
        version_major: 0,
        version_minor: 0,
        version_patchlevel: 0,
        name_len: 0,
        name: std::ptr::null_mut(),
        date_len: 0,
        date: std::ptr::null_mut(),
        desc_len: 0,
        desc: std::ptr::null_mut(),
    }
}

/// The name of the driver of a node.
pub fn driver_name(node: &File) -> io::Result<String> {
    let mut name = [0u8; 64];
    let mut version = sys::drm_version {
        name: name.as_mut_ptr().cast(),
        name_len: name.len() as _,
        ..empty_version()
    };

    version.call(node)?;
    let len = (version.name_len as usize).min(name.len());
    Ok(String::from_utf8_lossy(&name[..len]).into_owned())
}
