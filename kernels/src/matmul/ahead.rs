//! What a register tile asks for while it computes, so that it is there when it is needed.

/// Steps of `k` between two lines of what is to be read after this tile.
pub(super) const STEPS_A_LINE: usize = 4;

/// Elements of four bytes in a cache line.
pub(super) const LINE: usize = 16;

/// Elements that a tile over `steps` steps asks for beside its own.
pub(crate) fn fetched(steps: usize) -> usize {
    steps / STEPS_A_LINE * LINE
}

/// What to ask for. `T` has four bytes.
#[derive(Clone, Copy)]
pub struct Ahead<'a, T> {
    /// What a later tile reads: the first [`fetched`] elements, into the second cache.
    pub next: &'a [T],
    /// Cache lines that are read or written when the tile is done, anywhere in memory, into the first cache.
    pub lines: &'a [*const f32],
}

impl<T> Default for Ahead<'_, T> {
    fn default() -> Self {
        Self { next: &[], lines: &[] }
    }
}

impl<'a, T> Ahead<'a, T> {
    /// The same, with `b` for what nothing is read after: it is at hand already, and asking for it again costs nothing.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn or(self, b: &'a [T]) -> Self {
        if self.next.is_empty() { Self { next: b, ..self } } else { self }
    }

    /// The lines in two: as many as can be asked for one by one in `steps` steps, and the rest.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn split(self, steps: usize) -> (&'a [*const f32], &'a [*const f32]) {
        self.lines.split_at(self.lines.len().min(steps / STEPS_A_LINE))
    }
}

/// Runs the macro `$step` for each of `$steps` steps and asks for what is `$ahead` meanwhile. A macro and no function, so that
/// the sums a step adds to never leave their registers.
///
/// To be used where a step may be done without further checks `$steps` times.
#[cfg(target_arch = "x86_64")]
macro_rules! while_asking {
    ($ahead:expr, $steps:expr, $step:ident) => {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        let mut next = $ahead.next.as_ptr();
        macro_rules! four {
            () => {
                // A prefetch reads nothing that the program sees, whatever the address.
                _mm_prefetch::<_MM_HINT_T1>(next.cast());
                // SAFETY: the caller of the tile vouches for its operands.
                unsafe {
                    $step!();
                    $step!();
                    $step!();
                    $step!();
                }
                next = next.wrapping_add($crate::matmul::ahead::LINE);
            };
        }
        // One by one: a core keeps track of a dozen lines on their way, and waits when there are more.
        let (now, rest) = $ahead.split($steps);
        for line in rest {
            _mm_prefetch::<_MM_HINT_T0>(line.cast());
        }
        for line in now {
            _mm_prefetch::<_MM_HINT_T0>(line.cast());
            four!();
        }
        for _ in now.len()..$steps / $crate::matmul::ahead::STEPS_A_LINE {
            four!();
        }
        for _ in 0..$steps % $crate::matmul::ahead::STEPS_A_LINE {
            // SAFETY: as above.
            unsafe {
                $step!();
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use while_asking;
