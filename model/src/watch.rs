//! Being told of each step the model takes, and stopping it.

use crate::{Error, Result};
use std::cell::Cell;
use std::ops::ControlFlow;

/// A part of the model's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Looking at the picture: a step is a block of the ViT.
    Image,
    /// Reading the sentence: a step is a block of the text encoder. A sentence seen before takes none.
    Text,
    /// Looking for what it means: a step is a layer of the fusion encoder or of the decoder.
    Grounding,
    /// Making masks: a step is a mask.
    Masks,
}

/// A step that is about to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The part of the work.
    pub stage: Stage,
    /// How many steps of this stage are done.
    pub done: usize,
    /// How many it has.
    pub of: usize,
}

/// Who is told; `Break` stops the work with [`Error::Stopped`].
pub(crate) type Watch<'a> = &'a dyn Fn(Step) -> ControlFlow<()>;

/// The steps of a stage.
pub(crate) struct Steps<'a> {
    watch: Watch<'a>,
    stage: Stage,
    of: usize,
    done: Cell<usize>,
}

impl<'a> Steps<'a> {
    /// Of a stage that has so many.
    pub fn new(watch: Watch<'a>, stage: Stage, of: usize) -> Self {
        Self { watch, stage, of, done: Cell::new(0) }
    }

    /// Called before each step.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the watcher says so.
    pub fn next(&self) -> Result<()> {
        let done = self.done.replace(self.done.get() + 1);
        match (self.watch)(Step { stage: self.stage, done, of: self.of }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Stopped),
        }
    }
}

/// Nobody is told.
pub(crate) fn unwatched(_: Step) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
