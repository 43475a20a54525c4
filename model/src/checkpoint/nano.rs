//! nano: the model that is part of the program.

use super::{Checkpoint, WeightFile};
use crate::{Config, Error, Result};
use std::path::Path;

/// What reports call it, where a file has its path.
const NAME: &str = "nano";
static WEIGHTS: &[u8] = include_bytes!("../../data/nano/model.safetensors");
const CONFIG: &str = include_str!("../../data/nano/config.json");

impl Checkpoint {
    /// nano, a miniature SAM3-I that comes with this library (feature `embedded-nano`).
    ///
    /// It knows drawn scenes of everyday things, not photographs. Trained by `tools/nano`.
    ///
    /// # Errors
    /// None that a user could meet: the tests of this module read the same bytes.
    pub fn nano() -> Result<Self> {
        let file = WeightFile::from_static(NAME, WEIGHTS)?;
        let config = Config::from_json(CONFIG)
            .map_err(|problem| Error::Config { origin: format!("{NAME}'s config.json"), problem })?;
        Self::of_files(Path::new(NAME), vec![file], None, Some(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{ConfigSource, FileDType};
    use crate::required_tensors;

    /// What may be added to the program.
    const MOST_BYTES: usize = 24 << 20;
    const PARAMETERS: usize = 5_294_206;

    #[test]
    fn nano_is_whole_and_small() {
        let nano = Checkpoint::nano().expect("it is a checkpoint");
        assert!(WEIGHTS.len() <= MOST_BYTES, "{} bytes", WEIGHTS.len());
        assert_eq!(nano.config().name, NAME);
        assert_eq!(nano.config_source(), ConfigSource::Beside);
        assert_eq!(nano.param_count(), PARAMETERS);
        assert_eq!(nano.adapters().absent(), [""; 0]);
        let needed = required_tensors(nano.config(), nano.adapters(), nano.point_prompts()).expect("sizes");
        nano.check(&needed).expect("every tensor that is needed, and no other");
        for name in nano.names() {
            assert_eq!(nano.dtype(name), Some(FileDType::F16), "{name}");
            nano.read(name).expect("finite numbers");
        }
    }
}
