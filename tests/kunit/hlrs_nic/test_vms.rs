// SPDX-License-Identifier: GPL-2.0

//! VMs: numbers, and what happens to copies when one is taken away.

use kernel::prelude::*;

#[kunit_tests(hlrs_nic_vms)]
mod tests {
    use super::super::fake::*;
    use crate::vms::{
        VmTable,
        MAX_VMS, //
    };
    use hlrs::nic::Handler;
    use kernel::{
        prelude::*,
        sync::atomic::Relaxed, //
    };

    #[test]
    fn numbers() -> Result {
        let nic = Fixture::new(5000)?;
        let table = KBox::pin_init(VmTable::new(), GFP_KERNEL)?;
        let (a, b) = (7, 8);

        let first = table.insert(a, nic.vm(1)?)?;
        let second = table.insert(a, nic.vm(2)?)?;
        check!(first != 0 && second != 0 && first != second);
        check_eq!(table.insert(a, nic.vm(1)?), Err(EEXIST));
        // In another file it is another registration.
        let third = table.insert(b, nic.vm(1)?)?;
        check_eq!((table.count(a), table.count(b)), (2, 1));

        check_eq!(table.get(a, first)?.user.context(), 1);
        for (client, vm) in [(b, first), (a, third), (a, 0), (a, 99), (a, u32::MAX)] {
            check!(matches!(table.get(client, vm), Err(e) if e == ENOENT));
            check_eq!(table.remove(client, vm), Err(ENOENT));
        }

        check_eq!(nic.vms.users.load(Relaxed), 3);
        // Copies that were cancelled may keep it for a moment.
        let kept = table.get(a, first)?;
        table.remove(a, first)?;
        check_eq!(table.remove(a, first), Err(ENOENT));
        check_eq!(nic.vms.users.load(Relaxed), 2);
        drop(kept);
        check_eq!(nic.vms.users.load(Relaxed), 2);
        table.remove_all(a);
        check_eq!((table.count(a), table.count(b)), (0, 1));
        table.clear();
        check_eq!(nic.vms.users.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn table_is_full() -> Result {
        let nic = Fixture::new(5000)?;
        let table = KBox::pin_init(VmTable::new(), GFP_KERNEL)?;

        for vm in 0..MAX_VMS as u16 {
            table.insert(1, nic.vm(vm)?)?;
        }
        check_eq!(table.insert(1, nic.vm(1000)?), Err(ENOSPC));
        check_eq!(nic.vms.users.load(Relaxed), MAX_VMS as u32);
        Ok(())
    }

    #[test]
    fn copies_of_a_vm_that_goes() -> Result {
        let nic = Fixture::new(5000)?;
        let (client, queue) = nic.client()?;
        let (a, b, c) = (nic.vm(1)?, nic.vm(2)?, nic.vm(3)?);

        // As source, not at all, as destination.
        nic.copy(&client, (&a, &b), 1)?;
        nic.copy(&client, (&b, &c), 2)?;
        nic.copy(&client, (&c, &a), 3)?;
        let fences = nic.vms.fences();

        nic.vms.revoke(1);
        // They keep their places.
        check!(fences.iter().all(|fence| fence.status().is_none()));
        let ran = nic.hw.run(queue, 9)?;
        check_eq!((ran.len(), ran.first().map(|ran| ran.src)), (1, Some(2)));
        nic.engine.completed();
        check_eq!(outcome(&client, 1), Ok(Err(ECANCELED)));
        check_eq!(outcome(&client, 2), Ok(Ok(())));
        check_eq!(outcome(&client, 3), Ok(Err(ECANCELED)));
        check_eq!(fences[2].status(), Some(Err(ECANCELED)));

        check_eq!(nic.copy(&client, (&b, &a), 4), Err(ESTALE));
        check_eq!(nic.copy(&client, (&b, &c), 5), Ok(4));
        Ok(())
    }

    #[test]
    fn others_are_left_alone() -> Result {
        let nic = Fixture::new(5000)?;
        let (client, queue) = nic.client()?;
        let (a, b) = (nic.vm(1)?, nic.vm(2)?);

        nic.copy(&client, (&a, &a), 1)?;
        nic.hw.run(queue, 1)?;
        nic.copy(&client, (&b, &b), 2)?;
        // What is done need not be stopped.
        nic.vms.revoke(1);
        check_eq!(nic.hw.stops(queue)?, 1);
        check_eq!(outcome(&client, 1), Ok(Ok(())));
        check_eq!(nic.hw.run(queue, 9)?.first().map(|ran| ran.src), Some(2));
        Ok(())
    }

    #[test]
    fn goes_while_a_copy_is_submitted() -> Result {
        let nic = Fixture::new(5000)?;
        let (client, queue) = nic.client()?;
        let vm = nic.vm(1)?;

        nic.vms.revoke_in_access(1);
        check_eq!(nic.copy(&client, (&vm, &vm), 1), Ok(1));
        // It must not reach the engine.
        check_eq!(nic.hw.run(queue, 9)?.len(), 0);
        nic.engine.completed();
        check_eq!(outcome(&client, 1), Ok(Err(ECANCELED)));
        Ok(())
    }
}
