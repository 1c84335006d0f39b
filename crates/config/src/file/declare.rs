//! How a section is declared, once: the struct that the plan has of it, its keys for the reader, the suggestions and the
//! schema, how it is read, and what a reload says of it all come from one list.
//!
//! ```ignore
//! declare! {
//!     /// What the plan has.
//!     #[derive(Debug, Clone, PartialEq, Eq)]
//!     pub struct App in APP = "app", Named: "What the section is for.";
//!     /// What is made of more than one key, or of none, and whom the reader hands it to.
//!     given AppParts {
//!         /// Its key in the file.
//!         name: String;
//!     }
//!     // Keys that the reader looks at itself, because others hang on them, or more is made of them than is read; `also` says
//!     // where they stand among the others. One that may not be left out has an example.
//!     handed {
//!         /// What the key is for.
//!         ADDRESS address: SocketAddr => required "\":80\"", ListenAddress;
//!     }
//!     keys {
//!         /// What the key is for, in whole sentences; its range and default are added where it is shown.
//!         ATTEMPTS_MAX attempts_max: usize = 3, Count { least: 1, most: 16 };
//!         /// One without a default says what it means to leave it out.
//!         MEMORY memory: Option<u64> => "half of what there is", Size { least: 1 << 20, most: 1 << 40 };
//!         /// One that only counts at the next start says so.
//!         SOCKET socket: AdminSocket => "the usual one", SocketPlace, restart;
//!     }
//!     // Those, and keys that are declared by hand, because no field is theirs alone. They are the first of the table.
//!     also { ADDRESS, COMMAND, ARGS }
//!     // In the place of `also`: every key and table of the section, in the order in which people read about them.
//!     order { WORKERS, ADDRESS, LIMITS }
//!     // Another section whose keys stand in the same table.
//!     flat {
//!         /// What the field is for.
//!         ADMISSION admission: Admission;
//!     }
//!     // Another section with a table of its own; one that is looked at as a whole names the function that does.
//!     tables {
//!         /// What the field is for.
//!         LIMITS limits: Limits;
//!         /// What the field is for.
//!         DRAIN drain: Drain, checked;
//!     }
//! }
//! ```

mod field;

use serde_json::Value as Json;

use super::declared::Written;

pub(crate) use field::Field;

/// What a reload says of one key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The key, or the field that is made of several.
    pub(crate) name: &'static str,
    /// With both values, where they may be shown.
    pub(crate) text: String,
    /// Whether the new value only counts at the next start.
    pub(crate) needs_restart: bool,
}

impl Difference {
    /// Of a field whose values say too much for a line.
    pub(crate) fn other(name: &'static str) -> Self {
        Self { name, text: format!("other {name}"), needs_restart: false }
    }

    /// Of a key: `attempts_max 3 to 5`; of one whose values are not said `+ cors`, `- cors` or `other cors`.
    pub(crate) fn of_key(name: &'static str, old: Value, new: Value) -> Self {
        let shown = |value| match value {
            Value::Shown(Json::String(text)) => Some(text),
            Value::Shown(other) => Some(other.to_string()),
            Value::LeftOut => Some("left out".to_owned()),
            Value::Hidden => None,
        };
        let text = match (old, new) {
            (Value::LeftOut, Value::Hidden) => format!("+ {name}"),
            (Value::Hidden, Value::LeftOut) => format!("- {name}"),
            (old, new) => match (shown(old), shown(new)) {
                (Some(old), Some(new)) => format!("{name} {old} to {new}"),
                _ => return Self::other(name),
            },
        };
        Self { name, text, needs_restart: false }
    }

    /// Of a key that only counts at the next start: its name, and no values, because the old one holds until then.
    pub(crate) fn at_next_start(name: &'static str) -> Self {
        Self { name, text: name.to_owned(), needs_restart: true }
    }

    /// Of a table: `limits (attempts_max 3 to 5)`, and beside it each key that only counts at the next start,
    /// `admin.socket`. Nothing if nothing in it differs.
    pub(crate) fn of_table(name: &'static str, keys: Vec<Self>) -> Vec<Self> {
        let (later, now): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.needs_restart);
        let text = format!("{name} ({})", texts(&now));
        let table = (!now.is_empty()).then_some(Self { name, text, needs_restart: false });
        let later = later.into_iter().map(|key| Self { name, text: format!("{name}.{}", key.text), ..key });
        table.into_iter().chain(later).collect()
    }
}

/// All of them on one line.
pub(crate) fn texts(differences: &[Difference]) -> String {
    differences.iter().map(|difference| &*difference.text).collect::<Vec<_>>().join(", ")
}

/// The value of a key, as far as a reload may say it.
pub(crate) enum Value {
    Shown(Json),
    LeftOut,
    /// It may hold a secret, or is too long for a line.
    Hidden,
}

