//! A run over many pictures, in three stages at a time: while the model looks at a picture, a thread reads the next one and
//! another writes the results of the one before, in the order of the pictures. So at most four pictures are in memory, and
//! two more for each further worker.

use crate::ahead::Ahead;
use crate::files::{Answered, Files, Layout};
use crate::inputs::{Input, Source, is_everyday};
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::query::Query;
use crate::questions::Questions;
use crate::report::{PromptReport, Report};
use crate::stop;
use crate::terminal::{self, Messages, ReaderLeft};
use anyhow::Result;
use sam3i::picture::DecodeOptions;
use sam3i::{MaskLogits, Picture};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// A picture on its way to the model.
pub struct Opened {
    pub input: Input,
    pub step: Step,
}

/// How far it is.
pub enum Step {
    /// In memory, and how long that took.
    Read(Picture, Duration),
    /// It was answered by an earlier run.
    Finished(Report),
    Failed(anyhow::Error),
}

/// A picture on its way to its files.
pub struct Done {
    pub input: Input,
    pub end: End,
}

/// How it ended.
pub enum End {
    Answered(Box<Answer>),
    Finished(Box<Report>),
    /// Nothing was asked of it.
    Unasked,
    /// The run ends before it was answered. It is told all the same: others wait for their turn behind it.
    GivenUp,
    Failed(anyhow::Error),
}

/// A picture's answers.
pub struct Answer {
    pub picture: Picture,
    pub report: Report,
    /// Of all masks in order, if they are wanted.
    pub logits: Vec<MaskLogits>,
}

/// Reads pictures one ahead. `layout` knows those that an earlier run finished, and those whose names are taken.
pub fn read(
    inputs: Vec<Input>,
    options: &DecodeOptions,
    layout: Option<Layout>,
    questions: &Arc<Questions>,
) -> Ahead<Opened> {
    let (options, questions) = (options.clone(), questions.clone());
    let of_sources = options.clone();
    let sources = inputs.into_iter().flat_map(move |input| input.sources(&of_sources));
    Ahead::start(sources.map(move |source| open(source, &options, layout.as_ref(), &questions)))
}

fn open(source: Source, options: &DecodeOptions, layout: Option<&Layout>, questions: &Questions) -> Opened {
    let input = source.input.clone();
    if let Some(Err(error)) = layout.map(|layout| layout.check_free(&input)) {
        return Opened { input, step: Step::Failed(error) };
    }
    if let Some(report) = layout.and_then(|layout| layout.finished(&input, questions)) {
        return Opened { input, step: Step::Finished(report) };
    }
    let start = Instant::now();
    let step = match source.read(options) {
        Ok(picture) => match check(&picture, &questions.of(input.file())) {
            Ok(()) => Step::Read(picture, start.elapsed()),
            Err(error) => Step::Failed(error),
        },
        Err(error) => Step::Failed(error),
    };
    Opened { input, step }
}

/// Checks the prompts against a picture's size.
fn check(picture: &Picture, queries: &[&Query]) -> Result<()> {
    Ok(queries.iter().try_for_each(|query| query.prompt.check(picture.width, picture.height))?)
}

/// What was done to a picture on the way, for people.
pub fn tell_notes(input: &Input, picture: &Picture, messages: Messages) {
    for note in &picture.notes {
        let line = format!("{}: {note}", input.title());
        if is_everyday(note) { messages.detail(&line) } else { messages.say(&line) }
    }
}

/// Gives results out as they come.
pub struct Writer<'a> {
    pub files: Option<&'a mut Files>,
    /// Whether reports go to stdout.
    pub json: bool,
    pub messages: Messages,
    pub progress: Progress,
    pub tally: Tally,
}

/// How a batch went so far.
#[derive(Debug, Default)]
pub struct Tally {
    pub found: usize,
    pub failed: bool,
    /// Pictures that an earlier run finished.
    pub finished: usize,
}

impl Tally {
    /// Tells what went wrong with a picture.
    pub fn tell(&mut self, input: &Input, error: &anyhow::Error) {
        self.failed = true;
        terminal::error(&about(&input.title(), &terminal::describe(error)));
    }

    /// How the batch ends.
    pub fn outcome(&self, fail_empty: bool) -> Outcome {
        match (stop::asked(), self.failed, self.found) {
            (true, ..) => Outcome::Interrupted,
            (_, true, _) => Outcome::SomeFailed,
            (_, false, 0) if fail_empty => Outcome::NothingFound,
            _ => Outcome::Done,
        }
    }
}

