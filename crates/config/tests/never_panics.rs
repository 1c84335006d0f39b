//! Whatever the file holds, there is a plan or a report, and the report can be printed.

use std::path::Path;

use proptest::prelude::{Strategy, any, prop, proptest};
use proptest::sample::Index;
use tidelock_config::parse;

const FILES: [&str; 5] = [
    include_str!("../../../configs/full.toml"),
    include_str!("../../../configs/tls.toml"),
    include_str!("../../../configs/upstreams.toml"),
    include_str!("broken/eight_at_once.toml"),
    include_str!("broken/secret.toml"),
];

proptest! {
    #[test]
    fn on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        read(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn on_toml_like_text(text in "([\\[\\]{}=.,'\"#\n\r\t a-z0-9_\u{e9}\u{4e2d}\u{200b}\u{1b}-]|\\[\\[|\"\"\"){0,200}") {
        read(&text);
    }

    #[test]
    fn on_files_with_other_bytes_in_them(
        file in 0..FILES.len(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = FILES[file].as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn on_files_with_other_values_in_them(file in 0..FILES.len(), line in any::<Index>(), value in value()) {
        let mut lines: Vec<String> = FILES[file].lines().map(str::to_owned).collect();
        let at = line.index(lines.len());
        if let Some((key, _)) = lines[at].clone().split_once('=') {
            lines[at] = format!("{} = {value}", key.trim_start_matches('#'));
        }
        read(&lines.join("\n"));
    }

    #[test]
    fn on_files_with_lines_out_of_place(file in 0..FILES.len(), lines in prop::collection::vec(any::<Index>(), 0..40)) {
        let all: Vec<&str> = FILES[file].lines().collect();
        let some: Vec<&str> = lines.iter().map(|line| all[line.index(all.len())]).collect();
        read(&some.join("\n"));
    }
}

/// Values of every type, with every kind of content a reader looks into.
fn value() -> impl Strategy<Value = String> {
    let text = prop::sample::select(vec![
        "",
        "0",
        "-1",
        "30",
        "30s",
        "1h30m",
        "18446744073709551616d",
        "16KiB",
        ":",
        ":80",
        "[::]:80",
        "[::1]",
        "[",
        "]:1",
        "a:b:c",
        "*",
        "*.",
        "*.a",
        "http://",
        "http://a/b",
        "/",
        "//",
        "a/",
        "\u{e9}",
        "\u{130}.example",
        "10.0.0.0/33",
        "\\u0000",
        "\\u001b[31m",
        "engineio",
        "none",
    ]);
    let string = text.prop_map(|text| format!("\"{text}\""));
    let scalar = proptest::strategy::Union::new([
        string.boxed(),
        any::<i64>().prop_map(|number| number.to_string()).boxed(),
        prop::sample::select(vec!["true", "1.5", "inf", "1979-05-27", "0xffffffffffffffffff", "[]", "{}"])
            .prop_map(str::to_owned)
            .boxed(),
    ]);
    scalar.prop_recursive(3, 16, 4, |inner| {
        proptest::strategy::Union::new([
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|values| format!("[{}]", values.join(", ")))
                .boxed(),
            ("(address|weight|backup|certificate|key|a)", inner)
                .prop_map(|(key, value)| format!("{{ {key} = {value} }}"))
                .boxed(),
        ])
    })
}

fn read(text: &str) {
    match parse(text, Path::new("test.toml")) {
        Ok(loaded) => drop((loaded.warnings.to_string(), loaded.warnings.render(true))),
        Err(report) => {
            assert!(!report.is_empty());
            drop((report.to_string(), report.render(true)));
        }
    }
}
