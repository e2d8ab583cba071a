//! Everything that can go wrong in the core, carrying the numbers a message needs.

use thiserror::Error;

/// What the core's functions fail with.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum Error {
    /// An input holds NaN or an infinity.
    #[error(
        "{argument} holds {value} at (row {row}, column {column}), but every entry must be finite. \
         Impute or drop that row first."
    )]
    NotFinite {
        /// The argument's name.
        argument: &'static str,
        /// The first offending row.
        row: usize,
        /// The first offending column of that row.
        column: usize,
        /// The value found there.
        value: f64,
    },

    /// Two batches, or a batch and a network, disagree on the number of features.
    #[error(
        "{argument} has {got} features, but {reference} has {expected} (both must be n_0). Did you pass {argument} transposed?"
    )]
    Features {
        /// The argument's name.
        argument: &'static str,
        /// Its number of features.
        got: usize,
        /// What it is compared with.
        reference: &'static str,
        /// The number of features expected.
        expected: usize,
    },

    /// A batch has no features at all.
    #[error("{argument} has 0 features, but a kernel is a mean over n_0 >= 1 features")]
    NoFeatures {
        /// The argument's name.
        argument: &'static str,
    },

    /// An input is so large that its kernel exceeds all numbers, whatever the other input.
    #[error(
        "the kernel of row {row} of {argument} leaves the range of float64 in some layer. Scale {argument} or sigma_w."
    )]
    Overflow {
        /// The argument's name.
        argument: &'static str,
        /// The first such row.
        row: usize,
    },

    /// An array has another shape than the computation gives.
    #[error("{argument} has shape {got:?}, but {expected:?} is needed")]
    Shape {
        /// The argument's name.
        argument: String,
        /// Its shape.
        got: Vec<usize>,
        /// The shape needed.
        expected: Vec<usize>,
    },

    /// A description of a network or kernel that means nothing.
    #[error("{0}")]
    Invalid(String),

    /// A finite network's values exceed the storage type.
    #[error("{what} exceeds the largest {dtype}. Scale X down{}.", if *dtype == "float32" { ", or use a float64 network" } else { "" })]
    TooLarge {
        /// What does.
        what: &'static str,
        /// The storage type.
        dtype: &'static str,
    },

    /// Training left the range of numbers.
    #[error("the loss is not finite after {step} steps")]
    Diverged {
        /// How many steps were taken.
        step: usize,
    },

    /// Threads could not be started.
    #[error(
        "{threads} threads could not be started: {reason}. Ask for fewer with set_num_threads."
    )]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },

    /// A buffer could not be allocated.
    #[error("{bytes} bytes for {purpose} could not be allocated")]
    Memory {
        /// The size asked for.
        bytes: usize,
        /// What the buffer was for.
        purpose: &'static str,
    },

    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,

    /// A function of the caller's failed. The caller knows how.
    #[error("an activation failed")]
    Function,

    /// A worker panicked: a defect of this library.
    #[error("internal error in a worker thread: {0}")]
    Panicked(String),
}

impl Error {
    /// That an array has the shape it must have.
    ///
    /// # Errors
    /// [`Error::Shape`] if it has not.
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

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;
