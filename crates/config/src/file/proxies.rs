//! Reads whom the file trusts to speak for its clients: addresses, networks, and names of lists of networks, which stand
//! in a file of their own.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::Path;

use ipnet::IpNet;

use super::disk::Disk;
use super::fields::Fields;
use super::kinds::proxies::{Trusts, network_of};
use super::kinds::quote;
use crate::plan::{PROXY_LISTS, TRUSTED_PROXIES};
use crate::problem::Problem;
use crate::regular::read_regular;
use crate::suggest::nearest;

/// Networks by the names that `trusted_proxies` takes.
struct Lists(BTreeMap<String, Vec<IpNet>>);

/// The networks that the file trusts, the names of which are those of the file of `lists`, if there is one.
pub(crate) fn read(root: &Fields<'_>, lists: Option<&Path>) -> Vec<IpNet> {
    let trusts = root.or_default(&TRUSTED_PROXIES);
    let names_lists = trusts.iter().any(|trusts| matches!(trusts, Trusts::List(..)));
    let lists = match lists {
        None => names_lists.then(Lists::shipped),
        Some(path) => replaced(root, path, root.span_of(PROXY_LISTS.name)),
    };
    let networks = trusts.into_iter().flat_map(|trusts| match (trusts, &lists) {
        (Trusts::Network(network), _) => vec![network],
        (Trusts::List(name, span), Some(lists)) => lists.0.get(&name).cloned().unwrap_or_else(|| {
            root.push(lists.unknown(&name, span));
            Vec::new()
        }),
        // What is wrong with the lists has been told, or nobody may look at them.
        (Trusts::List(..), None) => Vec::new(),
    });
    let mut networks: Vec<IpNet> = networks.collect();
    let mut seen = HashSet::new();
    networks.retain(|network| seen.insert(*network));
    networks
}

/// The lists of another file; nothing if they cannot be read.
fn replaced(root: &Fields<'_>, path: &Path, span: Option<Range<usize>>) -> Option<Lists> {
    let read = match root.reading.disk() {
        Disk::Untouched => return None,
        Disk::Read => read_regular(path).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        }),
    };
    let lists = match read {
        Ok(text) => Lists::read(&text),
        // That is told of every file that is missing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => Err(error.to_string()),
    };
    let told = |error| {
        let message = format!("the lists in {} cannot be read: {error}", path.display());
        let hint = "a list is `[NAME]`, and `networks = [\"10.0.0.0/8\"]` under it";
        root.push(Problem::error(span, message).hint(hint));
    };
    lists.map_err(told).ok()
}

impl Lists {
    fn shipped() -> Self {
        Self::read(SHIPPED).expect("the lists that ship can be read: a test holds them")
    }

    /// Whatever is wrong with the file is told at the key that names it, so the first mistake is enough.
    fn read(text: &str) -> Result<Self, String> {
        let file: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
        let lists = file.into_iter().map(|(name, list)| {
            let networks = networks_of(&name, &list)?;
            Ok((name, networks))
        });
        lists.collect::<Result<_, _>>().map(Self)
    }

    fn unknown(&self, name: &str, span: Range<usize>) -> Problem {
        let hint = match nearest(name, self.0.keys().map(String::as_str)) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => {
                let names: Vec<String> = self.0.keys().map(|name| quote(name)).collect();
                format!(
                    "lists are {}; or write \"192.0.2.7\", \"10.0.0.0/8\" or \"fd00::/8\"",
                    names.join(", ")
                )
            }
        };
        Problem::error(span, format!("there is no list of proxies named \"{name}\"")).hint(hint)
    }
}

fn networks_of(name: &str, list: &toml::Value) -> Result<Vec<IpNet>, String> {
    let networks = list.get("networks").and_then(toml::Value::as_array);
    let networks = networks.ok_or_else(|| format!("\"{name}\" has no list of `networks`"))?;
    let read = networks.iter().map(|network| {
        let network = network.as_str().and_then(network_of);
        network.ok_or_else(|| format!("\"{name}\" has something that is no network"))
    });
    read.collect()
}

/// In the repository people can read it, and copy it.
const SHIPPED: &str = include_str!("../../../../configs/lists/proxies.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_that_ship_can_be_read() {
        let Lists(lists) = Lists::shipped();
        assert_eq!(lists.keys().collect::<Vec<_>>(), ["cloudflare", "fastly", "loopback", "private"]);
        assert!(lists.values().all(|networks| !networks.is_empty()));
        let file: toml::Table = toml::from_str(SHIPPED).expect("TOML");
        for (name, list) in file {
            let said = |key: &str| list.get(key).and_then(toml::Value::as_str).map(str::to_owned);
            let dated = said("dated").unwrap_or_default();
            assert!(dated.len() == "2026-01-31".len() && dated.starts_with("20"), "{name}: {dated}");
            assert!(said("source").is_some_and(|source| source.starts_with("https://")), "{name}");
        }
    }

    #[test]
    fn what_is_no_list_is_said() {
        for (text, want) in [
            ("a = 1", "\"a\" has no list of `networks`"),
            ("[a]\nnetworks = [\"x\"]", "\"a\" has something that is no network"),
            ("[a]\nnetworks = [10]", "\"a\" has something that is no network"),
        ] {
            assert_eq!(Lists::read(text).err().as_deref(), Some(want), "{text}");
        }
        assert!(Lists::read("[a").is_err_and(|error| error.contains("TOML")));
    }
}
