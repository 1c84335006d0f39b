//! Reads a file with all that it includes, in the place of each `include`.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::parse::{At, Directive, parse};

/// A file and what it includes.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub(super) directives: Vec<Directive>,
    /// Includes of files that are not there, and are not known by name either.
    pub(super) missing: Vec<(At, String)>,
    /// `${NAME}` of Docker's templates that nobody has told.
    pub(super) unset: Vec<(At, String)>,
}

/// Reads `file`. `variable` tells the values of a template's `${NAME}`.
pub(super) fn read(file: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Whole, String> {
    let folder = file.parent().map_or_else(PathBuf::new, Path::to_owned);
    let mut including = Including { folder, variable, files: 0, bytes: 0, whole: Whole::default() };
    let directives = including.file(file, 0)?;
    Ok(Whole { directives, ..including.whole })
}

struct Including<'v> {
    /// Relative names are relative to the folder of the first file, wherever they stand.
    folder: PathBuf,
    variable: &'v dyn Fn(&str) -> Option<String>,
    files: usize,
    bytes: usize,
    whole: Whole,
}

impl Including<'_> {
    fn file(&mut self, file: &Path, depth: usize) -> Result<Vec<Directive>, String> {
        self.files += 1;
        if depth > DEPTH_MAX || self.files > FILES_MAX {
            return Err(format!(
                "{}: files that include each other, or more than {FILES_MAX}",
                file.display()
            ));
        }
        let text = config::read_regular(file)
            .map_err(|error| format!("{}: cannot be read: {error}", file.display()))?;
        self.bytes += text.len();
        if self.bytes > BYTES_MAX {
            return Err(format!(
                "{}: with what was read before it is more than {} MiB",
                file.display(),
                BYTES_MAX >> 20
            ));
        }
        let name = file.strip_prefix(&self.folder).unwrap_or(file).display().to_string();
        let directives = parse(&String::from_utf8_lossy(&text), &Rc::from(name.as_str()))?;
        self.expand(directives, depth)
    }

    fn expand(&mut self, directives: Vec<Directive>, depth: usize) -> Result<Vec<Directive>, String> {
        let mut all = Vec::new();
        for mut directive in directives {
            for arg in &mut directive.args {
                *arg = self.filled_in(arg, &directive.at);
            }
            if directive.name == "include" && directive.block.is_none() {
                all.extend(self.include(&directive, depth)?);
                continue;
            }
            if let Some(block) = directive.block.take() {
                directive.block = Some(self.expand(block, depth)?);
            }
            all.push(directive);
        }
        Ok(all)
    }

    fn include(&mut self, directive: &Directive, depth: usize) -> Result<Vec<Directive>, String> {
        let pattern = directive.arg();
        // A file of sites-enabled means nginx's own folder, some floors above.
        let above = self.folder.ancestors().take(3).map(Path::to_owned).collect::<Vec<_>>();
        let found =
            above.iter().map(|folder| matching(&folder.join(pattern))).find(|found| !found.is_empty());
        let Some(found) = found else {
            // nginx takes a pattern that matches nothing.
            let is_known = KNOWN.iter().any(|known| pattern.ends_with(known));
            if !pattern.contains(['*', '?', '[']) && !is_known {
                self.whole.missing.push((directive.at.clone(), pattern.to_owned()));
            }
            return match pattern.rsplit('/').next() {
                Some("proxy_params") => {
                    let text = PROXY_PARAMS.trim().replace('\n', " ");
                    parse(&text, &Rc::from("proxy_params")).map(|read| {
                        read.into_iter().map(|read| Directive { at: directive.at.clone(), ..read }).collect()
                    })
                }
                _ => Ok(Vec::new()),
            };
        };
        let mut all = Vec::new();
        for file in found {
            all.extend(self.file(&file, depth + 1)?);
        }
        Ok(all)
    }

    /// Puts in `${NAME}`, which is the template's if it is in capitals; nginx's own variables are not.
    fn filled_in(&mut self, word: &str, at: &At) -> String {
        let mut filled = String::new();
        let mut rest = word;
        while let Some((before, behind)) = rest.split_once("${") {
            filled.push_str(before);
            let Some((name, behind)) = behind.split_once('}') else {
                filled.push_str("${");
                rest = behind;
                continue;
            };
            let is_of_template =
                name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
                    && name.starts_with(|c: char| c.is_ascii_uppercase());
            match (self.variable)(name).filter(|_| is_of_template) {
                Some(value) => filled.push_str(&value),
                None => {
                    filled.push_str(&format!("${{{name}}}"));
                    if is_of_template {
                        self.whole.unset.push((at.clone(), name.to_owned()));
                    }
                }
            }
            rest = behind;
        }
        filled + rest
    }
}

