//! `--model`: where the model is, and what to do when there is none.

use anyhow::{Result, bail};
use sam3i::{Checkpoint, Level};
use std::path::PathBuf;

/// The option.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Model and device")]
pub struct ModelArgs {
    /// The model: a directory with config.json and model.safetensors, or a .safetensors or .pt file
    /// [default: what the environment variable SAM3I_MODEL names]
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
}

/// The environment variable that names a model.
const VARIABLE: &str = "SAM3I_MODEL";
/// The steps to a model.
const HOW_TO_GET_ONE: &str = "\
no model: name one with --model PATH or the environment variable SAM3I_MODEL. To get one:
  1. Download a checkpoint.
     SAM3-I (sentences and instructions): the links in the README of the SAM3-I repository on GitHub.
     Base SAM3 (noun phrases and boxes only): huggingface.co/facebook/sam3, after its owner grants access:
       hf download facebook/sam3 --local-dir sam3
  2. Use it as it is:      sam3i segment photo.jpg -p \"a mug\" --model CHECKPOINT.pt
     or convert it once:   sam3i convert CHECKPOINT.pt -o sam3i.safetensors
For a dry run without a download (random weights, meaningless masks):
  sam3i synth --config CONFIG.json -o dry-run && sam3i segment photo.jpg -p \"a mug\" --model dry-run";

impl ModelArgs {
    /// The model's path, if one was named. A variable that is set to nothing names none.
    fn path(&self) -> Option<PathBuf> {
        let named = || std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        self.model.clone().or_else(named)
    }

    /// Opens the checkpoint: reads its list of tensors, not yet their values.
    ///
    /// # Errors
    /// When no model was named, and those of [`Checkpoint::open`].
    pub fn open(&self) -> Result<Checkpoint> {
        match self.path() {
            Some(path) => Ok(Checkpoint::open(&path)?),
            None => bail!(HOW_TO_GET_ONE),
        }
    }
}

/// Why prompts of these levels will not run as asked on this checkpoint; `None` if they will.
pub fn missing_adapters(checkpoint: &Checkpoint, levels: &[Level]) -> Option<String> {
    let level = levels.iter().max().filter(|&&level| level != Level::Concept)?;
    let adapters = checkpoint.adapters();
    let path = checkpoint.path().display();
    if !adapters.any() {
        return Some(format!(
            "{path} is a {} checkpoint without adapters: the level {level} runs as concept; use a SAM3-I checkpoint, \
             or --level concept",
            checkpoint.layout()
        ));
    }
    let absent = adapters.absent();
    (!absent.is_empty())
        .then(|| format!("{path} has no {} adapters: the model runs without them", absent.join(", ")))
}
