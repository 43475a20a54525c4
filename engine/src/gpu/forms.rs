//! Which form of an op runs, where there are several.
//!
//! Asked in this order: the user ([`GpuOptions::form`], `SAM3I_GPU_FORMS`), what was measured on this machine
//! (`tuned.rs`), a table of what was measured elsewhere, the op's own rule, and last the form that every GPU runs. Whoever
//! names a form that the GPU or the call has not got is passed over.

use super::GpuOptions;
use super::tuned::{self, Tuned};
use super::{AdapterFacts, tuned::Entry};
use crate::{Error, Result};
use sam3i_kernels::{attention, conv};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// Names ops and their forms: `product=tiled_128,attention=short`.
const VARIABLE: &str = "SAM3I_GPU_FORMS";

/// The ops that have several forms, and their forms, the one that every GPU runs first.
pub const FORMS: [(&str, &[&str]); 6] = [
    (
        "product",
        &[
            "tiled_64",
            "tiled_128",
            "halves_64",
            "halves_128",
            "matrices_2",
            "matrices_4",
            "staged_2",
            "staged_4",
        ],
    ),
    ("conv", &["tiled_64", "tiled_128", "halves_64", "halves_128", "staged_2", "staged_4"]),
    ("attention", &["whole", "short", "shared", "split", "halves", "matrices_64", "matrices_128"]),
    ("layer_norm", &["portable", "subgroups"]),
    ("group_norm", &["portable", "subgroups"]),
    ("softmax", &["portable", "subgroups"]),
];

/// What was measured, on whose adapters: a part of the adapter's name in lower case, an op, a form. See docs/gpu.md.
const TABLE: [(&str, &str, &str); 0] = [];

/// The form that a kernel's text is for, where an op's rule may prefer another: who replaces the text wants to see it run.
const FORM_OF: [(&str, &str, &str); 9] = [
    ("matmul_tiled", "product", "tiled_64"),
    ("matmul_halves", "product", "halves_64"),
    ("conv_tiled", "conv", "tiled_64"),
    ("layer_norm", "layer_norm", "portable"),
    ("layer_norm_subgroups", "layer_norm", "subgroups"),
    ("group_norm_statistics", "group_norm", "portable"),
    ("group_norm_statistics_subgroups", "group_norm", "subgroups"),
    ("softmax", "softmax", "portable"),
    ("softmax_subgroups", "softmax", "subgroups"),
];

/// Who chose a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The user, by name.
    User,
    /// Measurements on this machine.
    Tuned,
    /// Measurements on such an adapter.
    Table,
    /// The op's rule.
    Rule,
    /// Nobody: it runs everywhere.
    Portable,
}

/// A call of an op that has several forms, as far as the choice among them goes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs)] // sizes, by the names they have in the ops' contracts; `half`: weights are f16
pub enum Site {
    /// A product `[m, k] x [n, k]`; linear layers, transposed and 1 x 1 convolutions are products too.
    Product { m: usize, n: usize, k: usize, half: bool },
    /// Any other convolution.
    Conv { shape: conv::Shape, half: bool },
    /// Attention.
    Attention { shape: attention::Shape, half: bool },
    /// Layer norm of rows.
    LayerNorm { rows: usize, channels: usize },
    /// Group norm of a map.
    GroupNorm { pixels: usize, channels: usize, groups: usize },
    /// Softmax of rows.
    Softmax { rows: usize, columns: usize },
}

impl Site {
    /// The op, by its name in [`FORMS`].
    #[must_use]
    pub fn op(&self) -> &'static str {
        match self {
            Self::Product { .. } => "product",
            Self::Conv { .. } => "conv",
            Self::Attention { .. } => "attention",
            Self::LayerNorm { .. } => "layer_norm",
            Self::GroupNorm { .. } => "group_norm",
            Self::Softmax { .. } => "softmax",
        }
    }

    /// How much there is to do, to find the largest of the calls that share a name.
    fn work(&self) -> u64 {
        match *self {
            Self::Product { m, n, k, .. } => (m * n) as u64 * k as u64,
            Self::Conv { shape, .. } => shape.flops(),
            Self::Attention { shape, .. } => shape.flops(),
            Self::LayerNorm { rows, channels } => (rows * channels) as u64,
            Self::GroupNorm { pixels, channels, .. } => (pixels * channels) as u64,
            Self::Softmax { rows, columns } => (rows * columns) as u64,
        }
    }
}

