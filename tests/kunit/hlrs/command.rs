// SPDX-License-Identifier: GPL-2.0

//! Tests of the layout of commands against `struct hlrs_cmd`.

use kernel::prelude::*;

#[kunit_tests(hlrs_command)]
mod suite {
    use super::super::*;
    use core::mem::{
        offset_of,
        size_of, //
    };
    use hlrs_abi::hlrs_cmd;

    #[test]
    fn fields_are_where_the_header_has_them() {
        let words = Command::copy(Address::Bus(0x1111), Address::Lmem(0x2222), 0x3333).words();

        assert_eq!(size_of::<hlrs_cmd>(), words.len() * 8);
        assert_eq!(words[offset_of!(hlrs_cmd, src) / 8], 0x1111);
        assert_eq!(words[offset_of!(hlrs_cmd, dst) / 8], 0x2222);
        assert_eq!(words[offset_of!(hlrs_cmd, size) / 8], 0x3333);
        let fence = Command::fence(Address::Bus(0), 0x4444).words();
        assert_eq!(fence[offset_of!(hlrs_cmd, data) / 8], 0x4444);
        assert_eq!(
            words[0],
            u64::from(
                hlrs_abi::HLRS_OP_COPY
                    | hlrs_abi::HLRS_SPACE_BUS << hlrs_abi::HLRS_CMD_SRC_SPACE_SHIFT
                    | hlrs_abi::HLRS_SPACE_LMEM << hlrs_abi::HLRS_CMD_DST_SPACE_SHIFT
            )
        );
    }

    #[test]
    fn reserved_bits_are_zero() {
        let commands = [
            Command::copy(Address::Bus(u64::MAX), Address::Bus(u64::MAX), u64::MAX),
            Command::fill(Address::Lmem(u64::MAX), u64::MAX, u64::MAX),
            Command::crc32c_continued(Address::Lmem(0), 1),
            Command::fence(Address::Bus(0), u64::MAX),
            Command::timestamp(Address::Bus(0)),
            Command::hang(),
        ];

        for command in &commands {
            let words = command.words();
            assert_eq!(words[0] & u64::from(hlrs_abi::HLRS_CMD_RESERVED_MASK), 0);
            assert!(words[offset_of!(hlrs_cmd, reserved) / 8..]
                .iter()
                .all(|w| *w == 0));
        }
    }

    #[test]
    fn only_checksums_get_a_result_slot() {
        let slot = Address::Bus(0x4000);
        let dst = offset_of!(hlrs_cmd, dst) / 8;

        let crc = Command::crc32c(Address::Lmem(0), 1, 0).with_result_slot(slot);
        assert_eq!(crc.words()[dst], 0x4000);
        let copy = Command::copy(Address::Lmem(0), Address::Lmem(64), 1).with_result_slot(slot);
        assert_eq!(copy.words()[dst], 64);
    }
}
