// SPDX-License-Identifier: MIT OR Apache-2.0
//! The layout that programs were compiled against, pinned.
//!
//! The table is written by hand and never generated: a change of the header
//! that moves a field must fail here. Fields must follow each other without a
//! gap, and the last must end where the structure does.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Command;
use std::process::Stdio;

struct Field {
    name: &'static str,
    offset: usize,
    size: usize,
    actual_offset: usize,
    actual_size: usize,
}

struct Layout {
    name: &'static str,
    size: usize,
    actual_size: usize,
    fields: Vec<Field>,
}

/// Size of the field that `get` selects; the value is never read.
fn size_of_field<T, F>(_get: impl Fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layout {
    ($($name:ident: $size:literal { $($field:ident @ $offset:literal + $len:literal),* $(,)? })*) => {
        vec![$(Layout {
            name: stringify!($name),
            size: $size,
            actual_size: size_of::<hlrs_sys::$name>(),
            fields: vec![$(Field {
                name: stringify!($field),
                offset: $offset,
                size: $len,
                actual_offset: std::mem::offset_of!(hlrs_sys::$name, $field),
                actual_size: size_of_field(|s: &hlrs_sys::$name| &s.$field),
            }),*],
        }),*]
    };
}

fn pinned() -> Vec<Layout> {
    layout! {
        drm_hlrs_device_query: 40 {
            extensions @ 0 + 8, query @ 8 + 4, size @ 12 + 4, data @ 16 + 8, reserved @ 24 + 16,
        }
        drm_hlrs_query_info: 80 {
            abi_major @ 0 + 4, abi_minor @ 4 + 4, device_id @ 8 + 4, revision @ 12 + 4,
            uid @ 16 + 8, sriov_mode @ 24 + 4, vf_id @ 28 + 4, capabilities @ 32 + 8,
            max_copy_size @ 40 + 8, reserved @ 48 + 32,
        }
        drm_hlrs_mem_region: 64 {
            mem_class @ 0 + 2, instance @ 2 + 2, min_page_size @ 4 + 4, total_size @ 8 + 8,
            used @ 16 + 8, cpu_visible_size @ 24 + 8, cpu_visible_used @ 32 + 8,
            reserved @ 40 + 24,
        }
        drm_hlrs_query_mem_regions: 8 {
            num_regions @ 0 + 4, pad @ 4 + 4, regions @ 8 + 0,
        }
        drm_hlrs_engine: 32 {
            engine_class @ 0 + 2, capacity @ 2 + 2, pad @ 4 + 4, reserved @ 8 + 24,
        }
        drm_hlrs_query_engines: 8 {
            num_engines @ 0 + 4, pad @ 4 + 4, engines @ 8 + 0,
        }
        drm_hlrs_mem_create: 48 {
            extensions @ 0 + 8, size @ 8 + 8, region @ 16 + 4, flags @ 20 + 4,
            page_size @ 24 + 4, handle @ 28 + 4, reserved @ 32 + 16,
        }
        drm_hlrs_mem_mmap_offset: 40 {
            extensions @ 0 + 8, handle @ 8 + 4, flags @ 12 + 4, offset @ 16 + 8,
            reserved @ 24 + 16,
        }
        drm_hlrs_mem_copy: 64 {
            extensions @ 0 + 8, src_handle @ 8 + 4, dst_handle @ 12 + 4, src_offset @ 16 + 8,
            dst_offset @ 24 + 8, size @ 32 + 8, flags @ 40 + 4, pad @ 44 + 4, reserved @ 48 + 16,
        }
        drm_hlrs_mem_fill: 56 {
            extensions @ 0 + 8, handle @ 8 + 4, flags @ 12 + 4, offset @ 16 + 8, size @ 24 + 8,
            pattern @ 32 + 8, reserved @ 40 + 16,
        }
        drm_hlrs_mem_crc32c: 56 {
            extensions @ 0 + 8, handle @ 8 + 4, flags @ 12 + 4, offset @ 16 + 8, size @ 24 + 8,
            crc @ 32 + 4, pad @ 36 + 4, reserved @ 40 + 16,
        }
        drm_hlrs_mem_wait: 40 {
            extensions @ 0 + 8, handle @ 8 + 4, flags @ 12 + 4, timeout_ns @ 16 + 8,
            reserved @ 24 + 16,
        }
        drm_hlrs_mem_export: 64 {
            extensions @ 0 + 8, handle @ 8 + 4, flags @ 12 + 4, offset @ 16 + 8, size @ 24 + 8,
            fd_flags @ 32 + 4, fd @ 36 + 4, peer @ 40 + 4, importers @ 44 + 4, reserved @ 48 + 16,
        }
        drm_hlrs_mem_revoke: 32 {
            extensions @ 0 + 8, handle @ 8 + 4, flags @ 12 + 4, reserved @ 16 + 16,
        }
        drm_hlrs_device_own: 32 {
            extensions @ 0 + 8, op @ 8 + 4, pad @ 12 + 4, reserved @ 16 + 16,
        }
        drm_hlrs_sync: 32 {
            handle @ 0 + 4, flags @ 4 + 4, timeline_value @ 8 + 8, reserved @ 16 + 16,
        }
        drm_hlrs_vm_create: 32 {
            extensions @ 0 + 8, flags @ 8 + 4, vm_id @ 12 + 4, reserved @ 16 + 16,
        }
        drm_hlrs_vm_destroy: 24 {
            vm_id @ 0 + 4, pad @ 4 + 4, reserved @ 8 + 16,
        }
        drm_hlrs_vm_bind_op: 56 {
            op @ 0 + 4, flags @ 4 + 4, handle @ 8 + 4, pad @ 12 + 4, va @ 16 + 8, range @ 24 + 8,
            offset @ 32 + 8, reserved @ 40 + 16,
        }
        drm_hlrs_vm_bind: 64 {
            extensions @ 0 + 8, vm_id @ 8 + 4, flags @ 12 + 4, ops @ 16 + 8, syncs @ 24 + 8,
            num_ops @ 32 + 4, num_syncs @ 36 + 4, failed_op @ 40 + 4, pad @ 44 + 4,
            reserved @ 48 + 16,
        }
        drm_hlrs_fault: 40 {
            va @ 0 + 8, reason @ 8 + 4, flags @ 12 + 4, queue_id @ 16 + 4, pad @ 20 + 4,
            reserved @ 24 + 16,
        }
        drm_hlrs_vm_query: 88 {
            extensions @ 0 + 8, vm_id @ 8 + 4, state @ 12 + 4, fault @ 16 + 40, mapped @ 56 + 8,
            page_tables @ 64 + 8, reserved @ 72 + 16,
        }
        drm_hlrs_vm_export: 32 {
            vm_id @ 0 + 4, pad @ 4 + 4, fd @ 8 + 4, pad1 @ 12 + 4, reserved @ 16 + 16,
        }
        drm_hlrs_queue_create: 40 {
            extensions @ 0 + 8, vm_id @ 8 + 4, engine_class @ 12 + 4, flags @ 16 + 4,
            queue_id @ 20 + 4, reserved @ 24 + 16,
        }
        drm_hlrs_queue_destroy: 24 {
            queue_id @ 0 + 4, pad @ 4 + 4, reserved @ 8 + 16,
        }
        drm_hlrs_command: 48 {
            op @ 0 + 4, flags @ 4 + 4, src @ 8 + 8, dst @ 16 + 8, size @ 24 + 8, data @ 32 + 8,
            reserved @ 40 + 8,
        }
        drm_hlrs_queue_submit: 64 {
            extensions @ 0 + 8, queue_id @ 8 + 4, flags @ 12 + 4, commands @ 16 + 8,
            syncs @ 24 + 8, num_commands @ 32 + 4, num_syncs @ 36 + 4, fault_va @ 40 + 8,
            reserved @ 48 + 16,
        }
        drm_hlrs_queue_query: 40 {
            extensions @ 0 + 8, queue_id @ 8 + 4, state @ 12 + 4, vm_id @ 16 + 4, pending @ 20 + 4,
            reserved @ 24 + 16,
        }
        drm_hlrs_mem_query: 64 {
            extensions @ 0 + 8, handle @ 8 + 4, flags @ 12 + 4, size @ 16 + 8, path @ 24 + 4,
            reason @ 28 + 4, vf_id @ 32 + 4, ranges @ 36 + 4, extents @ 40 + 4, pad @ 44 + 4,
            reserved @ 48 + 16,
        }
        hlrs_nic_query: 80 {
            extensions @ 0 + 8, abi_major @ 8 + 4, abi_minor @ 12 + 4, uid @ 16 + 8,
            vf_id @ 24 + 4, max_vms @ 28 + 4, max_copy_size @ 32 + 8, max_pending @ 40 + 4,
            max_results @ 44 + 4, reserved @ 48 + 32,
        }
        hlrs_nic_vm_register: 40 {
            extensions @ 0 + 8, fd @ 8 + 4, flags @ 12 + 4, vm @ 16 + 4, pad @ 20 + 4,
            reserved @ 24 + 16,
        }
        hlrs_nic_vm_unregister: 32 {
            extensions @ 0 + 8, vm @ 8 + 4, flags @ 12 + 4, reserved @ 16 + 16,
        }
        hlrs_nic_copy: 72 {
            extensions @ 0 + 8, src_vm @ 8 + 4, dst_vm @ 12 + 4, src @ 16 + 8, dst @ 24 + 8,
            size @ 32 + 8, flags @ 40 + 4, eventfd @ 44 + 4, seqno @ 48 + 8, reserved @ 56 + 16,
        }
        hlrs_nic_wait: 48 {
            extensions @ 0 + 8, seqno @ 8 + 8, timeout_ns @ 16 + 8, flags @ 24 + 4,
            result @ 28 + 4, reserved @ 32 + 16,
        }
    }
}

/// Numbers that programs were compiled with.
const PINNED_IOCTLS: [(&str, u32); 24] = [
    ("DRM_IOCTL_HLRS_DEVICE_QUERY", 0xc028_6440),
    ("DRM_IOCTL_HLRS_MEM_CREATE", 0xc030_6441),
    ("DRM_IOCTL_HLRS_MEM_MMAP_OFFSET", 0xc028_6442),
    ("DRM_IOCTL_HLRS_MEM_COPY", 0xc040_6443),
    ("DRM_IOCTL_HLRS_MEM_FILL", 0xc038_6444),
    ("DRM_IOCTL_HLRS_MEM_CRC32C", 0xc038_6445),
    ("DRM_IOCTL_HLRS_MEM_WAIT", 0xc028_6446),
    ("DRM_IOCTL_HLRS_MEM_EXPORT", 0xc040_6447),
    ("DRM_IOCTL_HLRS_MEM_REVOKE", 0xc020_6448),
    ("DRM_IOCTL_HLRS_DEVICE_OWN", 0xc020_6449),
    ("DRM_IOCTL_HLRS_VM_CREATE", 0xc020_644a),
    ("DRM_IOCTL_HLRS_VM_DESTROY", 0xc018_644b),
    ("DRM_IOCTL_HLRS_VM_BIND", 0xc040_644c),
    ("DRM_IOCTL_HLRS_VM_QUERY", 0xc058_644d),
    ("DRM_IOCTL_HLRS_VM_EXPORT", 0xc020_644e),
    ("DRM_IOCTL_HLRS_QUEUE_CREATE", 0xc028_644f),
    ("DRM_IOCTL_HLRS_QUEUE_DESTROY", 0xc018_6450),
    ("DRM_IOCTL_HLRS_QUEUE_SUBMIT", 0xc040_6451),
    ("DRM_IOCTL_HLRS_QUEUE_QUERY", 0xc028_6452),
    ("DRM_IOCTL_HLRS_MEM_QUERY", 0xc040_6453),
    ("DRM_IOCTL_VERSION", 0xc040_6400),
    ("DRM_IOCTL_GEM_CLOSE", 0x4008_6409),
    ("DRM_IOCTL_PRIME_HANDLE_TO_FD", 0xc00c_642d),
    ("DRM_IOCTL_PRIME_FD_TO_HANDLE", 0xc00c_642e),
];

/// Those of the NIC.
const PINNED_NIC_IOCTLS: [(&str, u32); 5] = [
    ("HLRS_NIC_IOCTL_QUERY", 0xc050_bc00),
    ("HLRS_NIC_IOCTL_VM_REGISTER", 0xc028_bc01),
    ("HLRS_NIC_IOCTL_VM_UNREGISTER", 0xc020_bc02),
    ("HLRS_NIC_IOCTL_COPY", 0xc048_bc03),
    ("HLRS_NIC_IOCTL_WAIT", 0xc030_bc04),
];

#[test]
fn rust_layout_is_the_pinned_one() {
    for s in pinned() {
        assert_eq!(s.actual_size, s.size, "size of {}", s.name);
        for f in &s.fields {
            assert_eq!(f.actual_offset, f.offset, "offset of {}.{}", s.name, f.name);
            assert_eq!(f.actual_size, f.size, "size of {}.{}", s.name, f.name);
        }
    }
}

#[test]
fn no_implicit_padding() {
    for s in pinned() {
        let mut end = 0;
        for f in &s.fields {
            assert_eq!(f.offset, end, "gap before {}.{}", s.name, f.name);
            end = f.offset + f.size;
        }
        assert_eq!(end, s.size, "padding at the end of {}", s.name);
    }
}

/// 32-bit x86 aligns 64-bit integers to 4 bytes: only a structure that has
/// them on multiples of 8, and a size that is one, is the same there.
#[test]
fn eight_byte_fields_are_aligned() {
    for s in pinned() {
        assert_eq!(s.size % 8, 0, "size of {}", s.name);
        for f in s.fields.iter().filter(|f| f.size >= 8) {
            assert_eq!(f.offset % 8, 0, "{}.{}", s.name, f.name);
        }
    }
}

/// A structure that is added to a header must be added to the table.
#[test]
fn every_structure_is_pinned() {
    let uapi = concat!(env!("CARGO_MANIFEST_DIR"), "/../../include/uapi");
    let header: String = ["drm/hlrs_accel.h", "misc/hlrs_nic.h"]
        .map(|name| std::fs::read_to_string(format!("{uapi}/{name}")).unwrap())
        .concat();
    let known: Vec<_> = pinned().iter().map(|s| s.name).collect();
    let defined = header
        .lines()
        .filter_map(|l| l.strip_prefix("struct ")?.strip_suffix(" {").map(str::trim));
    let mut count = 0;
    for name in defined {
        count += 1;
        assert!(
            known.contains(&name),
            "struct {name} is not in the pinned table"
        );
    }
    assert_eq!(
        count,
        known.len(),
        "the table has structures that the headers have not"
    );
}

#[test]
#[cfg(target_pointer_width = "64")]
fn ioctl_numbers_are_the_pinned_ones() {
    assert_eq!(hlrs_sys::IOCTLS, PINNED_IOCTLS);
    assert_eq!(hlrs_sys::NIC_IOCTLS, PINNED_NIC_IOCTLS);
}

/// The same table as C assertions, for one word size.
fn c_assertions(bits: u32) -> String {
    let mut c = String::from("#include <stddef.h>\n#include \"hlrs_accel.h\"\n");
    c.push_str("#include \"hlrs_nic.h\"\n");
    for s in pinned() {
        let n = s.name;
        writeln!(
            c,
            "_Static_assert(sizeof(struct {n}) == {}, \"{n}\");",
            s.size
        )
        .unwrap();
        for f in &s.fields {
            let (f, o) = (f.name, f.offset);
            writeln!(
                c,
                "_Static_assert(offsetof(struct {n}, {f}) == {o}, \"{n}.{f}\");"
            )
            .unwrap();
        }
    }
    for (name, number) in PINNED_IOCTLS.into_iter().chain(PINNED_NIC_IOCTLS) {
        if bits == 64 || name != "DRM_IOCTL_VERSION" {
            writeln!(c, "_Static_assert({name} == {number:#x}u, \"{name}\");").unwrap();
        }
    }
    c
}

/// Compiles the assertions; `-Wpadded` makes the compiler itself object to
/// padding in the header.
fn compile(bits: u32) {
    let uapi = |part| format!("{}/../../include/uapi/{part}", env!("CARGO_MANIFEST_DIR"));
    let mut cc = Command::new("cc")
        .args([
            &format!("-m{bits}"),
            "-std=c11",
            "-fsyntax-only",
            "-I",
            &uapi("drm"),
            "-I",
            &uapi("misc"),
        ])
        .args([
            "-isystem",
            "/usr/include/drm",
            "-Wall",
            "-Wextra",
            "-pedantic",
            "-Wpadded",
        ])
        .args(["-Werror", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cc could not be started");
    cc.stdin
        .take()
        .unwrap()
        .write_all(c_assertions(bits).as_bytes())
        .unwrap();
    let out = cc.wait_with_output().unwrap();
    assert!(
        out.status.success(),
        "the C compiler disagrees at {bits} bits:\n{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
#[ignore = "needs cc and the DRM headers; run with --include-ignored"]
fn c_64_bit_layout_is_the_pinned_one() {
    compile(64);
}

#[test]
#[ignore = "needs cc with -m32 and the DRM headers; run with --include-ignored"]
fn c_32_bit_layout_is_the_pinned_one() {
    compile(32);
}
