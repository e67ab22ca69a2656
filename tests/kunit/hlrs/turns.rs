// SPDX-License-Identifier: GPL-2.0

//! Tests of the order in which files and queues get their turns.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    Turn,
    Turns,
    Waits, //
};

/// Something of file `.0`, of queue `.1`.
struct One(Arc<Turn>, u32);

impl Waits for One {
    fn turn(&self) -> &Turn {
        &self.0
    }
}

fn file() -> Result<Arc<Turn>> {
    Ok(Arc::new(Turn::new(), GFP_KERNEL)?)
}

fn with_seats(seats: usize) -> Result<Turns<One>> {
    let mut turns = Turns::new();

    for _ in 0..seats {
        let room = match turns.room_for_seat() {
            Some(capacity) => KVec::with_capacity(capacity, GFP_KERNEL)?,
            None => KVec::new(),
        };
        turns.add_seat(room)?;
    }
    Ok(turns)
}

#[kunit_tests(hlrs_turns)]
mod cases {
    use super::*;

    #[test]
    fn files_take_turns_whatever_the_number_of_their_queues() -> Result {
        let (many, few) = (file()?, file()?);
        let mut turns = with_seats(6)?;

        for queue in 0..5 {
            assert!(turns.wait(One(many.clone(), queue)).is_ok());
        }
        assert!(turns.wait(One(few.clone(), 10)).is_ok());

        let mut order = KVec::new();
        while let Some(one) = turns.next() {
            order.push(one.1, GFP_KERNEL)?;
            // The other file has always something more.
            if one.1 >= 10 && one.1 < 12 {
                assert!(turns.wait(One(few.clone(), one.1 + 1)).is_ok());
            }
        }
        assert_eq!(order.as_slice(), &[0, 10, 1, 11, 2, 12, 3, 4]);
        Ok(())
    }

    #[test]
    fn queues_of_a_file_take_turns() -> Result {
        let file = file()?;
        let mut turns = with_seats(3)?;
        let mut order = KVec::new();

        for queue in 0..3 {
            assert!(turns.wait(One(file.clone(), queue)).is_ok());
        }
        for _ in 0..6 {
            let one = turns.next().ok_or(EINVAL)?;
            order.push(one.1, GFP_KERNEL)?;
            assert!(turns.wait(one).is_ok());
        }
        assert_eq!(order.as_slice(), &[0, 1, 2, 0, 1, 2]);
        Ok(())
    }

    #[test]
    fn no_more_wait_than_there_are_seats() -> Result {
        let file = file()?;
        let mut turns = with_seats(17)?;

        for queue in 0..17 {
            assert!(turns.wait(One(file.clone(), queue)).is_ok());
        }
        assert!(turns.wait(One(file.clone(), 17)).is_err());
        assert_eq!(turns.next().ok_or(EINVAL)?.1, 0);
        turns.remove_seat();
        assert!(turns.wait(One(file, 18)).is_err());
        Ok(())
    }

    #[test]
    fn a_seat_takes_room() -> Result {
        let mut turns = Turns::<One>::new();

        assert!(turns.room_for_seat().is_some());
        assert!(turns.add_seat(KVec::new()).is_err());
        turns.add_seat(KVec::with_capacity(1, GFP_KERNEL)?)?;
        Ok(())
    }

    #[test]
    fn what_is_chosen_is_taken_out() -> Result {
        let file = file()?;
        let mut turns = with_seats(3)?;

        for queue in 0..3 {
            assert!(turns.wait(One(file.clone(), queue)).is_ok());
        }
        assert_eq!(turns.take(|one| one.1 == 1).ok_or(EINVAL)?.1, 1);
        assert!(turns.take(|one| one.1 == 1).is_none());
        assert_eq!(turns.next().ok_or(EINVAL)?.1, 0);
        Ok(())
    }
}
