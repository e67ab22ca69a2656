// SPDX-License-Identifier: GPL-2.0

//! What writes to the configuration space of a function do to its memory, as far as VFIO can tell.

use kernel::prelude::*;

#[kunit_tests(ext_file_vfio)]
mod tests {
    use kernel_ext::vfio::{
        Cause,
        ConfigWrite,
        ConfigWrite::{
            Harmless,
            KeepsMemory,
            Takes, //
        }, //
    };

    /// Offsets of PCI Power Management, PCI Express and Advanced Features.
    const ALL: [u8; 3] = [0x40, 0x60, 0xa0];
    const NONE: [u8; 3] = [0; 3];

    const COMMAND: u64 = 0x04;
    /// Registers in the capabilities of [`ALL`]: the power state, Device Control, AF Control.
    const PM: u64 = 0x40 + 4;
    const EXP: u64 = 0x60 + 8;
    const AF: u64 = 0xa0 + 4;

    const RESET: ConfigWrite = Takes(Cause::Reset);
    const POWER: ConfigWrite = Takes(Cause::Power);
    const MEMORY: ConfigWrite = Takes(Cause::Memory);

    /// A write of `bytes` at `offset`. The judge must not ask for other bytes.
    fn judge(offset: u64, bytes: &[u8], capabilities: [u8; 3]) -> ConfigWrite {
        ConfigWrite::judge(offset, bytes.len(), capabilities, |at| {
            let byte = at
                .checked_sub(offset)
                .and_then(|n| bytes.get(usize::try_from(n).ok()?));

            assert!(byte.is_some());
            byte.copied()
        })
    }

    #[test]
    fn command() {
        for capabilities in [ALL, NONE] {
            for (offset, bytes, expected) in [
                (COMMAND, &[0x02][..], KeepsMemory),
                (COMMAND, &[0x05], MEMORY),
                (COMMAND, &[0x06, 0x04], KeepsMemory),
                (COMMAND, &[0xfd, 0xff], MEMORY),
                (COMMAND, &[0x02, 0, 0, 0], KeepsMemory),
                (COMMAND, &[0, 0x02, 0x02, 0x02], MEMORY),
                // The upper byte, and the status.
                (COMMAND + 1, &[0], Harmless),
                (COMMAND + 2, &[0, 0], Harmless),
                // Straddling: from before, with the command register in it or not.
                (COMMAND - 1, &[0], Harmless),
                (COMMAND - 1, &[0xff, 0], MEMORY),
                (COMMAND - 2, &[0, 0, 0x02, 0], KeepsMemory),
                (0, &[0; 4], Harmless),
            ] {
                assert_eq!(judge(offset, bytes, capabilities), expected);
            }
        }
    }

    #[test]
    fn resets() {
        for (offset, bytes, expected) in [
            // The FLR bit is in the second byte of Device Control.
            (EXP, &[0xff][..], Harmless),
            (EXP, &[0, 0x80], RESET),
            (EXP, &[0xff, 0x7f], Harmless),
            (EXP + 1, &[0x80], RESET),
            (EXP + 1, &[0x7f, 0xff], Harmless),
            (EXP + 2, &[0xff, 0xff], Harmless),
            (EXP, &[0, 0x80, 0, 0], RESET),
            (EXP - 2, &[0, 0, 0, 0x80], RESET),
            (EXP - 3, &[0xff; 4], Harmless),
            (AF, &[0x01], RESET),
            (AF, &[0xfe], Harmless),
            (AF - 1, &[0xff, 0x01], RESET),
            (AF - 1, &[0x01, 0xfe], Harmless),
            (AF + 1, &[0xff], Harmless),
        ] {
            assert_eq!(judge(offset, bytes, ALL), expected);
        }
    }

    /// Which state is asked for does not matter: the value can change.
    #[test]
    fn power() {
        for (offset, bytes, expected) in [
            (PM, &[0x03][..], POWER),
            (PM, &[0x00], POWER),
            (PM, &[0x03, 0], POWER),
            (PM - 2, &[0, 0, 0, 0], POWER),
            (PM - 1, &[0xff, 0], POWER),
            (PM + 1, &[0xff], Harmless),
            (PM - 2, &[0xff, 0xff], Harmless),
        ] {
            assert_eq!(judge(offset, bytes, ALL), expected);
        }
    }

    /// Where there is no capability nothing is written to it, wherever 0 and the offset lead.
    #[test]
    fn capabilities_that_are_not_there() {
        for offset in [PM, EXP, EXP + 1, AF, 8, 9] {
            assert_eq!(judge(offset, &[0xff], NONE), Harmless);
        }
        // At 4 from nowhere is the command register.
        assert_eq!(judge(4, &[0xff], NONE), KeepsMemory);
        for missing in 0..3 {
            let mut some = ALL;

            some[missing] = 0;
            for (n, offset, bytes, there) in [
                (0, PM, [0, 0], POWER),
                (1, EXP, [0, 0x80], RESET),
                (2, AF, [0x01, 0], RESET),
            ] {
                let expected = if n == missing { Harmless } else { there };

                assert_eq!(judge(offset, &bytes, some), expected);
            }
        }
    }

    /// The worst is assumed of a byte that cannot be read.
    #[test]
    fn bytes_that_cannot_be_read() {
        for (offset, count, expected) in [
            (COMMAND, 1, MEMORY),
            (COMMAND, 4, MEMORY),
            (PM, 1, POWER),
            (EXP, 2, RESET),
            (EXP, 1, Harmless),
            (AF, 1, RESET),
            (0x10, 4, Harmless),
        ] {
            assert_eq!(ConfigWrite::judge(offset, count, ALL, |_| None), expected);
        }
    }

    /// One write that does several things: the reset comes first.
    #[test]
    fn several_at_once() {
        // Capabilities where none would be, so that one write reaches them all.
        let close = [0x04, 0x02, 0x09];

        assert_eq!(judge(COMMAND, &[0x02; 12], close), POWER);
        assert_eq!(judge(COMMAND, &[0xff; 12], close), RESET);
        assert_eq!(judge(COMMAND, &[0], close), MEMORY);
    }

    #[test]
    fn the_end_of_all_offsets() {
        assert_eq!(
            ConfigWrite::judge(u64::MAX, usize::MAX, ALL, |_| None),
            Harmless
        );
        assert_eq!(judge(0x10, &[], ALL), Harmless);
    }
}