/// Returns what a reload may say of the value of a key.
pub(crate) fn value<K: Written>(kind: &K, read: &K::Read) -> Value {
    if K::IS_SHOWN { Value::Shown(kind.written(read)) } else { Value::Hidden }
}

/// The same of a key that may be left out.
pub(crate) fn optional_value<K: Written>(kind: &K, read: &Option<K::Read>) -> Value {
    read.as_ref().map_or(Value::LeftOut, |read| value(kind, read))
}

/// What the absence of a key means: the first of each is for one with a default.
macro_rules! absent {
    (type $kind:ty, [$default:expr], []) => {
        $crate::file::declared::Or<<$kind as $crate::file::declared::Kind>::Read>
    };
    (type $kind:ty, [], [$meaning:literal]) => { $crate::file::declared::Optional };
    (type $kind:ty, [], [required $example:literal]) => { $crate::file::declared::Required };
    (value [$default:expr], []) => { $crate::file::declared::Or($default) };
    (value [], [$meaning:literal]) => { $crate::file::declared::Optional($meaning) };
    (value [], [required $example:literal]) => { $crate::file::declared::Required($example) };
    (read $fields:ident $key:ident [$default:expr], []) => { $fields.or_default(&$key) };
    (read $fields:ident $key:ident [], [$meaning:literal]) => { $fields.optional(&$key) };
    (written $key:ident $field:expr, [$default:expr], []) => {
        $crate::file::declare::value(&$key.kind, &$crate::file::declare::Field::back(&$field))
    };
    (written $key:ident $field:expr, [], [$meaning:literal]) => {
        $crate::file::declare::optional_value(&$key.kind, &$crate::file::declare::Field::back(&$field))
    };
    (doc [$default:expr], []) => { concat!("Default: `", stringify!($default), "`.") };
    (doc [], [$meaning:literal]) => { concat!("Left out: ", $meaning, ".") };
    (doc [], [required $example:literal]) => { concat!("Such as `", $example, "`.") };
}

/// The keys of a section: as they are ordered, and else as they are declared.
macro_rules! keys {
    ([] [$($declared:tt)*]) => {
        &[$($declared)*]
    };
    ([$($ordered:tt)+] [$($declared:tt)*]) => {
        &[$($ordered)+]
    };
}

/// A key as it is declared, and what is said of its absence.
macro_rules! key {
    (
        [$($doc:literal)+] $key:ident $name:expr,
        [$($default:expr)?], [$($absent:tt)*], [$($kind:tt)+], [$($value:tt)+] $(, $restart:ident)?
    ) => {
        pub(crate) static $key: $crate::file::declared::Key<
            $($kind)+,
            $crate::file::declare::absent!(type $($kind)+, [$($default)?], [$($absent)*]),
        > = $crate::file::declared::Key {
            name: $name,
            kind: $($value)+,
            absent: $crate::file::declare::absent!(value [$($default)?], [$($absent)*]),
            doc: concat!($($doc,)+ $crate::file::declare::restart!([$($restart)?])),
        };
    };
}

/// What is added to the text of a key that only counts at the next start, and what a reload says of it.
macro_rules! restart {
    ([]) => {
        ""
    };
    ([restart]) => {
        " A change counts from the next start on."
    };
    (difference [] $name:expr, $difference:expr) => {
        $difference
    };
    (difference [restart] $name:expr, $difference:expr) => {
        Difference::at_next_start($name)
    };
}

/// How the table of another section is read.
macro_rules! table {
    ($type:ty, [], $fields:expr) => {
        <$type>::read($fields)
    };
    ($type:ty, [$read:ident], $fields:expr) => {
        <$type>::$read($fields)
    };
}

