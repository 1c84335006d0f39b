//! `[log]`.

use crate::file::declare::declare;
use crate::file::fields::Fields;
use crate::file::kinds::log::{FieldNames, FormatOfLines, QueryKeys};
use crate::file::kinds::paths::LogPlace;
use crate::file::kinds::sample::SampleByStatus;
use crate::file::kinds::{Count, Size, Word};
use crate::plan::values::fields::LogFields;
use crate::plan::values::line::LineEscape;
use crate::plan::values::{AccessLog, LogFormat};
use crate::problem::Problem;
use crate::routing::LogSample;

declare! {
    /// The access log.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct Log in LOG = "log", One: "The access log.";
    keys {
        /// Where the lines go: "stdout", "off", the path of a file, which is opened again on SIGUSR1, or "syslog", by RFC
        /// 5424 over /dev/log; "syslog:/run/other.sock" is that of another socket. Relative to the folder of this file.
        ACCESS access: AccessLog = AccessLog::Stdout, LogPlace;
        /// The file is followed by another one at this size, and has a number then: access.log.1.
        FILE_BYTES_MAX file_bytes_max: Option<u64> => "any size", Size { least: 1 << 20, most: 1 << 40 };
        /// So many files are kept then, the current one included.
        FILES_MAX files_max: u32 = 5, Count { least: 1, most: 1000 };
        /// Not all exchanges have a line, but a share of those with these statuses: { 2xx = "1%", 304 = "0%" }. What routes
        /// leave out themselves is left out first.
        SAMPLE sample: Option<LogSample> => "all", SampleByStatus;
        /// How a line looks: a JSON object, "json", nginx's "combined", or a text with nginx's variables: '$remote_addr
        /// [$time_local] "$request" $status $request_time'. docs/operating.md has them.
        FORMAT format: LogFormat = LogFormat::Json, FormatOfLines;
        /// What a line of "json" has, in an order of its own: "usual", and what docs/operating.md has beside it.
        FIELDS fields: Option<LogFields> => "the usual ones", FieldNames;
        /// How what clients send is written into such a text: as nginx does, "default", or as into strings of "json".
        ESCAPE escape: LineEscape = LineEscape::Default,
            Word<LineEscape>(&[("default", LineEscape::Default), ("json", LineEscape::Json)]);
        /// Keys of a query whose values are cut off in every format, in targets and in header lines. That of `sid`, which
        /// opens a session, always is.
        CUT cut: Option<Vec<String>> => "token and access_token", QueryKeys;
    }
}

impl Log {
    /// Reads the table. Fields are those of an object.
    pub(crate) fn checked(fields: &Fields<'_>) -> Self {
        let log = Self::read(fields);
        if log.fields.is_some() && fields.is_readable(&FORMAT) && log.format != LogFormat::Json {
            let span = fields.span_of(FIELDS.name);
            let problem = Problem::error(span, "`fields` are those of `format = \"json\"`");
            let problem = match fields.span_of(FORMAT.name) {
                Some(format) => problem.related(format, "here it is another"),
                None => problem,
            };
            fields.push(problem.hint("leave one of the two out"));
        }
        log
    }
}
