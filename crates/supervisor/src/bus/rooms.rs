//! Whether the rooms of an app's Socket.IO reach over all of its instances, by what each of them says of itself.

use serde::Deserialize;

/// What one instance says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Rooms {
    is_split: bool,
    /// Why they are split, or what does not work though they are shared; may be empty.
    why: String,
}

impl Rooms {
    /// Reads what `js/rooms.cjs` has written.
    pub(super) fn read(said: &[u8]) -> Option<Self> {
        let mut rooms: Self = serde_json::from_slice(said.get(..SAID_BYTES_MAX).unwrap_or(said)).ok()?;
        // It is shown to people.
        rooms.why.retain(|letter| !letter.is_control());
        Some(rooms)
    }

    /// What all instances together come to, in the words that people read. `None` if nobody has said anything and nobody was
    /// asked to share.
    pub(crate) fn of_all<'r>(
        said: impl Iterator<Item = Option<&'r Self>>,
        has_fanout: bool,
    ) -> Option<String> {
        let said: Vec<_> = said.collect();
        let spoken: Vec<_> = said.iter().flatten().collect();
        if let Some(split) = spoken.iter().find(|rooms| rooms.is_split) {
            let cure = if has_fanout { "" } else { CURE };
            return Some(format!("split, because {}{cure}", split.why));
        }
        if spoken.len() < said.len() || said.is_empty() {
            return has_fanout.then(|| UNSEEN.to_owned());
        }
        let but = spoken.iter().find(|rooms| !rooms.why.is_empty());
        Some(but.map_or_else(|| "shared".to_owned(), |rooms| format!("shared; {}", rooms.why)))
    }

    /// Whether somebody should look at it.
    pub(crate) fn is_bad(all: &str) -> bool {
        all.starts_with("split")
    }
}

const CURE: &str = ": a message reaches the clients of its own process alone; `fanout = true` (`start --fanout`) shares them";
const UNSEEN: &str = "not known to be shared: not every process has loaded a Socket.IO that `fanout` can see, and one that is bundled into \
     the app it cannot; @socket.io/cluster-adapter works there";
const SAID_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_all_counts() {
        let shared = Rooms { is_split: false, why: String::new() };
        let recovery = Rooms { is_split: false, why: "recovery is off".to_owned() };
        let split = Rooms { is_split: true, why: "it has none".to_owned() };
        let check = |said: &[Option<&Rooms>], has_fanout: bool, expected: Option<&str>| {
            let all = Rooms::of_all(said.iter().copied(), has_fanout);
            assert!(
                all.as_deref() == expected
                    || all.zip(expected).is_some_and(|(all, expected)| all.starts_with(expected)),
                "{said:?}"
            );
        };
        check(&[None, None], false, None);
        check(&[None, None], true, Some("not known"));
        check(&[Some(&shared), None], true, Some("not known"));
        check(&[Some(&shared), Some(&shared)], true, Some("shared"));
        check(&[Some(&shared), Some(&recovery)], true, Some("shared; recovery is off"));
        check(&[Some(&shared), Some(&split)], true, Some("split, because it has none"));
        check(&[Some(&split), None], false, Some("split, because it has none: a message reaches"));
    }

    #[test]
    fn what_is_no_such_thing_is_not_read() {
        assert_eq!(Rooms::read(b"{}"), None);
        assert_eq!(Rooms::read(b"\xff"), None);
        let read = Rooms::read(br#"{"is_split":true,"why":"a\u001b[2Jb"}"#).map(|rooms| rooms.why);
        assert_eq!(read.as_deref(), Some("a[2Jb"));
    }
}
