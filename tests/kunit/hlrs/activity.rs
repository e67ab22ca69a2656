// SPDX-License-Identifier: GPL-2.0

//! Tests of what is known of the work in a VM.

use kernel::prelude::*;

use super::Activity;

#[kunit_tests(hlrs_vm_activity)]
mod cases {
    use super::*;

    #[test]
    fn a_mark_passes_when_earlier_work_has_ended() -> Result {
        let activity = Activity::new();

        assert!(activity.has_passed(activity.mark()));
        activity.begin(3);
        activity.begin(5);
        let mark = activity.mark();
        assert!(!activity.has_passed(mark));
        activity.end(3);
        assert!(!activity.has_passed(mark));
        activity.end(5);
        assert!(activity.has_passed(mark));
        Ok(())
    }

    #[test]
    fn later_work_does_not_keep_a_mark() -> Result {
        let activity = Activity::new();

        activity.begin(1);
        let mark = activity.mark();
        activity.begin(2);
        activity.end(1);
        assert!(activity.has_passed(mark));

        // The same queue goes on with other work.
        activity.begin(1);
        assert!(activity.has_passed(mark));
        assert!(!activity.has_passed(activity.mark()));
        Ok(())
    }
}
