//! The plain concatenation.

use super::Part;

/// Writes row after row, part after part. See the [module](super) for the contract.
pub fn run(rows: usize, parts: &[Part<'_>], out: &mut [f32]) {
    assert_eq!(out.len(), parts.iter().map(|part| part.values.len()).sum::<usize>());
    let mut out = out.iter_mut();
    for row in 0..rows {
        for part in parts {
            for &v in &part.values[row * part.len..][..part.len] {
                *out.next().expect("as many elements as the parts have") = v;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, run};

    #[test]
    fn rows_alternate_between_the_parts() {
        let parts = [Part { values: &[1.0, 2.0], len: 1 }, Part { values: &[3.0, 4.0, 5.0, 6.0], len: 2 }];
        let mut out = [0.0; 6];
        run(2, &parts, &mut out);
        assert_eq!(out, [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
    }
}
