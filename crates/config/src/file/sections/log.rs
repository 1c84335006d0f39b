//! `[log]`.

use crate::file::declare::declare;
use crate::file::kinds::Word;
use crate::file::kinds::log::FormatOfLines;
use crate::file::kinds::paths::LogPlace;
use crate::plan::values::line::LineEscape;
use crate::plan::values::{AccessLog, LogFormat};

declare! {
    /// The access log.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct Log in LOG = "log", One: "The access log.";
    keys {
        /// Where the lines go: "stdout", "off", or the path of a file, which is opened again on SIGUSR1. Relative to the
        /// folder of this file.
        ACCESS access: AccessLog = AccessLog::Stdout, LogPlace;
        /// How a line looks: a JSON object, "json", nginx's "combined", or a text with nginx's variables: '$remote_addr
        /// [$time_local] "$request" $status $request_time'. docs/operating.md has them.
        FORMAT format: LogFormat = LogFormat::Json, FormatOfLines;
        /// How what clients send is written into such a text: as nginx does, "default", or as into strings of "json".
        ESCAPE escape: LineEscape = LineEscape::Default,
            Word<LineEscape>(&[("default", LineEscape::Default), ("json", LineEscape::Json)]);
    }
}
