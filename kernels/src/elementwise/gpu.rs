//! The functions of one element and of two on a GPU.

use super::{Binary, Unary};
use crate::copy::Layout;
use crate::gpu::{Constant, Kernel, PORTABLE, params};

/// All kernels of this op.
pub const KERNELS: &[&Kernel] = &[&UNARY, &BINARY];

/// A function of one element; constant `FUNCTION`, see [`function`].
pub const UNARY: Kernel = Kernel {
    name: "unary",
    source: include_str!("unary.wgsl"),
    inputs: 1,
    params: UnaryParams::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[
        &[("FUNCTION", 1)],
        &[("FUNCTION", 2)],
        &[("FUNCTION", 3)],
        &[("FUNCTION", 4)],
        &[("FUNCTION", 5)],
        &[("FUNCTION", 6)],
        &[("FUNCTION", 7)],
    ],
};

/// A function of two elements; constant `FUNCTION`: 0 add, 1 sub, 2 mul.
pub const BINARY: Kernel = Kernel {
    name: "binary",
    source: include_str!("binary.wgsl"),
    inputs: 2,
    params: BinaryParams::LAYOUT,
    threads: 64,
    needs: PORTABLE,
    variants: &[&[("FUNCTION", 1)], &[("FUNCTION", 2)]],
};

params! {
    /// Parameters of [`UNARY`].
    pub struct UnaryParams {
        /// Elements.
        pub len: u32,
        /// Where the operand begins.
        pub x_at: u32,
        /// First number of the function.
        pub s: f32,
        /// Second number of the function.
        pub t: f32,
    }
}

/// Axes [`BINARY`] and the copy can walk, after joining those that step as one.
pub const MOST_AXES: usize = 6;

params! {
    /// Parameters of [`BINARY`].
    pub struct BinaryParams {
        /// Elements of the result.
        pub len: u32,
        /// Where the first operand begins.
        pub a_at: u32,
        /// Where the second operand begins.
        pub b_at: u32,
        /// Axes in use.
        pub rank: u32,
        /// Extent, stride of the first operand, stride of the second; outermost first.
        pub axes: [[u32; 4]; MOST_AXES],
    }
}

/// The constant and the two numbers of a function of one element.
#[must_use]
pub fn function(op: Unary) -> (Constant, [f32; 2]) {
    let (number, numbers) = match op {
        Unary::Relu => (0, [0.0; 2]),
        Unary::Gelu => (1, [0.0; 2]),
        Unary::Sigmoid => (2, [0.0; 2]),
        Unary::ScaleAdd(s, t) => (3, [s, t]),
        Unary::Clamp(low, high) => (4, [low, high]),
        Unary::SignedLog2 => (5, [0.0; 2]),
        Unary::InverseSigmoid(eps) => (6, [eps, 0.0]),
    };
    (("FUNCTION", number), numbers)
}

/// The constant of [`UNARY`] that writes the number `s` everywhere.
pub const FILL: Constant = ("FUNCTION", 7);

/// The constant of a function of two elements.
#[must_use]
pub fn operator(op: Binary) -> Constant {
    let number = match op {
        Binary::Add => 0,
        Binary::Sub => 1,
        Binary::Mul => 2,
    };
    ("FUNCTION", number)
}

/// Extents and strides of a walk over two arrays at once, as few axes as describe it; `None` if they are more than
/// [`MOST_AXES`].
#[must_use]
pub fn axes(shape: &[usize], first: &[usize], second: &[usize]) -> Option<(u32, [[u32; 4]; MOST_AXES])> {
    let mut joined: Vec<[usize; 3]> = Vec::new();
    let steps = shape.iter().zip(first).zip(second).map(|((&n, &a), &b)| [n, a, b]);
    for [n, a, b] in steps.filter(|[n, ..]| *n != 1) {
        match joined.last_mut() {
            Some([outer, a_step, b_step]) if *a_step == a * n && *b_step == b * n => {
                (*outer, *a_step, *b_step) = (*outer * n, a, b);
            }
            _ => joined.push([n, a, b]),
        }
    }
    let mut axes = [[0; 4]; MOST_AXES];
    for (i, [n, a, b]) in joined.iter().enumerate() {
        *axes.get_mut(i)? = [*n as u32, *a as u32, *b as u32, 0];
    }
    Some((joined.len() as u32, axes))
}

/// How many elements of a buffer a view reaches.
#[must_use]
pub fn reach(shape: &[usize], strides: &[usize]) -> usize {
    Layout::new(shape, strides).reach()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_join_where_both_operands_step_as_one() {
        let (rank, steps) = axes(&[2, 3, 4], &[12, 4, 1], &[0, 4, 1]).expect("few axes");
        assert_eq!((rank, &steps[..2]), (2, &[[2, 12, 0, 0], [12, 1, 1, 0]][..]));
        assert_eq!(axes(&[1, 1], &[1, 1], &[1, 1]).map(|(rank, _)| rank), Some(0));
        assert!(axes(&[2; 7], &[1, 3, 1, 3, 1, 3, 1], &[0; 7]).is_none());
    }
}
