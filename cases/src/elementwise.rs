//! Cases of the functions of one element and of two.

use super::form::{EXTREMES, Form, any_form, seeded};
use super::{Case, sequence};
use crate::compare::{EXACT, Tolerance};
use crate::job::Job;
use proptest::prelude::*;
use sam3i_engine::ops::elementwise as ops;
use sam3i_engine::{Device, Result, Tensor};
use sam3i_kernels::elementwise::flops;

/// A function of one element.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Function {
    Relu,
    Gelu,
    Sigmoid,
    ScaleAdd,
    Clamp,
    SignedLog2,
    InverseSigmoid,
}

/// A function of one element on a whole tensor.
#[derive(Clone, Debug)]
pub struct Unary {
    /// The function.
    pub function: Function,
    /// Shape of the operand.
    pub shape: Vec<usize>,
    /// How it lies.
    pub form: Form,
    /// Whether somebody else holds the operand, so that it may not be overwritten.
    pub shared: bool,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for Unary {
    /// The fast GELU and sigmoid are within 2e-7 of values around 1, and within 3e-6 of themselves in the tails.
    const TOLERANCE: Tolerance = Tolerance { absolute: 2e-7, relative: 5e-6 };

    fn run(&self, device: &Device) -> Result<Tensor> {
        let values = seeded(self.shape.iter().product(), self.seed, &EXTREMES);
        let x = self.form.place(device, &self.shape, &values)?;
        let _held = self.shared.then(|| x.clone());
        match self.function {
            Function::Relu => ops::relu(x),
            Function::Gelu => ops::gelu(x),
            Function::Sigmoid => ops::sigmoid(x),
            Function::ScaleAdd => ops::scale_add(x, 1.5, -0.25),
            Function::Clamp => ops::clamp(x, -0.5, 2.0),
            Function::SignedLog2 => ops::signed_log2(x),
            Function::InverseSigmoid => ops::inverse_sigmoid(ops::scale_add(x, 0.5, 0.0)?, 1e-3),
        }
    }
}

/// Every function on shapes of several blocks and of none.
pub fn any_unary() -> impl Strategy<Value = Unary> {
    let functions = prop::sample::select(vec![
        Function::Relu,
        Function::Gelu,
        Function::Sigmoid,
        Function::ScaleAdd,
        Function::Clamp,
        Function::SignedLog2,
        Function::InverseSigmoid,
    ]);
    let shapes = prop_oneof![
        4 => prop::collection::vec(0usize..9, 0..5),
        1 => prop::collection::vec(90usize..140, 2..3),
    ];
    (functions, shapes, any_form(), any::<bool>(), any::<u32>())
        .prop_map(|(function, shape, form, shared, seed)| Unary { function, shape, form, shared, seed })
}

/// A function of two elements.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Operator {
    Add,
    Sub,
    Mul,
}

/// A function of two tensors.
#[derive(Clone, Debug)]
pub struct Binary {
    /// The function.
    pub operator: Operator,
    /// The shapes of the operands.
    pub shapes: [Vec<usize>; 2],
    /// How they lie.
    pub forms: [Form; 2],
    /// Whether somebody else holds the first operand, so that it may not be overwritten.
    pub shared: bool,
    /// Seed of the values.
    pub seed: u32,
}

impl Case for Binary {
    /// One rounding, the same everywhere.
    const TOLERANCE: Tolerance = EXACT;

    fn run(&self, device: &Device) -> Result<Tensor> {
        let operand = |i: usize| {
            let values = seeded(self.shapes[i].iter().product(), self.seed ^ i as u32, &EXTREMES);
            self.forms[i].place(device, &self.shapes[i], &values)
        };
        let (a, b) = (operand(0)?, operand(1)?);
        let _held = self.shared.then(|| a.clone());
        match self.operator {
            Operator::Add => ops::add(a, &b),
            Operator::Sub => ops::sub(a, &b),
            Operator::Mul => ops::mul(a, &b),
        }
    }
}

/// What an operand has along an axis: its extent, 1, or (if all outer axes are missing too) nothing.
fn operand_shape(shape: &[usize], repeated: &[bool], missing: usize) -> Vec<usize> {
    let extents = shape.iter().zip(repeated).map(|(&n, &repeated)| if repeated { 1 } else { n });
    extents.skip(missing).collect()
}

/// Operands of the same shape, rows, columns, scalars, and whatever else broadcasts.
pub fn any_binary() -> impl Strategy<Value = Binary> {
    let operators = prop::sample::select(vec![Operator::Add, Operator::Sub, Operator::Mul]);
    let shapes = prop_oneof![
        4 => prop::collection::vec(0usize..9, 0..5),
        1 => prop::collection::vec(90usize..140, 2..3),
    ];
    let repeated = || prop::collection::vec(prop::bool::weighted(0.3), 5);
    let forms = (any_form(), any_form(), any::<bool>(), any::<u32>());
    (operators, shapes, repeated(), repeated(), 0usize..4, any::<bool>(), forms).prop_map(
        |(operator, shape, once, twice, missing, first, (a, b, shared, seed))| {
            let missing = [if first { missing } else { 0 }, if first { 0 } else { missing }];
            let shapes =
                [operand_shape(&shape, &once, missing[0]), operand_shape(&shape, &twice, missing[1])];
            Binary { operator, shapes, forms: [a, b], shared, seed }
        },
    )
}

/// Calls of the published model at 1008 pixels.
pub fn published_unary() -> Vec<Job> {
    let job = |what, shape: [usize; 2], function: fn(Tensor) -> Result<Tensor>| {
        let len = shape[0] * shape[1];
        Job::new(what, flops(len), 2 * len, move |device| {
            let x = Tensor::from_vec(device, &shape, sequence(len, 1))?;
            Ok(Box::new(move || function(x.clone())))
        })
    };
    vec![
        job("GELU of [5184, 4736]", [5184, 4736], ops::gelu),
        job("ReLU of [5184, 2048]", [5184, 2048], ops::relu),
        job("sigmoid of the decoder's boxes [200, 4]", [200, 4], ops::sigmoid),
    ]
}

/// Calls of the published model at 1008 pixels.
pub fn published_binary() -> Vec<Job> {
    let job = |what, rows: usize, c: usize, repeated: bool| {
        let b_len = if repeated { c } else { rows * c };
        Job::new(what, flops(rows * c), 2 * rows * c + b_len, move |device| {
            let a = Tensor::from_vec(device, &[rows, c], sequence(rows * c, 1))?;
            let b = Tensor::from_vec(device, &[b_len / c, c], sequence(b_len, 2))?;
            Ok(Box::new(move || ops::add(a.clone(), &b)))
        })
    };
    vec![
        job("ViT residual [5184, 1024] + [5184, 1024]", 5184, 1024, false),
        job("fusion positions [5184, 256] + [5184, 256]", 5184, 256, false),
        job("a row to all [5184, 256] + [1, 256]", 5184, 256, true),
    ]
}
