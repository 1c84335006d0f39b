//! One node after the other, by weight.

use crate::upstream::balance::ask::{Ask, Unpicked};
use crate::upstream::balance::cursor::Cursor;

pub(super) fn pick(ask: &Ask<'_>, cursor: &Cursor) -> Result<usize, Unpicked> {
    let level = ask.level(0)?;
    for _ in 0..ask.turns.length() {
        let index = ask.turns.next(cursor);
        if ask.fit(index) == level && cursor.falls_in(ask.members[index].node.ramp()) {
            return Ok(index);
        }
    }
    // Only newcomers are left, and none of them has drawn its turn.
    ask.best(
        ask.turns.next(cursor),
        |index, member| (ask.fit_of(index, member), member.node.ramp()),
        |a, b| a > b,
    )
}
