//! What makes a Node.js app listen where tidelock wants it, whatever port it hard-codes, and lets it talk to its other
//! instances. The script says how; here is how it comes into a process: by NODE_OPTIONS, which reaches `npm start` and all
//! that a script starts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use siphasher::sip::SipHasher24;

/// The script, of two parts that know nothing of each other. It is in the binary, and written into the private folder.
pub(crate) const SCRIPT: &str = concat!(
    "(() => {",
    include_str!("../js/preload.cjs"),
    "})();\n(() => {",
    include_str!("../js/messages.cjs"),
    include_str!("../js/rooms.cjs"),
    "})();\n",
);

/// The script's name in the folder, with a hash of what is in it: another version of tidelock may run its apps from
/// the same one.
pub(crate) fn file_name() -> String {
    format!("preload-{:08x}.cjs", SipHasher24::new().hash(SCRIPT.as_bytes()) & 0xffff_ffff)
}

/// NODE_OPTIONS with the script behind what is there already. Node.js splits at spaces and knows double quotes with
/// backslashes (node's `ParseNodeOptionsEnvVar`).
pub(crate) fn options(already: Option<&OsString>, script: &Path) -> OsString {
    let mut options = already.map_or(&b""[..], |already| already.as_bytes()).to_vec();
    if !options.is_empty() {
        options.push(b' ');
    }
    options.extend_from_slice(b"--require \"");
    for &byte in OsStr::as_bytes(script.as_os_str()) {
        if matches!(byte, b'"' | b'\\') {
            options.push(b'\\');
        }
        options.push(byte);
    }
    options.push(b'"');
    OsString::from_vec(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_kept_and_the_path_is_quoted() {
        let check = |already: Option<&str>, script: &str, expected: &str| {
            assert_eq!(
                options(already.map(OsString::from).as_ref(), Path::new(script)),
                OsString::from(expected)
            );
        };
        check(None, "/run/a b/p.cjs", r#"--require "/run/a b/p.cjs""#);
        check(
            Some("--max-old-space-size=512"),
            r#"/a"\b"#,
            r#"--max-old-space-size=512 --require "/a\"\\b""#,
        );
        check(Some(""), "/p", r#"--require "/p""#);
    }
}
