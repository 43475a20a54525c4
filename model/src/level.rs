//! How much a sentence asks for, and so which adapters run.

use std::fmt;
use std::str::FromStr;

/// The instruction level of a prompt (spec section 13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// A noun phrase ("red apple"): all instances, adapters bypassed, plain SAM3. Text type 1.
    Concept,
    /// A referring phrase ("the mug left of the laptop"): adapter1. Text type 2.
    #[default]
    Simple,
    /// An instruction that names no noun ("what would keep you dry?"): adapter12, then adapter2. Text type 4.
    Complex,
}

impl Level {
    /// All levels, simplest first.
    pub const ALL: [Self; 3] = [Self::Concept, Self::Simple, Self::Complex];
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Concept => "concept",
            Self::Simple => "simple",
            Self::Complex => "complex",
        })
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|level| level.to_string() == name);
        known.ok_or_else(|| format!("{name:?} is not a level; use concept, simple or complex"))
    }
}
