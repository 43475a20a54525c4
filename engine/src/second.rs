//! Every op twice: on its device, and with the same operands on a second one, for an observer to compare.
//!
//! An [`Observer`](crate::trace::Observer) that names a second device gets a [`Compared`] for each op. Since both runs
//! are fed what the first device computed, errors do not add up: a difference is the op's own. An op offers this with one
//! statement at its top; the model above knows nothing of it. Weights are compared only if they were prepared while such
//! an observer was watching, for only then are their plain values kept.

use crate::error::show_shapes;
use crate::trace::{self, Observer};
use crate::{Device, Error, Result, Tensor};
use std::sync::Arc;

/// An op that ran on two devices.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Compared<'a> {
    /// The op's name.
    pub op: &'static str,
    /// The stage it ran in: the open scopes, joined by dots.
    pub scope: &'a str,
    /// The shapes of its operands.
    pub shapes: &'a str,
    /// What the device computed.
    pub actual: &'a Tensor,
    /// What the second device computed.
    pub expected: &'a Tensor,
}

/// An op that is about to run on its device, and then on the second one.
pub(crate) struct Second {
    op: &'static str,
    shapes: String,
    device: Device,
    observer: Arc<dyn Observer>,
}

impl Drop for Second {
    fn drop(&mut self) {
        trace::set_comparing(false);
    }
}

/// The second run of an op over operands of these shapes, if the observer wants one; ops inside this one get none.
pub(crate) fn second<'a>(
    op: &'static str,
    device: &Device,
    shapes: impl IntoIterator<Item = &'a [usize]>,
) -> Option<Second> {
    let (observer, second) = trace::comparer()?;
    if device.is_shapes_only() || *device == second {
        return None;
    }
    trace::set_comparing(true);
    Some(Second { op, shapes: show_shapes(shapes), device: second, observer })
}

/// Whether an observer wants ops of this device run a second time.
#[cfg(feature = "gpu")]
pub(crate) fn is_wanted(device: &Device) -> bool {
    trace::comparer().is_some_and(|(_, second)| *device != second)
}

impl Second {
    /// The second device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A copy of an operand on the second device.
    pub fn tensor(&self, t: &Tensor) -> Result<Tensor> {
        Tensor::from_vec(&self.device, t.shape(), t.to_vec()?)
    }

    /// Copies of operands that may be missing.
    pub fn optional(&self, t: Option<&Tensor>) -> Result<Option<Tensor>> {
        t.map(|t| self.tensor(t)).transpose()
    }

    /// The values a weight was prepared from.
    pub fn values(&self, kept: Option<&[f32]>) -> Result<Vec<f32>> {
        let problem = "its weight was prepared before anybody watched; load the model inside trace::observe";
        kept.map(<[f32]>::to_vec).ok_or(Error::Value { op: self.op, problem: problem.to_owned() })
    }

    /// Runs the op on the second device, tells the observer, and gives the first result back.
    pub fn compare(
        self,
        actual: Result<Tensor>,
        again: impl FnOnce(&Self) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let actual = actual?;
        let expected = trace::unwatched(|| again(&self))?;
        let Self { op, shapes, observer, .. } = &self;
        let scope = trace::current_scope();
        observer.compared(&Compared { op, scope: &scope, shapes, actual: &actual, expected: &expected });
        Ok(actual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::matmul::{LinearOptions, Matrix, linear};
    use crate::{CpuOptions, ops};
    use std::sync::Mutex;

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl Observer for Log {
        fn second_device(&self) -> Option<Device> {
            Some(Device::reference())
        }
        fn compared(&self, c: &Compared) {
            let (actual, expected) = (c.actual.to_vec().expect("host"), c.expected.to_vec().expect("host"));
            assert_ne!(c.actual.device(), c.expected.device());
            let line = format!("{}.{} {} {actual:?} {expected:?}", c.scope, c.op, c.shapes);
            self.0.lock().expect("one thread").push(line);
        }
    }

    #[test]
    fn an_op_that_writes_over_its_operand_is_run_twice_on_the_same_values() {
        let device = Device::cpu(&CpuOptions::default().threads(1)).expect("starts");
        let x = Tensor::from_vec(&device, &[2], vec![-1.0, 2.0]).expect("lengths agree");
        let (log, address) = (Arc::new(Log::default()), x.host().expect("host").as_ptr());
        let y = trace::observe(log.clone(), || {
            let _stage = trace::scope(|| "stage");
            ops::elementwise::relu(x).expect("runs")
        });
        assert_eq!(*log.0.lock().expect("one thread"), ["stage.relu [2] [0.0, 2.0] [0.0, 2.0]"]);
        assert_eq!(y.host().expect("host").as_ptr(), address, "still in place");
    }

    #[test]
    fn weights_are_compared_if_they_were_prepared_under_watch() {
        let device = Device::cpu(&CpuOptions::default().threads(1)).expect("starts");
        let x = Tensor::from_vec(&device, &[1, 2], vec![3.0, 4.0]).expect("lengths agree");
        let matrix = || Matrix::new(&device, 1, 2, vec![1.0, 2.0]).expect("two values");
        let log = Arc::new(Log::default());
        let unwatched = matrix();
        let error = trace::observe(log.clone(), || linear(&x, &unwatched, LinearOptions::default()));
        assert!(error.expect_err("no values").to_string().contains("load the model inside"));
        let y = trace::observe(log.clone(), || linear(&x, &matrix(), LinearOptions::default()));
        assert_eq!(y.expect("runs").to_vec().expect("host"), [11.0]);
        assert_eq!(*log.0.lock().expect("one thread"), [".linear [1, 2] x [1, 2] [11.0] [11.0]"]);
        assert!(linear(&x, &unwatched, LinearOptions::default()).is_ok());
    }
}
