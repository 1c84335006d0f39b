//! What verbs print. A reader that has gone, as `head` does, and a disk that is full end no verb in its midst, as std's `print!` and
//! `eprint!` would: what was asked for is done, and only the exit code says that it was not all shown.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// A line on standard output, as `println!` has it.
macro_rules! say {
    ($($words:tt)*) => { $crate::output::out(format_args!("{}\n", format_args!($($words)*))) };
}

/// A line on standard error, as `eprintln!` has it.
macro_rules! tell {
    ($($words:tt)*) => { $crate::output::err(format_args!("{}\n", format_args!($($words)*))) };
}

pub(crate) use {say, tell};

/// Puts text on standard output as it is.
pub(crate) fn out(text: Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush()) else { return };
    let is_first = !IS_LOST.swap(true, Ordering::Relaxed);
    // Whoever has stopped reading does not want to know.
    if is_first && error.kind() != ErrorKind::BrokenPipe {
        tell!("standard output cannot be written: {error}");
    }
}

/// Puts text on standard error as it is. There is nobody left to tell if that fails.
pub(crate) fn err(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// The exit code of a verb that ends with `code`, which is no success if what it printed is lost.
pub(crate) fn ended(code: ExitCode) -> ExitCode {
    let is_lost = IS_LOST.load(Ordering::Relaxed);
    if is_lost && code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code }
}

static IS_LOST: AtomicBool = AtomicBool::new(false);
