//! The tensors a model needs against those a checkpoint has.

use std::fmt;

/// What differs; nothing, if all lists are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Comparison {
    /// Needed, but not there.
    pub missing: Vec<String>,
    /// There, but not needed.
    pub unexpected: Vec<String>,
    /// Of another shape.
    pub misshapen: Vec<Misshapen>,
}

/// A tensor of another shape than the model needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Misshapen {
    /// Its name.
    pub name: String,
    /// The shape it has.
    pub found: Vec<usize>,
    /// The shape it should have.
    pub expected: Vec<usize>,
}

/// Names listed of each kind; the rest is counted.
const LISTED: usize = 20;

impl Comparison {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |m: &Misshapen| format!("{} is {:?}, not {:?}", m.name, m.found, m.expected);
        list(f, "missing", &self.missing, Clone::clone)?;
        list(f, "unexpected", &self.unexpected, Clone::clone)?;
        list(f, "of the wrong shape", &self.misshapen, shown)
    }
}

fn list<T>(f: &mut fmt::Formatter<'_>, kind: &str, items: &[T], show: impl Fn(&T) -> String) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    write!(f, "\n{} {kind}:", items.len())?;
    for item in items.iter().take(LISTED) {
        write!(f, "\n  {}", show(item))?;
    }
    if items.len() > LISTED {
        write!(f, "\n  ... and {} more", items.len() - LISTED)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut_and_counted() {
        let missing = (0..30).map(|i| format!("t{i}")).collect();
        let wrong = Misshapen { name: "w".into(), found: vec![2, 3], expected: vec![3, 2] };
        let text = Comparison { missing, misshapen: vec![wrong], ..Comparison::default() }.to_string();
        assert!(text.contains("30 missing:") && text.contains("t19\n  ... and 10 more"), "{text}");
        assert!(text.ends_with("1 of the wrong shape:\n  w is [2, 3], not [3, 2]"), "{text}");
    }
}
