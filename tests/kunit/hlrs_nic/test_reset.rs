// SPDX-License-Identifier: GPL-2.0

//! Resets of the function, and the end.

use kernel::prelude::*;

#[kunit_tests(hlrs_nic_reset)]
mod tests {
    use super::super::fake::*;
    use hlrs::nic::Handler;
    use kernel::{
        prelude::*,
        sync::atomic::Relaxed, //
    };

    #[test]
    fn prepared() -> Result {
        let nic = Fixture::new(5000)?;
        let (client, queue) = nic.client()?;
        let vm = nic.vm(1)?;

        nic.copy(&client, (&vm, &vm), 1)?;
        nic.copy(&client, (&vm, &vm), 2)?;
        nic.hw.run(queue, 1)?;
        nic.engine.suspend();
        // What was done is done, interrupt or not.
        check_eq!(outcome(&client, 1), Ok(Ok(())));
        check_eq!(outcome(&client, 2), Ok(Err(ECANCELED)));
        check_eq!(nic.copy(&client, (&vm, &vm), 3), Err(EAGAIN));
        check_eq!(nic.hw.run(queue, 9)?.len(), 0);

        nic.engine.resume(Ok(()));
        check_eq!(nic.copy(&client, (&vm, &vm), 3), Ok(3));
        check_eq!(nic.hw.run(queue, 9)?.first().map(|ran| ran.src), Some(3));
        nic.engine.completed();
        check_eq!(outcome(&client, 3), Ok(Ok(())));
        Ok(())
    }

    #[test]
    fn does_not_come_back() -> Result {
        let nic = Fixture::new(5000)?;
        let (client, _) = nic.client()?;
        let vm = nic.vm(1)?;

        nic.engine.suspend();
        nic.engine.resume(Err(ETIMEDOUT));
        check_eq!(nic.copy(&client, (&vm, &vm), 3), Err(EIO));
        Ok(())
    }

    #[test]
    fn by_somebody_else() -> Result {
        let nic = Fixture::new(5000)?;
        let (client, queue) = nic.client()?;
        let vm = nic.vm(1)?;

        // Nothing has happened.
        nic.copy(&client, (&vm, &vm), 1)?;
        nic.engine.was_reset();
        check_eq!(outcome(&client, 1), Err(ETIME));

        nic.hw.reset_by_others()?;
        nic.engine.was_reset();
        check_eq!(outcome(&client, 1), Ok(Err(ECANCELED)));
        check_eq!(nic.copy(&client, (&vm, &vm), 2), Ok(2));
        check_eq!(nic.hw.run(queue, 9)?.first().map(|ran| ran.src), Some(2));
        Ok(())
    }

    #[test]
    fn shutdown() -> Result {
        let nic = Fixture::new(5000)?;
        let (client, queue) = nic.client()?;
        let vm = nic.vm(1)?;

        nic.copy(&client, (&vm, &vm), 1)?;
        let fences = nic.vms.fences();
        drop(vm);
        check_eq!(nic.vms.users.load(Relaxed), 1);
        nic.engine.shutdown();
        check_eq!(outcome(&client, 1), Ok(Err(ENODEV)));
        check_eq!(fences[0].status(), Some(Err(ENODEV)));
        // The copy had the last reference to the VM.
        check_eq!(nic.vms.users.load(Relaxed), 0);
        check_eq!(nic.hw.run(queue, 9)?.len(), 0);

        let vm = nic.vm(2)?;
        check_eq!(nic.copy(&client, (&vm, &vm), 1), Err(ENODEV));
        Ok(())
    }
}
