//! What a request says, for whoever tells requests apart by it.

use crate::engineio::sid;

use super::RequestHead;

impl RequestHead {
    /// How many bytes of it came.
    pub fn came_bytes(&self) -> usize {
        self.sent_path.map_or(self.bytes.len(), |behind| behind.start as usize)
    }

    /// Whether a line of this name has this value, or any if none is given. The name is compared without case, the
    /// value as it stands.
    pub fn says_header(&self, name: &str, value: Option<&str>) -> bool {
        self.lines.iter().any(|line| {
            line.name.of_bytes(&self.bytes).eq_ignore_ascii_case(name.as_bytes())
                && value.is_none_or(|value| line.value.of_bytes(&self.bytes) == value.as_bytes())
        })
    }

    /// The same of a key of the query, both as they are when their escapes are decoded. A key without a value has an empty one.
    pub fn says_query(&self, name: &str, value: Option<&str>) -> bool {
        let mut pairs = self.query_bytes().unwrap_or_default().split(|&byte| byte == b'&');
        pairs.any(|pair| {
            let at = memchr::memchr(b'=', pair);
            let (key, said) = at.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
            !pair.is_empty()
                && *sid::decode(key) == *name.as_bytes()
                && value.is_none_or(|value| *sid::decode(said) == *value.as_bytes())
        })
    }
}
