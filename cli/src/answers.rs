//! The open questions of a data set, answered into the journal: one picture at a time on all threads, or, where a model is too
//! small to keep them busy, a picture a thread. Pictures are read one ahead.

use crate::ahead::Ahead;
use crate::ask::{check_number, is_gpu_lost, unless_stopped};
use crate::journal::Journal;
use crate::profile::Profile;
use crate::progress::Progress;
use crate::terminal::{self, Messages};
use crate::{stop, workers};
use anyhow::{Context, Result};
use sam3i::engine::trace;
use sam3i::metrics::queries::Question;
use sam3i::metrics::{Prediction, Score};
use sam3i::{Checkpoint, Device, Instance, Model, Picture, Prompt, ResizeMode, SegmentOptions};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A picture and what is asked of it.
pub struct Asked<'a> {
    /// Its name in the annotation file.
    pub file_name: &'a str,
    pub path: PathBuf,
    pub questions: Vec<Question<'a>>,
}

/// A run over the pictures of a data set.
pub struct Answering<'a> {
    pub checkpoint: Arc<Checkpoint>,
    pub device: &'a Device,
    pub workers: usize,
    pub resize: ResizeMode,
    pub options: SegmentOptions,
    pub messages: Messages,
    /// Whether a picture that cannot be answered is a warning or an error.
    pub skip_bad: bool,
    /// Sees every op, if anybody will read it.
    pub profile: Option<Arc<Profile>>,
}

/// What the workers share.
struct Shared<'a> {
    journal: Mutex<&'a mut Journal>,
    progress: Progress,
    bad: Mutex<BTreeSet<String>>,
}

/// A picture that was read, or why not.
type Read<'a> = (Asked<'a>, sam3i::Result<Picture>);

impl Answering<'_> {
    /// Answers everything, until Ctrl-C is pressed. Pictures that cannot be read or answered are told and do not stop the
    /// others; their names come back.
    ///
    /// # Errors
    /// When the model cannot be loaded, the journal not be written, or the GPU is lost.
    pub fn run(
        &self,
        pictures: Vec<Asked>,
        read: impl FnMut(PathBuf) -> sam3i::Result<Picture> + Send + 'static,
        journal: &mut Journal,
        progress: Progress,
    ) -> Result<BTreeSet<String>> {
        let paths: Vec<PathBuf> = pictures.iter().map(|asked| asked.path.clone()).collect();
        let queue = Mutex::new(pictures.into_iter().zip(Ahead::start(paths.into_iter().map(read))));
        let shared = Shared { journal: Mutex::new(journal), progress, bad: Mutex::default() };
        workers::run(self.workers, |failed| self.work(&queue, &shared, failed))?;
        Ok(shared.bad.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn work<'a>(
        &self,
        queue: &Mutex<impl Iterator<Item = Read<'a>>>,
        shared: &Shared,
        failed: &dyn Fn() -> bool,
    ) -> Result<()> {
        let mut model = None;
        while !failed() && !stop::asked() {
            let Some((asked, picture)) = lock(queue).next() else { break };
            if model.is_none() {
                model = Some(workers::load(&self.checkpoint, self.device, self.workers)?);
            }
            let Some(model) = &model else { break };
            let answered = match picture {
                Ok(picture) => {
                    model.device().run(|| self.watched(|| self.answer(model, &asked, &picture, shared)))
                }
                Err(error) => Err(Failure::Picture(error.into())),
            };
            match answered {
                Ok(()) => {}
                Err(Failure::Run(error)) => return Err(error),
                Err(Failure::Picture(error)) => self.tell(&asked, &error, shared),
            }
            shared.progress.step(false);
        }
        Ok(())
    }

    /// Answers the questions about one picture, as far as Ctrl-C lets it.
    fn answer(
        &self,
        model: &Model,
        Asked { path, questions, .. }: &Asked,
        picture: &Picture,
        shared: &Shared,
    ) -> Result<(), Failure> {
        let encoded = model.encode_image_watched(&picture.view(), self.resize, |_| stop::flow());
        let Some(image) = unless_stopped(encoded).with_context(|| path.display().to_string())? else {
            return Ok(());
        };
        for &question in questions {
            let (_, level, text) = question;
            let told = || format!("{}, {level} instruction {text:?}", path.display());
            let prompt = Prompt::text(text).level(level);
            let found = model.segment_watched(&image, &prompt, &self.options, |_| stop::flow());
            let Some(found) = unless_stopped(found).with_context(told)? else { return Ok(()) };
            check_number(&found, &format!("{text:?}")).with_context(told)?;
            let added = lock(&shared.journal).add(question, in_query_order(found.instances));
            added.map_err(Failure::Run)?;
        }
        Ok(())
    }

    fn tell(&self, asked: &Asked, error: &anyhow::Error, shared: &Shared) {
        let text = terminal::describe(error);
        if self.skip_bad {
            self.messages.warn(&text);
        } else {
            terminal::error(&text);
        }
        lock(&shared.bad).insert(asked.file_name.to_owned());
    }

    /// Runs `f` with the profile watching, if there is one.
    fn watched<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.profile {
            Some(profile) => trace::observe(profile.clone(), f),
            None => f(),
        }
    }
}

/// What went wrong, and how far it reaches.
enum Failure {
    /// One picture.
    Picture(anyhow::Error),
    /// The run: every picture behind it would fail too.
    Run(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        if is_gpu_lost(&error) { Self::Run(error) } else { Self::Picture(error) }
    }
}

fn lock<T: ?Sized>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The predictions of a record: in the order of the model's queries, not of their scores.
fn in_query_order(mut instances: Vec<Instance>) -> Vec<Prediction> {
    instances.sort_by_key(|instance| instance.query);
    let prediction = |instance: Instance| Prediction {
        rle: instance.rle.into(),
        score: Score::Value(f64::from(instance.score)),
    };
    instances.into_iter().map(prediction).collect()
}
