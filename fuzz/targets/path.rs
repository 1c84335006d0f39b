//! The normal form of a path, which decides where a request goes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::path::{is_ambiguous, normal};

fuzz_target!(|data: &[u8]| {
    let path = [b"/".as_slice(), data].concat();
    let once = normal(&path).into_owned();
    assert_eq!(&*normal(&once), &*once, "a normal form is its own");
    assert!(once.starts_with(b"/"));
    assert!(!once.windows(2).any(|two| two == b"//"));
    assert!(!once.split(|&byte| byte == b'/').any(|segment| segment == b"." || segment == b".."));
    let _ = is_ambiguous(&path);
    let _ = (normal(data), is_ambiguous(data));
});