/// Its name in the cache: calls whose sizes round up to the same powers of two are taken for one.
impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up = |n: usize| n.max(1).next_power_of_two();
        let stored = |half| if half { "f16" } else { "f32" };
        write!(f, "{}", self.op())?;
        match *self {
            Self::Product { m, n, k, half } => write!(f, " {} {} {} {}", stored(half), up(m), up(n), up(k)),
            Self::Conv { shape, half } => {
                let (h, w) = shape.out_size();
                let [m, n, c] = [up(h * w), up(shape.out_channels), up(shape.channels)];
                write!(f, " {} {m} {n} {c} kernel {}", stored(half), shape.kernel)
            }
            Self::Attention { shape: s, half } => {
                let problems = up(s.batch * s.heads);
                let [type_, queries, keys] =
                    [stored(half).to_owned(), up(s.queries).to_string(), up(s.keys).to_string()];
                write!(f, " {type_} {problems} heads of {} {queries} {keys}", s.head_dim)
            }
            Self::LayerNorm { rows, channels } => write!(f, " {} {}", up(rows), up(channels)),
            Self::GroupNorm { pixels, channels, groups } => {
                write!(f, " {} {} in {groups}", up(pixels), up(channels))
            }
            Self::Softmax { rows, columns } => write!(f, " {} {}", up(rows), up(columns)),
        }
    }
}

/// A call that was made, and the form it ran in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub site: Site,
    pub form: &'static str,
    pub source: Source,
}

