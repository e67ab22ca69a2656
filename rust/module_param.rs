// SPDX-License-Identifier: GPL-2.0

//! Module parameters that are one word of several.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)
//!
//! The macro `module!` has numbers only.

use kernel::{
    bindings,
    error::from_result,
    ffi::{
        c_char,
        c_int, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// A module parameter whose value is one word of a list, by default the first.
///
/// It is made by [`choice_param!`](crate::choice_param), and set when the module is loaded; an
/// unknown word keeps the module from being loaded, with `EINVAL`.
pub struct ChoiceParam {
    words: &'static [&'static str],
    chosen: Atomic<u32>,
}

impl ChoiceParam {
    /// A parameter that has not been given.
    pub const fn new(words: &'static [&'static str]) -> Self {
        Self {
            words,
            chosen: Atomic::new(0),
        }
    }

    /// Which of the words was given, counted from 0.
    pub fn chosen(&self) -> usize {
        self.chosen.load(Relaxed) as usize
    }

    fn choose(&self, text: &[u8]) -> Result {
        let text = text.trim_ascii_end();
        let found = self.words.iter().position(|word| word.as_bytes() == text);

        // CAST: An index into a list of words.
        self.chosen.store(found.ok_or(EINVAL)? as u32, Relaxed);
        Ok(())
    }
}

/// The operations of such parameters, for [`choice_param!`](crate::choice_param).
#[doc(hidden)]
pub static OPS: bindings::kernel_param_ops = bindings::kernel_param_ops {
    flags: 0,
    set: Some(set),
    get: None,
    free: None,
};

/// # Safety
///
/// Called by the C side only, with a string, or `NULL` where there was none, and a parameter made
/// by [`choice_param!`](crate::choice_param).
unsafe extern "C" fn set(text: *const c_char, param: *const bindings::kernel_param) -> c_int {
    from_result(|| {
        if text.is_null() {
            return Err(EINVAL);
        }

        // SAFETY: By the safety requirements `text` is a string, and the argument of the parameter
        // is a static `ChoiceParam`.
        let (text, param) = unsafe {
            (
                CStr::from_char_ptr(text),
                &*(*param).__bindgen_anon_1.arg.cast::<ChoiceParam>(),
            )
        };
        param.choose(text.to_bytes())?;
        Ok(0)
    })
}

/// Defines a module parameter that is one word of several, as a `static` [`ChoiceParam`].
///
/// ```ignore
/// choice_param! {
///     /// What to do with importers that cannot be revoked.
///     static pinned_importers = ["refuse", "own"];
///     name: c"pinned_importers",
///     info: b"parm=pinned_importers:refuse (default) or own\0parmtype=pinned_importers:charp\0",
/// }
/// ```
#[macro_export]
macro_rules! choice_param {
    (
        $(#[$meta:meta])*
        static $param:ident = [$($word:literal),+ $(,)?];
        name: $name:literal,
        info: $info:literal $(,)?
    ) => {
        $(#[$meta])*
        #[allow(non_upper_case_globals)]
        static $param: $crate::module_param::ChoiceParam =
            $crate::module_param::ChoiceParam::new(&[$($word),+]);

        const _: () = {
            // What "modinfo" shows.
            #[link_section = ".modinfo"]
            #[used(compiler)]
            static INFO: [u8; $info.len()] = *$info;

            #[link_section = "__param"]
            #[used(compiler)]
            static PARAM: ::kernel::module_param::KernelParam =
                ::kernel::module_param::KernelParam::new(::kernel::bindings::kernel_param {
                    name: ::kernel::str::as_char_ptr_in_const_context($name),
                    // SAFETY: Only the address is taken; the structure exists as long as the
                    // module.
                    mod_: unsafe {
                        ::core::ptr::from_ref(&::kernel::bindings::__this_module).cast_mut()
                    },
                    ops: ::core::ptr::from_ref(&$crate::module_param::OPS),
                    perm: 0,
                    level: -1,
                    flags: 0,
                    __bindgen_anon_1: ::kernel::bindings::kernel_param__bindgen_ty_1 {
                        arg: ::core::ptr::from_ref(&$param).cast_mut().cast(),
                    },
                });
        };
    };
}
