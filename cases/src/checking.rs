//! The property cases of an op, run on any device, and what came of them.

use crate::compare::{Difference, Offender, Tolerance};
use crate::{Bf16Case, Case, F16Case, form};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use sam3i_engine::{DType, Device, Error};
use std::cell::RefCell;

/// Milliseconds spent on making a failing case small.
const SHRINKING: u32 = 10_000;

/// How an op is to be checked.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Random cases.
    pub cases: u32,
    /// What they are made from: the same seed makes the same cases.
    pub seed: u64,
    /// Whether a failing case is made small, for people.
    pub shrink: bool,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Cases that ran.
    pub cases: u32,
    /// The largest `|x - y|` of any element of any case that passed.
    pub largest: f32,
    /// The largest part of its tolerance an element of such a case took up.
    pub share: f32,
    /// The case that failed, made as small as it goes.
    pub failure: Option<Failure>,
}

/// A case that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its operands and parameters; empty where it is not the case's fault.
    pub case: String,
    /// What is wrong.
    pub problem: String,
}

/// Checks an op whose tolerance is that of its kind of device.
pub(crate) fn check<C: Case>(cases: impl Strategy<Value = C>, device: &Device, plan: Plan) -> Checked {
    let on_gpu = is_gpu(device);
    check_within(cases, device, plan, |case| if on_gpu { case.gpu_tolerance() } else { C::TOLERANCE })
}

/// Checks an op whose products may be rounded: to bf16 by the CPU, or their weights to f16 by a GPU.
pub(crate) fn check_rounded<C: Bf16Case + F16Case>(
    cases: impl Strategy<Value = C>,
    device: &Device,
    plan: Plan,
) -> Checked {
    let (dtype, on_gpu) = (device.dtype(), is_gpu(device));
    check_within(cases, device, plan, |case| match dtype {
        DType::Bf16 => case.bf16_tolerance(),
        DType::F16 => case.f16_tolerance(),
        _ if on_gpu => case.gpu_tolerance(),
        _ => C::TOLERANCE,
    })
}

fn is_gpu(device: &Device) -> bool {
    device.name() == "gpu"
}

fn check_within<C: Case>(
    cases: impl Strategy<Value = C>,
    device: &Device,
    plan: Plan,
    tolerance: impl Fn(&C) -> Tolerance,
) -> Checked {
    let checked = RefCell::new(Checked::default());
    let result = runner(plan).run(&cases, |case| {
        let run = || compare(&case, device, tolerance(&case));
        // WGSL promises nothing for values that are no ordinary numbers.
        let result = if is_gpu(device) { form::tamely(run) } else { run() };
        let mut checked = checked.borrow_mut();
        match result {
            _ if checked.failure.is_some() => Ok(()),
            Ok(difference) => {
                note(&mut checked, difference);
                Ok(())
            }
            Err(Problem::Wrong(problem)) => Err(TestCaseError::fail(problem)),
            Err(Problem::Broken(problem)) => {
                checked.failure = Some(Failure { case: String::new(), problem });
                Ok(())
            }
        }
    });
    let mut checked = checked.into_inner();
    checked.failure = match result {
        Ok(()) => checked.failure,
        Err(TestError::Fail(problem, case)) => {
            Some(Failure { case: folded(&format!("{case:?}")), problem: problem.message().to_owned() })
        }
        Err(TestError::Abort(problem)) => {
            Some(Failure { case: String::new(), problem: problem.message().to_owned() })
        }
    };
    checked
}

/// Equal neighbours of a list told once: `[0.0, 1.0 (5 times), 2.0]`.
fn folded(case: &str) -> String {
    let mut items: Vec<(&str, usize)> = Vec::new();
    for item in case.split(", ") {
        match items.last_mut() {
            Some((last, times)) if *last == item => *times += 1,
            _ => items.push((item, 1)),
        }
    }
    let told = |(item, times)| match times {
        1 => str::to_owned(item),
        times => format!("{item} ({times} times)"),
    };
    items.into_iter().map(told).collect::<Vec<_>>().join(", ")
}

fn note(checked: &mut Checked, difference: Difference) {
    checked.cases += 1;
    checked.largest = checked.largest.max(difference.largest);
    checked.share = checked.share.max(difference.share);
}

fn runner(plan: Plan) -> TestRunner {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&plan.seed.to_le_bytes());
    let config = Config {
        cases: plan.cases,
        failure_persistence: None,
        max_shrink_iters: if plan.shrink { 1_000_000 } else { 0 },
        max_shrink_time: SHRINKING,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

/// What is wrong.
enum Problem {
    /// The result of a case.
    Wrong(String),
    /// The device, whatever the case: a kernel that does not compile.
    Broken(String),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Gpu { .. } | Error::GpuLost { .. } | Error::KernelText { .. } => {
                Self::Broken(error.to_string())
            }
            _ => Self::Wrong(error.to_string()),
        }
    }
}

/// The difference of a case on a device from the reference, or what is wrong with it.
fn compare<C: Case>(case: &C, device: &Device, tolerance: Tolerance) -> Result<Difference, Problem> {
    let expected = case
        .run(&Device::reference())
        .map_err(|error| Problem::Wrong(format!("the reference refuses: {error}")))?;
    let actual = case.run(device)?;
    let difference = Difference::of_tensors(&actual, &expected, tolerance)?;
    let Some(Offender { index, actual: x, expected: y }) = difference.first else { return Ok(difference) };
    let Tolerance { absolute, relative } = tolerance;
    Err(Problem::Wrong(format!(
        "element {index} of {:?} is {x:e}, not {y:e}: off by {:.1e}, allowed {:.1e}",
        actual.shape(),
        (x - y).abs(),
        absolute + relative * y.abs()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::EXACT;
    use sam3i_engine::{CpuOptions, Result, Tensor};

    /// A kernel that is wrong from element 5 on, but not on the reference.
    #[derive(Clone, Debug)]
    struct Broken(usize);

    impl Case for Broken {
        const TOLERANCE: Tolerance = EXACT;

        fn run(&self, device: &Device) -> Result<Tensor> {
            let wrong = |i: usize| if i >= 5 && device.name() == "cpu" { 1.0 } else { 0.0 };
            Tensor::from_vec(device, &[self.0], (0..self.0).map(wrong).collect())
        }
    }

    #[test]
    fn long_lists_of_one_value_are_told_shortly() {
        assert_eq!(folded("X { x: [0.0, 0.0, 0.0, 0.0, 1.0] }"), "X { x: [0.0, 0.0 (3 times), 1.0] }");
    }

    #[test]
    fn a_failing_case_is_made_small() {
        let device = Device::cpu(&CpuOptions::default().threads(1)).expect("starts");
        let plan = Plan { cases: 100, seed: 1, shrink: true };
        let any = || (0usize..100).prop_map(Broken);
        let failure = check(any(), &device, plan).failure.expect("it is broken");
        assert_eq!(failure.case, "Broken(6)");
        assert!(failure.problem.contains("element 5 of [6] is 1e0, not 0e0"), "{}", failure.problem);
        let fine = check(any(), &Device::reference(), plan);
        assert!(fine.failure.is_none() && fine.cases == 100 && fine.share == 0.0);
    }
}