/// The files that a pattern stands for, in the order of their names.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str();
        let text = part.to_string_lossy();
        if !text.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        found = found.iter().flat_map(|folder| entries(folder, &text)).take(FILES_MAX + 1).collect();
        found.sort();
    }
    found.retain(|path| path.is_file());
    found
}

fn entries(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name())).take(FILES_MAX);
    names
        .filter(|name| {
            let name = name.to_string_lossy();
            (!name.starts_with('.') || pattern.starts_with('.'))
                && matches(pattern.as_bytes(), name.as_bytes())
        })
        .map(|name| folder.join(name))
        .collect()
}

/// `*`, `?` and `[a-z]`, as glob(7) has them. Goes back to the last star only, so that no pattern takes for ever.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut rest, mut left) = (pattern, name);
    // What stands behind the last star, and what was left of the name there.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', behind)) = rest.split_first() {
            star = Some((behind, left));
            rest = behind;
            continue;
        }
        if rest.is_empty() && left.is_empty() {
            return true;
        }
        match (one(rest, left), left.split_first()) {
            (Some(behind), Some((_, further))) => (rest, left) = (behind, further),
            _ => match star {
                Some((behind, [_, further @ ..])) => {
                    star = Some((behind, further));
                    (rest, left) = (behind, further);
                }
                _ => return false,
            },
        }
    }
}

/// What is left of a pattern if its first sign, which is no star, stands for the first byte of a name.
fn one<'p>(pattern: &'p [u8], name: &[u8]) -> Option<&'p [u8]> {
    let (sign, behind) = pattern.split_first()?;
    let byte = *name.first()?;
    if *sign == b'['
        && let Some(end) = pattern.iter().position(|end| *end == b']').filter(|end| *end > 1)
    {
        return is_in_class(&pattern[1..end], byte).then(|| &pattern[end + 1..]);
    }
    (*sign == b'?' || *sign == byte).then_some(behind)
}

fn is_in_class(class: &[u8], byte: u8) -> bool {
    let (class, want) = match class {
        [b'!' | b'^', class @ ..] => (class, false),
        class => (class, true),
    };
    let is_in = class.contains(&byte) && byte != b'-'
        || class.windows(3).any(|range| range[1] == b'-' && (range[0]..=range[2]).contains(&byte));
    is_in == want
}

/// What distributions and certbot ship, of which nothing is lost when it is not here.
const KNOWN: [&str; 11] = [
    "mime.types",
    "proxy_params",
    "fastcgi_params",
    "fastcgi.conf",
    "fastcgi-php.conf",
    "uwsgi_params",
    "scgi_params",
    "options-ssl-nginx.conf",
    "ssl-params.conf",
    "ssl-dhparams.pem",
    "self-signed.conf",
];
/// Debian's.
const PROXY_PARAMS: &str = "
proxy_set_header Host $http_host;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_set_header X-Forwarded-Proto $scheme;";
const DEPTH_MAX: usize = 16;
const FILES_MAX: usize = 4096;
/// All of them together.
const BYTES_MAX: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_the_shell_does() {
        for (pattern, name, want) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("a?c", "abc", true),
            ("[a-c]*", "bx", true),
            ("[!a-c]*", "bx", false),
            ("**", "", true),
            ("[", "[", true),
            ("a", "ab", false),
            ("*a*b", "xaxxab", true),
            ("*a*b", "xaxxa", false),
            (&"a*".repeat(60), &"a".repeat(200), true),
            (&("a*".repeat(60) + "b"), &"a".repeat(200), false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), want, "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_included_where_they_stand_and_variables_filled_in() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders can be made");
            std::fs::write(path, text).expect("files can be written");
        };
        write("nginx.conf", "http { include sites/*.conf; include gone.conf; include mime.types; }");
        write("sites/b.conf", "server { listen ${PORT}; server_name ${NAME}; set $a ${b}; }");
        write("sites/a.conf", "include loop-not.inc;");
        write("loop-not.inc", "x;");
        let variable = |name: &str| (name == "PORT").then(|| "8080".to_owned());
        let whole = read(&folder.path().join("nginx.conf"), &variable).expect("it can be read");
        let http = whole.directives[0].inside();
        assert_eq!((http[0].name.as_str(), http[0].at.to_string()), ("x", "loop-not.inc:1".to_owned()));
        assert_eq!(http[1].inside()[0].args, ["8080"]);
        assert_eq!(http[1].inside()[2].args, ["$a", "${b}"]);
        assert_eq!(whole.missing.len(), 1);
        assert_eq!(whole.unset[0].1, "NAME");
        write("nginx.conf", "include nginx.conf;");
        assert!(read(&folder.path().join("nginx.conf"), &variable).is_err());
    }
}
