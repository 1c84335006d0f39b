//! How the value that a kind reads becomes the field that the plan has of it, and back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::app::values::{self as app, ExitCodes, Instances, Port, Socket};
use crate::plan::values::fields::LogFields;
use crate::plan::values::line::LineEscape;
use crate::plan::values::{
    self as plan, AccessLog, AdminSocket, Balance, HashKey, NodeSpec, RedisUrl, Secrets, Sticky,
};
use crate::routing::{
    Auth, Cache, Coding, Compress, Cors, ErrorPages, HeaderEdits, HostPattern, Limit, LimitKey, Limited,
    LogSample, LogShare, Match, Methods, Mirror, Origin, PageStatus, PathEdit, PathRule, Rate, Redirect,
    RequestIds, Respond, Satisfy, Share, SplitBy, Template,
};

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

        impl Field<Option<u64>> for Option<$number> {
            fn of(read: Option<u64>) -> Self {
                read.map(Field::of)
            }

            fn back(&self) -> Option<u64> {
                self.map(|number| number.back())
            }
        }
    )+ };
}

/// Fields that are what the kind reads.
macro_rules! same_fields {
    ($($same:ty),+) => { $(
        impl Field<$same> for $same {
            fn of(read: $same) -> Self {
                read
            }

            fn back(&self) -> $same {
                <$same>::clone(self)
            }
        }
    )+ };
}

/// Fields that say by an empty value that the key is left out.
macro_rules! empty_fields {
    ($($field:ty),+) => { $(
        impl Field<Option<$field>> for $field {
            fn of(read: Option<$field>) -> Self {
                read.unwrap_or_default()
            }

            fn back(&self) -> Option<$field> {
                (*self != <$field>::default()).then(|| self.clone())
            }
        }
    )+ };
}

number_fields!(usize, u32, u16);
same_fields!(
    u64, Option<u64>, Option<Option<u64>>, Duration, Option<Duration>, bool, Option<bool>, i32, String, Option<String>,
    Vec<String>, Option<Vec<String>>, Option<PathBuf>, BTreeMap<String, String>, Option<RangeInclusive<u16>>, AccessLog,
    plan::LogFormat, LineEscape, Option<LogFields>, LogShare, Option<LogSample>, plan::ClientCertificateMode, plan::TlsProfile, Sticky, Balance, ExitCodes, Instances, Port, Socket,
    app::LogFormat, PathRule, Option<Vec<HostPattern>>, Option<Methods>, Option<SocketAddr>, Option<Vec<SocketAddr>>, Option<Redirect>,
    Option<Arc<Respond>>, Option<Cache>, Option<PathEdit>, Option<HeaderEdits>, Option<Cors>, Option<ErrorPages>,
    Option<Template>, Option<Vec<(String, Template)>>, Option<Vec<RangeInclusive<u16>>>, Option<Vec<Vec<u8>>>, Option<&'static str>, Option<Vec<Coding>>, Option<Vec<Origin>>, Vec<IpNet>,
    Option<Vec<IpNet>>, Option<PageStatus>, Option<Vec<Limit>>, LimitKey, Limited, Option<Rate>, Option<Auth>, Satisfy, Option<Vec<Match>>, Option<Vec<Share>>,
    Option<SplitBy>, Option<HashKey>, Option<Mirror>, Option<RedisUrl>
);
/// A word that is either there or not.
impl Field<Option<()>> for bool {
    fn of(read: Option<()>) -> Self {
        read.is_some()
    }

    fn back(&self) -> Option<()> {
        self.then_some(())
    }
}

/// Fields that say nothing where the key says no.
macro_rules! flat_fields {
    ($($same:ty),+) => { $(
        impl Field<Option<Option<$same>>> for Option<$same> {
            fn of(read: Option<Option<$same>>) -> Self {
                read.flatten()
            }

            fn back(&self) -> Option<Option<$same>> {
                self.clone().map(Some)
            }
        }
    )+ };
}

empty_fields!(AdminSocket, Vec<SocketAddr>, Vec<NodeSpec>);
flat_fields!(Compress, RequestIds);

impl Field<Option<Vec<Vec<u8>>>> for Secrets {
    fn of(read: Option<Vec<Vec<u8>>>) -> Self {
        Self::new(read.unwrap_or_default())
    }

    fn back(&self) -> Option<Vec<Vec<u8>>> {
        (!self.is_empty()).then(|| self.iter().map(<[u8]>::to_vec).collect())
    }
}

impl Field<Option<u64>> for Option<NonZeroUsize> {
    fn of(read: Option<u64>) -> Self {
        read.and_then(|number| NonZeroUsize::new(usize::of(number)))
    }

    fn back(&self) -> Option<u64> {
        self.map(|number| number.get().back())
    }
}

impl Field<Option<u64>> for Option<NonZeroU32> {
    fn of(read: Option<u64>) -> Self {
        read.and_then(|number| NonZeroU32::new(u32::of(number)))
    }

    fn back(&self) -> Option<u64> {
        self.map(|number| number.get().into())
    }
}
