// SPDX-License-Identifier: MIT OR Apache-2.0
//! Statements that a test makes. Each ends the test with what was found, where.

/// The condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr $(,)?) => {
        $crate::check!($condition, "{} does not hold", stringify!($condition))
    };
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::harness::Stop::Failed(format!(
                "{}:{}: {}", $crate::check::file(file!()), line!(), format!($($text)+)
            )));
        }
    };
}

/// The two are equal.
#[macro_export]
macro_rules! check_eq {
    ($left:expr, $right:expr $(,)?) => {
        $crate::check_eq!($left, $right, "{}", stringify!($left))
    };
    ($left:expr, $right:expr, $($text:tt)+) => {{
        let (left, right) = (&$left, &$right);
        $crate::check!(
            *left == *right,
            "{}: {:?}, expected {:?}", format!($($text)+), left, right
        );
    }};
}

/// The call is refused with this error number.
#[macro_export]
macro_rules! check_errno {
    ($result:expr, $errno:ident $(,)?) => {
        $crate::check_errno!($result, $errno, "{}", stringify!($result))
    };
    ($result:expr, $errno:ident, $($text:tt)+) => {{
        let found = $crate::check::Refusal::refusal(&$result);
        $crate::check!(
            found == Some(hlrs::Errno::$errno),
            "{}: {}, expected {}",
            format!($($text)+), $crate::check::describe(found), stringify!($errno)
        );
    }};
}

/// The test cannot run here.
#[macro_export]
macro_rules! skip {
    ($($text:tt)+) => {
        return Err($crate::harness::Stop::Skipped(format!($($text)+)))
    };
}

/// A source file without the path to the sources.
pub fn file(path: &'static str) -> &'static str {
    path.rsplit_once("/src/").map_or(path, |(_, file)| file)
}

/// A result whose error is an error number.
pub trait Refusal {
    /// The number, or `None` if the call succeeded.
    fn refusal(&self) -> Option<hlrs::Errno>;
}

impl<T> Refusal for Result<T, hlrs::Errno> {
    fn refusal(&self) -> Option<hlrs::Errno> {
        self.as_ref().err().copied()
    }
}

impl<T> Refusal for hlrs::Result<T> {
    fn refusal(&self) -> Option<hlrs::Errno> {
        // An error without a number comes from the library; it equals none
        // that a test can name.
        self.as_ref()
            .err()
            .map(|err| err.errno().unwrap_or(hlrs::Errno::from_raw_os_error(4000)))
    }
}

impl<T> Refusal for std::io::Result<T> {
    fn refusal(&self) -> Option<hlrs::Errno> {
        self.as_ref().err().map(|err| {
            // As above.
            let none = hlrs::Errno::from_raw_os_error(4000);
            hlrs::Errno::from_io_error(err).unwrap_or(none)
        })
    }
}

/// Says what a call returned.
pub fn describe(found: Option<hlrs::Errno>) -> String {
    match found {
        None => "succeeded".to_owned(),
        Some(errno) => format!("refused with {errno:?} ({errno})"),
    }
}
