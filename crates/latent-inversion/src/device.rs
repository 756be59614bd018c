//! What a device does when its memory is full, as an error.
//!
//! Burn's back ends compute later than they are asked to: an allocation that fails is kept by the
//! tensor it was for, and reported by the read that needs it, as an error where the read can return
//! one and as a panic with the same words elsewhere. The device stays usable. On the CPU there is no
//! such report: when the machine's memory is full the process ends.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use burn::tensor::{DType, Tensor};

use crate::error::{Error, Result};

/// What the back ends of Burn 0.22 say (CubeCL's `IoError` and `LaunchError`, the graphics API
/// and the drivers), in lower case.
const WORDS: [&str; 5] = [
    "out of device memory",
    "out of memory",
    "out-of-memory",
    "out_of_memory",
    "can't allocate buffer of size",
];

/// The values of a tensor, last index fastest.
///
/// # Errors
///
/// [`Error::OutOfMemory`] or [`Error::Device`].
pub(crate) fn read<const D: usize>(x: Tensor<D>) -> Result<Vec<f32>> {
    let values = x.try_into_data_dtype(DType::F32).map_err(|e| {
        let text = e.to_string();
        full(&text).unwrap_or(Error::Device { reason: text })
    })?;
    values.try_to_vec().map_err(|e| Error::Device {
        reason: e.to_string(),
    })
}

/// A product of which a row has the same bits in a batch of any size on the CPU.
#[cfg(feature = "stylegan2")]
pub(crate) use stylegan2_burn::ops::dense::product;

/// The product as the back end makes it: bits are the same in batches of any size where results are wide.
#[cfg(not(feature = "stylegan2"))]
pub(crate) fn product(x: Tensor<2>, matrix: Tensor<2>) -> Tensor<2> {
    x.matmul(matrix)
}

/// Does `work`; a panic because the device's memory is full becomes [`Error::OutOfMemory`], any
/// other goes on.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // Whatever `work` was about to make is dropped, and what it borrows it does not change.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        match message(payload.as_ref()).and_then(full) {
            Some(error) => Err(error),
            None => resume_unwind(payload),
        }
    })
}

fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
}

/// The error that a report stands for, if it is of a full memory.
fn full(text: &str) -> Option<Error> {
    let lower = text.to_lowercase();
    let at = WORDS.iter().filter_map(|words| lower.find(words)).min()?;
    // From those words to the end of the line: before them is how the read failed, after it where.
    let line = lower[at..].lines().next().unwrap_or_default();
    let end = line.find(['"', '\\']).unwrap_or(line.len());
    Some(Error::OutOfMemory {
        reason: line[..end].trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_the_back_ends_are_recognised() {
        let reason = |text: &str| full(text).map(|e| e.to_string());
        let panic = "Error while reading data: use `try_into_data` instead to catch the error at \
                     runtime: WithContext { reason: \"An IO error happened\\nCaused by:\\n  out of \
                     device memory allocating 536870912 bytes\\n   0: frame\" }";
        assert_eq!(
            reason(panic).unwrap(),
            "the device's memory is full: out of device memory allocating 536870912 bytes"
        );
        for text in [
            "An out-of-memory error happened during launch\nCaused by:\n  kernel",
            "can't allocate buffer of size: 1099511627776\n  0: frame",
            "wgpu error: Out of Memory",
            "CUDA_ERROR_OUT_OF_MEMORY",
        ] {
            assert!(reason(text).is_some_and(|r| !r.contains("frame")), "{text}");
        }
        assert!(full("index 3 out of bounds").is_none());
    }

    #[test]
    fn only_a_full_memory_is_caught() {
        let caught: Result<()> = guarded(|| panic!("out of device memory allocating {} bytes", 8));
        assert!(matches!(caught, Err(Error::OutOfMemory { .. })));
        assert_eq!(guarded(|| Ok(3)).unwrap(), 3);
        let other = catch_unwind(|| guarded::<()>(|| panic!("a shape does not fit")));
        assert_eq!(
            message(other.unwrap_err().as_ref()),
            Some("a shape does not fit")
        );
    }
}
