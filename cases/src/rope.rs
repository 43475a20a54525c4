//! Cases of rotary position encoding.

use super::form::{Form, any_form, seeded};
use super::{Case, sequence};
use crate::compare::Tolerance;
use crate::job::Job;
use proptest::prelude::*;
use sam3i_engine::{Device, Result, Tensor, ops};
use sam3i_kernels::rope::{Params, flops};

/// Rotation of `[b, n, 3 * heads * d]`.
#[derive(Clone, Debug)]
pub struct Rope {
    /// b, n and the last axis.
    pub shape: [usize; 3],
    /// Heads.
    pub heads: usize,
    /// Shape of the table.
    pub table: [usize; 3],
    /// How the operand lies.
    pub form: Form,
    /// Whether somebody else holds the operand, so that it may not be overwritten.
    pub shared: bool,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for Rope {
    /// Two products of up to 16 that may cancel, three f32 roundings.
    const TOLERANCE: Tolerance = Tolerance { absolute: 4e-6, relative: 2e-7 };

    fn run(&self, device: &Device) -> Result<Tensor> {
        let qkv = seeded(self.shape.iter().product(), self.seed, &[]);
        let table = seeded(self.table.iter().product(), self.seed ^ 1, &[]);
        let qkv = self.form.place(device, &self.shape, &qkv)?;
        let _held = self.shared.then(|| qkv.clone());
        ops::rope::rope(qkv, &Form::Whole.place(device, &self.table, &table)?, self.heads)
    }
}

/// Odd numbers of tokens, heads and pairs.
pub fn any_rope() -> impl Strategy<Value = Rope> {
    (1usize..4, 0usize..20, 1usize..5, 0usize..40, any_form(), any::<bool>(), any::<u32>()).prop_map(
        |(b, n, heads, pairs, form, shared, seed)| Rope {
            shape: [b, n, 6 * heads * pairs],
            heads,
            table: [n, pairs, 2],
            form,
            shared,
            seed,
        },
    )
}

/// Calls of the published model at 1008 pixels.
pub fn published() -> Vec<Job> {
    let job = |what, b: usize, n: usize| {
        let (heads, width) = (16, 3072);
        let params = Params { heads, head_dim: width / (3 * heads) };
        // Thirds q and k are read and written; v is copied, for the operand is shared.
        Job::new(what, flops(b * n, params), 2 * b * n * width, move |device| {
            let qkv = Tensor::from_vec(device, &[b, n, width], sequence(b * n * width, 1))?;
            let table = Tensor::from_vec(device, &[n, 32, 2], sequence(n * 64, 2))?;
            Ok(Box::new(move || ops::rope::rope(qkv.clone(), &table, heads)))
        })
    };
    vec![job("ViT window [9, 576, 3072]", 9, 576), job("ViT global [1, 5184, 3072]", 1, 5184)]
}