macro_rules! declare {
    (
        $(#[$about:meta])+
        $vis:vis struct $name:ident in $section:ident = $table:literal, $shape:ident $(($words:expr))?: $section_doc:literal;
        $(
            given $parts:ident { $( $(#[$given_doc:meta])+ $given:ident: $given_type:ty; )* }
            $(handed { $(
                $(#[doc = $handed_doc:literal])+
                $handed_key:ident $handed:ident: $handed_type:ty $(= $handed_default:expr)? $(=> $handed_meaning:literal)?
                $(=> required $handed_example:literal)?,
                $handed_kind:ident $(<$handed_of:ty>)? $({ $($handed_bounds:tt)* })? $(($($handed_inner:tt)*))?;
            )+ })?
        )?
        $(keys { $(
            $(#[doc = $doc:literal])+
            $key:ident $field:ident: $type:ty $(= $default:expr)? $(=> $meaning:literal)?,
            $kind:ident $(<$of:ty>)? $({ $($bounds:tt)* })? $(($($inner:tt)*))? $(, $restart:ident)?;
        )+ })?
        $(also { $($own:ident),+ $(,)? })?
        $(order { $($ordered:ident),+ $(,)? })?
        $(flat { $( $(#[$flat_doc:meta])+ $flat:ident $flat_field:ident: $flat_type:ty; )+ })?
        $(tables { $( $(#[$sub_doc:meta])+ $sub:ident $sub_field:ident: $sub_type:ty $(, $sub_read:ident)?; )+ })?
    ) => {
        $(#[$about])+
        $vis struct $name {
            $(
                $( $(#[$given_doc])+ $vis $given: $given_type, )*
                $($(
                    $(#[doc = $handed_doc])+
                    ///
                    #[doc = $crate::file::declare::absent!(
                        doc [$($handed_default)?], [$($handed_meaning)? $(required $handed_example)?]
                    )]
                    $vis $handed: $handed_type,
                )+)?
            )?
            $($(
                $(#[doc = $doc])+
                ///
                #[doc = $crate::file::declare::absent!(doc [$($default)?], [$($meaning)?])]
                $vis $field: $type,
            )+)?
            $($( $(#[$flat_doc])+ $vis $flat_field: $flat_type, )+)?
            $($( $(#[$sub_doc])+ $vis $sub_field: $sub_type, )+)?
        }

        $(
            /// What the reader hands over.
            pub(crate) struct $parts {
                $( pub(crate) $given: $given_type, )*
                $($( pub(crate) $handed: $handed_type, )+)?
            }
        )?

        pub(crate) static $section: $crate::file::declared::Sub = $crate::file::declared::Sub {
            name: $table,
            shape: $crate::file::declared::Shape::$shape $(($words))?,
            section: &$crate::file::declared::Section {
                doc: $section_doc,
                keys: $crate::file::declare::keys!([$($(&$ordered,)+)?] [
                    $($(&$own,)+)?
                    $($(&$key,)+)?
                    $($(&$crate::file::declared::Flat(&$flat),)+)?
                    $($(&$sub,)+)?
                ]),
            },
        };

        $($($(
            $crate::file::declare::key! {
                [$($handed_doc)+] $handed_key stringify!($handed),
                [$($handed_default)?], [$($handed_meaning)? $(required $handed_example)?],
                [$handed_kind $(<$handed_of>)?],
                [$handed_kind $({ $($handed_bounds)* })? $(($($handed_inner)*))?]
            }
        )+)?)?
        $($(
            $crate::file::declare::key! {
                [$($doc)+] $key stringify!($field),
                [$($default)?], [$($meaning)?],
                [$kind $(<$of>)?],
                [$kind $({ $($bounds)* })? $(($($inner)*))?]
                $(, $restart)?
            }
        )+)?

        impl $name {
            /// Returns what the table says, and else the defaults.
            pub(crate) fn read(fields: &$crate::file::fields::Fields<'_> $(, parts: $parts)?) -> Self {
                // Of some the reader hands over all.
                let _ = fields;
                Self {
                    $(
                        $( $given: parts.$given, )*
                        $($( $handed: parts.$handed, )+)?
                    )?
                    $($( $field: $crate::file::declare::Field::of(
                        $crate::file::declare::absent!(read fields $key [$($default)?], [$($meaning)?])
                    ), )+)?
                    $($( $flat_field: <$flat_type>::read(fields), )+)?
                    $($( $sub_field: $crate::file::declare::table!($sub_type, [$($sub_read)?], &fields.one(&$sub)), )+)?
                }
            }

            /// Returns what a reload says of it: each key that differs in `new`.
            #[allow(dead_code, reason = "of what stands in a list a reload may say that there is another one, and no more")]
            pub(crate) fn differences(&self, new: &Self) -> Vec<$crate::file::declare::Difference> {
                use $crate::file::declare::Difference;
                let mut said = Vec::new();
                $(
                    $(
                        if self.$given != new.$given {
                            said.push(Difference::other(stringify!($given)));
                        }
                    )*
                    $($(
                        if self.$handed != new.$handed {
                            said.push(Difference::other($handed_key.name));
                        }
                    )+)?
                )?
                $($(
                    if self.$field != new.$field {
                        said.push($crate::file::declare::restart!(difference [$($restart)?] $key.name, Difference::of_key(
                            $key.name,
                            $crate::file::declare::absent!(written $key self.$field, [$($default)?], [$($meaning)?]),
                            $crate::file::declare::absent!(written $key new.$field, [$($default)?], [$($meaning)?]),
                        )));
                    }
                )+)?
                $($( said.extend(self.$flat_field.differences(&new.$flat_field)); )+)?
                $($( said.extend(Difference::of_table($sub.name, self.$sub_field.differences(&new.$sub_field))); )+)?
                said
            }
        }
    };
}

pub(crate) use {absent, declare, key, keys, restart, table};
