//! The model at work on a batch: one picture at a time on all threads, or, where a model is too small to keep the threads
//! busy, a picture a thread.

use crate::ask::{Asker, is_gpu_lost};
use crate::batch::{Done, End, Opened, Step, tell_notes};
use crate::model::is_small;
use crate::profile::Profile;
use crate::progress::Progress;
use crate::questions::Questions;
use crate::terminal::Messages;
use anyhow::{Result, bail};
use sam3i::engine::{Backend, trace};
use sam3i::{Checkpoint, CpuOptions, Device, Model, ResizeMode, SegmentOptions, Tiling};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What workers have in common.
pub struct Work<'a> {
    pub questions: &'a Questions,
    pub checkpoint: Arc<Checkpoint>,
    pub device: &'a Device,
    pub dtype: &'a str,
    pub resize: ResizeMode,
    pub options: SegmentOptions,
    pub tiling: Option<Tiling>,
    pub nms: Option<f64>,
    pub messages: Messages,
    /// Sees every op, if anybody will read it.
    pub profile: Option<Arc<Profile>>,
    /// The directory that intermediate tensors go to.
    pub dump: Option<PathBuf>,
    pub progress: Progress,
}

/// Where workers take pictures from.
struct Queue<I> {
    pictures: I,
    taken: usize,
    /// A permit for each picture; the writer gives them back, so that no worker runs far ahead of another.
    permits: Receiver<()>,
}

/// How many pictures are worked on at a time. `pictures` is how many there are, if that is known.
pub fn count(checkpoint: &Checkpoint, device: &Device, pictures: Option<usize>) -> usize {
    let cpu = matches!(device.backend(), Some(Backend::Cpu(_)));
    if !cpu || !is_small(checkpoint) {
        return 1;
    }
    device.threads().min(pictures.unwrap_or(usize::MAX)).max(1)
}

/// Runs a worker on a thread of its own each; a single one stays on this thread. Each is told by the function it is given
/// whether another has failed.
///
/// # Errors
/// The first worker's that failed.
pub fn run(workers: usize, work: impl Fn(&dyn Fn() -> bool) -> Result<()> + Sync) -> Result<()> {
    let failed = AtomicBool::new(false);
    let work = || {
        let worked = work(&|| failed.load(Ordering::SeqCst));
        failed.fetch_or(worked.is_err(), Ordering::SeqCst);
        worked
    };
    if workers == 1 {
        return work();
    }
    thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let ended =
            handles.into_iter().map(|handle| handle.join().unwrap_or_else(|panic| resume_unwind(panic)));
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

/// A worker's model: on the device, or on a thread of its own where there are several.
///
/// # Errors
/// When it cannot be loaded.
pub fn load(checkpoint: &Arc<Checkpoint>, device: &Device, workers: usize) -> Result<Model> {
    let device = match device.backend() {
        Some(Backend::Cpu(isa)) if workers > 1 => {
            Device::cpu(&CpuOptions::default().isa(isa).dtype(device.dtype()).threads(1))?
        }
        _ => device.clone(),
    };
    Ok(device.run(|| Model::from_checkpoint(checkpoint.clone(), &device))?)
}

impl Work<'_> {
    /// Works until there are no more pictures, Ctrl-C is pressed, or nobody takes results.
    ///
    /// # Errors
    /// When a model cannot be loaded; the first reason.
    pub fn run(
        &self,
        workers: usize,
        pictures: impl Iterator<Item = Opened> + Send,
        done: &SyncSender<(usize, Done)>,
        permits: Receiver<()>,
    ) -> Result<()> {
        let queue = Mutex::new(Queue { pictures, taken: 0, permits });
        let loaded = AtomicBool::new(false);
        run(workers, |failed| self.work(workers, &queue, done, &loaded, failed))
    }

    fn work<I: Iterator<Item = Opened> + Send>(
        &self,
        workers: usize,
        queue: &Mutex<Queue<I>>,
        done: &SyncSender<(usize, Done)>,
        loaded: &AtomicBool,
        failed: &dyn Fn() -> bool,
    ) -> Result<()> {
        let mut asker = None;
        while !failed() {
            let Some((place, Opened { input, step })) = next(queue) else { break };
            let end = match step {
                Step::Failed(error) => End::Failed(error),
                Step::Finished(report) => End::Finished(Box::new(report)),
                Step::Read(picture, reading) => {
                    tell_notes(&input, &picture, self.messages);
                    let queries = self.questions.of(input.file());
                    let mut load = Duration::ZERO;
                    if asker.is_none() && !queries.is_empty() {
                        let start = Instant::now();
                        match self.asker(workers) {
                            Ok(made) => asker = Some(made),
                            Err(error) => {
                                // The others wait for what follows; nobody takes this if they have gone.
                                let _ = done.send((place, Done { input, end: End::GivenUp }));
                                return Err(error);
                            }
                        }
                        if !loaded.swap(true, Ordering::SeqCst) {
                            load = start.elapsed();
                            self.messages.detail(&format!("model loaded in {:.1} s", load.as_secs_f64()));
                        }
                    }
                    match asker.as_ref().filter(|_| !queries.is_empty()) {
                        None => End::Unasked,
                        Some(asker) => {
                            let ask = || asker.answer(&input, picture, &queries, [load, reading]);
                            match asker.model().device().run(|| self.watched(ask)) {
                                Ok(Some(answer)) => End::Answered(Box::new(answer)),
                                Ok(None) => End::GivenUp, // Ctrl-C; there will be no next picture
                                Err(error) if is_gpu_lost(&error) => {
                                    let _ = done.send((place, Done { input, end: End::Failed(error) }));
                                    bail!(
                                        "the GPU was lost twice, so no further pictures are asked; start again (with                                          --skip-existing what is finished is left out), or use --device cpu"
                                    );
                                }
                                Err(error) => End::Failed(error),
                            }
                        }
                    }
                }
            };
            if done.send((place, Done { input, end })).is_err() {
                break; // the writer has gone
            }
        }
        Ok(())
    }

    /// A model: on the device, or on a thread of its own where there are several.
    fn asker(&self, workers: usize) -> Result<Asker> {
        Ok(Asker {
            model: Mutex::new(Arc::new(load(&self.checkpoint, self.device, workers)?)),
            restarted: AtomicBool::new(false),
            device: self.device.name().to_owned(),
            dtype: self.dtype.to_owned(),
            resize: self.resize,
            options: self.options.clone(),
            tiling: self.tiling,
            nms: self.nms,
            dump: self.dump.clone().map(|dir| (dir, self.profile.clone())),
            progress: self.progress.clone(),
        })
    }

    /// Runs `f` with the profile watching, if there is one. It watches the thread that `f` runs on.
    fn watched<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.profile {
            Some(profile) => trace::observe(profile.clone(), f),
            None => f(),
        }
    }
}

