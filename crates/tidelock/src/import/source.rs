//! What PM2 is told, from wherever it stands: JSON, YAML, a program, or its own dump.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{dump, literal, yaml};

/// What it says, and where it stands.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) ecosystem: Value,
    /// What paths in it are relative to.
    pub(super) folder: PathBuf,
    pub(super) file: PathBuf,
    pub(super) is_dump: bool,
}

impl Source {
    /// Reads `file`, or PM2's dump if that is what it is called and there is no such file.
    pub(super) fn read(file: &Path, run_node: bool) -> Result<Self, String> {
        let file = match file == Path::new("pm2") && !file.is_file() {
            true => dump_path().ok_or("where is PM2's dump? $PM2_HOME and $HOME are not set")?,
            false => file.to_owned(),
        };
        let is_dump = file.extension().is_some_and(|extension| extension == "pm2");
        let said = |why: String| format!("{}: {why}", file.display());
        let home = file.parent().unwrap_or(Path::new("/"));
        let ecosystem = match is_dump {
            true => text_of(&file)
                .and_then(|text| dump::read(&text, home))
                .map_err(|why| said(format!("{why}; `pm2 save` writes it")))?,
            false => ecosystem(&file, run_node).map_err(said)?,
        };
        let file =
            std::path::absolute(&file).map_err(|error| format!("the current folder is gone: {error}"))?;
        let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self { ecosystem, folder, file, is_dump })
    }
}

fn dump_path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("PM2_HOME").or_else(|| Some(set("HOME")?.join(".pm2"))).map(|home| home.join("dump.pm2"))
}

fn text_of(file: &Path) -> Result<String, String> {
    let bytes = config::read_regular(file).map_err(|error| format!("the file cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

fn ecosystem(file: &Path, run_node: bool) -> Result<Value, String> {
    let extension = file.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("yml" | "yaml") => yaml::read(&text_of(file)?),
        _ if run_node => exports(file),
        _ => literal::read(&text_of(file)?).map_err(|none| {
            format!("line {}: {}; --run-node lets `node` run it, to see what it says", none.line, none.what)
        }),
    }
}

/// What it exports when it is run. What it prints goes to standard error.
fn exports(file: &Path) -> Result<Value, String> {
    let path = std::path::absolute(file).map_err(|error| error.to_string())?;
    let mut child = Command::new("node")
        .args(["--input-type=module", "-e", EXPORTS])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("`node` cannot be run: {error}"))?;
    let stdout = child.stdout.take();
    let (sender, receiver) = mpsc::channel();
    // Not joined: what it has started may hold the pipe for longer than anybody waits.
    thread::spawn(move || {
        let mut text = Vec::new();
        stdout.map(|stdout| stdout.take(EXPORTS_BYTES_MAX).read_to_end(&mut text));
        let _ = sender.send(text);
    });
    let Ok(text) = receiver.recv_timeout(TIMEOUT) else {
        drop((child.kill(), child.wait()));
        return Err(format!("`node` has not ended after {TIMEOUT:?}"));
    };
    let ended = child.wait().map_err(|error| format!("`node` is lost: {error}"))?;
    if !ended.success() {
        return Err("`node` could not run it; what it said is above".to_owned());
    }
    serde_json::from_slice(&text).map_err(|error| format!("what it exports is not JSON: {error}"))
}

/// CommonJS and modules alike. `vm` is how PM2 reads JSON.
const EXPORTS: &str = "
import fs from 'node:fs'; import vm from 'node:vm'; import { pathToFileURL } from 'node:url';
const file = process.argv[1];
process.stdout.write = process.stderr.write.bind(process.stderr);
let said;
if (file.endsWith('.json')) said = vm.runInThisContext('(' + fs.readFileSync(file) + ')', { filename: file });
else { const all = await import(pathToFileURL(file)); said = all.default ?? all; }
const text = JSON.stringify(said) ?? 'null';
for (let at = 0, bytes = Buffer.from(text); at < bytes.length;) at += fs.writeSync(1, bytes, at);
process.exit(0);
";
const TIMEOUT: Duration = Duration::from_secs(30);
const EXPORTS_BYTES_MAX: u64 = 16 << 20;
