//! What C hands over, checked as far as it can be.

use crate::status::{Failure, Outcome};
use std::ffi::{CStr, c_char};

/// A struct that says its own size, so that it can grow: a `size_t` is its first member, and zero is a value of every other.
///
/// # Safety
/// `#[repr(C)]`, begins with a `usize`, and every pattern of bits is a value of its other members.
pub(crate) unsafe trait Growing: Copy {
    /// Its name in the header.
    const NAME: &'static str;
    /// Its size in the first version of the header: no caller has less.
    const FIRST_SIZE: usize;
}

/// More than any version of any struct has: a size above it was never set.
const LARGEST: usize = 4096;

/// What is behind a pointer that must not be null.
///
/// # Safety
/// `pointer` is null, or leads to a `T` that lives, and is not written to, as long as the result is used.
pub(crate) unsafe fn required<'a, T>(pointer: *const T, name: &str) -> Outcome<&'a T> {
    // SAFETY: not null where `as_ref` looks behind it; the rest is the caller's promise.
    unsafe { pointer.as_ref() }.ok_or_else(|| is_null(name))
}

fn is_null(name: &str) -> Failure {
    Failure::argument(format!("{name} is NULL; it has to lead somewhere"))
}

/// A string that must not be null.
///
/// # Safety
/// As for [`required`]; bytes up to a zero are there.
pub(crate) unsafe fn string<'a>(pointer: *const c_char, name: &str) -> Outcome<&'a CStr> {
    if pointer.is_null() {
        return Err(is_null(name));
    }
    // SAFETY: not null; the rest is the caller's promise.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

/// Text in UTF-8.
///
/// # Errors
/// With the first byte that is none.
pub(crate) fn utf8<'a>(text: &'a CStr, name: &str) -> Outcome<&'a str> {
    text.to_str().map_err(|error| {
        Failure::argument(format!(
            "{name} is not UTF-8 from byte {} on; convert it first",
            error.valid_up_to()
        ))
    })
}

/// `count` values in a row; none at all may be null.
///
/// # Safety
/// `pointer` is null, or leads to `count` values of `T`, aligned, that live and are not written to as long as the result is used.
pub(crate) unsafe fn values<'a, T>(pointer: *const T, count: usize, name: &str) -> Outcome<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(Failure::argument(format!("{name} is NULL, but there are to be {count}")));
    }
    if count.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Failure::argument(format!("{count} {name} are more than any memory holds")));
    }
    // SAFETY: not null, and no longer than a slice may be; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// A struct of options, which a caller may have from an older or a newer header; `default` if it is null.
///
/// # Errors
/// When its size was not set, or a member that this library does not know is not zero.
///
/// # Safety
/// `pointer` is null, or leads to a `usize`, and to as many bytes in all as that says.
pub(crate) unsafe fn options<T: Growing>(pointer: *const T, default: T) -> Outcome<T> {
    if pointer.is_null() {
        return Ok(default);
    }
    // SAFETY: a `usize` is there, by the caller's promise.
    let size = unsafe { declared_size(pointer) }?;
    let (known, name) = (size_of::<T>(), T::NAME);
    // SAFETY: `size` bytes are there, by the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), size) };
    if bytes.get(known..).is_some_and(|new| new.iter().any(|&byte| byte != 0)) {
        return Err(Failure::argument(format!(
            "{name}: it has {size} bytes, of which this library knows {known}, and some of the others are not zero; \
             leave them at zero or use a newer library"
        )));
    }
    let mut value = default;
    // SAFETY: both are at least this long and do not overlap; any bits are a `T` (`Growing`).
    unsafe { (&raw mut value).cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), size.min(known)) };
    Ok(value)
}

/// Fills a struct of results for a caller who may have an older or a newer header: what it does not know is left out, what
/// we do not know is zero. Its own size stays.
///
/// # Errors
/// When it is null, or its size was not set.
///
/// # Safety
/// `pointer` is null, or leads to a `usize`, and to as many bytes in all as that says, which nobody else uses meanwhile.
pub(crate) unsafe fn fill<T: Growing>(pointer: *mut T, value: T, name: &str) -> Outcome<()> {
    if pointer.is_null() {
        return Err(is_null(name));
    }
    // SAFETY: a `usize` is there, by the caller's promise.
    let size = unsafe { declared_size(pointer) }?;
    let (head, shared) = (size_of::<usize>(), size.min(size_of::<T>()));
    let (to, from) = (pointer.cast::<u8>(), (&raw const value).cast::<u8>());
    // SAFETY: `size` bytes are there, by the caller's promise, and `head <= shared <= size` (`declared_size`).
    unsafe {
        to.add(head).copy_from_nonoverlapping(from.add(head), shared - head);
        to.add(shared).write_bytes(0, size - shared);
    }
    Ok(())
}

