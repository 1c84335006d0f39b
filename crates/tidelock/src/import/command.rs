//! What PM2 runs for an app: its script by which program, with which arguments. Looks at the disk as PM2 does; runs nothing.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::told::Told;
use crate::start::{self, in_path};

/// What is run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// The program and its arguments.
    pub(super) words: Vec<String>,
    /// Those of them that come behind the script.
    pub(super) args: Vec<String>,
    /// The file that the program is given, where it is one.
    pub(super) script: Option<PathBuf>,
    pub(super) is_node: bool,
    pub(super) is_python: bool,
}

/// The script of an app, by any of its names.
pub(super) fn script_of(of: &Map<String, Value>) -> Option<&str> {
    ["script", "cmd", "command", "exec"]
        .iter()
        .find_map(|key| of.get(*key)?.as_str())
        .filter(|script| !script.is_empty())
}

impl Run {
    /// What is run in `cwd` for an app with a script.
    pub(super) fn of(of: &Map<String, Value>, script: &str, cwd: &Path, told: &mut Told) -> Self {
        let args = of.get("args").map(words).unwrap_or_default();
        if script.contains(' ') {
            if !args.is_empty() {
                told.note("args: PM2 takes no notice of them beside a `script` with spaces");
            }
            let line = script.to_owned();
            return Self { words: vec!["bash".to_owned(), "-c".to_owned(), line], ..Self::default() };
        }
        let (path, shown) = match cwd.join(script) {
            path if path.exists() => (path, script.to_owned()),
            path => match in_path(script).filter(|_| !script.contains('/')) {
                Some(program) => (program, script.to_owned()),
                None => {
                    told.broken(format!(
                        "script = {script:?}: there is no {}{}",
                        path.display(),
                        meant(&path)
                    ));
                    (path, script.to_owned())
                }
            },
        };
        let is_program = !cwd.join(script).exists();
        let mut run = Self { script: Some(path.clone()), ..Self::default() };
        let interpreter = run.interpreter(of, &path, is_program, told);
        run.is_node = interpreter.first().is_some_and(|program| is_called(program, "node"));
        run.is_python = interpreter.first().is_some_and(|program| is_called(program, "python"));
        let node_args = ["node_args", "nodeArgs", "interpreter_args", "interpreterArgs"];
        let options = node_args.iter().find_map(|key| of.get(*key)).map(words).unwrap_or_default();
        let maps = of.get("source_map_support") == Some(&Value::Bool(true)) && run.is_node;
        let maps =
            (maps && !options.iter().any(|option| option == SOURCE_MAPS)).then(|| SOURCE_MAPS.to_owned());
        let is_direct = interpreter.is_empty();
        run.words = interpreter;
        if is_direct && !options.is_empty() {
            told.left(format!("node_args = {options:?}: no interpreter runs {script}"));
        } else {
            run.words.extend(options.into_iter().chain(maps));
        }
        run.words.push(match (is_direct, is_program) {
            // The program is looked up in PATH, and the interpreter looks nothing up.
            (true, true) => shown,
            (false, true) => path.display().to_string(),
            (true, false) if !shown.contains('/') => format!("./{shown}"),
            (_, false) => shown,
        });
        run.words.extend(args.iter().cloned());
        run.args = args;
        run
    }

