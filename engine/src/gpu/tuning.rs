//! Measuring which form of each call is the fastest on this machine.

use super::offers::offered_and_rule;
use super::ops::{attention, maps, products, rows};
use super::tuned::Entry;
use super::{Gpu, Site, Weight};
use crate::ops::Activation;
use crate::ops::attention::Bias;
use crate::{Device, Result, Tensor};
use sam3i_kernels::group_norm;
use std::collections::BTreeMap;
use std::time::Duration;

/// Samples of a form, of which the median counts.
const SAMPLES: usize = 5;
/// A form is given up when its first sample takes this many times the best median.
const HOPELESS: f64 = 1.5;
/// How far the forms of a call may be apart, root mean square over that of the result. In f32 only the order of the sums
/// differs; matrix units round the left operand to f16 (half of 2^-10 of each factor at most).
const APART: f64 = 1e-5;
const APART_IN_F16: f64 = 1e-3;

/// A call and what its forms took.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Measured {
    /// What the cache calls it.
    pub call: String,
    /// The fastest form.
    pub form: &'static str,
    /// The forms that were measured, the first of which runs everywhere, with their medians.
    pub times: Vec<(&'static str, Duration)>,
    /// The forms that were not, and why.
    pub refused: Vec<(&'static str, String)>,
}

/// Measures the forms of every call that was made on the device, and uses the fastest from now on. A form runs only if it is
/// `allowed` (op and form) and computes what the portable one does.
pub(crate) fn tune(
    device: &Device,
    gpu: &Gpu,
    allowed: &dyn Fn(&str, &str) -> bool,
    tell: &mut dyn FnMut(&Measured),
) -> Result<()> {
    for (call, seen) in gpu.seen() {
        let (mut offered, _) = offered_and_rule(gpu, seen.site);
        offered.retain(|form| gpu.is_right(seen.site.op(), form));
        if offered.len() < 2 {
            continue;
        }
        let measured = measure(&Bench::new(device, gpu, seen.site)?, call, &offered, allowed)?;
        let ms = measured.times.iter().map(|&(form, time)| (form.to_owned(), 1e3 * time.as_secs_f64()));
        let entry = Entry { form: measured.form.to_owned(), ms: ms.collect() };
        gpu.forms().learn(BTreeMap::from([(measured.call.clone(), entry)]));
        tell(&measured);
    }
    Ok(())
}

fn measure(
    bench: &Bench,
    call: String,
    offered: &[&'static str],
    allowed: &dyn Fn(&str, &str) -> bool,
) -> Result<Measured> {
    let op = bench.site.op();
    let mut measured = Measured { call, form: offered[0], times: Vec::new(), refused: Vec::new() };
    let expected = bench.pinned(offered[0])?.to_vec()?;
    let mut best = f64::INFINITY;
    for &form in offered {
        if form != offered[0] {
            if !allowed(op, form) {
                measured.refused.push((form, "it left the tolerance of the op's cases".to_owned()));
                continue;
            }
            let in_f16 = ["halves", "matrices", "staged"].iter().any(|rounds| form.starts_with(rounds));
            let bound = if in_f16 { APART_IN_F16 } else { APART };
            let apart = distance(&bench.pinned(form)?.to_vec()?, &expected);
            if apart.is_nan() || apart > bound {
                measured.refused.push((form, format!("it is {apart:.1e} from the portable form")));
                continue;
            }
        }
        let time = bench.median(form, best)?;
        measured.times.push((form, time));
        if time.as_secs_f64() < best {
            best = time.as_secs_f64();
            measured.form = form;
        }
    }
    Ok(measured)
}

/// Root mean square of the difference over that of the expected values; no number if one of them is none.
fn distance(actual: &[f32], expected: &[f32]) -> f64 {
    let square = |v: f64| v * v;
    let off: f64 = actual.iter().zip(expected).map(|(&x, &y)| square(f64::from(x) - f64::from(y))).sum();
    let all: f64 = expected.iter().map(|&y| square(f64::from(y))).sum();
    (off / all.max(f64::MIN_POSITIVE)).sqrt()
}

/// A call with made-up operands.
struct Bench<'a> {
    gpu: &'a Gpu,
    site: Site,
    operands: Vec<Tensor>,
    weight: Option<Weight>,
}

impl<'a> Bench<'a> {
    fn new(device: &Device, gpu: &'a Gpu, site: Site) -> Result<Self> {
        let tensor = |shape: &[usize], seed| -> Result<Tensor> {
            let values = numbers(shape.iter().product(), seed);
            Ok(Tensor::from_gpu(device, shape, gpu.upload(&values)?))
        };
        let weight = |rows, k, half| Weight::new(gpu, k, &numbers(rows * k, 7), half);
        let (operands, weight) = match site {
            Site::Product { m, n, k, half } => (vec![tensor(&[m, k], 1)?], Some(weight(n, k, half)?)),
            Site::Conv { shape, half } => {
                let map = tensor(&[shape.height, shape.width, shape.channels], 1)?;
                (vec![map], Some(weight(shape.out_channels, shape.fan_in(), half)?))
            }
            Site::Attention { shape: s, .. } => {
                let [queries, keys] = [s.queries, s.keys].map(|tokens| [s.batch, tokens, s.width()]);
                (vec![tensor(&queries, 1)?, tensor(&keys, 2)?, tensor(&keys, 3)?], None)
            }
            Site::GroupNorm { pixels, channels, .. } => (
                vec![tensor(&[1, pixels, channels], 1)?, tensor(&[channels], 2)?, tensor(&[channels], 3)?],
                None,
            ),
            Site::Softmax { rows, columns } => (vec![tensor(&[rows, columns], 1)?], None),
            Site::LayerNorm { rows, channels } => {
                (vec![tensor(&[rows, channels], 1)?, tensor(&[channels], 2)?, tensor(&[channels], 3)?], None)
            }
        };
        Ok(Self { gpu, site, operands, weight })
    }

    fn run(&self) -> Result<Tensor> {
        let (gpu, x) = (self.gpu, &self.operands[0]);
        match (self.site, &self.weight) {
            (Site::Product { m, n, .. }, Some(w)) => {
                products::linear(gpu, x, w, products::After::default(), &[m, n])
            }
            (Site::Conv { shape, .. }, Some(w)) => products::conv(gpu, &shape, x, w, None, Activation::None),
            (Site::Attention { shape, half }, _) => {
                let [q, k, v] = [x, &self.operands[1], &self.operands[2]];
                let (bias, in_f32) = (Bias::None, !half);
                let seen = attention::Seen { causal: false, key_padding: None, bias, in_f32 };
                attention::attention(gpu, &shape, [q, k, v], &seen)
            }
            (Site::Softmax { .. }, _) => rows::softmax(gpu, x),
            (Site::GroupNorm { groups, .. }, _) => {
                let p = group_norm::Params { groups, eps: 1e-6, relu: false };
                maps::group_norm(gpu, p, x, &self.operands[1], &self.operands[2])
            }
            _ => rows::layer_norm(gpu, x, &self.operands[1], &self.operands[2], 1e-6),
        }
    }

    fn pinned(&self, form: &'static str) -> Result<Tensor> {
        self.gpu.forms().pinned(self.site.op(), form, || self.run())
    }

    /// The median time of a form, or the first one if it is far above the best of the others. It has run before.
    fn median(&self, form: &'static str, best: f64) -> Result<Duration> {
        let mut times = Vec::new();
        for _ in 0..SAMPLES {
            times.push(self.gpu.timed(|| self.pinned(form))?.1);
            if times[0].as_secs_f64() > HOPELESS * best {
                break;
            }
        }
        times.sort();
        Ok(times[times.len() / 2])
    }
}

/// Numbers in [-1, 1).
fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}
