//! The lines of all apps on tidelock's own output, for whoever runs it in the foreground or in a container: what an
//! app wrote to stdout on stdout, what it wrote to stderr on stderr; all of it on stderr where the access log has stdout.

use std::io::{self, Write};
use std::thread;

use config::app::LogFormat;

use super::lines::{Line, Stream};
use super::queue::{Piece, Queue, queue};

/// How lines look on tidelock's own output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Text has `chat/0 | ` before each line; JSON says it in its fields.
    pub format: LogFormat,
    /// Whether what is before a line has a colour, another for each instance.
    pub colour: bool,
    /// Whether something else goes to standard output, so that all lines go to standard error.
    pub is_apart: bool,
}

impl Echo {
    /// A line as it is printed, without its end.
    #[must_use]
    pub fn look(&self, line: &Line) -> String {
        let slot = line.instance.slot;
        match (self.format, self.colour) {
            (LogFormat::Json, _) => line.json(),
            (LogFormat::Text, false) => format!("{}/{slot} | {}", line.app, line.text()),
            (LogFormat::Text, true) => {
                let colour = COLOURS[slot as usize % COLOURS.len()];
                // What the app has coloured ends with its line.
                format!("\x1b[{colour}m{}/{slot} |\x1b[0m {}\x1b[0m", line.app, line.text())
            }
        }
    }
}

/// Starts the thread that writes.
pub(super) fn start(echo: Echo) -> io::Result<Queue> {
    let (queue, pieces) = queue();
    let write = move || {
        while pieces.next(|piece| {
            let Piece::Lines(lines) = piece else { return };
            for line in lines {
                let lost = pieces.lost(line.instance.slot);
                // A terminal that is gone takes nothing; what else is there to do with a line?
                if lost > 0 {
                    let _ = writeln!(
                        io::stderr(),
                        "tidelock: lines not shown, because they were not read in time: {lost}"
                    );
                }
                let _ = match line.stream {
                    Stream::Stdout if !echo.is_apart => writeln!(io::stdout(), "{}", echo.look(line)),
                    Stream::Stdout | Stream::Stderr => writeln!(io::stderr(), "{}", echo.look(line)),
                };
            }
        }) {}
    };
    thread::Builder::new().name("logs-echo".to_owned()).spawn(write)?;
    Ok(queue)
}

/// Cyan, green, yellow, magenta, blue, and their bright ones: what can be read on dark and on light.
const COLOURS: [u8; 8] = [36, 32, 33, 35, 34, 96, 92, 95];
