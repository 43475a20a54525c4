//! Products, convolutions and attention on matrix units: which forms there are, when they are tried, and how products run.

use super::products::{Operands, tiles};
use super::{Buffer, Call, Gpu, trial};
use crate::Result;
use crate::gpu::Weight;
use sam3i_kernels::attention;
use sam3i_kernels::conv;
use sam3i_kernels::gpu::{Constant, Kernel};
use sam3i_kernels::matmul::gpu::{
    HALVE, HalveParams, LARGEST_TILE, MATRICES, MatricesParams, STAGED, half_stride, matrices_tile,
};
use std::sync::{Mutex, PoisonError};

/// Workgroups from which on larger tiles pay: below, most cards would have some of their cores idle.
const MANY_GROUPS: usize = 256;

/// A form on matrix units.
pub(crate) struct UnitForm {
    /// The op, and its name among that op's forms.
    pub op: &'static str,
    pub name: &'static str,
    pub kernel: &'static Kernel,
    /// Matrices of a subgroup along either axis, or queries of a subgroup.
    pub each: u32,
}

const fn form(op: &'static str, name: &'static str, kernel: &'static Kernel, each: u32) -> UnitForm {
    UnitForm { op, name, kernel, each }
}

/// All of them; of an op those first that its rule prefers.
pub(super) static UNIT_FORMS: [UnitForm; 8] = [
    form("product", "staged_4", &STAGED, 4),
    form("product", "staged_2", &STAGED, 2),
    form("product", "matrices_4", &MATRICES, 4),
    form("product", "matrices_2", &MATRICES, 2),
    form("conv", "staged_4", &conv::gpu::STAGED, 4),
    form("conv", "staged_2", &conv::gpu::STAGED, 2),
    form("attention", "matrices_128", &attention::gpu::MATRICES, 32),
    form("attention", "matrices_64", &attention::gpu::MATRICES, 16),
];

impl UnitForm {
    /// Whether the GPU can run it with these matrices.
    fn fits(&self, gpu: &Gpu, units: MatrixUnits) -> bool {
        self.lacks_with(gpu, units).is_none()
    }

    fn lacks_with(&self, gpu: &Gpu, units: MatrixUnits) -> Option<String> {
        let [side, lanes] = units.constants();
        let size = if self.op == "attention" { "ROWS" } else { "EACH" };
        gpu.lacks(&HALVE, &[]).or_else(|| gpu.lacks(self.kernel, &[side, lanes, (size, self.each)]))
    }

    /// What it needs that the GPU has not got, with the matrices it would be tried with first; `None` if it has all of it, or no
    /// matrices.
    pub fn lacks(&self, gpu: &Gpu) -> Option<String> {
        candidates_of(gpu).next().and_then(|units| self.lacks_with(gpu, units))
    }
}

/// Matrices as a form uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MatrixUnits {
    /// Side of a matrix.
    pub side: u32,
    /// Threads of a subgroup.
    pub lanes: u32,
}

impl MatrixUnits {
    /// The constants that all kernels on matrix units have.
    pub fn constants(self) -> [Constant; 2] {
        [("SIDE", self.side), ("LANES", self.lanes)]
    }
}

/// A form on matrix units, by its op and its name there.
pub(crate) fn unit_form(op: &str, name: &str) -> Option<&'static UnitForm> {
    UNIT_FORMS.iter().find(|form| form.op == op && form.name == name)
}

/// The names of an op's forms on matrix units that the GPU can run. Whether they compute what they should is not known before
/// their trial.
pub(crate) fn names(gpu: &Gpu, op: &str) -> impl Iterator<Item = &'static str> {
    UNIT_FORMS
        .iter()
        .filter(move |form| form.op == op && candidates_of(gpu).any(|units| form.fits(gpu, units)))
        .map(|form| form.name)
}

/// The forms of a product or convolution of `m` rows and `n` columns that are used where nobody knows better, best first: by
/// way of workgroup memory, in the largest tiles of which there are many.
pub(super) fn usual_forms(gpu: &Gpu, m: usize, n: usize) -> &'static [&'static str] {
    match candidates_of(gpu).next() {
        Some(units) => usual_on(units, m, n),
        None => &[],
    }
}

