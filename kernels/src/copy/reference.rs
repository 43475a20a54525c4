//! The plain copy: axis by axis.

/// Copies the view of `x` with these extents and strides. See the [module](super) for the contract.
pub fn run(shape: &[usize], strides: &[usize], x: &[f32], out: &mut [f32]) {
    assert_eq!(out.len(), shape.iter().product::<usize>());
    let mut out = out.iter_mut();
    visit(shape, strides, 0, &mut |at| {
        *out.next().expect("as many elements as the extents say") = x[at];
    });
}

fn visit(shape: &[usize], strides: &[usize], at: usize, f: &mut impl FnMut(usize)) {
    match (shape, strides) {
        ([n, shape @ ..], [stride, strides @ ..]) => {
            (0..*n).for_each(|i| visit(shape, strides, at + i * stride, f))
        }
        _ => f(at),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_stride_of_zero_repeats() {
        let mut out = [0.0; 4];
        super::run(&[2, 2], &[0, 1], &[1.0, 2.0], &mut out);
        assert_eq!(out, [1.0, 2.0, 1.0, 2.0]);
    }
}
