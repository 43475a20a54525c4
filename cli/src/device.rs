//! `--device`, `--dtype`, `--threads` and `--max-memory`: what computes, in which type, and with how much.

use crate::memory;
use crate::model::is_small;
use crate::terminal::Messages;
use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
#[cfg(feature = "gpu")]
use sam3i::engine::gpu::{GpuChoice, GpuOptions};
use sam3i::engine::{DType, ISA_VARIABLE, Isa};
use sam3i::{Checkpoint, CpuOptions, Device, Level};
use std::str::FromStr;

/// Why there is no GPU device.
#[cfg(not(feature = "gpu"))]
pub const NO_GPU: &str = "this build has no GPU device";

/// The options.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Model and device")]
pub struct DeviceArgs {
    /// What computes: auto, cpu, reference (slow, for comparison), gpu, gpu:N or a GPU's name (`sam3i devices` lists them)
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Choice,
    /// The type to compute in: auto, f32, bf16 or int8. auto is bf16 for a large model on a processor that has it, else f32;
    /// bf16 is faster there, and rounds products; int8 rounds linear layers to 8 bits: faster still, smaller, and less exact.
    /// On a GPU: f32, or f16 for weights of half the size
    #[arg(long, value_name = "TYPE", value_enum, hide_possible_values = true, default_value = "auto")]
    dtype: ComputeType,
    /// Threads of the CPU device [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Most memory for the model, such as 4G or 900M; pictures come on top. A run that needs more is refused before it begins
    #[arg(long, value_name = "BYTES", value_parser = memory::parse_size)]
    max_memory: Option<u64>,
}

/// A value of `--device`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    Auto,
    Cpu,
    Reference,
    Gpu,
    /// By its place in the list of `sam3i devices`.
    GpuNumber(usize),
    /// By a part of its name.
    GpuName(String),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "reference" => Ok(Self::Reference),
            "gpu" => Ok(Self::Gpu),
            "" => Err(DEVICES.to_owned()),
            _ => match name.strip_prefix("gpu:") {
                None => Ok(Self::GpuName(name.to_owned())),
                Some(number) => {
                    number.parse::<u16>().map(|n| Self::GpuNumber(n.into())).map_err(|_| DEVICES.to_owned())
                }
            },
        }
    }
}

const DEVICES: &str = "the devices are auto, cpu, reference, gpu, gpu:N and a GPU's name";

/// A value of `--dtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ComputeType {
    Auto,
    F32,
    Bf16,
    F16,
    Int8,
}

/// What will compute.
pub struct Chosen {
    /// The device.
    pub device: Device,
    /// The name of the type it computes in.
    pub dtype: &'static str,
}

impl DeviceArgs {
    /// Starts the device that was asked for, and says which one it is when it was left open. `model` is what will run there.
    ///
    /// # Errors
    /// When this build or this machine has no such device, or the device does not compute in the type.
    pub fn start(&self, model: Option<&Checkpoint>, messages: Messages) -> Result<Chosen> {
        let (device, why) = match &self.device {
            Choice::Reference => (self.reference()?, None),
            Choice::Cpu => (self.cpu(model)?, None),
            Choice::Auto => self.auto(model)?,
            choice => (self.gpu(choice)?, None),
        };
        let dtype = match device.dtype() {
            DType::Int8 => "int8",
            DType::Bf16 => "bf16",
            DType::F16 => "f16",
            _ => "f32",
        };
        if dtype == "int8" && !Device::has_fast_int8(instruction_set()?) {
            messages.warn(
                "--dtype int8: without AVX-512 VNNI int8 takes less memory than f32, but not less time; consider f32",
            );
        }
        if let Some(why) = why {
            messages.say(&format!("device: {device}, {dtype}, because {why}"));
        }
        if dtype == "bf16" && self.dtype == ComputeType::Auto {
            messages.say(
                "dtype: bf16, because this processor has it and the model is large; --dtype f32 rounds less",
            );
        }
        if self.threads.is_some() && device.name() != "cpu" {
            let name = device.name();
            messages.warn(&format!("--threads has no effect on the {name} device; it is for the CPU's"));
        }
        Ok(Chosen { device, dtype })
    }

    /// A GPU if there is one in hardware and the model is worth its start, else the CPU; and why.
    #[cfg(feature = "gpu")]
    fn auto(&self, model: Option<&Checkpoint>) -> Result<(Device, Option<String>)> {
        if model.is_some_and(is_small) {
            return Ok((
                self.cpu(model)?,
                Some("so small a model is done before a GPU has started".to_owned()),
            ));
        }
        if !matches!(self.dtype, ComputeType::Auto | ComputeType::F32 | ComputeType::F16) {
            let why = format!("no GPU computes in {}", self.dtype.name());
            return Ok((self.cpu(model)?, Some(why)));
        }
        let options =
            self.within(GpuOptions::default().choice(GpuChoice::Hardware).dtype(self.dtype.on_gpu()?));
        match Device::gpu(&options) {
            Ok(device) => Ok((device, Some("it is a GPU in hardware".to_owned()))),
            Err(error) => {
                tracing::debug!("{error}");
                let found = sam3i::engine::gpu::adapters();
                let why = match found.first() {
                    Some(facts) if facts.is_software => {
                        format!("the only GPU here is software ({}); --device gpu takes it", facts.name)
                    }
                    Some(_) => format!("the GPU here does not start ({error})"),
                    None => "there is no GPU here, or no driver for it".to_owned(),
                };
                Ok((self.cpu(model)?, Some(why)))
            }
        }
    }

