//! How a section of plain keys is declared, once: the struct that the plan has of it, its keys for the reader, the
//! suggestions and the schema, how it is read, and what a reload says of it all come from one list.
//!
//! ```ignore
//! declare! {
//!     /// What the plan has.
//!     pub struct Limits in LIMITS = "limits": "What the section is for.";
//!     /// What the key is for, in whole sentences; its range and default are added where it is shown.
//!     ATTEMPTS_MAX attempts_max: usize = 3, Count { least: 1, most: 16 };
//!     /// One without a default says what it means to leave it out.
//!     MEMORY memory: Option<u64> => "half of what there is", Size { least: 1 << 20, most: 1 << 40 };
//! }
//! ```

use std::time::Duration;

use serde_json::Value as Json;

/// A field of the plan, and how the value that a kind reads becomes one. What a kind has bounded fits.
pub(crate) trait Field<R> {
    fn of(read: R) -> Self;
    fn back(&self) -> R;
}

macro_rules! number_fields {
    ($($number:ty),+) => { $(
        impl Field<u64> for $number {
            fn of(read: u64) -> Self {
                <$number>::try_from(read).unwrap_or(<$number>::MAX)
            }

            fn back(&self) -> u64 {
                u64::try_from(*self).unwrap_or(u64::MAX)
            }
        }
    )+ };
}

macro_rules! same_fields {
    ($($same:ty),+) => { $(
        impl Field<$same> for $same {
            fn of(read: $same) -> Self {
                read
            }

            fn back(&self) -> $same {
                *self
            }
        }
    )+ };
}

number_fields!(usize, u32, u16);
same_fields!(u64, Option<u64>, Duration, Option<Duration>, bool);

/// A key that differs, as a reload says it: `attempts_max 3 to 5`.
pub(crate) fn difference(name: &str, old: Option<Json>, new: Option<Json>) -> String {
    let plain = |value| match value {
        Some(Json::String(text)) => text,
        Some(other) => other.to_string(),
        None => "left out".to_owned(),
    };
    format!("{name} {} to {}", plain(old), plain(new))
}

/// What the absence of a key means: the first of each is for one with a default.
macro_rules! absent {
    (type $kind:ty, [$default:expr], []) => {
        $crate::file::declared::Or<<$kind as $crate::file::declared::Kind>::Read>
    };
    (type $kind:ty, [], [$meaning:literal]) => { $crate::file::declared::Optional };
    (value [$default:expr], []) => { $crate::file::declared::Or($default) };
    (value [], [$meaning:literal]) => { $crate::file::declared::Optional($meaning) };
    (read $fields:ident $key:ident [$default:expr], []) => { $fields.or_default(&$key) };
    (read $fields:ident $key:ident [], [$meaning:literal]) => { $fields.optional(&$key) };
    (written $key:ident $field:expr, [$default:expr], []) => { Some($key.kind.written(&$field.back())) };
    (written $key:ident $field:expr, [], [$meaning:literal]) => {
        $field.back().map(|value| $key.kind.written(&value))
    };
    (doc [$default:expr], []) => { concat!("Default: `", stringify!($default), "`.") };
    (doc [], [$meaning:literal]) => { concat!("Left out: ", $meaning, ".") };
}

macro_rules! declare {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident in $section:ident = $table:literal: $section_doc:literal;
        $(
            $(#[doc = $doc:literal])+
            $key:ident $field:ident: $type:ty $(= $default:expr)? $(=> $meaning:literal)?,
            $kind:ident $({ $($bounds:tt)* })? $(($inner:ident { $($inner_bounds:tt)* }))?;
        )+
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                ///
                #[doc = $crate::file::declare::absent!(doc [$($default)?], [$($meaning)?])]
                pub $field: $type,
            )+
        }

        pub(crate) static $section: $crate::file::declared::Sub = $crate::file::declared::Sub {
            name: $table,
            shape: $crate::file::declared::Shape::One,
            section: &$crate::file::declared::Section { doc: $section_doc, keys: &[$(&$key),+], later: &[] },
        };

        $(
            pub(crate) static $key: $crate::file::declared::Key<
                $kind $(<$inner>)?,
                $crate::file::declare::absent!(type $kind $(<$inner>)?, [$($default)?], [$($meaning)?]),
            > = $crate::file::declared::Key {
                name: stringify!($field),
                kind: $kind $({ $($bounds)* })? $(($inner { $($inner_bounds)* }))?,
                absent: $crate::file::declare::absent!(value [$($default)?], [$($meaning)?]),
                doc: concat!($($doc),+),
            };
        )+

        impl $name {
            /// What the table says, and else the defaults.
            pub(crate) fn read(fields: &$crate::file::fields::Fields<'_>) -> Self {
                use $crate::file::declare::Field;
                Self {
                    $($field: Field::of(
                        $crate::file::declare::absent!(read fields $key [$($default)?], [$($meaning)?])
                    )),+
                }
            }

            /// What a reload says of it: each key that differs in `new`, with both values.
            pub(crate) fn differences(&self, new: &Self) -> Vec<String> {
                use $crate::file::declare::{Field, difference};
                use $crate::file::declared::Written;
                let mut said = Vec::new();
                $(
                    if self.$field != new.$field {
                        said.push(difference(
                            $key.name,
                            $crate::file::declare::absent!(written $key self.$field, [$($default)?], [$($meaning)?]),
                            $crate::file::declare::absent!(written $key new.$field, [$($default)?], [$($meaning)?]),
                        ));
                    }
                )+
                said
            }
        }
    };
}

pub(crate) use {absent, declare};