fn usual_on(units: MatrixUnits, m: usize, n: usize) -> &'static [&'static str] {
    let tile = matrices_tile(units.side, 4);
    if m.div_ceil(tile) * n.div_ceil(tile) >= MANY_GROUPS { &["staged_4", "staged_2"] } else { &["staged_2"] }
}

/// Likewise of attention. Small matrices spread over more registers, so they never get the larger blocks.
pub(super) fn usual_attentions(gpu: &Gpu, shape: &attention::Shape) -> &'static [&'static str] {
    let groups = shape.batch * shape.heads * shape.queries.div_ceil(128);
    match candidates_of(gpu).next() {
        Some(units) if units.side == 16 && groups >= MANY_GROUPS => &["matrices_128", "matrices_64"],
        Some(_) => &["matrices_64"],
        None => &[],
    }
}

/// What is known of the forms on matrix units: each is tried on small problems before it is first used, for drivers have been
/// wrong about them. Only then, because a form is compiled for it, which takes drivers in software long.
#[derive(Default)]
pub(crate) struct Trials(Mutex<[Option<Tried>; UNIT_FORMS.len()]>);

/// With what matrices a form passed its trial; none if it failed.
type Tried = Option<MatrixUnits>;

impl Trials {
    /// A form on matrix units by its op and name, and with what matrices it runs; none if there is no such form, or it does not
    /// compute what it should. Whoever asks while another thread tries it waits.
    pub fn passed(&self, gpu: &Gpu, op: &str, name: &str) -> Option<(MatrixUnits, &'static UnitForm)> {
        let i = UNIT_FORMS.iter().position(|form| form.op == op && form.name == name)?;
        let form = &UNIT_FORMS[i];
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tried = match known[i] {
            Some(tried) => tried,
            None => match tried(gpu, form) {
                Ok(tried) => *known[i].insert(tried),
                Err(_) => None, // no memory for it, or no device: nothing was learnt
            },
        };
        Some((tried?, form))
    }
}

/// Tries a form with one kind of matrices after the other.
fn tried(gpu: &Gpu, form: &UnitForm) -> Result<Tried> {
    let mut was_wrong = false;
    for units in candidates_of(gpu).filter(|&units| form.fits(gpu, units)) {
        if trial::passes(gpu, units, form)? {
            return Ok(Some(units));
        }
        was_wrong = true;
    }
    if was_wrong {
        let (op, form, gpu) = (form.op, form.name, &gpu.facts().name);
        tracing::warn!("{op} on matrix units of {gpu} ({form}) does not compute what it should: not used");
    }
    Ok(None)
}

fn candidates_of(gpu: &Gpu) -> impl Iterator<Item = MatrixUnits> {
    let facts = gpu.facts();
    let sizes = facts.subgroups.filter(|_| !facts.matrices.is_empty());
    sizes.into_iter().flat_map(|sizes| candidates(&facts.matrices, sizes))
}

/// What to try, best first: large matrices before small ones, and where subgroups are not all of one size, the sizes that
/// drivers like best first. Which one a driver takes nobody tells, but a kernel sees whether it is the one it was made for.
fn candidates(sides: &[u32], [least, most]: [u32; 2]) -> impl Iterator<Item = MatrixUnits> {
    let mut sides = sides.to_vec();
    sides.sort_unstable();
    sides.dedup();
    let lanes = move || [32, 64, 16, 8, 4].into_iter().filter(move |lanes| (least..=most).contains(lanes));
    sides.into_iter().rev().flat_map(move |side| lanes().map(move |lanes| MatrixUnits { side, lanes }))
}

/// A product with an f16 weight on matrix units.
pub(super) struct Product<'a> {
    pub operands: Operands<'a>,
    pub weight: &'a Weight,
    pub activation: Constant,
    /// Rows, columns, terms.
    pub sizes: [usize; 3],
    /// Width of the map and output channels, where results go to the doubled map.
    pub doubled: Option<[u32; 2]>,
}