/// How a device chooses.
pub(super) struct Forms {
    user: BTreeMap<String, String>,
    adapter: String,
    tuned: RwLock<Tuned>,
    /// What runs whatever anybody says, while it is being measured.
    pinned: Mutex<Option<(&'static str, &'static str)>>,
    seen: Mutex<BTreeMap<String, Seen>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Forms {
    /// # Errors
    /// [`Error::GpuOption`] for an op or a form that there is not.
    pub fn new(options: &GpuOptions, facts: &AdapterFacts) -> Result<Self> {
        let replaced = FORM_OF.iter().filter(|(kernel, ..)| options.overrides.contains_key(*kernel));
        let mut user: BTreeMap<_, _> =
            replaced.map(|(_, op, form)| ((*op).to_owned(), (*form).to_owned())).collect();
        user.extend(said(&std::env::var(VARIABLE).unwrap_or_default())?);
        for (op, form) in &options.forms {
            user.insert(op.clone(), check(op, form)?);
        }
        Ok(Self {
            user,
            adapter: facts.name.to_lowercase(),
            tuned: RwLock::new(tuned::read(&options.tuned, facts)),
            pinned: Mutex::default(),
            seen: Mutex::default(),
        })
    }

    /// The form a call runs in: one of `offered`, of which the first runs everywhere; `rule` is the op's own choice, best first. Whoever is
    /// about to be picked has to be right first.
    pub fn choose(
        &self,
        site: Site,
        offered: &[&'static str],
        rule: &[&'static str],
        is_right: &dyn Fn(&str) -> bool,
    ) -> &'static str {
        let op = site.op();
        if let Some((_, form)) = lock(&self.pinned).filter(|(pinned, _)| *pinned == op) {
            return form;
        }
        let name = site.to_string();
        let (form, source) = self.decide(op, &name, offered, rule, is_right);
        let mut seen = lock(&self.seen);
        let known = seen.entry(name).or_insert(Seen { site, form, source });
        let larger = if site.work() > known.site.work() { site } else { known.site };
        *known = Seen { site: larger, form, source };
        form
    }

    /// The form a call of that name would run in, and who says so.
    pub fn decide(
        &self,
        op: &str,
        name: &str,
        offered: &[&'static str],
        rule: &[&'static str],
        is_right: &dyn Fn(&str) -> bool,
    ) -> (&'static str, Source) {
        let tuned = self.tuned.read().unwrap_or_else(PoisonError::into_inner).form(name).map(str::to_owned);
        let table = TABLE.iter().find(|(adapter, of, _)| *of == op && self.adapter.contains(adapter));
        let said = [
            (self.user.get(op).map(String::as_str), Source::User),
            (tuned.as_deref(), Source::Tuned),
            (table.map(|(.., form)| *form), Source::Table),
        ];
        let said = said.into_iter().chain(rule.iter().map(|form| (Some(*form), Source::Rule)));
        first_of(said, offered, is_right)
    }

    /// The calls that were made since the device was started, the largest of each name.
    pub fn seen(&self) -> BTreeMap<String, Seen> {
        lock(&self.seen).clone()
    }

    /// Runs `f` with one form of an op, whatever anybody says.
    pub fn pinned<R>(&self, op: &'static str, form: &'static str, f: impl FnOnce() -> R) -> R {
        struct Unpin<'a>(&'a Forms);
        impl Drop for Unpin<'_> {
            fn drop(&mut self) {
                *lock(&self.0.pinned) = None;
            }
        }
        *lock(&self.pinned) = Some((op, form));
        let _unpin = Unpin(self);
        f()
    }

    /// Takes over what was measured.
    pub fn learn(&self, measured: BTreeMap<String, Entry>) {
        self.tuned.write().unwrap_or_else(PoisonError::into_inner).extend(measured);
    }

    /// What was measured, for storing.
    pub fn tuned(&self) -> Tuned {
        self.tuned.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The first word that names what is offered, and is right.
fn first_of<'a>(
    said: impl IntoIterator<Item = (Option<&'a str>, Source)>,
    offered: &[&'static str],
    is_right: &dyn Fn(&str) -> bool,
) -> (&'static str, Source) {
    said.into_iter()
        .filter_map(|(form, source)| Some((*offered.iter().find(|offer| Some(**offer) == form)?, source)))
        .find(|(form, _)| is_right(form))
        .unwrap_or((offered[0], Source::Portable))
}

/// The forms of an op, if it has several.
pub(super) fn forms_of(op: &str) -> Option<&'static [&'static str]> {
    FORMS.iter().find(|(name, _)| *name == op).map(|(_, forms)| *forms)
}

/// A form by its op and name.
fn check(op: &str, form: &str) -> Result<String> {
    let refused = |reason: String| Error::GpuOption { what: format!("choosing {op}={form}"), reason };
    let forms = forms_of(op).ok_or_else(|| {
        let ops: Vec<_> = FORMS.iter().map(|(op, _)| *op).collect();
        refused(format!("the ops that have several forms are {}", ops.join(", ")))
    })?;
    if !forms.contains(&form) {
        return Err(refused(format!("its forms are {}", forms.join(", "))));
    }
    Ok(form.to_owned())
}

/// `product=tiled_128,attention=short`.
fn said(text: &str) -> Result<BTreeMap<String, String>> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let (op, form) = word.split_once('=').unwrap_or((word, ""));
            Ok((op.to_owned(), check(op, form)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: [&str; 3] = ["a", "b", "c"];

    #[test]
    fn the_user_comes_before_measurements_before_the_table_before_the_rule() {
        struct Case([Option<&'static str>; 4], &'static str, Source);
        let cases = [
            Case([Some("c"), Some("b"), Some("a"), Some("b")], "c", Source::User),
            Case([None, Some("b"), Some("c"), Some("c")], "b", Source::Tuned),
            Case([None, None, Some("c"), Some("b")], "c", Source::Table),
            Case([None, None, None, Some("b")], "b", Source::Rule),
            Case([None; 4], "a", Source::Portable),
            // What is not offered here is passed over.
            Case([Some("x"), Some("x"), Some("x"), Some("b")], "b", Source::Rule),
            Case([Some("x"), Some("b"), None, None], "b", Source::Tuned),
            Case([Some("x"); 4], "a", Source::Portable),
        ];
        for Case([user, tuned, table, rule], form, source) in cases {
            let said =
                [(user, Source::User), (tuned, Source::Tuned), (table, Source::Table), (rule, Source::Rule)];
            let chosen = first_of(said, &OFFERED, &|_| true);
            assert_eq!(chosen, (form, source), "{user:?} {tuned:?} {table:?} {rule:?}");
        }
    }

    #[test]
    fn only_what_is_about_to_be_picked_is_tried_and_what_is_wrong_is_passed_over() {
        let tried = std::cell::RefCell::new(Vec::new());
        let of = |said: &[(&'static str, Source)], wrong: &[&str]| {
            let said = said.iter().map(|&(form, source)| (Some(form), source));
            first_of(said, &OFFERED, &|form| {
                tried.borrow_mut().push(form.to_owned());
                !wrong.contains(&form)
            })
        };
        let said = [("x", Source::User), ("b", Source::Rule), ("c", Source::Rule)];
        assert_eq!(of(&said, &[]), ("b", Source::Rule));
        assert_eq!(tried.take(), ["b"]);
        assert_eq!(of(&said, &["b"]), ("c", Source::Rule));
        assert_eq!(tried.take(), ["b", "c"]);
        assert_eq!(of(&said, &["b", "c"]), ("a", Source::Portable));
    }

    #[test]
    fn forms_are_named_exactly() {
        let words = said(" product=tiled_128, attention=short,").expect("both are there");
        assert_eq!(words.len(), 2);
        assert_eq!(words["product"], "tiled_128");
        let error = said("attention=long").expect_err("no such form").to_string();
        assert!(
            error.contains("its forms are whole, short, shared, split, halves, matrices_64, matrices_128"),
            "{error}"
        );
        let error = said("pool").expect_err("it has one form").to_string();
        assert!(error.contains("product, conv, attention, layer_norm, group_norm, softmax"), "{error}");
    }

    #[test]
    fn the_table_names_forms_that_there_are() {
        for (adapter, op, form) in TABLE {
            check(op, form).expect("known");
            assert_eq!(adapter, adapter.to_lowercase());
        }
    }

    #[test]
    fn calls_of_about_one_size_share_a_name() {
        let product = |m| Site::Product { m, n: 4736, k: 1024, half: true }.to_string();
        assert_eq!(product(5184), "product f16 8192 8192 1024");
        assert_eq!(product(5184), product(4097));
        assert_ne!(product(5184), product(4096));
    }
}
