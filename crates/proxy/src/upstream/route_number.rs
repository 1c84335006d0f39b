//! The numbers by which routes are counted.

/// As what a route is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RouteNumber(u16);

impl RouteNumber {
    /// That of requests which no route has taken.
    pub(crate) const NONE: Self = Self(0);
    /// That of the routes beyond those that can be counted one by one.
    pub(crate) const OTHERS: Self = Self(1);

    pub(crate) fn new(number: usize) -> Self {
        Self(number as u16)
    }

    pub(crate) fn index(self) -> usize {
        self.0.into()
    }
}
