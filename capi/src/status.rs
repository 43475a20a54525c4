//! How a call ends: a number for the program, a sentence for people, and never a panic.

use sam3i::{Error, engine};
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a call ended.
pub type sam3i_status = i32;

/// It did what it was asked for.
pub const SAM3I_OK: sam3i_status = 0;
/// An argument cannot be used.
pub const SAM3I_ERROR_ARGUMENT: sam3i_status = 1;
/// There is no model there, or its files are not those of a whole model.
pub const SAM3I_ERROR_MODEL: sam3i_status = 2;
/// The device is not there, does not start, failed, or has too little memory.
pub const SAM3I_ERROR_DEVICE: sam3i_status = 3;
/// A watcher asked to stop.
pub const SAM3I_ERROR_STOPPED: sam3i_status = 4;
/// A buffer of the caller's is too small.
pub const SAM3I_ERROR_BUFFER: sam3i_status = 5;
/// A bug in sam3i.
pub const SAM3I_ERROR_INTERNAL: sam3i_status = 6;

thread_local! {
    /// What went wrong last on this thread: the one piece of state there is.
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// What went wrong in the last call of this thread that failed, as a sentence; `""` before the first one. It lives until
/// the next call of this thread that fails, or the thread's end.
#[unsafe(no_mangle)]
pub extern "C" fn sam3i_last_error() -> *const c_char {
    // A thread that is going has no error any more.
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Why a call fails.
#[derive(Debug)]
pub(crate) struct Failure {
    status: sam3i_status,
    message: String,
}

/// What the inside of a call comes to.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// An argument cannot be used.
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self { status: SAM3I_ERROR_ARGUMENT, message: message.into() }
    }

    /// A buffer of the caller's is too small.
    pub(crate) fn buffer(message: impl Into<String>) -> Self {
        Self { status: SAM3I_ERROR_BUFFER, message: message.into() }
    }

    /// This build has no such device.
    #[cfg(not(feature = "gpu"))]
    pub(crate) fn device(message: impl Into<String>) -> Self {
        Self { status: SAM3I_ERROR_DEVICE, message: message.into() }
    }

    /// This build has no such model.
    #[cfg(not(feature = "embedded-nano"))]
    pub(crate) fn model(message: impl Into<String>) -> Self {
        Self { status: SAM3I_ERROR_MODEL, message: message.into() }
    }

    fn panic(payload: &(dyn Any + Send)) -> Self {
        let words = payload.downcast_ref::<&str>().copied();
        let words = words.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = format!("this is a bug in sam3i, please report it: {}", words.unwrap_or("a panic"));
        Self { status: SAM3I_ERROR_INTERNAL, message }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Stopped => SAM3I_ERROR_STOPPED,
            // A mask of too many pixels is the only malformed one a model makes.
            Error::EmptyPrompt
            | Error::BadExample { .. }
            | Error::NoPointPrompts
            | Error::OtherModel
            | Error::Picture { .. }
            | Error::Rle { .. } => SAM3I_ERROR_ARGUMENT,
            Error::Io { .. }
            | Error::Config { .. }
            | Error::NoModel { .. }
            | Error::NotSam3 { .. }
            | Error::Mismatch { .. }
            | Error::NotFinite { .. }
            | Error::Tokenizer { .. } => SAM3I_ERROR_MODEL,
            Error::Engine(error) => of_engine(error),
            _ => SAM3I_ERROR_INTERNAL,
        };
        Self { status, message: error.to_string() }
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Self {
        Self { status: of_engine(&error), message: error.to_string() }
    }
}

fn of_engine(error: &engine::Error) -> sam3i_status {
    match error {
        engine::Error::Weights(_) => SAM3I_ERROR_MODEL,
        engine::Error::NoInstructions { .. }
        | engine::Error::Threads { .. }
        | engine::Error::NoGpu { .. }
        | engine::Error::GpuDType { .. }
        | engine::Error::Gpu { .. }
        | engine::Error::GpuOption { .. }
        | engine::Error::KernelText { .. }
        | engine::Error::GpuLost { .. }
        | engine::Error::GpuMemory { .. } => SAM3I_ERROR_DEVICE,
        // Shapes and types are ours, not the caller's.
        _ => SAM3I_ERROR_INTERNAL,
    }
}

/// Runs the inside of a call: what it fails with becomes a status and the thread's last error, and so does a panic.
///
/// What a panic left half done is behind the library's own locks, which get over it; the call's results are not handed out.
pub(crate) fn guard(inside: impl FnOnce() -> Outcome<()>) -> sam3i_status {
    let failure = match catch_unwind(AssertUnwindSafe(inside)) {
        Ok(Ok(())) => return SAM3I_OK,
        Ok(Err(failure)) => failure,
        Err(payload) => Failure::panic(&*payload),
    };
    remember(failure.message);
    failure.status
}

/// Runs something that has nothing to say to its caller; a panic ends here.
pub(crate) fn quietly(inside: impl FnOnce()) {
    guard(|| {
        inside();
        Ok(())
    });
}

fn remember(message: String) {
    let text = CString::new(message.replace('\0', "\u{fffd}")).unwrap_or_default();
    // On a thread that is going there is nobody left to ask.
    LAST_ERROR.try_with(|last| drop(last.replace(text))).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn last_error() -> String {
        // SAFETY: the string is this thread's, which does nothing else before it is copied.
        unsafe { CStr::from_ptr(sam3i_last_error()) }.to_str().expect("UTF-8").to_owned()
    }

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        assert_eq!(last_error(), "");
        assert_eq!(guard(|| panic!("row {} is gone", 3)), SAM3I_ERROR_INTERNAL);
        assert!(last_error().ends_with("please report it: row 3 is gone"), "{}", last_error());
        quietly(|| panic!("plain words"));
        assert!(last_error().ends_with("plain words"));
        assert_eq!(guard(|| std::panic::panic_any(5)), SAM3I_ERROR_INTERNAL);
        assert!(last_error().ends_with("a panic"));
    }

    #[test]
    fn a_zero_byte_does_not_cut_a_message_short() {
        assert_eq!(guard(|| Err(Failure::argument("a\0b"))), SAM3I_ERROR_ARGUMENT);
        assert_eq!(last_error(), "a\u{fffd}b");
        assert_eq!(guard(|| Ok(())), SAM3I_OK);
        assert_eq!(last_error(), "a\u{fffd}b", "what succeeds leaves it");
    }

    #[test]
    fn errors_have_the_kind_the_header_promises() {
        let path = || "weights.pt".into();
        struct Case(Error, sam3i_status);
        let cases = [
            Case(Error::Stopped, SAM3I_ERROR_STOPPED),
            Case(Error::EmptyPrompt, SAM3I_ERROR_ARGUMENT),
            Case(Error::NoModel { path: path(), problem: "none".into() }, SAM3I_ERROR_MODEL),
            Case(Error::Io { path: path(), source: std::io::Error::other("no") }, SAM3I_ERROR_MODEL),
            Case(engine::Error::GpuLost { reason: "gone".into(), last: "add" }.into(), SAM3I_ERROR_DEVICE),
            Case(engine::Error::NoValues { op: "add" }.into(), SAM3I_ERROR_INTERNAL),
        ];
        for Case(error, status) in cases {
            assert_eq!(Failure::from(error).status, status);
        }
    }
}
