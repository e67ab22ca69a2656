// SPDX-License-Identifier: GPL-2.0

//! What a client may have, and what does not get as far as the engine.

use kernel::prelude::*;

#[kunit_tests(hlrs_nic_limits)]
mod tests {
    use super::super::fake::*;
    use crate::client::{
        Client,
        MAX_PENDING,
        MAX_RESULTS, //
    };
    use hlrs::nic::Handler;
    use kernel::{
        prelude::*,
        time::msecs_to_jiffies, //
    };

    #[test]
    fn pending() -> Result {
        let nic = Fixture::new(5000)?;
        let (client, queue) = nic.client()?;
        let vm = nic.vm(1)?;

        check_eq!(client.readiness(), (true, true));
        for n in 1..=MAX_PENDING as u64 {
            check_eq!(nic.copy(&client, (&vm, &vm), n), Ok(n));
        }
        check_eq!(client.readiness(), (false, false));
        check_eq!(nic.copy(&client, (&vm, &vm), 1), Err(EAGAIN));

        nic.hw.run(queue, 1)?;
        nic.engine.completed();
        check_eq!(client.readiness(), (true, false));
        check_eq!(nic.copy(&client, (&vm, &vm), 1), Ok(MAX_PENDING as u64 + 1));
        nic.hw.run(queue, MAX_PENDING)?;
        nic.engine.completed();
        check_eq!(client.readiness(), (true, true));
        Ok(())
    }

    #[test]
    fn queue_is_shared() -> Result {
        let nic = Fixture::new(5000)?;
        let (first, queue) = nic.client()?;
        let (_other, _) = nic.client()?;
        let (second, same) = nic.client()?;
        let vm = nic.vm(1)?;

        check_eq!(queue, same);
        for _ in 0..MAX_PENDING {
            nic.copy(&first, (&vm, &vm), 1)?;
        }
        // The second has room, the queue has not; and it is not the worse for it.
        check_eq!(nic.copy(&second, (&vm, &vm), 1), Err(EAGAIN));
        check_eq!(second.counts(), (0, 0));
        nic.hw.run(queue, 1)?;
        nic.engine.completed();
        check_eq!(nic.copy(&second, (&vm, &vm), 1), Ok(1));
        Ok(())
    }

    #[test]
    fn results() -> Result {
        let client = Client::new()?;

        check_eq!(outcome(&client, 0), Err(EINVAL));
        check_eq!(outcome(&client, 1), Err(EINVAL));
        for n in 1..=MAX_RESULTS as u64 {
            check_eq!(client.begin(false), Ok(n));
            client.finish(n, if n == 1 { Err(EIO) } else { Ok(()) });
        }
        check_eq!(outcome(&client, 1), Ok(Err(EIO)));
        check_eq!(outcome(&client, 1), Ok(Err(EIO)));
        check_eq!(client.begin(false), Ok(MAX_RESULTS as u64 + 1));
        check_eq!(outcome(&client, 1), Err(ESTALE));
        check_eq!(outcome(&client, 2), Ok(Ok(())));
        check_eq!(outcome(&client, MAX_RESULTS as u64 + 1), Err(ETIME));
        check_eq!(
            client.wait(MAX_RESULTS as u64 + 1, msecs_to_jiffies(20)),
            Err(ETIME)
        );
        check_eq!(outcome(&client, u64::MAX), Err(EINVAL));
        Ok(())
    }

    #[test]
    fn access_is_refused() -> Result {
        let nic = Fixture::new(5000)?;
        let (client, queue) = nic.client()?;
        let vm = nic.vm(1)?;

        nic.vms.fail(Some(EFAULT));
        check_eq!(nic.copy(&client, (&vm, &vm), 1), Err(EFAULT));
        check_eq!(client.counts(), (0, 0));
        check_eq!(nic.hw.run(queue, 9)?.len(), 0);

        nic.vms.fail(None);
        check_eq!(nic.copy(&client, (&vm, &vm), 1), Ok(1));
        check_eq!(nic.hw.run(queue, 9)?.len(), 1);
        Ok(())
    }
}
