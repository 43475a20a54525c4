//! What can go wrong in the engine.

use crate::{DType, Isa};

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the engine. Messages name the op and the shapes it was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An op was given shapes that do not fit together.
    #[error("{op}: {problem} (given {shapes})")]
    Shape {
        /// The op.
        op: &'static str,
        /// What does not fit.
        problem: String,
        /// The shapes of its operands, outermost axis first.
        shapes: String,
    },
    /// An op was given a value it cannot work with.
    #[error("{op}: {problem}")]
    Value {
        /// The op.
        op: &'static str,
        /// What is wrong with which value, and what would be right.
        problem: String,
    },
    /// An op was given an element type it has no kernel for.
    #[error("{op}: has no kernel for {dtype} operands; convert them to f32 first")]
    DType {
        /// The op.
        op: &'static str,
        /// The type it was given.
        dtype: DType,
    },
    /// The operands of an op live on different devices.
    #[error("{op}: operands are on different devices ({devices}); move them to one device first")]
    DeviceMismatch {
        /// The op.
        op: &'static str,
        /// The devices.
        devices: String,
    },
    /// The values of a tensor without values (a tensor of the shape-only device) were asked for.
    #[error("{op}: the tensor has a shape but no values (it lives on the shape-only device)")]
    NoValues {
        /// The op.
        op: &'static str,
    },
    /// The processor cannot multiply in a type.
    #[error("this processor has no {dtype} products with the instruction set {isa}; use f32")]
    NoInstructions {
        /// The type asked for.
        dtype: DType,
        /// The instruction set in use.
        isa: Isa,
    },
    /// The thread pool of a CPU device could not be started.
    #[error("could not start {threads} CPU threads: {reason}; ask for fewer with the thread option")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The system's reason.
        reason: String,
    },
    /// There is no such GPU.
    #[error(
        "this machine does not have {wanted} (found: {found}); use the CPU, or see which there are with `sam3i devices`"
    )]
    NoGpu {
        /// What was asked for.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// A GPU does not store weights in a type.
    #[error("the GPU device stores weights as f32 or f16, not as {dtype}; use one of them")]
    GpuDType {
        /// The type asked for.
        dtype: DType,
    },
    /// The GPU, or its driver, refused something.
    #[error("the GPU failed at {what}: {reason}; try the CPU")]
    Gpu {
        /// What it was doing.
        what: String,
        /// The driver's words.
        reason: String,
    },
    /// A GPU device was asked for something that there is not, or that cannot be done.
    #[error("{what}: {reason}")]
    GpuOption {
        /// What was asked for.
        what: String,
        /// Why not, and what would do.
        reason: String,
    },
    /// A WGSL text that was given in place of a kernel does not compile, or does not bind as the kernel does.
    #[error(
        "the text in place of the kernel {kernel} was refused: {reason}\n\
         mend the text: line numbers are its own, and it has to keep our text's bindings, `Params` and `const` lines"
    )]
    KernelText {
        /// The kernel's name.
        kernel: &'static str,
        /// The compiler's words, with line and column.
        reason: String,
    },
    /// The GPU is gone: reset by its driver, unplugged, or out of memory.
    #[error("the GPU was lost ({reason}; last it was asked for {last}); start again, or use the CPU")]
    GpuLost {
        /// The driver's words.
        reason: String,
        /// The kernel that was recorded last.
        last: &'static str,
    },
    /// There is not enough GPU memory.
    #[error(
        "{} MiB more do not fit into the GPU's memory ({} MiB in use; {bound}); close what else uses it, or use the CPU",
        wanted >> 20, live >> 20
    )]
    GpuMemory {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes in use.
        live: u64,
        /// What bounds it.
        bound: String,
    },
    /// A weight file could not be read or written.
    #[error(transparent)]
    Weights(#[from] crate::weights::WeightsError),
}

/// `[2, 3] x [3, 4]`, for messages and the trace.
pub(crate) fn show_shapes<'a>(shapes: impl IntoIterator<Item = &'a [usize]>) -> String {
    shapes.into_iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(" x ")
}

impl Error {
    /// A shape error of `op` over the given operand shapes.
    pub(crate) fn shape<'a>(
        op: &'static str,
        problem: impl Into<String>,
        shapes: impl IntoIterator<Item = &'a [usize]>,
    ) -> Self {
        Self::Shape { op, problem: problem.into(), shapes: show_shapes(shapes) }
    }
}
