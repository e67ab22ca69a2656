// SPDX-License-Identifier: GPL-2.0

//! What user space knows by number.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

struct Elements<T> {
    elements: KVec<(u32, Arc<T>)>,
    last: u32,
}

/// Objects of a file with their numbers, which are not used again soon.
#[pin_data]
pub(crate) struct Numbered<T> {
    max: usize,
    #[pin]
    inner: Mutex<Elements<T>>,
}

impl<T> Numbered<T> {
    /// Has no objects yet, and never more than `max`.
    pub(crate) fn new(max: usize) -> impl PinInit<Self> {
        pin_init!(Self {
            max,
            inner <- new_mutex!(
                Elements {
                    elements: KVec::new(),
                    last: 0,
                },
                "hlrs::Numbered"
            ),
        })
    }

    /// Adds what `make` makes, and returns its number, which `make` is given. Sleeps.
    ///
    /// `make` must not use this. Fails with `EMFILE` if there are as many as there may be, `ENOMEM`,
    /// and as `make` does.
    pub(crate) fn add(&self, make: impl FnOnce(u32) -> Result<Arc<T>>) -> Result<u32> {
        let mut inner = self.inner.lock();
        if inner.elements.len() >= self.max {
            return Err(EMFILE);
        }

        let mut number = inner.last;
        loop {
            // 0 is none.
            number = number.checked_add(1).unwrap_or(1);
            if !inner.elements.iter().any(|(other, _)| *other == number) {
                break;
            }
        }

        inner.elements.reserve(1, GFP_KERNEL)?;
        let object = make(number)?;
        inner.elements.push((number, object), GFP_KERNEL)?;
        inner.last = number;
        Ok(number)
    }

    /// The object with a number. Sleeps. Fails with `ENOENT`.
    pub(crate) fn get(&self, number: u32) -> Result<Arc<T>> {
        self.inner
            .lock()
            .elements
            .iter()
            .find(|(other, _)| *other == number)
            .map(|(_, object)| object.clone())
            .ok_or(ENOENT)
    }

    /// Takes out the object with a number if `may` allows it. Sleeps.
    ///
    /// `may` must not use this. Fails with `ENOENT`, and as `may` does.
    pub(crate) fn remove(
        &self,
        number: u32,
        may: impl FnOnce(&Arc<T>) -> Result,
    ) -> Result<Arc<T>> {
        let mut inner = self.inner.lock();
        let index = inner
            .elements
            .iter()
            .position(|(other, _)| *other == number)
            .ok_or(ENOENT)?;

        may(&inner.elements[index].1)?;
        Ok(inner.elements.remove(index).map_err(|_| ENOENT)?.1)
    }

    /// Takes out all objects. Sleeps.
    pub(crate) fn take_all(&self) -> impl Iterator<Item = Arc<T>> {
        let elements = core::mem::take(&mut self.inner.lock().elements);

        elements.into_iter().map(|(_, object)| object)
    }
}
