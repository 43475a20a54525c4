//! `--model`: where the model is, and what to do when there is none.

use crate::hub;
use crate::terminal::Messages;
use anyhow::{Result, bail, ensure};
use sam3i::{Checkpoint, Config, Level};
use std::path::{Path, PathBuf};

/// The option.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Model and device")]
pub struct ModelArgs {
    /// The model: a directory with config.json and model.safetensors, a .safetensors or .pt file, a name in
    /// Hugging Face's cache such as facebook/sam3, or nano, the small one that is built in [default: what the environment variable SAM3I_MODEL names, else nano]
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
}

/// The environment variable that names a model.
const VARIABLE: &str = "SAM3I_MODEL";
/// The name of the model that is built in. A file of this name is `./nano`.
const NANO: &str = "nano";
/// What nano's answers must not be read without.
const ABOUT_NANO: &str = "\
model: nano, built in: it knows drawn scenes of everyday things, not photographs; see README for the published weights";
/// The steps to a model.
const HOW_TO_GET_ONE: &str = "\
Name a model with --model PATH or the environment variable SAM3I_MODEL. To get one:
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

    /// Opens the checkpoint: reads its list of tensors, not yet their values. Says so when it is nano.
    ///
    /// # Errors
    /// When no model was named and none is built in, and those of [`open`].
    pub fn open(&self, messages: Messages) -> Result<Checkpoint> {
        let path = match self.path() {
            Some(path) => path,
            None if cfg!(feature = "embedded-nano") => NANO.into(),
            None => bail!("no model.\n{HOW_TO_GET_ONE}"),
        };
        if is_nano(&path) {
            messages.say(ABOUT_NANO);
        }
        let named = if self.model.is_some() { "--model" } else { VARIABLE };
        open_named(&path, None, named)
    }
}

/// Whether a model is so small that one thread does best with a picture: the steps are too short to share.
pub fn is_small(checkpoint: &Checkpoint) -> bool {
    const SMALL: usize = 20_000_000;
    checkpoint.param_count() <= SMALL
}

/// Whether a model's path means the one that is built in.
fn is_nano(path: &Path) -> bool {
    path == Path::new(NANO)
}

/// Opens the model a user names, a path or `nano`; `config` are its sizes where no file beside it has them.
///
/// # Errors
/// Those of [`Checkpoint::open`]; when there is no such file, nano is not built in, or sizes are given for it.
pub fn open(path: &Path, config: Option<Config>) -> Result<Checkpoint> {
    open_named(path, config, "")
}

/// As [`open`]; `named` is the option or variable that named the model, for the message about one that is not there.
fn open_named(path: &Path, config: Option<Config>, named: &str) -> Result<Checkpoint> {
    if is_nano(path) {
        ensure!(config.is_none(), "--config: {NANO} brings its own sizes; leave the option out");
        return nano();
    }
    // A file goes before what the cache has by the same name.
    if path.exists() {
        return Ok(Checkpoint::open_with(path, config)?);
    }
    let cache = hub::cache(|name| std::env::var_os(name));
    match cache.as_ref().and_then(|cache| hub::find(cache, path)) {
        Some(found) => Ok(Checkpoint::open_with(&found, config)?),
        None => bail!(no_such_model(path, named, cache.as_deref())),
    }
}

/// What to do about a model that is not there.
fn no_such_model(path: &Path, named: &str, cache: Option<&Path>) -> String {
    let (by, model) = (if named.is_empty() { String::new() } else { format!("{named}: ") }, path.display());
    let cached = cache.filter(|_| hub::parts(path).is_some()).map(Path::display);
    match cached {
        Some(cache) => format!(
            "{by}{model}: no model here: no such file or directory, and Hugging Face's cache ({cache}) has no model of this name. To \
             download it:\n  hf download {model}"
        ),
        None => format!(
            "{by}{model}: no model here: no such file or directory; check the path.\n{HOW_TO_GET_ONE}"
        ),
    }
}

#[cfg(feature = "embedded-nano")]
fn nano() -> Result<Checkpoint> {
    Ok(Checkpoint::nano()?)
}

#[cfg(not(feature = "embedded-nano"))]
fn nano() -> Result<Checkpoint> {
    bail!(
        "{NANO} was left out of this build (feature embedded-nano); name a file, ./{NANO} if it is called so"
    )
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
