// SPDX-License-Identifier: GPL-2.0

//! Tasks.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use kernel::{
    bindings,
    fmt,
    prelude::*,
    str::BStr, //
};

/// Size of the name of a task, with its terminating zero.
const COMM_LEN: usize = bindings::TASK_COMM_LEN as usize;

/// Who a process was: what is left of it for messages when it has ended.
///
/// It displays as the number and the name of the process, such as `1234 (python3)`.
#[derive(Clone, Copy)]
pub struct Identity {
    pid: i32,
    comm: [u8; COMM_LEN],
}

impl Identity {
    /// The process that calls this. Does not sleep.
    ///
    /// The number is that of the initial namespace.
    #[inline]
    pub fn of_current() -> Self {
        let mut comm = [0; COMM_LEN];

        // SAFETY: The current task is valid, and the buffer has the size of its name.
        unsafe { ext_bindings::get_current_comm(comm.as_mut_ptr().cast()) };

        Self {
            pid: current!().tgid(),
            comm,
        }
    }

    /// The number of the process.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The name of the task.
    pub fn name(&self) -> &BStr {
        let len = self.comm.iter().position(|byte| *byte == 0);

        BStr::from_bytes(&self.comm[..len.unwrap_or(COMM_LEN)])
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{} ({})", self.pid, self.name()))
    }
}

/// The capability of system administrators.
pub const CAP_SYS_ADMIN: u32 = bindings::CAP_SYS_ADMIN;

/// Whether the current task has a capability, one of `CAP_*`, in the initial user namespace.
///
/// That it was used is noted for audits. Does not sleep. C: `capable()`.
pub fn is_capable(capability: u32) -> bool {
    let Ok(capability) = i32::try_from(capability) else {
        return false;
    };

    // SAFETY: The C function has no requirements but a number of a capability; it warns of others.
    unsafe { bindings::capable(capability) }
}