/// The next picture and its place. The others wait meanwhile: pictures come one by one in any case.
fn next<I: Iterator<Item = Opened>>(queue: &Mutex<Queue<I>>) -> Option<(usize, Opened)> {
    let mut queue: MutexGuard<Queue<I>> = queue.lock().unwrap_or_else(PoisonError::into_inner);
    queue.permits.recv().ok()?;
    let opened = queue.pictures.next()?;
    queue.taken += 1;
    Some((queue.taken - 1, opened))
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use super::*;
    use crate::examples::Examples;
    use crate::inputs::Input;
    use crate::query::Query;
    use sam3i::Level;
    use sam3i::Picture;
    use sam3i::engine::gpu::{GpuBounds, GpuOptions};
    use std::path::Path;
    use std::sync::mpsc::sync_channel;

    fn data(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name)
    }

    fn gpu(submissions: u64) -> Option<Device> {
        let bounds = GpuBounds { submissions, ..GpuBounds::default() };
        sam3i_cases::gpu::start(&GpuOptions::default().bounds(bounds)).pop()
    }

    fn pictures(count: usize) -> impl Iterator<Item = Opened> {
        let picture = Picture::open(&data("recorded/images/m0.png"), &Default::default()).expect("a picture");
        (0..count).map(move |i| {
            let name = PathBuf::from(format!("{i}.png"));
            let step = Step::Read(picture.clone(), Duration::ZERO);
            Opened { input: Input { path: name.clone(), name }, step }
        })
    }

    /// What becomes of so many pictures on a device, and of the batch.
    fn batch(device: &Device, count: usize) -> (Vec<End>, Result<()>) {
        let mut questions = Questions::default();
        questions.add(None, Query::new(Some("person".to_owned()), Level::Concept, &Examples::default()));
        let work = Work {
            questions: &questions,
            checkpoint: Arc::new(Checkpoint::open(&data("micro.safetensors")).expect("a checkpoint")),
            device,
            dtype: "f32",
            resize: ResizeMode::Exact8,
            options: SegmentOptions::default().threshold(0.1),
            tiling: None,
            nms: None,
            messages: Messages::new(true, false),
            profile: None,
            dump: None,
            progress: Progress::hidden(),
        };
        let (done, told) = sync_channel(count);
        let (permit, permits) = sync_channel(count + 1);
        (0..=count).for_each(|_| permit.send(()).expect("there is room"));
        let ended = work.run(1, pictures(count), &done, permits);
        drop(done);
        (told.into_iter().map(|(_, done)| done.end).collect(), ended)
    }

    /// The GPU is lost in the second picture, and the one that takes its place in the third.
    #[test]
    fn a_gpu_that_is_lost_is_started_anew_once_and_then_the_batch_ends() {
        let Some(device) = gpu(u64::MAX) else { return };
        let (ends, ended) = batch(&device, 1);
        ended.expect("nothing is lost");
        let [End::Answered(whole)] = &ends[..] else { panic!("it is answered") };
        let found = |answer: &crate::batch::Answer| {
            serde_json::to_string(&answer.report.prompts).expect("a report is JSON")
        };
        let one_picture = device.gpu_counts().submissions;
        drop(device);

        let lost_later = gpu(one_picture + 1).expect("it was there before");
        let (ends, ended) = batch(&lost_later, 2);
        ended.expect("it goes on with the GPU started anew");
        let [End::Answered(first), End::Answered(second)] = &ends[..] else { panic!("both are answered") };
        assert_eq!(lost_later.gpu_counts().submissions, one_picture + 2, "it was lost in the second picture");
        assert_eq!([found(first), found(second)], [found(whole), found(whole)]);

        let lost_again = gpu(one_picture + 1).expect("it was there before");
        let (ends, ended) = batch(&lost_again, 5);
        let [End::Answered(_), End::Answered(_), End::Failed(error)] = &ends[..] else {
            panic!("two are answered, one is not, and the others are not asked: {} ends", ends.len())
        };
        assert!(is_gpu_lost(error), "{error:#}");
        let ended = ended.expect_err("the batch ends").to_string();
        assert!(ended.contains("lost twice") && ended.contains("--device cpu"), "{ended}");
    }
}
