//! The arguments that all functions of infinite-width kernels share: batches of inputs, and the kernels wanted.

use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::infinite::inputs::{Inputs, Packed};
use ntkrs_core::infinite::recursion::{Output, Recursion};
use ntkrs_core::{Error, Result};
use numpy::Element;

use crate::arrays::Batches;

/// The name of a kernel and the index of a dense layer: "nngp" or "ntk" after this layer, or the "part" that this layer
/// contributes to the NTK of the whole network.
pub type Wanted = (String, usize);

/// Bounds on the errors of Σ and Θ, round-off excluded.
pub type Bounds = (f64, f64);

/// Returns the kernel wanted, as the core calls it.
///
/// # Errors
/// [`Error::Invalid`] if there is no such kernel or no such layer.
pub fn output(recursion: &Recursion, (name, layer): &Wanted) -> Result<Output> {
    let output = match name.as_str() {
        "nngp" => Output::Nngp(*layer),
        "ntk" => Output::Ntk(*layer),
        "part" => Output::Part(*layer),
        _ => return Err(Error::Invalid(format!("kernel {name:?} is not known"))),
    };
    if *layer < recursion.layers() {
        Ok(output)
    } else {
        Err(Error::Invalid(format!("there is no dense layer {layer}")))
    }
}

/// Packed copies of X and Z, made while no other Python thread can change the arrays.
pub struct Snapshot<T: Scalar> {
    x: Packed<T>,
    z: Option<Packed<T>>,
}

impl<T: Scalar + Element> Snapshot<T> {
    /// Copies the inputs, and releases the arrays to other calls.
    ///
    /// # Errors
    /// As [`Packed::new`].
    pub fn of((x, z): Batches<'_, T>) -> Result<Self> {
        let z = z.map(|z| Packed::new(z.as_array(), "Z")).transpose()?;
        let x = Packed::new(x.as_array(), "X")?;
        Ok(Self { x, z })
    }

    /// Runs the recursion along the kernel's diagonal, detached from the interpreter.
    ///
    /// # Errors
    /// As [`Inputs::new`].
    pub fn prepare(self, recursion: &Recursion) -> Result<KernelInputs<T>> {
        let prepare = |packed| Inputs::new(recursion, packed);
        Ok(KernelInputs {
            rows: prepare(self.x)?,
            other: self.z.map(prepare).transpose()?,
        })
    }
}

/// The inputs of a kernel, ready for use.
pub struct KernelInputs<T: Scalar> {
    /// X, the inputs of the rows.
    pub rows: Inputs<T>,
    /// Z, the inputs of the columns, unless it is X.
    pub other: Option<Inputs<T>>,
}

impl<T: Scalar> KernelInputs<T> {
    /// Returns the inputs of the columns.
    pub fn cols(&self) -> &Inputs<T> {
        self.other.as_ref().unwrap_or(&self.rows)
    }

    /// Returns true if the inputs of the columns are those of the rows.
    pub fn symmetric(&self) -> bool {
        self.other.is_none()
    }

    /// Returns the bounds for every pair of these inputs.
    ///
    /// # Errors
    /// [`Error::Features`] if X and Z differ in their number of features.
    pub fn bounds(&self) -> Result<Bounds> {
        let bound = self.rows.bound_with(self.cols())?;
        Ok((bound.nngp, bound.ntk))
    }
}
