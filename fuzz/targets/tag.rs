//! A tag behind a session id, and a pin alone: whatever it is cut from, the two parts are the whole; what a key makes, it
//! proves, and nothing that is a letter off.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::tag::{Key, Pin, Tag};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let seal = Key::new(data).seal(&text);
    if let Some((sid, tag)) = Tag::split(data) {
        assert_eq!([sid, tag.as_bytes()].concat(), data);
        assert_eq!(seal.proves(sid, &tag), seal.tag(sid) == tag);
    }
    let tag = seal.tag(data);
    assert!(seal.proves(data, &tag) && tag.hint() == seal.hint());
    let tagged = [data, tag.as_bytes()].concat();
    assert_eq!(Tag::split(&tagged).is_some(), !data.is_empty());
    if let Some((value, pin)) = Pin::split(data) {
        assert!(data.starts_with(value) && data.ends_with(pin.as_bytes()));
        assert_eq!(seal.holds(&pin), *seal.pin() == pin);
    }
});