/// The size a struct says it has.
///
/// # Errors
/// When it cannot be that of any version.
///
/// # Safety
/// `pointer` leads to a `usize`.
unsafe fn declared_size<T: Growing>(pointer: *const T) -> Outcome<usize> {
    // SAFETY: by the caller's promise; alignment does not matter.
    let size = unsafe { pointer.cast::<usize>().read_unaligned() };
    if (T::FIRST_SIZE..=LARGEST).contains(&size) {
        return Ok(size);
    }
    let name = T::NAME;
    Err(Failure::argument(format!(
        "{name}: its size is said to be {size}; begin with {}_INIT",
        name.to_uppercase()
    )))
}

/// Has a new handle written to `out`, which is null should anything fail.
///
/// # Errors
/// When `out` is null, and those of `make`.
///
/// # Safety
/// `out` is null, or a pointer can be written to it.
pub(crate) unsafe fn hand_out<T>(
    out: *mut *mut T,
    name: &str,
    make: impl FnOnce() -> Outcome<T>,
) -> Outcome<()> {
    if out.is_null() {
        return Err(Failure::argument(format!("{name} is NULL; the handle would be lost")));
    }
    // SAFETY: not null; the rest is the caller's promise. First null, so that it is what a failure leaves.
    unsafe { out.write(std::ptr::null_mut()) };
    let handle = Box::into_raw(Box::new(make()?));
    // SAFETY: as above.
    unsafe { out.write(handle) };
    Ok(())
}

/// Takes a handle back.
///
/// # Safety
/// `handle` is null, or came from [`hand_out`] and is used by nobody any more.
pub(crate) unsafe fn take_back<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: `hand_out` made it of a box, and this is the only call that takes it, by the caller's promise.
        drop(unsafe { Box::from_raw(handle) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the library knows.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Known {
        size: usize,
        old: usize,
        new: usize,
    }

    // SAFETY: `#[repr(C)]`, a `usize` first, and nothing but numbers.
    unsafe impl Growing for Known {
        const NAME: &'static str = "sam3i_known";
        const FIRST_SIZE: usize = 2 * size_of::<usize>();
    }

    const WORD: usize = size_of::<usize>();
    const DEFAULT: Known = Known { size: 3 * WORD, old: 7, new: 0 };

    fn read(words: &[usize]) -> Outcome<Known> {
        // SAFETY: the words are there, and no test says there are more.
        unsafe { options(words.as_ptr().cast(), DEFAULT) }
    }

    #[test]
    fn options_of_older_and_newer_headers_are_read() {
        assert_eq!(read(&[2 * WORD, 5]).expect("old"), Known { size: 2 * WORD, old: 5, new: 0 });
        assert_eq!(read(&[3 * WORD, 5, 6]).expect("ours"), Known { size: 3 * WORD, old: 5, new: 6 });
        assert_eq!(
            read(&[4 * WORD, 5, 6, 0]).expect("newer, not used"),
            Known { size: 4 * WORD, old: 5, new: 6 }
        );
        let refused = read(&[4 * WORD, 5, 6, 1]).expect_err("newer, and used");
        assert!(format!("{refused:?}").contains("some of the others are not zero"), "{refused:?}");
        for size in [0, WORD, LARGEST + 1, usize::MAX] {
            let refused = format!("{:?}", read(&[size, 5]).expect_err("no size"));
            assert!(refused.contains("begin with SAM3I_KNOWN_INIT"), "{refused}");
        }
    }

    #[test]
    fn results_are_filled_as_far_as_they_are_known() {
        let value = Known { size: 0, old: 1, new: 2 };
        for (mut words, expected) in [
            ([2 * WORD, 9, 9, 9], [2 * WORD, 1, 9, 9]),
            ([3 * WORD, 9, 9, 9], [3 * WORD, 1, 2, 9]),
            ([4 * WORD, 9, 9, 9], [4 * WORD, 1, 2, 0]),
        ] {
            // SAFETY: four words are there, and none says there are more.
            unsafe { fill(words.as_mut_ptr().cast::<Known>(), value, "known") }.expect("filled");
            assert_eq!(words, expected);
        }
    }

    #[test]
    fn no_values_need_no_pointer() {
        // SAFETY: null is allowed.
        assert_eq!(unsafe { values::<u32>(std::ptr::null(), 0, "numbers") }.expect("none"), [0; 0]);
        // SAFETY: null is allowed.
        assert!(unsafe { values::<u32>(std::ptr::null(), 1, "numbers") }.is_err());
        // SAFETY: it is refused before it is looked at.
        assert!(unsafe { values(&DEFAULT, usize::MAX, "structs") }.is_err());
    }
}
