//! Inputs that stay prepared for one kernel: the class `PreparedInputs`, and the arguments that may be one.

use std::any::Any;
use std::ptr;
use std::sync::{Arc, OnceLock};

use ntkrs_core::Error;
use ntkrs_core::engine::pool::Watch;
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::infinite::inputs::{Inputs, Packed};
use ntkrs_core::infinite::recursion::Recursion;
use numpy::{Element, PyArray2};
use pyo3::prelude::*;

use crate::arrays::{Matrix, Typed, in_dtype};
use crate::call::Call;
use crate::errors::Result;

/// Inputs X (N, d) with all that one kernel computes from them alone. This is computed by the first call that needs it,
/// and kept for later ones.
#[pyclass(frozen, module = "ntkrs._core")]
pub struct PreparedInputs {
    /// X. Nobody writes to it.
    array: Py<PyAny>,
    /// A [`Kept`] of the dtype of the array.
    kept: Arc<dyn Any + Send + Sync>,
}

#[pymethods]
impl PreparedInputs {
    /// The inputs, (N, d).
    #[getter]
    fn array(&self, py: Python<'_>) -> Py<PyAny> {
        self.array.clone_ref(py)
    }
}

impl PreparedInputs {
    /// Returns inputs that the kernel of this recursion will prepare. The array must not change any more.
    pub fn new(
        recursion: &Arc<Recursion>,
        array: Typed<Bound<'_, PyArray2<f64>>, Bound<'_, PyArray2<f32>>>,
    ) -> Self {
        in_dtype!(array, |array| Self::of(recursion, array))
    }

    fn of<T: Scalar + Element>(recursion: &Arc<Recursion>, array: Bound<'_, PyArray2<T>>) -> Self {
        Self {
            array: array.into_any().unbind(),
            kept: Arc::new(Kept::<T>::new(recursion)),
        }
    }
}

/// The place for prepared inputs of one kernel.
pub struct Kept<T: Scalar> {
    recursion: Arc<Recursion>,
    /// Set after the computation, which no lock spans: a process that is forked meanwhile would wait for it forever. Two
    /// threads that prepare the inputs at once get the same.
    inputs: OnceLock<Arc<Inputs<T>>>,
}

impl<T: Scalar> Kept<T> {
    fn new(recursion: &Arc<Recursion>) -> Self {
        Self {
            recursion: Arc::clone(recursion),
            inputs: OnceLock::new(),
        }
    }
}

/// An argument X or Z of a kernel: an array (N, d), or prepared inputs.
pub struct InputArgument<'py, T: Scalar + Element> {
    array: Matrix<'py, T>,
    kept: Option<Arc<Kept<T>>>,
}

impl<'a, 'py, T: Scalar + Element> FromPyObject<'a, 'py> for InputArgument<'py, T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let Ok(prepared) = object.cast::<PreparedInputs>() else {
            let array = object.extract()?;
            return Ok(Self { array, kept: None });
        };
        let PreparedInputs { array, kept } = prepared.get();
        Ok(Self {
            array: array.bind(object.py()).extract()?,
            kept: Arc::clone(kept).downcast().ok(),
        })
    }
}

impl<T: Scalar + Element> InputArgument<'_, T> {
    /// Packs the inputs while no other Python thread can change them, unless they are prepared already. `argument` is
    /// their name in errors.
    ///
    /// # Errors
    /// If another kernel prepared them; as [`Packed::new`].
    pub fn read(
        self,
        argument: &'static str,
        recursion: &Recursion,
        call: &mut Call<'_>,
    ) -> Result<InputSource<T>> {
        if let Some(kept) = &self.kept {
            if !ptr::eq(&raw const *kept.recursion, recursion) {
                let message = format!(
                    "{argument} was prepared by another kernel. Pass the inputs themselves, or what prepare() of this \
                     kernel returns."
                );
                return Err(Error::Invalid(message).into());
            }
            if let Some(inputs) = kept.inputs.get() {
                return Ok(InputSource::Ready(Arc::clone(inputs)));
            }
        }
        let packed = call.read(|watch| Packed::new(self.array.as_array(), argument, watch))?;
        Ok(InputSource::Packed(packed, self.kept))
    }
}

/// The inputs of a kernel, as a call begins with them.
pub enum InputSource<T: Scalar> {
    /// Packed inputs, and the place to keep what is prepared from them, if there is one.
    Packed(Packed<T>, Option<Arc<Kept<T>>>),
    /// Inputs that an earlier call has prepared.
    Ready(Arc<Inputs<T>>),
}

impl<T: Scalar> InputSource<T> {
    /// Returns the number of inputs.
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(packed, _) => packed.len(),
            Self::Ready(inputs) => inputs.len(),
        }
    }

    /// Returns the number of features.
    pub fn features(&self) -> usize {
        match self {
            Self::Packed(packed, _) => packed.features(),
            Self::Ready(inputs) => inputs.features(),
        }
    }

    /// Returns the estimated cycles of [`InputSource::prepare`], on one thread.
    pub fn cycles(&self, recursion: &Recursion) -> f64 {
        match self {
            Self::Packed(packed, _) => Inputs::cycles(recursion, packed),
            Self::Ready(_) => 0.0,
        }
    }

    /// Returns the inputs with the recursion along the kernel's diagonal, and keeps them if there is a place.
    ///
    /// # Errors
    /// As [`Inputs::new`].
    pub fn prepare(
        self,
        recursion: &Recursion,
        watch: &mut Watch<'_>,
    ) -> ntkrs_core::Result<Arc<Inputs<T>>> {
        let (packed, kept) = match self {
            Self::Ready(inputs) => return Ok(inputs),
            Self::Packed(packed, kept) => (packed, kept),
        };
        let inputs = Arc::new(Inputs::new(recursion, packed, watch)?);
        if let Some(kept) = kept {
            let _ = kept.inputs.set(Arc::clone(&inputs));
        }
        Ok(inputs)
    }
}
