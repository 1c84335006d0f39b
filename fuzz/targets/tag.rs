//! A tag behind a session id: whatever it is cut from, the two parts are the whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::tag::{Tag, Tagger};

fuzz_target!(|data: &[u8]| {
    if let Some((sid, tag)) = Tag::split(data) {
        assert_eq!([sid, tag.as_bytes()].concat(), data);
        assert_eq!(Tag::read(tag.as_bytes()), Some(tag));
    }
    let text = String::from_utf8_lossy(data);
    let tag = Tagger::new(data).tag(&text, &text, &text);
    assert_eq!(
        Tag::split(&[data, tag.as_bytes()].concat()).map(|(_, tag)| tag),
        Some(tag).filter(|_| !data.is_empty())
    );
});
