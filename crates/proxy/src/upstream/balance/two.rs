//! The better of two nodes drawn by weight. As good as asking all where loads change fast, costs the same for three
//! nodes as for a thousand, and does not send everybody to one node that looks best for a moment (Mitzenmacher, "The
//! Power of Two Choices in Randomized Load Balancing").

use tokio::time::Instant;

use crate::upstream::balance::ask::{Ask, Unpicked};
use crate::upstream::balance::cursor::Cursor;
use crate::upstream::balance::turns;
use crate::upstream::member::Member;

/// The one with fewer requests under way and tunnels for its weight.
pub(super) fn less_busy(ask: &Ask<'_>, cursor: &Cursor) -> Result<usize, Unpicked> {
    of_two(ask, cursor, |member| member.node.connections() as f64 / member.weight())
}

/// The one whose answer would come sooner: its latency for each request that is under way and this one.
pub(super) fn sooner(ask: &Ask<'_>, now: Instant, cursor: &Cursor) -> Result<usize, Unpicked> {
    of_two(ask, cursor, |member| {
        let under_way = member.node.in_flight() as f64;
        match member.node.latency.at(now) {
            Some(latency) => latency.as_secs_f64() * (under_way + 1.0) / member.weight(),
            // One request finds out how fast a new node is; until it has, others go elsewhere.
            None => UNKNOWN * under_way,
        }
    })
}

/// Draws two and takes the cheaper one, the first of equals.
fn of_two(ask: &Ask<'_>, cursor: &Cursor, cost: impl Fn(&Member) -> f64) -> Result<usize, Unpicked> {
    let level = ask.level(ask.turns.draw(cursor))?;
    let mut first: Option<usize> = None;
    for attempt in 0..DRAWS_MAX + TURNS_MAX {
        let index = if attempt < DRAWS_MAX {
            let index = ask.turns.draw(cursor);
            if ask.fit(index) != level || !cursor.falls_in(ask.members[index].node.ramp()) {
                continue;
            }
            index
        } else {
            // Most of the pool is down, or has just come back: those that are left are found one after the other.
            turns::pick(ask, cursor)?
        };
        match first {
            Some(first) if first != index => {
                let is_cheaper = cost(&ask.members[index]) < cost(&ask.members[first]);
                return Ok(if is_cheaper { index } else { first });
            }
            Some(_) => {}
            None => first = Some(index),
        }
    }
    first.ok_or(Unpicked::Nobody)
}

/// Draws for a pair, before the turns are walked along.
const DRAWS_MAX: usize = 32;
/// Of two nodes of which one has nearly all turns, the other is not insisted on.
const TURNS_MAX: usize = 4;
/// In seconds: longer than any answer that is waited for.
const UNKNOWN: f64 = 1e6;
