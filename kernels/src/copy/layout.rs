//! Extents and strides, reduced to as few axes as describe the same walk.

/// How the elements of a view lie in memory, in row-major order of the view.
///
/// Axes of extent 1 are dropped and neighbouring axes that step as one are joined, so that the last axis is the
/// longest run of evenly spaced elements. There is always at least one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl Layout {
    /// The layout of a view of these extents and strides (in elements).
    #[must_use]
    pub fn new(shape: &[usize], strides: &[usize]) -> Self {
        assert_eq!(shape.len(), strides.len());
        let mut joined = Self { shape: Vec::new(), strides: Vec::new() };
        for (&n, &stride) in shape.iter().zip(strides).filter(|(n, _)| **n != 1) {
            match (joined.shape.last_mut(), joined.strides.last_mut()) {
                (Some(outer), Some(step)) if *step == stride * n => {
                    *outer *= n;
                    *step = stride;
                }
                _ => {
                    joined.shape.push(n);
                    joined.strides.push(stride);
                }
            }
        }
        if joined.shape.is_empty() {
            joined = Self { shape: vec![1], strides: vec![1] };
        }
        joined
    }

    /// How many elements the view has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The joined extents.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The joined strides.
    #[must_use]
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// How many elements of a slice the view reaches: one past its last element, 0 if it is empty.
    #[must_use]
    pub fn reach(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        1 + self.shape.iter().zip(&self.strides).map(|(n, stride)| (n - 1) * stride).sum::<usize>()
    }

    /// The extent and the stride of the last axis.
    #[inline(always)]
    #[must_use]
    pub fn run(&self) -> (usize, usize) {
        (self.shape[self.shape.len() - 1], self.strides[self.strides.len() - 1])
    }

    /// Where the row with this number (counting all axes but the last) begins.
    #[inline(always)]
    #[must_use]
    pub fn row_at(&self, mut row: usize) -> usize {
        let mut at = 0;
        for axis in (0..self.shape.len() - 1).rev() {
            at += row % self.shape[axis] * self.strides[axis];
            row /= self.shape[axis];
        }
        at
    }

    /// Walks elements `first..first + len` of the view run by run: calls `f(done, at, n)` for the `n` elements from
    /// `first + done` on, of which the first lies at `at` and the others a last-axis stride apart.
    #[inline(always)]
    pub fn for_runs(&self, first: usize, len: usize, mut f: impl FnMut(usize, usize, usize)) {
        if len == 0 {
            return;
        }
        let (run, stride) = self.run();
        let (mut row, mut column, mut done) = (first / run, first % run, 0);
        while done < len {
            let n = (run - column).min(len - done);
            f(done, self.row_at(row) + column * stride, n);
            done += n;
            row += 1;
            column = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_that_step_as_one_are_joined() {
        let contiguous = Layout::new(&[2, 3, 4], &[12, 4, 1]);
        assert_eq!((contiguous.shape(), contiguous.strides()), (&[24][..], &[1][..]));
        let row_vector = Layout::new(&[2, 3, 4], &[0, 0, 1]);
        assert_eq!((row_vector.shape(), row_vector.strides()), (&[6, 4][..], &[0, 1][..]));
        let scalar = Layout::new(&[2, 3], &[0, 0]);
        assert_eq!((scalar.shape(), scalar.strides()), (&[6][..], &[0][..]));
        assert_eq!(Layout::new(&[], &[]).len(), 1);
    }

    #[test]
    fn runs_cover_a_range_that_starts_within_a_row() {
        let transposed = Layout::new(&[3, 2], &[1, 3]);
        let mut seen = Vec::new();
        transposed.for_runs(1, 4, |done, at, n| seen.push((done, at, n)));
        assert_eq!(seen, [(0, 3, 1), (1, 1, 2), (3, 2, 1)]);
        assert_eq!(transposed.reach(), 6);
    }
}
