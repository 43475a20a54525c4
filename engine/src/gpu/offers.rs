//! What a GPU makes of a call of an op that has several forms: which it has, why not the others, which it would run.

use super::forms::forms_of;
use super::ops::matrices::{self, UnitForm};
use super::ops::{attention, products, rows};
use super::{Gpu, Site, Source};
use sam3i_kernels::gpu::{Constant, Kernel};
use sam3i_kernels::{attention as attend, conv, group_norm, layer_norm, matmul, softmax};

/// A form of an op.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Form {
    /// Its name, as in [`super::FORMS`].
    pub name: &'static str,
    /// The kernel that does its work.
    pub kernel: &'static str,
    /// Why this call cannot run in it on this GPU; `None` if it can.
    pub why_not: Option<String>,
}

/// What a GPU makes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offers {
    /// The form it would run in.
    pub takes: &'static str,
    /// Who says so.
    pub source: Source,
    /// All forms of the op, the one that every GPU runs first.
    pub forms: Vec<Form>,
}

impl Gpu {
    /// What it would make of a call. A form on matrix units that is about to be taken is tried first, the others are not.
    pub fn offers(&self, site: Site) -> Offers {
        let op = site.op();
        let (offered, rule) = offered_and_rule(self, site);
        let (takes, source) =
            self.forms().decide(op, &site.to_string(), &offered, &rule, &|form| self.is_right(op, form));
        let form = |&name: &&'static str| Form {
            name,
            kernel: kernel_of(op, name).name,
            why_not: (!offered.contains(&name)).then(|| why_not(self, site, name)),
        };
        Offers { takes, source, forms: forms_of(op).unwrap_or_default().iter().map(form).collect() }
    }
}

/// The forms a call has on this GPU, and those its op takes of itself, best first.
pub(super) fn offered_and_rule(gpu: &Gpu, site: Site) -> (Vec<&'static str>, Vec<&'static str>) {
    let by_subgroups = |kernel| (rows::subgroup_forms(gpu, kernel), vec!["subgroups"]);
    match site {
        Site::Product { m, n, k, half } => (products::forms(gpu, half), products::rule(gpu, half, [m, n, k])),
        Site::Conv { shape, half } => {
            let (height, width) = shape.out_size();
            let sizes = [height * width, shape.out_channels, shape.fan_in()];
            (products::conv_forms(gpu, &shape, half), products::rule(gpu, half, sizes))
        }
        Site::Attention { shape, half } => {
            (attention::forms(gpu, &shape, half), attention::rule(gpu, &shape, half))
        }
        Site::LayerNorm { .. } => by_subgroups(&layer_norm::gpu::SUBGROUPS),
        Site::GroupNorm { .. } => by_subgroups(&group_norm::gpu::STATISTICS_SUBGROUPS),
        Site::Softmax { .. } => by_subgroups(&softmax::gpu::SUBGROUPS),
    }
}

/// The kernel that does a form's work.
fn kernel_of(op: &str, form: &str) -> &'static Kernel {
    if let Some(form) = matrices::unit_form(op, form) {
        return form.kernel;
    }
    match (op, form) {
        ("product", "halves_64" | "halves_128") => &matmul::gpu::HALVES,
        ("product", _) => &matmul::gpu::TILED,
        ("conv", "halves_64" | "halves_128") => &conv::gpu::HALVES,
        ("conv", _) => &conv::gpu::TILED,
        ("attention", "halves") => &attend::gpu::FLASH_HALVES,
        ("attention", _) => &attend::gpu::FLASH,
        ("layer_norm", "subgroups") => &layer_norm::gpu::SUBGROUPS,
        ("layer_norm", _) => &layer_norm::gpu::LAYER_NORM,
        ("group_norm", "subgroups") => &group_norm::gpu::STATISTICS_SUBGROUPS,
        ("group_norm", _) => &group_norm::gpu::STATISTICS,
        (_, "subgroups") => &softmax::gpu::SUBGROUPS,
        _ => &softmax::gpu::SOFTMAX,
    }
}

/// Why a form is not offered.
fn why_not(gpu: &Gpu, site: Site, form: &str) -> String {
    let op = site.op();
    let rounds = ["halves", "matrices", "staged"].iter().any(|start| form.starts_with(start));
    let half = match site {
        Site::Product { half, .. } | Site::Conv { half, .. } | Site::Attention { half, .. } => half,
        _ => false,
    };
    if rounds && !half {
        return "would round to f16, and what is stored here is f32".to_owned();
    }
    let of_call = match site {
        Site::Conv { shape, .. } if form.starts_with("staged") && !shape.channels.is_multiple_of(4) => {
            Some("the channels do not come in fours")
        }
        Site::Attention { shape, .. } => of_attention(&shape, form),
        _ => None,
    };
    if let Some(reason) = of_call {
        return reason.to_owned();
    }
    match matrices::unit_form(op, form) {
        Some(form) => why_not_on_units(gpu, form),
        None => gpu.lacks(kernel_of(op, form), &constants(site, form)).unwrap_or_else(unknown),
    }
}

fn of_attention(shape: &attend::Shape, form: &str) -> Option<&'static str> {
    match form {
        "shared" => Some("the queries have as many threads as they can have"),
        "split" => Some("the queries make enough workgroups, or the keys are too few to be shared out"),
        "matrices_128" if shape.head_dim > 64 => Some("heads of more than 64 channels leave the registers"),
        "matrices_64" | "matrices_128" if attend::gpu::matrices_head(shape.head_dim).is_none() => {
            Some("the heads are too large for matrix units")
        }
        _ => None,
    }
}

fn why_not_on_units(gpu: &Gpu, form: &UnitForm) -> String {
    if gpu.facts().matrices.is_empty() {
        return "the GPU, or its driver, has no cooperative matrices of f16".to_owned();
    }
    if gpu.facts().subgroups.is_none() {
        return "needs subgroup operations".to_owned();
    }
    form.lacks(gpu).unwrap_or_else(unknown)
}

/// The constants that say what a form without matrix units needs.
fn constants(site: Site, form: &str) -> Vec<Constant> {
    match site {
        Site::Attention { shape, .. } => attend::gpu::split(shape.head_dim)
            .map(|whole| attend::gpu::halves(whole).to_vec())
            .unwrap_or_default(),
        Site::Product { .. } | Site::Conv { .. } => {
            vec![("ACROSS", if form.ends_with("_128") { 16 } else { 8 })]
        }
        _ => Vec::new(),
    }
}

/// Only for a form that its op left out without a reason known here.
fn unknown() -> String {
    "not offered for this call".to_owned()
}