    /// The program that runs the script, with its arguments; empty where the script is run itself.
    fn interpreter(
        &mut self,
        of: &Map<String, Value>,
        path: &Path,
        is_program: bool,
        told: &mut Told,
    ) -> Vec<String> {
        let said = of.get("interpreter").or_else(|| of.get("exec_interpreter")).and_then(Value::as_str);
        match said {
            Some("none") => return Vec::new(),
            Some(version) if version.starts_with("node@") => return vec![node_of(version, told)],
            Some("python") if in_path("python").is_none() => return vec!["python3".to_owned()],
            Some(said) if said.contains(' ') && !Path::new(said).exists() => return split(said),
            Some(said) if !said.is_empty() => return vec![said.to_owned()],
            _ => {}
        }
        let word = |program: &str| vec![program.to_owned()];
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("js" | "mjs" | "cjs") => word("node"),
            Some("ts" | "tsx" | "mts" | "cts") => start::typescript(&path.display().to_string())
                .unwrap_or_else(|why| {
                    told.broken(format!("script: {why}"));
                    word("tsx")
                }),
            Some("py") => word(if in_path("python").is_some() { "python" } else { "python3" }),
            Some("sh") => word("bash"),
            Some("rb") => word("ruby"),
            Some("php") => word("php"),
            Some("pl") => word("perl"),
            Some("coffee") => word("coffee"),
            // What has a first line that says how to run it is run by that; what is no program of the machine, by Node.js.
            _ if is_program || runs_itself(path) || !path.exists() => Vec::new(),
            _ => word("node"),
        }
    }
}

fn is_called(program: &str, name: &str) -> bool {
    Path::new(program).file_name().and_then(|file| file.to_str()).is_some_and(|file| file.starts_with(name))
}

fn runs_itself(path: &Path) -> bool {
    let mut first = [0; 4];
    let is_read = path.is_file() && File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok();
    is_read && (&first == b"\x7fELF" || &first[..2] == b"#!")
}

/// The Node.js that nvm has of this version, which PM2 would have it fetch.
fn node_of(version: &str, told: &mut Told) -> String {
    let wanted = version.trim_start_matches("node@").trim_start_matches('v');
    let nvm = std::env::var_os("NVM_DIR").map(PathBuf::from);
    let nvm = nvm.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".nvm")));
    let found = nvm.and_then(|nvm| std::fs::read_dir(nvm.join("versions/node")).ok()).and_then(|versions| {
        let fits = |path: &PathBuf| {
            let name =
                path.file_name().and_then(|name| name.to_str()).unwrap_or_default().trim_start_matches('v');
            name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
        };
        let nodes = versions.take(VERSIONS_MAX).filter_map(|entry| Some(entry.ok()?.path())).filter(fits);
        let numbers = |path: &PathBuf| -> Vec<u32> {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.trim_start_matches('v').split('.').map(|number| number.parse().unwrap_or(0)).collect()
        };
        nodes.max_by_key(numbers).map(|path| path.join("bin/node")).filter(|node| node.is_file())
    });
    match found {
        Some(node) => node.display().to_string(),
        None => {
            told.left(format!(
                "interpreter = {version:?}: nvm has no such Node.js here; it is run by the `node` of $PATH"
            ));
            "node".to_owned()
        }
    }
}

/// What may have been meant by a path that is not there.
fn meant(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(beside) = path.parent().and_then(|folder| std::fs::read_dir(folder).ok()) else {
        return String::new();
    };
    let names: Vec<String> =
        beside.take(NAMES_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let near = config::nearest(&name, names.iter().map(String::as_str));
    near.map_or_else(String::new, |other| format!("; did you mean {other:?}?"))
}

/// A list, or a string with blanks, in which backslashes and quotes are what they are: these may be patterns.
pub(super) fn names(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        other => words(other),
    }
}

/// A list, or a line as for a shell.
pub(super) fn words(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::String(text) => split(text),
        other => vec![plain(other)],
    }
}

/// At blanks, but for those in quotes or behind a backslash; a quote that is not closed goes on to the end.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match (character, quote) {
            (_, Some(open)) if character == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            ('\\', None) => word.get_or_insert_default().push(rest.next().unwrap_or('\\')),
            // Between double quotes it stands for itself before anything else.
            ('\\', Some('"')) if matches!(rest.peek(), Some('"' | '\\')) => {
                word.get_or_insert_default().extend(rest.next());
            }
            (_, None) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

const SOURCE_MAPS: &str = "--enable-source-maps";
const VERSIONS_MAX: usize = 1_000;
const NAMES_MAX: usize = 10_000;
