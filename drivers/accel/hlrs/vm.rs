// SPDX-License-Identifier: GPL-2.0

//! Virtual address spaces of the engines.
//!
//! [`page_table`] writes the tables that the MMU walks.

pub(crate) mod page_table;
