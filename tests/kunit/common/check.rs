// SPDX-License-Identifier: GPL-2.0

//! Assertions of KUnit tests, for `#[macro_use]`.

/// Leaves the test with an error if a condition does not hold.
///
/// Unlike a KUnit assertion it runs the destructors, and works on any thread.
macro_rules! check {
    ($cond:expr) => {
        if !$cond {
            kernel::pr_err!("{}:{}: expected {}\n", file!(), line!(), stringify!($cond));
            return Err(kernel::error::code::EINVAL);
        }
    };
}

/// As `check!($left == $right)`, and says what the two are.
macro_rules! check_eq {
    ($left:expr, $right:expr) => {{
        let (left, right) = (&$left, &$right);
        if left != right {
            kernel::pr_err!(
                "{}:{}: expected {} to be {:?}, is {:?}\n",
                file!(),
                line!(),
                stringify!($left),
                right,
                left
            );
            return Err(kernel::error::code::EINVAL);
        }
    }};
}
