//! One thing that several prompts found, kept once.

use crate::Result;
use crate::metrics::Runs;
use crate::segmentation::{Instance, Segmentation};

/// Drops every instance whose mask overlaps a better one of any of the answers: with an IoU above `most`. Of equal scores
/// the one of the earlier answer stays, and within an answer the earlier one. All answers must be about one picture.
///
/// # Errors
/// [`Error::Rle`](crate::Error::Rle) when a mask is malformed; never for answers the model gave.
pub fn suppress(answers: &mut [Segmentation], most: f64) -> Result<()> {
    let mut order: Vec<(usize, usize)> = answers
        .iter()
        .enumerate()
        .flat_map(|(a, answer)| (0..answer.instances.len()).map(move |i| (a, i)))
        .collect();
    let score = |&(a, i): &(usize, usize)| answers[a].instances[i].score;
    order.sort_by(|x, y| score(y).total_cmp(&score(x))); // stable
    let mut kept: Vec<Runs> = Vec::new();
    let mut keep: Vec<Vec<bool>> = answers.iter().map(|answer| vec![false; answer.instances.len()]).collect();
    for (a, i) in order {
        let mask = Runs::from_rle(&answers[a].instances[i].rle)?;
        let clear =
            kept.iter().all(|better| better.overlap(&mask).is_none_or(|overlap| overlap.iou() <= most));
        if clear {
            keep[a][i] = true;
            kept.push(mask);
        }
    }
    for (answer, keep) in answers.iter_mut().zip(keep) {
        let mut keep = keep.into_iter();
        answer.instances.retain(|_: &Instance| keep.next().unwrap_or(true));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::Level;
    use crate::mask::Mask;
    use crate::segmentation::Timings;

    /// An answer whose masks are stretches of one row of 20 pixels.
    fn answer(found: &[(f32, std::ops::Range<usize>)]) -> Segmentation {
        let instance = |(query, (score, pixels)): (usize, &(f32, std::ops::Range<usize>))| {
            let bits = (0..20).map(|x| u8::from(pixels.contains(&x))).collect();
            let rle = Mask::new(20, 1, bits).expect("a row").to_rle().expect("small");
            Instance { query, score: *score, box_xyxy: [0.0; 4], area: pixels.len(), rle, logits: None }
        };
        let instances = found.iter().enumerate().map(instance).collect();
        Segmentation {
            level: Level::Simple,
            presence: 1.0,
            tokens: 3,
            truncated: false,
            instances,
            timings: Timings::default(),
        }
    }

    #[test]
    fn the_best_of_those_that_overlap_stays() {
        let mut answers =
            [answer(&[(0.9, 0..10), (0.5, 12..20)]), answer(&[(0.95, 1..10), (0.5, 12..20), (0.4, 0..5)])];
        suppress(&mut answers, 0.7).expect("masks");
        let queries =
            |answer: &Segmentation| answer.instances.iter().map(|one| one.query).collect::<Vec<_>>();
        assert_eq!((queries(&answers[0]), queries(&answers[1])), (vec![1], vec![0, 2]));
        let mut nothing = [answer(&[(0.9, 3..3), (0.8, 4..4)])];
        suppress(&mut nothing, 0.0).expect("masks");
        assert_eq!(queries(&nothing[0]), [0, 1], "masks without pixels overlap nothing");
    }
}
