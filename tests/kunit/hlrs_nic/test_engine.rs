// SPDX-License-Identifier: GPL-2.0

//! Copies: what the engine is told, and how they end.

use kernel::prelude::*;

#[kunit_tests(hlrs_nic_engine)]
mod tests {
    use super::super::fake::*;
    use hlrs::nic::Handler;
    use kernel::{
        prelude::*,
        sync::atomic::Relaxed,
        time::{
            delay::fsleep,
            msecs_to_jiffies,
            Delta, //
        }, //
    };

    const TIMEOUT: u32 = 5000;

    #[test]
    fn copy_runs() -> Result {
        let nic = Fixture::new(TIMEOUT)?;
        let (client, queue) = nic.client()?;
        let (a, b) = (nic.vm(3)?, nic.vm(31)?);

        check_eq!(nic.copy(&client, (&a, &b), 0x1234), Ok(1));
        let fences = nic.vms.fences();
        check_eq!(fences.len(), 1);
        check_eq!(fences[0].status(), None);
        check_eq!(outcome(&client, 1), Err(ETIME));

        let expected = Ran {
            contexts: (3, 31),
            src: 0x1234,
            dst: 0x2000,
            size: 64,
        };
        check_eq!(*nic.hw.run(queue, 1)?, [expected]);
        // It is over when the interrupt says so.
        check_eq!(fences[0].status(), None);
        nic.engine.completed();
        check_eq!(fences[0].status(), Some(Ok(())));
        check_eq!(outcome(&client, 1), Ok(Ok(())));
        check_eq!(nic.hw.stops(queue)?, 1);
        Ok(())
    }

    #[test]
    fn copies_end_in_order() -> Result {
        let nic = Fixture::new(TIMEOUT)?;
        let (client, queue) = nic.client()?;
        let vm = nic.vm(1)?;

        for n in 1..=3 {
            check_eq!(nic.copy(&client, (&vm, &vm), n), Ok(n));
        }
        check_eq!(nic.hw.run(queue, 2)?.len(), 2);
        nic.engine.completed();
        check_eq!(outcome(&client, 1), Ok(Ok(())));
        check_eq!(outcome(&client, 2), Ok(Ok(())));
        check_eq!(outcome(&client, 3), Err(ETIME));
        check_eq!(client.counts(), (3, 1));

        // Those of another client of the same or the other queue do not matter.
        let (other, other_queue) = nic.client()?;
        check!(queue != other_queue);
        check_eq!(nic.copy(&other, (&vm, &vm), 9), Ok(1));
        check_eq!(nic.hw.run(other_queue, 9)?.len(), 1);
        nic.engine.completed();
        check_eq!(outcome(&other, 1), Ok(Ok(())));
        check_eq!(outcome(&client, 3), Err(ETIME));
        Ok(())
    }

    #[test]
    fn rings_wrap() -> Result {
        let nic = Fixture::new(TIMEOUT)?;
        let (client, queue) = nic.client()?;
        let vm = nic.vm(1)?;

        for n in 1..=200 {
            check_eq!(nic.copy(&client, (&vm, &vm), n), Ok(n));
            let ran = nic.hw.run(queue, 9)?;
            check_eq!((ran.len(), ran.first().map(|ran| ran.src)), (1, Some(n)));
            nic.engine.completed();
            check_eq!(outcome(&client, n), Ok(Ok(())));
        }
        check_eq!(nic.hw.stops(queue)?, 1);
        Ok(())
    }

    #[test]
    fn fault_is_of_one_copy() -> Result {
        let nic = Fixture::new(TIMEOUT)?;
        let (client, queue) = nic.client()?;
        let vm = nic.vm(1)?;

        for src in [1, BAD, 3] {
            nic.copy(&client, (&vm, &vm), src)?;
        }
        let fences = nic.vms.fences();
        check_eq!(nic.hw.run(queue, 9)?.len(), 1);
        // The one before has ended, whichever interrupt is handled first.
        nic.engine.faulted();
        check_eq!(outcome(&client, 1), Ok(Ok(())));
        check_eq!(outcome(&client, 2), Ok(Err(EFAULT)));
        check_eq!(fences[1].status(), Some(Err(EFAULT)));
        check_eq!(outcome(&client, 3), Err(ETIME));
        // Both VMs, which are one.
        check_eq!(nic.vms.recovered.load(Relaxed), 2);

        check_eq!(nic.hw.run(queue, 9)?.first().map(|ran| ran.src), Some(3));
        nic.engine.completed();
        check_eq!(outcome(&client, 3), Ok(Ok(())));
        Ok(())
    }