impl Writer<'_> {
    /// Writes on a thread of its own what `make` gives it with the pictures' places, in their order; returns when both are
    /// done. `make` gets two permits a worker, one for each picture that is taken; they come back when it is written.
    ///
    /// # Errors
    /// Those of `make`, which end the batch.
    pub fn run<R>(
        &mut self,
        workers: usize,
        make: impl FnOnce(&SyncSender<(usize, Done)>, Receiver<()>) -> Result<R>,
    ) -> Result<R> {
        let (give, take) = sync_channel(0);
        let (permit, permits) = sync_channel(2 * workers);
        thread::scope(|scope| {
            (0..2 * workers).for_each(|_| permit.send(()).expect("there is room, and the other end is here"));
            scope.spawn(|| self.write_in_order(take, permit));
            let made = make(&give, permits);
            drop(give); // the writer ends when it has written what it was given
            made
        })
    }

    fn write_in_order(&mut self, take: Receiver<(usize, Done)>, permit: SyncSender<()>) {
        let (mut waiting, mut next) = (BTreeMap::new(), 0_usize);
        for (place, done) in take {
            waiting.insert(place, done);
            while let Some(done) = waiting.remove(&next) {
                if let Err(ReaderLeft) = self.write(done) {
                    return; // the workers end too: nobody takes from them
                }
                next += 1;
                let _ = permit.try_send(()); // nobody takes it when there are no more pictures
            }
        }
    }

    /// Writes a picture's results. When the reader of stdout has gone and no files are written, there is nobody left to
    /// work for.
    fn write(&mut self, Done { input, end }: Done) -> Result<(), ReaderLeft> {
        if matches!(end, End::GivenUp) {
            return Ok(());
        }
        let skipped = matches!(end, End::Finished(_) | End::Unasked);
        match self.write_one(&input, end) {
            Ok(found) => self.tally.found += found,
            Err(error) if error.is::<ReaderLeft>() => return Err(ReaderLeft),
            Err(error) => self.tally.tell(&input, &error),
        }
        self.progress.step(skipped);
        Ok(())
    }

    /// How many instances there are.
    fn write_one(&mut self, input: &Input, end: End) -> Result<usize> {
        let report = match end {
            End::Failed(error) => return Err(error),
            End::GivenUp => return Ok(0),
            End::Unasked => {
                self.messages.say(&format!("{}: nothing is asked of it", input.title()));
                return Ok(0);
            }
            End::Finished(report) => {
                self.tally.finished += 1;
                self.files.as_mut().map(|files| files.add(&report)).transpose()?;
                self.messages.detail(&format!("{}: its files are there already", input.title()));
                *report
            }
            End::Answered(answer) => {
                let Answer { picture, report, logits } = *answer;
                let answered = Answered { picture: &picture, report: &report, logits: &logits };
                let file =
                    self.files.as_mut().map(|files| files.write(input, &answered)).transpose()?.flatten();
                for prompt in &report.prompts {
                    self.messages.say(&summary(&input.title(), prompt, file.as_deref()));
                }
                report
            }
        };
        if self.json {
            match terminal::print(&(serde_json::to_string(&report)? + "\n")) {
                Err(gone) if gone.is::<ReaderLeft>() && self.files.is_some() => self.json = false,
                printed => printed?,
            }
        }
        Ok(report.items().count())
    }
}

/// The message with the file's name in front, once.
fn about(name: &str, message: &str) -> String {
    if message.starts_with(name) { message.to_owned() } else { format!("{name}: {message}") }
}

/// A line for people about an answer.
fn summary(name: &str, prompt: &PromptReport, file: Option<&Path>) -> String {
    let found = match prompt.instances.first() {
        Some(best) => format!("{} found, best {:.2}", prompt.instances.len(), best.score),
        None => "nothing found".to_owned(),
    };
    let file = file.map_or_else(String::new, |file| format!(" -> {}", file.display()));
    format!("{name}: {} ({}): {found}{file}", prompt.title(), prompt.level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_their_file_once() {
        assert_eq!(about("a.png", "a.png: cut off"), "a.png: cut off");
        assert_eq!(about("a.png", "box outside"), "a.png: box outside");
    }

    #[test]
    fn an_error_wins_over_nothing_found() {
        let outcome = |found, failed, fail_empty| Tally { found, failed, finished: 0 }.outcome(fail_empty);
        assert_eq!(outcome(0, false, false), Outcome::Done);
        assert_eq!(outcome(0, false, true), Outcome::NothingFound);
        assert_eq!(outcome(1, false, true), Outcome::Done);
        assert_eq!(outcome(0, true, true), Outcome::SomeFailed);
    }
}
