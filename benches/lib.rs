//! The steps of a request, one by one, each ready to be taken as often as one likes. `benches/time.rs` says how long
//! each takes, `benches/instructions.rs` how many instructions.

mod wire_cases;
mod proxy_cases;

/// One step.
pub struct Case {
    /// `part/what`.
    pub name: &'static str,
    /// How often it is taken when instructions are counted; few times where it is long.
    pub times: u32,
    /// Makes everything that the step needs, and then the step. `size` is for what is larger in one than in the other.
    pub prepare: fn(size: Size) -> Step,
}

/// Taken once by each call.
pub type Step = Box<dyn FnMut()>;

/// How much there is of what may be large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// As much as a large site has; memory is out of reach of the caches then.
    Large,
    /// Enough for the same instructions: under valgrind everything takes fifty times as long.
    Counted,
}

/// All of them, in the order in which a request meets them.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    wire_cases::CASES.iter().chain(proxy_cases::CASES)
}
