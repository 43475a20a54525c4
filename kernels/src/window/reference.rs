//! The plain partition: element by element.

use super::Params;

/// Where element `i` of the windows lies in the map; `None` in the padding.
fn source(p: Params, i: usize) -> Option<usize> {
    let (channel, token, window) =
        (i % p.c, i / p.c % (p.window * p.window), i / p.c / (p.window * p.window));
    let y = window / p.across() * p.window + token / p.window;
    let x = window % p.across() * p.window + token % p.window;
    (y < p.h && x < p.w).then(|| (y * p.w + x) * p.c + channel)
}

/// Cuts the map `x` into windows. See the [module](super) for the contract.
pub fn partition(params: Params, x: &[f32], windows: &mut [f32]) {
    for (i, o) in windows.iter_mut().enumerate() {
        *o = source(params, i).map_or(0.0, |at| x[at]);
    }
}

/// Puts the map together again. See the [module](super) for the contract.
pub fn merge(params: Params, windows: &[f32], x: &mut [f32]) {
    for (i, &v) in windows.iter().enumerate() {
        if let Some(at) = source(params, i) {
            x[at] = v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_zero_at_the_bottom_and_the_right() {
        let params = Params { h: 1, w: 3, c: 1, window: 2 };
        let mut windows = [9.0; 8];
        partition(params, &[1.0, 2.0, 3.0], &mut windows);
        assert_eq!(windows, [1.0, 2.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0]);
        let mut back = [0.0; 3];
        merge(params, &windows, &mut back);
        assert_eq!(back, [1.0, 2.0, 3.0]);
    }
}
