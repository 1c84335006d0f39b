//! Which known word somebody meant. Pure.

/// The candidate closest to `word`, if any is close enough to be what was meant.
///
/// Close enough is one edit in three letters, which takes `adress` and `timeout` for `address` and `timeouts`
/// but offers nothing for a word of another kind.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // An edit distance costs the product of both lengths: nobody mistypes a word into a page of text.
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|&(edits, candidate)| {
            edits <= (word.chars().count().max(candidate.chars().count()) / 3).max(1)
        })
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}

/// The names that there are, in words; not all, where there are more than anybody reads.
pub(crate) fn listed(names: &[&str]) -> String {
    let shown = names.get(..LISTED_MAX).unwrap_or(names);
    let more = match names.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("there is \"{}\"{more}", shown.join("\", \""))
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`, case aside
/// (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// Longest word that is looked for.
const WORD_BYTES_MAX: usize = 64;
/// Of so many names all are said.
const LISTED_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typing_errors_are_seen_through() {
        let known = ["address", "tls", "redirect", "redirect_port"];
        for (typed, meant) in [
            ("adress", Some("address")),
            ("addresss", Some("address")),
            ("adderss", Some("address")),
            ("Address", Some("address")),
            ("tsl", Some("tls")),
            ("redirects", Some("redirect")),
            ("redirectport", Some("redirect_port")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }
}
