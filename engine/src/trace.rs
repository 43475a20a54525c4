//! The trace: what ran, on which shapes, for how long, and what came out.
//!
//! An [`Observer`] is installed for the current thread by [`observe`]; without one, tracing costs a thread-local
//! read per op. The model names its stages with [`scope`] and offers its intermediate tensors with [`tap`]; ops
//! report themselves. The names that result (`vit.block.0.norm1`) are the ones docs/parity.md lists.

use crate::clock::processor_time;
use crate::error::show_shapes;
use crate::{Compared, Device, Tensor};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One op that ran.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpRecord {
    /// The op's name.
    pub op: &'static str,
    /// The stage it ran in: the open scopes, joined by dots.
    pub scope: String,
    /// The shapes of its operands.
    pub shapes: String,
    /// How long it took.
    pub time: Duration,
    /// Processor time of all threads of the process meanwhile; zero where the system does not tell.
    pub processor_time: Duration,
    /// What a GPU took to compute it, by its own clock, without the way there and back; `None` on other devices and where it has
    /// no such clock.
    pub gpu_time: Option<Duration>,
    /// Its floating-point operations, two a multiply-add.
    pub flops: u64,
}

/// Somebody who watches a run.
pub trait Observer {
    /// Called after each op.
    fn op(&self, _record: OpRecord) {}

    /// Called with each intermediate tensor the model offers.
    fn tensor(&self, _name: &str, _tensor: &Tensor) {}

    /// Whether [`Observer::tensor`] is wanted; stages that exist only to be looked at run only then.
    fn wants_tensors(&self) -> bool {
        false
    }

    /// The device every op is to run on a second time, with the same operands; weights have to be prepared while this
    /// observer watches. `None`: ops run once.
    fn second_device(&self) -> Option<Device> {
        None
    }

    /// Called after each op that ran on two devices.
    fn compared(&self, _compared: &Compared) {}
}

#[derive(Default)]
struct Current {
    observer: Option<Arc<dyn Observer>>,
    scopes: Vec<String>,
    comparing: bool,
    /// What a GPU said it took for the innermost open op, or for ops inside it.
    gpu_time: Option<Duration>,
}

thread_local! {
    static CURRENT: RefCell<Current> = RefCell::default();
}

/// Runs `f` with `observer` watching what this thread does.
pub fn observe<R>(observer: Arc<dyn Observer>, f: impl FnOnce() -> R) -> R {
    replaced(Current { observer: Some(observer), ..Current::default() }, f)
}

/// Runs `f` with nobody watching.
pub(crate) fn unwatched<R>(f: impl FnOnce() -> R) -> R {
    replaced(Current::default(), f)
}

fn replaced<R>(by: Current, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Current>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take().unwrap_or_default());
        }
    }
    let _restore = Restore(Some(CURRENT.replace(by)));
    f()
}

/// The observer that wants ops to run on a second device, and that device; `None` inside an op that does.
pub(crate) fn comparer() -> Option<(Arc<dyn Observer>, Device)> {
    let observer = CURRENT.with_borrow(|c| c.observer.clone().filter(|_| !c.comparing))?;
    let device = observer.second_device()?;
    Some((observer, device))
}

/// Notes whether an op is running that will run a second time.
pub(crate) fn set_comparing(comparing: bool) {
    CURRENT.with_borrow_mut(|c| c.comparing = comparing);
}

fn observer() -> Option<Arc<dyn Observer>> {
    CURRENT.with_borrow(|c| c.observer.clone())
}

/// Adds to what a GPU took for the op that is running.
#[cfg(feature = "gpu")]
pub(crate) fn add_gpu_time(time: Option<Duration>) {
    CURRENT.with_borrow_mut(|c| c.gpu_time = sum(c.gpu_time, time));
}

fn sum(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    if a.is_none() { b } else { a.map(|a| a + b.unwrap_or_default()) }
}

/// Whether somebody watches at all.
#[cfg(feature = "gpu")]
pub(crate) fn is_watched() -> bool {
    observer().is_some()
}