    #[cfg(not(feature = "gpu"))]
    fn auto(&self, model: Option<&Checkpoint>) -> Result<(Device, Option<String>)> {
        Ok((self.cpu(model)?, Some(NO_GPU.to_owned())))
    }

    #[cfg(feature = "gpu")]
    fn gpu(&self, choice: &Choice) -> Result<Device> {
        let choice = match choice {
            Choice::GpuNumber(number) => GpuChoice::Number(*number),
            Choice::GpuName(name) => GpuChoice::Name(name.clone()),
            _ => GpuChoice::Best,
        };
        let named = matches!(choice, GpuChoice::Name(_));
        let options = self.within(GpuOptions::default().choice(choice).dtype(self.dtype.on_gpu()?));
        Device::gpu(&options)
            .map_err(|error| if named { anyhow::anyhow!("{error}; {DEVICES}") } else { error.into() })
    }

    /// A GPU is held to the bound while it runs, too.
    #[cfg(feature = "gpu")]
    fn within(&self, options: GpuOptions) -> GpuOptions {
        match self.max_memory {
            Some(most) => options.budget(most),
            None => options,
        }
    }

    /// Says what a model will take, and refuses more than `--max-memory`; warns of more than the machine has left. `copies`
    /// is how many of it there will be.
    ///
    /// # Errors
    /// When it takes more than it may.
    pub fn check_memory(
        &self,
        chosen: &Chosen,
        model: &Checkpoint,
        levels: &[Level],
        copies: usize,
        messages: Messages,
    ) -> Result<()> {
        memory::check(
            &memory::Plan { device: &chosen.device, model, levels, copies },
            self.max_memory,
            messages,
        )
    }

    #[cfg(not(feature = "gpu"))]
    fn gpu(&self, _: &Choice) -> Result<Device> {
        bail!("--device: {NO_GPU}; {DEVICES}; use --device cpu")
    }

    fn reference(&self) -> Result<Device> {
        match self.dtype {
            ComputeType::Auto | ComputeType::F32 => Ok(Device::reference()),
            other => {
                bail!("--dtype {}: the reference device computes in f32 only; use --dtype f32", other.name())
            }
        }
    }

    fn cpu(&self, model: Option<&Checkpoint>) -> Result<Device> {
        let isa = instruction_set()?;
        let dtype = if self.dtype == ComputeType::Auto && model.is_some_and(|model| !is_small(model)) {
            fastest_that_is_faithful(isa)
        } else {
            self.dtype.on_cpu(isa)?
        };
        let mut options = CpuOptions::default().isa(isa).dtype(dtype);
        if let Some(threads) = self.threads {
            options = options.threads(usize::from(threads));
        }
        Ok(Device::cpu(&options)?)
    }
}

impl ComputeType {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// The type a GPU is to store weights in.
    #[cfg(feature = "gpu")]
    fn on_gpu(self) -> Result<DType> {
        match self {
            Self::Auto | Self::F32 => Ok(DType::F32),
            Self::F16 => Ok(DType::F16),
            other => bail!(
                "--dtype {}: the gpu device stores weights as f32 or f16; use one of them",
                other.name()
            ),
        }
    }

    /// The type the CPU device is to compute in.
    fn on_cpu(self, isa: Isa) -> Result<DType> {
        match self {
            Self::Auto | Self::F32 => Ok(DType::F32),
            Self::Bf16 if Device::has_bf16(isa) => Ok(DType::Bf16),
            Self::Bf16 => bail!(
                "--dtype bf16: this processor has no bf16 products (with {isa}); use --dtype f32 (weights stored as \
                 bf16 are read all the same)"
            ),
            Self::Int8 => Ok(DType::Int8),
            Self::F16 => bail!(
                "--dtype f16: the cpu device computes in f32, bf16 or int8; use one of them (weights stored as f16 \
                 are read all the same)"
            ),
        }
    }
}

/// The fastest type of the CPU device that costs no more than bf16 costs the published code (docs/performance.md, "What bf16
/// costs"; tests/tests/fidelity.rs holds it to that). int8 costs more.
fn fastest_that_is_faithful(isa: Isa) -> DType {
    if Device::has_bf16(isa) { DType::Bf16 } else { DType::F32 }
}

/// The instruction set `SAM3I_ISA` names, else the widest this processor has.
///
/// # Errors
/// When this processor lacks the named one.
pub fn instruction_set() -> Result<Isa> {
    let Some(name) = std::env::var_os(ISA_VARIABLE).filter(|name| !name.is_empty()) else {
        return Ok(Isa::detect());
    };
    let name = name.to_string_lossy();
    let isa = Isa::by_name(&name);
    let names: Vec<_> = Isa::available().iter().map(Isa::to_string).collect();
    ensure!(
        isa.is_some(),
        "{ISA_VARIABLE}={name}: this processor has {}; name one of them",
        names.join(", ")
    );
    Ok(isa.unwrap_or_else(Isa::detect))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_exactly() {
        struct Case(&'static str, Option<Choice>);
        let cases = [
            Case("auto", Some(Choice::Auto)),
            Case("cpu", Some(Choice::Cpu)),
            Case("reference", Some(Choice::Reference)),
            Case("gpu", Some(Choice::Gpu)),
            Case("gpu:1", Some(Choice::GpuNumber(1))),
            Case("gpu:", None),
            Case("gpu:x", None),
            Case("llvmpipe", Some(Choice::GpuName("llvmpipe".to_owned()))),
            Case("", None),
        ];
        for Case(name, expected) in cases {
            assert_eq!(name.parse().ok(), expected, "{name:?}");
        }
    }
}
