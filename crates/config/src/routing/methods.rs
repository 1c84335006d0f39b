//! The methods a route takes.

/// A set of methods. Those that a file may name are a bit each (RFC 9110 section 9, RFC 5789).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Methods(u16);

impl Methods {
    /// Every one, those without a name here too.
    pub const ALL: Self = Self(u16::MAX);
    const NONE: Self = Self(0);

    /// The names that a file may write.
    pub const NAMES: [&'static str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

    /// The set of the methods with these names.
    ///
    /// # Errors
    /// The first name that is none of [`Self::NAMES`].
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, &'n str> {
        names.into_iter().try_fold(Self::NONE, |set, name| {
            let bit = Self::bit(name.as_bytes()).ok_or(name)?;
            // Whoever answers GET answers HEAD (RFC 9110 section 9.3.2).
            let implied = if name == "GET" { Self::bit(b"HEAD").unwrap_or_default() } else { 0 };
            Ok(Self(set.0 | bit | implied))
        })
    }

    /// Methods are told apart by case, as RFC 9110 section 9.1 has them; [`Methods::ALL`] holds unknown ones, too.
    #[inline]
    pub fn contains(self, method: &[u8]) -> bool {
        self == Self::ALL || Self::bit(method).is_some_and(|bit| self.0 & bit != 0)
    }

    fn bit(method: &[u8]) -> Option<u16> {
        let at = Self::NAMES.iter().position(|name| name.as_bytes() == method)?;
        Some(1 << at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn get_answers_head_and_case_matters() {
        let read = Methods::of(["GET"]).unwrap();
        assert!(read.contains(b"GET") && read.contains(b"HEAD") && !read.contains(b"POST"));
        assert!(!read.contains(b"get") && !read.contains(b"PURGE"));
        assert!(Methods::ALL.contains(b"PURGE"));
        assert_eq!(Methods::of(["POST", "post"]), Err("post"));
    }
}