    #[test]
    fn stopped_by_another() -> Result {
        let nic = Fixture::new(TIMEOUT)?;
        let (client, queue) = nic.client()?;
        let vm = nic.vm(1)?;

        // Another queue has faulted in the context, twice.
        nic.hw.stopped.store(2, Relaxed);
        nic.copy(&client, (&vm, &vm), STOPPED)?;
        for _ in 0..2 {
            check_eq!(nic.hw.run(queue, 9)?.len(), 0);
            nic.engine.faulted();
            check_eq!(outcome(&client, 1), Err(ETIME));
        }
        check_eq!(nic.hw.run(queue, 9)?.len(), 1);
        nic.engine.completed();
        check_eq!(outcome(&client, 1), Ok(Ok(())));

        // Any number of times.
        nic.hw.stopped.store(50, Relaxed);
        nic.copy(&client, (&vm, &vm), STOPPED)?;
        for _ in 0..50 {
            check_eq!(nic.hw.run(queue, 9)?.len(), 0);
            nic.engine.faulted();
            check_eq!(outcome(&client, 2), Err(ETIME));
        }
        check_eq!(nic.hw.run(queue, 9)?.len(), 1);
        nic.engine.completed();
        check_eq!(outcome(&client, 2), Ok(Ok(())));

        // But not if the context is not usable any more.
        nic.hw.stopped.store(1, Relaxed);
        nic.vms.banned.store(1, Relaxed);
        nic.copy(&client, (&vm, &vm), STOPPED)?;
        nic.copy(&client, (&vm, &vm), 4)?;
        check_eq!(nic.hw.run(queue, 9)?.len(), 0);
        nic.engine.faulted();
        check_eq!(outcome(&client, 3), Ok(Err(ECANCELED)));
        check_eq!(nic.hw.run(queue, 9)?.len(), 1);
        nic.engine.completed();
        check_eq!(outcome(&client, 4), Ok(Ok(())));
        Ok(())
    }

    /// A copy that is begun again does not get more time.
    #[test]
    fn stopped_for_too_long() -> Result {
        let nic = Fixture::new(500)?;
        let (client, queue) = nic.client()?;
        let vm = nic.vm(1)?;

        nic.hw.stopped.store(u32::MAX, Relaxed);
        nic.copy(&client, (&vm, &vm), STOPPED)?;
        for _ in 0..100 {
            nic.hw.run(queue, 9)?;
            nic.engine.faulted();
            if outcome(&client, 1) != Err(ETIME) {
                break;
            }
            fsleep(Delta::from_millis(20));
        }
        check_eq!(outcome(&client, 1), Ok(Err(ETIMEDOUT)));
        Ok(())
    }

    #[test]
    fn time_out() -> Result {
        let nic = Fixture::new(500)?;
        let (client, queue) = nic.client()?;
        let vm = nic.vm(1)?;

        nic.copy(&client, (&vm, &vm), HANG)?;
        nic.copy(&client, (&vm, &vm), 2)?;
        check_eq!(nic.hw.run(queue, 9)?.len(), 0);
        check_eq!(client.wait(1, msecs_to_jiffies(10_000)), Ok(Err(ETIMEDOUT)));
        // Its neighbour's time has only begun. It is in the ring again a moment after.
        let mut ran = None;
        for _ in 0..100 {
            ran = nic.hw.run(queue, 9)?.first().map(|ran| ran.src);
            if ran.is_some() {
                break;
            }
            fsleep(Delta::from_millis(20));
        }
        check_eq!(ran, Some(2));
        nic.engine.completed();
        check_eq!(outcome(&client, 2), Ok(Ok(())));
        Ok(())
    }

    #[test]
    fn lost_interrupt() -> Result {
        let nic = Fixture::new(TIMEOUT)?;
        let (client, queue) = nic.client()?;
        let vm = nic.vm(1)?;

        nic.copy(&client, (&vm, &vm), 1)?;
        check_eq!(nic.hw.run(queue, 9)?.len(), 1);
        check_eq!(client.wait(1, msecs_to_jiffies(3_000)), Ok(Ok(())));
        check_eq!(nic.hw.stops(queue)?, 1);
        Ok(())
    }

    #[test]
    fn device_goes() -> Result {
        let nic = Fixture::new(TIMEOUT)?;
        let (client, _) = nic.client()?;
        let vm = nic.vm(1)?;

        nic.copy(&client, (&vm, &vm), 1)?;
        nic.hw.present.store(0, Relaxed);
        // The watchdog finds out.
        check_eq!(client.wait(1, msecs_to_jiffies(3_000)), Ok(Err(ENODEV)));
        check_eq!(nic.copy(&client, (&vm, &vm), 1), Err(ENODEV));
        Ok(())
    }
}
