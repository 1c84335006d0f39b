//! A host: what is taken names one place, and says the same when it is said again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidelock_fuzz::{print_request, read_request, read_target};

fuzz_target!(|data: &[u8]| {
    // A line of its own is no host, and a target of this length is refused for it.
    if data.contains(&b'\n') || data.len() > 200 {
        return;
    }
    if let Some(head) = read_target(data, b"/") {
        let (host, name) = (head.host_bytes().expect("a host"), head.host_name().expect("its name"));
        assert!(!name.is_empty() && host.starts_with(name));
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
        assert!(host.iter().all(is_plain), "{}", host.escape_ascii());
        let is_address = name.starts_with(b"[");
        assert!(is_address || name.split(|&byte| byte == b'.').all(|label| !label.is_empty()));
        // The name alone is a host too, and the same one.
        let again = read_target(name, b"/").expect("a name is a host");
        assert_eq!(again.host_name(), Some(name));
        print_request(&head, false);
    }
    // As the authority of a target, alone and beside a Host.
    let absolute = [b"http://", data, b"/"].concat();
    if let Some(head) = read_request(&[b"GET ", &*absolute, b" HTTP/1.0\r\n\r\n"].concat()) {
        assert!(head.host_name().is_some_and(|name| !name.is_empty()));
        print_request(&head, false);
    }
    if read_target(data, b"/").is_some() && !data.contains(&b' ') && !data.contains(&b'\t') {
        assert!(read_target(data, &absolute).is_some(), "a host agrees with itself");
    }
});
