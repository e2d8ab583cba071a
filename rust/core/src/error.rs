//! The errors of the core. Each variant carries the numbers its message needs.

use std::fmt;

use thiserror::Error;

/// The error type of this crate.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum Error {
    /// An argument holds NaN or an infinity.
    #[error(
        "{argument} holds {} at (row {row}, column {column}), but every entry must be finite. \
         Impute or drop that row first.",
        Shortest(*value)
    )]
    NotFinite {
        /// The argument's name.
        argument: &'static str,
        /// The first offending row.
        row: usize,
        /// The first offending column of that row.
        column: usize,
        /// The value at that place.
        value: f64,
    },

    /// Two batches, or a batch and a network, disagree on the number of features.
    #[error(
        "{argument} has {got} features, but {reference} has {expected} (both must be n_0). Did you pass {argument} transposed?"
    )]
    Features {
        /// The argument's name.
        argument: &'static str,
        /// The number of features of the argument.
        got: usize,
        /// The argument, or the network, that it is compared with.
        reference: &'static str,
        /// The expected number of features.
        expected: usize,
    },

    /// A batch has no features.
    #[error("{argument} has 0 features, but a kernel is a mean over n_0 >= 1 features")]
    NoFeatures {
        /// The argument's name.
        argument: &'static str,
    },

    /// An input is so large that its kernel with itself exceeds the range of `f64`.
    #[error(
        "the kernel of row {row} of {argument} leaves the range of float64 in some layer. Scale {argument} or sigma_w."
    )]
    Overflow {
        /// The argument's name.
        argument: &'static str,
        /// The first such row.
        row: usize,
    },

    /// An image holds NaN or an infinity.
    #[error(
        "{argument} holds {} at (image {}, row {}, column {}, channel {}), but every pixel must be finite. \
         Impute or drop that image first.",
        Shortest(*value), place[0], place[1], place[2], place[3]
    )]
    PixelNotFinite {
        /// The argument's name.
        argument: &'static str,
        /// The image, row, column and channel of the first such value.
        place: [usize; 4],
        /// The value at that place.
        value: f64,
    },

    /// An image is so large that its kernel with itself exceeds the range of `f64`.
    #[error(
        "the kernel of image {image} of {argument} leaves the range of float64 in some layer. Scale {argument} or \
         sigma_w."
    )]
    ImageOverflow {
        /// The argument's name.
        argument: &'static str,
        /// The first such image.
        image: usize,
    },

    /// An array does not have the shape that the computation needs.
    #[error("{argument} has shape {got:?}, but {expected:?} is needed")]
    Shape {
        /// The argument's name.
        argument: String,
        /// The shape of the argument.
        got: Vec<usize>,
        /// The shape that is needed.
        expected: Vec<usize>,
    },

    /// An invalid description of a network or kernel.
    #[error("{0}")]
    Invalid(String),

    /// A value of a finite network exceeds the storage type.
    #[error("{what} exceeds the largest {dtype}. Scale X down{}.", if *dtype == "float32" { ", or use a float64 network" } else { "" })]
    TooLarge {
        /// The value, in words.
        what: &'static str,
        /// The NumPy name of the storage type.
        dtype: &'static str,
    },

    /// The loss of a network in training is NaN or infinite.
    #[error("the loss is not finite after {step} steps")]
    Diverged {
        /// The number of steps taken.
        step: usize,
    },

    /// Threads could not be started.
    #[error(
        "{threads} threads could not be started: {reason}. Ask for fewer with set_num_threads."
    )]
    Threads {
        /// The number of threads requested.
        threads: usize,
        /// The reason, as the system gives it.
        reason: String,
    },

    /// A buffer could not be allocated.
    #[error("{bytes} bytes for {purpose} could not be allocated")]
    Memory {
        /// The size requested.
        bytes: usize,
        /// The purpose of the buffer, in words.
        purpose: &'static str,
    },

    /// The caller requested a stop.
    #[error("cancelled")]
    Cancelled,

    /// A user-supplied activation failed; the caller holds the reason.
    #[error("an activation failed")]
    Function,

    /// A worker panicked: a bug in this library.
    #[error("internal error in a worker thread: {0}")]
    Panicked(String),
}

impl Error {
    /// Checks the shape of an array.
    ///
    /// # Errors
    /// [`Error::Shape`] if it is not the expected one.
    pub(crate) fn check_shape(argument: &str, got: &[usize], expected: &[usize]) -> Result<()> {
        if got == expected {
            return Ok(());
        }
        Err(Self::Shape {
            argument: argument.into(),
            got: got.to_vec(),
            expected: expected.to_vec(),
        })
    }
}

/// A number in a message, as Python prints it: the fewest digits that give it back, and an exponent where it is large or
/// small.
pub(crate) struct Shortest(pub f64);

impl fmt::Display for Shortest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_nan() {
            return f.write_str("nan");
        }
        let text = format!("{:?}", self.0);
        let Some((digits, exponent)) = text.split_once('e') else {
            return f.write_str(&text);
        };
        match exponent.strip_prefix('-') {
            Some(size) => write!(f, "{digits}e-{size:0>2}"),
            None => write!(f, "{digits}e+{exponent:0>2}"),
        }
    }
}

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_in_python() {
        for (value, expected) in [
            (-1.0, "-1.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e-4, "0.0001"),
            (-2.5e-5, "-2.5e-05"),
            (9999999999999998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NEG_INFINITY, "-inf"),
            (-f64::NAN, "nan"),
        ] {
            assert_eq!(Shortest(value).to_string(), expected);
        }
    }
}