impl Product<'_> {
    /// Runs it in a form; the left operand is brought to f16 first.
    pub fn run(&self, gpu: &Gpu, units: MatrixUnits, form: &UnitForm, output: &Buffer) -> Result<()> {
        let UnitForm { kernel, each, .. } = *form;
        let [m, n, k] = self.sizes;
        let stride = half_stride(k);
        let halves = self.halves(gpu, m.next_multiple_of(LARGEST_TILE), stride)?;
        let Operands { bias, residual, .. } = self.operands;
        let [width, out_channels] = self.doubled.unwrap_or_default();
        let params = MatricesParams {
            m: m as u32,
            n: n as u32,
            k: 2 * stride as u32,
            w_stride: 2 * self.weight.stride as u32,
            a_stride: 2 * stride as u32,
            width,
            bias_at: bias.map_or(0, |(_, at)| at),
            residual_at: residual.map_or(0, |(_, at)| at),
            flags: self.operands.flags(),
            first_tile: 0,
            out_channels,
            unused: 0,
        };
        let [side, lanes] = units.constants();
        let doubled = ("DOUBLED", u32::from(self.doubled.is_some()));
        let constants = [side, lanes, ("EACH", each), self.activation, doubled];
        let inputs = [
            Some(&halves),
            Some(&self.weight.buffer),
            bias.map(|(buffer, _)| buffer),
            residual.map(|(buffer, _)| buffer),
        ];
        let tile = matrices_tile(units.side, each);
        tiles(gpu, (kernel, tile), &constants, &inputs, output, [m, n, k], |first_tile| MatricesParams {
            first_tile,
            ..params
        })
    }

    /// The left operand in f16, padded to so many rows of so many words.
    fn halves(&self, gpu: &Gpu, rows: usize, stride: usize) -> Result<Buffer> {
        let (left, a_at) = self.operands.left;
        let [m, _, k] = self.sizes;
        let halves = gpu.buffer(rows * stride)?;
        let params = HalveParams {
            words: (rows * stride) as u32,
            m: m as u32,
            k: k as u32,
            a_at,
            stride: stride as u32,
            unused: [0; 3],
        };
        gpu.dispatch(&Call {
            kernel: &HALVE,
            constants: &[],
            params: bytemuck::bytes_of(&params),
            inputs: &[Some(left)],
            output: &halves,
            groups: gpu.line(rows * stride, HALVE.threads),
            work: (8 * rows * stride) as u64,
        })?;
        Ok(halves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_matrices_are_tried_before_small_ones_and_every_size_a_subgroup_may_have() {
        let tried = |sides: &[u32], sizes| -> Vec<_> {
            candidates(sides, sizes).map(|units| (units.side, units.lanes)).collect()
        };
        assert_eq!(tried(&[8, 16], [32, 32]), [(16, 32), (8, 32)]);
        assert_eq!(tried(&[16, 16], [32, 64]), [(16, 32), (16, 64)]);
        assert_eq!(tried(&[8], [8, 32]), [(8, 32), (8, 16), (8, 8)]);
        assert_eq!(tried(&[8], [128, 128]), []);
    }

    #[test]
    fn large_tiles_are_for_products_that_have_many() {
        let (large, small) = (MatrixUnits { side: 16, lanes: 32 }, MatrixUnits { side: 8, lanes: 32 });
        assert_eq!(usual_on(large, 5184, 1024), ["staged_4", "staged_2"]);
        assert_eq!(usual_on(large, 5184, 256), ["staged_2"]);
        assert_eq!(usual_on(small, 5184, 256), ["staged_4", "staged_2"]);
    }

    #[test]
    fn every_form_on_matrix_units_is_a_form_of_its_op() {
        for form in &UNIT_FORMS {
            let (_, forms) =
                crate::gpu::FORMS.iter().find(|(op, _)| *op == form.op).expect("an op with forms");
            assert!(forms.contains(&form.name), "{} {}", form.op, form.name);
        }
    }
}