/// Whether somebody wants to see intermediate tensors.
#[must_use]
pub fn wants_tensors() -> bool {
    observer().is_some_and(|o| o.wants_tensors())
}

/// An open scope; closed on drop.
#[must_use = "the scope closes when this is dropped"]
pub struct Scope(bool);

/// Opens a scope: names of ops and tensors get `name.` in front until it is dropped.
pub fn scope<S: Into<String>>(name: impl FnOnce() -> S) -> Scope {
    Scope(CURRENT.with_borrow_mut(|c| {
        let watched = c.observer.is_some();
        if watched {
            c.scopes.push(name().into());
        }
        watched
    }))
}

impl Drop for Scope {
    fn drop(&mut self) {
        if self.0 {
            CURRENT.with_borrow_mut(|c| c.scopes.pop());
        }
    }
}

pub(crate) fn current_scope() -> String {
    CURRENT.with_borrow(|c| c.scopes.join("."))
}

/// Offers an intermediate tensor to the observer under `name` in the current scope.
pub fn tap(name: &str, tensor: &Tensor) {
    let Some(observer) = observer().filter(|o| o.wants_tensors()) else { return };
    let scope = current_scope();
    let full = match (scope.as_str(), name) {
        ("", name) => name.to_owned(),
        (scope, "") => scope.to_owned(),
        (scope, name) => format!("{scope}.{name}"),
    };
    observer.tensor(&full, tensor);
}

/// A running op; it reports itself on drop.
pub struct RunningOp(Option<Watched>);

struct Watched {
    observer: Arc<dyn Observer>,
    record: OpRecord,
    start: Instant,
    spent: Option<Duration>,
    /// What a GPU took for ops around this one, so far.
    gpu_before: Option<Duration>,
}

/// Starts the record of an op over operands of these shapes.
pub fn op<'a>(op: &'static str, flops: u64, shapes: impl IntoIterator<Item = &'a [usize]>) -> RunningOp {
    RunningOp(observer().map(|observer| {
        let shapes = show_shapes(shapes);
        let record = OpRecord {
            op,
            scope: current_scope(),
            shapes,
            time: Duration::ZERO,
            processor_time: Duration::ZERO,
            gpu_time: None,
            flops,
        };
        let gpu_before = CURRENT.with_borrow_mut(|c| c.gpu_time.take());
        Watched { observer, record, start: Instant::now(), spent: processor_time(), gpu_before }
    }))
}

impl Drop for RunningOp {
    fn drop(&mut self) {
        if let Some(Watched { observer, mut record, start, spent, gpu_before }) = self.0.take() {
            record.time = start.elapsed();
            record.gpu_time = CURRENT.with_borrow_mut(|c| {
                let own = c.gpu_time.take();
                c.gpu_time = sum(gpu_before, own);
                own
            });
            let since = |now: Duration| spent.map_or(Duration::ZERO, |spent| now.saturating_sub(spent));
            record.processor_time = processor_time().map_or(Duration::ZERO, since);
            observer.op(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl Observer for Log {
        fn op(&self, record: OpRecord) {
            let line = format!("{} {} {}", record.scope, record.op, record.shapes);
            self.0.lock().expect("one thread").push(line);
        }
        fn tensor(&self, name: &str, tensor: &Tensor) {
            self.0.lock().expect("one thread").push(format!("{name} {:?}", tensor.shape()));
        }
        fn wants_tensors(&self) -> bool {
            true
        }
    }

    #[test]
    fn ops_and_tensors_are_reported_with_their_scope() {
        let log = Arc::new(Log::default());
        let x = Tensor::zeros(&Device::reference(), &[2, 3]).expect("zeros");
        observe(log.clone(), || {
            let _stage = scope(|| "stage");
            let _block = scope(|| format!("block.{}", 0));
            tap("x", &x);
            tap("", &x);
            drop(op("softmax", 30, [x.shape()]));
        });
        tap("unseen", &x);
        let lines = log.0.lock().expect("one thread");
        assert_eq!(
            *lines,
            ["stage.block.0.x [2, 3]", "stage.block.0 [2, 3]", "stage.block.0 softmax [2, 3]"]
        );
    }
}
