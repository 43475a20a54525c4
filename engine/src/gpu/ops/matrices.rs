//! Products, convolutions and attention on matrix units: which forms there are, and how products run.

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

/// Workgroups from which on larger tiles pay: below, most cards would have some of their cores idle.
const MANY_GROUPS: usize = 256;

/// A form on matrix units: its name, its kernel, and matrices of a subgroup along either axis or queries of a subgroup.
pub(crate) type UnitForm = (&'static str, &'static Kernel, u32);

/// The forms of a product.
pub(crate) const PRODUCTS: [UnitForm; 4] = [
    ("matrices_2", &MATRICES, 2),
    ("matrices_4", &MATRICES, 4),
    ("staged_2", &STAGED, 2),
    ("staged_4", &STAGED, 4),
];

/// The forms of a convolution.
pub(crate) const CONVS: [UnitForm; 2] =
    [("staged_2", &conv::gpu::STAGED, 2), ("staged_4", &conv::gpu::STAGED, 4)];

/// The forms of attention.
pub(crate) const ATTENTIONS: [UnitForm; 2] =
    [("matrices_64", &attention::gpu::MATRICES, 16), ("matrices_128", &attention::gpu::MATRICES, 32)];

/// The matrix units of a GPU, as they are used: where the forms on them passed a trial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MatrixUnits {
    /// Side of a matrix.
    pub side: u32,
    /// Threads of a subgroup.
    pub lanes: u32,
    /// Which of [`PRODUCTS`] compute what they should.
    pub products: [bool; PRODUCTS.len()],
    /// Which of [`CONVS`] do.
    pub convs: [bool; CONVS.len()],
    /// Which of [`ATTENTIONS`] do.
    pub attentions: [bool; ATTENTIONS.len()],
}

impl MatrixUnits {
    /// Matrices of this side, shared by so many threads; no form tried yet.
    pub fn untried(side: u32, lanes: u32) -> Self {
        let (products, convs, attentions) = Default::default();
        Self { side, lanes, products, convs, attentions }
    }

    /// The constants that all kernels on matrix units have.
    pub fn constants(self) -> [Constant; 2] {
        [("SIDE", self.side), ("LANES", self.lanes)]
    }

    /// The forms of a product.
    pub fn products(self) -> impl Iterator<Item = UnitForm> {
        passed(PRODUCTS, self.products)
    }

    /// The forms of a convolution.
    pub fn convs(self) -> impl Iterator<Item = UnitForm> {
        passed(CONVS, self.convs)
    }

    /// The forms of attention.
    pub fn attentions(self) -> impl Iterator<Item = UnitForm> {
        passed(ATTENTIONS, self.attentions)
    }

    /// Whether a form of an op passed.
    pub fn has(self, op: &str, form: &str) -> bool {
        let is_it = |(name, ..): UnitForm| name == form;
        match op {
            "product" => self.products().any(is_it),
            "conv" => self.convs().any(is_it),
            "attention" => self.attentions().any(is_it),
            _ => false,
        }
    }

    /// The form of a product or convolution of `m` rows and `n` columns that is used where nobody knows better: by way of workgroup memory, in the
    /// largest tiles of which there are many.
    pub fn usual_form(self, m: usize, n: usize) -> &'static str {
        let tile = matrices_tile(self.side, 4);
        if m.div_ceil(tile) * n.div_ceil(tile) >= MANY_GROUPS { "staged_4" } else { "staged_2" }
    }

    /// The form of attention that is used where nobody knows better. Small matrices spread over more registers, so they
    /// never get the larger blocks.
    pub fn usual_attention(self, shape: &attention::Shape) -> &'static str {
        let groups = shape.batch * shape.heads * shape.queries.div_ceil(128);
        if self.side == 16 && groups >= MANY_GROUPS { "matrices_128" } else { "matrices_64" }
    }
}

fn passed<const N: usize>(forms: [UnitForm; N], passed: [bool; N]) -> impl Iterator<Item = UnitForm> {
    forms.into_iter().zip(passed).filter_map(|(form, passed)| passed.then_some(form))
}

/// The matrix units of a GPU, tried on small problems first: drivers have been wrong about them.
pub(crate) fn tried(gpu: &Gpu) -> Option<MatrixUnits> {
    let facts = gpu.facts();
    if facts.matrices.is_empty() || facts.subgroups.is_none() {
        return None;
    }
    let units = candidates(&facts.matrices, facts.subgroups?).map(|units| trial::tried(gpu, units));
    let found = units.into_iter().find(|units| units.products().next().is_some());
    if found.is_none_or(|units| trial::failed(gpu, &units)) {
        tracing::warn!(
            "matrix units of {} do not all compute what they should: not used where not",
            facts.name
        );
    }
    found
}

/// What to try, best first: large matrices before small ones, and where subgroups are not all of one size, the sizes that
/// drivers like best first. Which one a driver takes nobody tells, but a kernel sees whether it is the one it was made for.
fn candidates(sides: &[u32], [least, most]: [u32; 2]) -> impl Iterator<Item = MatrixUnits> {
    let mut sides = sides.to_vec();
    sides.sort_unstable();
    sides.dedup();
    let lanes = move || [32, 64, 16, 8, 4].into_iter().filter(move |lanes| (least..=most).contains(lanes));
    sides.into_iter().rev().flat_map(move |side| lanes().map(move |lanes| MatrixUnits::untried(side, lanes)))
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
    pub fn run(
        &self,
        gpu: &Gpu,
        units: MatrixUnits,
        (_, kernel, each): UnitForm,
        output: &Buffer,
    ) -> Result<()> {
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
        let units = MatrixUnits::untried(16, 32);
        assert_eq!(units.usual_form(5184, 1024), "staged_4");
        assert_eq!(units.usual_form(5184, 256), "staged_2");
        assert_eq!(MatrixUnits::untried(8, 32).usual_form(5184, 256), "staged_4");
    }
}
