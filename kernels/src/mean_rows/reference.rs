//! The plain mean: column by column.

/// Mean of the kept rows of `c` elements. See the [module](super) for the contract.
pub fn run(x: &[f32], keep: &[bool], out: &mut [f32]) {
    let c = out.len();
    assert_eq!(x.len(), keep.len() * c);
    for (i, o) in out.iter_mut().enumerate() {
        let kept = keep.iter().enumerate().filter(|(_, kept)| **kept);
        let sum: f64 = kept.map(|(r, _)| f64::from(x[r * c + i])).sum();
        *o = (sum * super::scale(keep)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn rows_that_do_not_count_are_not_read() {
        let mut out = [0.0; 2];
        run(&[1.0, 2.0, f32::NAN, f32::NAN, 3.0, 6.0], &[true, false, true], &mut out);
        assert_eq!(out, [2.0, 4.0]);
    }

    #[test]
    fn mean_of_no_rows_is_zero() {
        let mut out = [1.0; 2];
        run(&[1.0, 2.0], &[false], &mut out);
        assert_eq!(out, [0.0; 2]);
    }
}
