//! Columns under each other, for a person: what is a number stands at the right, what nobody has is left out, and states have a
//! colour where colours are wanted. Pure.

use std::ops::Range;

use crate::colour::{BOLD, DIM, GREEN, RED, YELLOW, paint};

/// What a table has in its columns.
#[derive(Debug)]
pub(super) struct Columns<const N: usize> {
    pub(super) headings: [&'static str; N],
    /// They stand at the right.
    pub(super) numbers: Range<usize>,
    /// They are left out where each of their cells is 0 or empty.
    pub(super) rare: Range<usize>,
    /// Its words have colours.
    pub(super) state: usize,
}

impl<const N: usize> Columns<N> {
    /// A line for each row, under a line of headings.
    pub(super) fn show(&self, rows: &[[String; N]], is_coloured: bool) -> String {
        let headings = self.headings.map(str::to_owned);
        let is_shown: [bool; N] = std::array::from_fn(|column| {
            !self.rare.contains(&column) || rows.iter().any(|row| !["0", "-", ""].contains(&&*row[column]))
        });
        let widths: [usize; N] = std::array::from_fn(|column| {
            rows.iter().chain([&headings]).map(|row| row[column].chars().count()).max().unwrap_or(0)
        });
        let line = |row: &[String; N], is_heading: bool| {
            let cells =
                row.iter().enumerate().filter(|(column, _)| is_shown[*column]).map(|(column, cell)| {
                    let width = widths[column];
                    let padded = match self.numbers.contains(&column) {
                        true => format!("{cell:>width$}"),
                        false => format!("{cell:width$}"),
                    };
                    match (is_heading, column == self.state) {
                        _ if !is_coloured => padded,
                        (true, _) => paint(&padded, BOLD),
                        (false, true) => {
                            colour_of(cell).map_or(padded.clone(), |colour| paint(&padded, colour))
                        }
                        (false, false) => padded,
                    }
                });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        let head = line(&headings, true);
        rows.iter().fold(head, |text, row| text + &line(row, false))
    }
}

/// The colour of a state, by its first word.
pub(super) fn colour_of(state: &str) -> Option<&'static str> {
    let is = |words: &[&str]| words.iter().any(|word| state.starts_with(word));
    if is(&["down", "crash loop", "given up", "no node"]) {
        return Some(RED);
    }
    if state.contains("draining") || is(&["starting", "emptying", "stopping", "waiting", "rolling"]) {
        return Some(YELLOW);
    }
    if is(&["stopped", "removed", "finished"]) {
        return Some(DIM);
    }
    is(&["up", "ready", "running"]).then_some(GREEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns<4> =
        Columns { headings: ["APP", "STATE", "CPU", "RARE"], numbers: 2..4, rare: 3..4, state: 1 };

    fn row(cells: [&str; 4]) -> [String; 4] {
        cells.map(str::to_owned)
    }

    #[test]
    fn a_column_that_nobody_needs_is_left_out() {
        let rows = [row(["a", "ready", "3%", "0"]), row(["bbbb", "stopped", "-", "-"])];
        assert_eq!(
            COLUMNS.show(&rows, false),
            "APP   STATE    CPU\na     ready     3%\nbbbb  stopped    -\n"
        );
        let rows = [row(["a", "ready", "13.0%", "1"])];
        assert_eq!(COLUMNS.show(&rows, false), "APP  STATE    CPU  RARE\na    ready  13.0%     1\n");
    }

    #[test]
    fn colours_are_round_the_cells_and_change_no_width() {
        let rows = [row(["a", "ready", "3%", "2"]), row(["b", "crash loop", "-", "0"])];
        let plain = COLUMNS.show(&rows, false);
        let mut painted = COLUMNS.show(&rows, true);
        assert!(
            painted.contains("\x1b[32mready     \x1b[0m") && painted.contains("\x1b[31mcrash loop\x1b[0m")
        );
        for code in ["\x1b[32m", "\x1b[31m", "\x1b[1m", "\x1b[0m"] {
            painted = painted.replace(code, "");
        }
        assert_eq!(painted, plain);
    }

    #[test]
    fn every_state_has_its_colour() {
        for (state, colour) in [
            ("up", Some(GREEN)),
            ("up, draining", Some(YELLOW)),
            ("down, removed", Some(RED)),
            ("crash loop", Some(RED)),
            ("emptying", Some(YELLOW)),
            ("stopped", Some(DIM)),
            ("2 of 3 up", None),
        ] {
            assert_eq!(colour_of(state), colour, "{state}");
        }
    }
}
