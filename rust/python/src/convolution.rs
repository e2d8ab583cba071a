//! Kernels of infinitely wide convolutional networks: the class `ConvolutionalKernel`.

use ntkrs_core::convolution::batch_pair::{BatchPair, MOST_BYTES};
use ntkrs_core::convolution::geometry::Geometry;
use ntkrs_core::convolution::images::Images;
use ntkrs_core::convolution::kernel::diagonal;
use ntkrs_core::convolution::network::{
    AveragePool, Convolution, ConvolutionLayer, GridLayer, Head, Padding,
};
use ntkrs_core::convolution::profile::ImageProfile;
use ntkrs_core::engine::multiply;
use ntkrs_core::engine::pool::{Stages, Watch};
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::infinite::recursion::Output;
use ntkrs_core::{Error, Result};
use numpy::{Element, PyArray1, PyArray2, PyReadonlyArray4};
use pyo3::prelude::*;

use crate::activations::{self, Spec};
use crate::arrays::{Matrix, Planes, Typed, copied, in_dtype, views};
use crate::call::{Call, watched};
use crate::errors;
use crate::gram::fill;
use crate::kernel_arguments::{Bounds, Scales, Wanted, layer_scales};
use crate::ticker::Progress;

/// A layer on the grid of pixels, as Python describes it.
#[derive(FromPyObject)]
pub enum Layer {
    /// (window, strides, padding, scales, activation).
    Convolution([usize; 2], [usize; 2], String, Scales, Spec),
    /// (window, strides).
    Pool([usize; 2], [usize; 2]),
}

/// Images X (N, H, W, C), and Z (M, H, W, C) or None for X.
type ImageBatches<'py, T> = (PyReadonlyArray4<'py, T>, Option<PyReadonlyArray4<'py, T>>);

/// Images X and Z as in [`ImageBatches`], and the planes of the kernels between them.
type ImageGram<'py, T> = (
    PyReadonlyArray4<'py, T>,
    Option<PyReadonlyArray4<'py, T>>,
    Planes<'py, T>,
);

/// The NNGP and NTK of an infinitely wide convolutional network. `layers` are convolutions with their activations, and
/// pools; `dense` holds the scales of the dense layers after the head, and the activations between them.
#[pyclass(frozen, module = "ntkrs._core")]
pub struct ConvolutionalKernel {
    network: Convolution,
    /// The number of dense layers.
    dense: usize,
}

#[pymethods]
impl ConvolutionalKernel {
    #[new]
    fn new(
        layers: Vec<Layer>,
        head: &str,
        dense: (Vec<Scales>, Vec<Spec>),
    ) -> errors::Result<Self> {
        let layers = layers.into_iter().map(grid_layer);
        let layers = layers.collect::<errors::Result<Vec<_>>>()?;
        let head = match head {
            "flatten" => Head::Flatten,
            "global_avg_pool" => Head::GlobalAvgPool,
            _ => return Err(Error::Invalid(format!("head {head:?} is not known")).into()),
        };
        let scales: Vec<_> = dense.0.into_iter().map(layer_scales).collect();
        let between = activations::parse(dense.1)?;
        Ok(Self {
            dense: scales.len(),
            network: Convolution::new(layers, head, scales, between)?,
        })
    }

    /// Returns the rows and columns of the grid that the head sees, for images of these rows and columns.
    fn grid(&self, sides: [usize; 2]) -> errors::Result<(usize, usize)> {
        let [rows, columns] = Geometry::new(&self.network, sides)?.outputs();
        Ok((rows, columns))
    }

    /// Writes the kernels `wanted` to planes (N, 1, M, 1), for `arrays = (x, z, planes)`. Returns the bounds of
    /// `error_bound`.
    fn gram(
        &self,
        py: Python<'_>,
        arrays: Typed<ImageGram<'_, f64>, ImageGram<'_, f32>>,
        wanted: Vec<Wanted>,
        progress: Progress,
    ) -> errors::Result<Bounds> {
        in_dtype!(arrays, |arrays| {
            self.fill_planes(py, arrays, &wanted, progress)
        })
    }

    /// Returns bounds on the errors of Σ and Θ for all pairs of images of `inputs = (x, z)`, round-off excluded.
    fn error_bound(
        &self,
        py: Python<'_>,
        inputs: Typed<ImageBatches<'_, f64>, ImageBatches<'_, f32>>,
    ) -> errors::Result<Bounds> {
        in_dtype!(inputs, |inputs| self.bounds(py, inputs))
    }

    /// Returns the diagonal of one kernel, (N,), in float64 for either dtype of `x`.
    fn diag<'py>(
        &self,
        py: Python<'py>,
        x: Typed<PyReadonlyArray4<'py, f64>, PyReadonlyArray4<'py, f32>>,
        wanted: Wanted,
    ) -> errors::Result<Bound<'py, PyArray1<f64>>> {
        in_dtype!(x, |x| self.own_kernels(py, x, &wanted))
    }

    /// Returns K V (N, r) for vectors V (M, r), without storing K, for `inputs = (x, z)`.
    fn multiply<'py>(
        &self,
        py: Python<'py>,
        inputs: Typed<ImageBatches<'py, f64>, ImageBatches<'py, f32>>,
        vectors: Matrix<'py, f64>,
        wanted: Wanted,
        progress: Progress,
    ) -> errors::Result<Bound<'py, PyArray2<f64>>> {
        in_dtype!(inputs, |inputs| {
            self.product(py, inputs, &vectors, &wanted, progress)
        })
    }
}

impl ConvolutionalKernel {
    fn fill_planes<T: Scalar + Element>(
        &self,
        py: Python<'_>,
        (x, z, mut planes): ImageGram<'_, T>,
        wanted: &[Wanted],
        progress: Progress,
    ) -> errors::Result<Bounds> {
        let mut call = Call::enter(py, progress);
        let outputs = wanted.iter().map(|wanted| self.output(wanted));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        let snapshot = ImageSnapshot::of(&self.network, (x, z), &mut call)?;
        let (planes, shares) = (views(&mut planes), snapshot.cycles()?);
        call.detach(self.call_cycles(&shares), |watch| {
            let mut stages = Stages::new(watch, &shares);
            let pair = stages.next(|watch| snapshot.prepare(watch))?;
            let kernel = pair.kernel(&outputs)?;
            stages.next(|watch| fill(&kernel, planes, pair.is_symmetric(), watch))?;
            Ok(bounds(&pair))
        })
    }

    fn bounds<T: Scalar + Element>(
        &self,
        py: Python<'_>,
        inputs: ImageBatches<'_, T>,
    ) -> errors::Result<Bounds> {
        let mut call = Call::enter(py, None);
        let snapshot = ImageSnapshot::of(&self.network, inputs, &mut call)?;
        let [cycles, _] = snapshot.cycles()?;
        call.detach(self.call_cycles(&[cycles]), |watch| {
            Ok(bounds(&snapshot.prepare(watch)?))
        })
    }

    fn own_kernels<'py, T: Scalar + Element>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray4<'_, T>,
        wanted: &Wanted,
    ) -> errors::Result<Bound<'py, PyArray1<f64>>> {
        let mut call = Call::enter(py, None);
        let output = self.output(wanted)?;
        let snapshot = ImageSnapshot::of(&self.network, (x, None), &mut call)?;
        let [cycles, _] = snapshot.cycles()?;
        let values = call.detach(self.call_cycles(&[cycles, 8.0 * cycles]), |watch| {
            let geometry = Geometry::new(&self.network, snapshot.x.sides())?;
            diagonal(&self.network, &geometry, snapshot.x, output, watch)
        })?;
        Ok(PyArray1::from_vec(py, values))
    }

    fn product<'py, T: Scalar + Element>(
        &self,
        py: Python<'py>,
        inputs: ImageBatches<'_, T>,
        vectors: &Matrix<'_, f64>,
        wanted: &Wanted,
        progress: Progress,
    ) -> errors::Result<Bound<'py, PyArray2<f64>>> {
        let mut call = Call::enter(py, progress);
        let outputs = [self.output(wanted)?];
        let snapshot = ImageSnapshot::of(&self.network, inputs, &mut call)?;
        let vectors = call.read(|watch| copied(vectors.as_array(), watch))?;
        let shares = snapshot.cycles()?;
        let product = call.detach(self.call_cycles(&shares), |watch| {
            let mut stages = Stages::new(watch, &shares);
            let pair = stages.next(|watch| snapshot.prepare(watch))?;
            let kernel = pair.kernel(&outputs)?;
            let (symmetric, vectors) = (pair.is_symmetric(), vectors.view());
            stages.next(|watch| multiply::multiply(&kernel, symmetric, vectors, watch))
        })?;
        Ok(PyArray2::from_owned_array(py, product))
    }

    /// Returns the kernel wanted, as the core calls it.
    fn output(&self, (name, layer): &Wanted) -> Result<Output> {
        if layer + 1 != self.dense {
            let message = format!("only the last dense layer has a kernel here, not layer {layer}");
            return Err(Error::Invalid(message));
        }
        match name.as_str() {
            "nngp" => Ok(Output::Nngp(*layer)),
            "ntk" => Ok(Output::Ntk(*layer)),
            _ => Err(Error::Invalid(format!("kernel {name:?} is not known"))),
        }
    }

    /// Returns the cycles that [`Call::detach`] takes, for a call of these stages.
    fn call_cycles(&self, stages: &[f64]) -> f64 {
        watched(self.network.has_callable(), stages.iter().sum())
    }
}

/// Returns a layer as the core describes it.
fn grid_layer(layer: Layer) -> errors::Result<GridLayer> {
    Ok(match layer {
        Layer::Pool(window, strides) => GridLayer::Pool(AveragePool { window, strides }),
        Layer::Convolution(window, strides, padding, scales, activation) => {
            GridLayer::Convolution(ConvolutionLayer {
                window,
                strides,
                padding: parse_padding(&padding)?,
                scales: layer_scales(scales),
                activation: activations::parse(vec![activation])?.swap_remove(0),
            })
        }
    })
}

/// Returns the padding of this name.
fn parse_padding(name: &str) -> Result<Padding> {
    match name {
        "same" => Ok(Padding::Same),
        "valid" => Ok(Padding::Valid),
        "circular" => Ok(Padding::Circular),
        _ => Err(Error::Invalid(format!("padding {name:?} is not known"))),
    }
}

/// Copies of X and Z, made while no other Python thread can change the arrays.
struct ImageSnapshot<'a> {
    network: &'a Convolution,
    /// X, the images of the rows.
    x: Images,
    /// Z, the images of the columns, unless it is X.
    z: Option<Images>,
}

impl<'a> ImageSnapshot<'a> {
    /// Copies the images, and releases the arrays to other calls.
    ///
    /// # Errors
    /// As [`Images::new`] and [`Images::check_shape`].
    fn of<T: Scalar + Element>(
        network: &'a Convolution,
        (x, z): ImageBatches<'_, T>,
        call: &mut Call<'_>,
    ) -> errors::Result<Self> {
        let mut copy = |array: PyReadonlyArray4<'_, T>, argument| {
            call.read(|watch| Images::new(network, array.as_array(), argument, watch))
        };
        let z = z.map(|z| copy(z, "Z")).transpose()?;
        let x = copy(x, "X")?;
        if let Some(z) = &z {
            x.check_shape(z)?;
        }
        Ok(Self { network, x, z })
    }

    /// Returns the estimated cycles of [`ImageSnapshot::prepare`], and of the kernel.
    ///
    /// # Errors
    /// As [`Geometry::new`].
    fn cycles(&self) -> Result<[f64; 2]> {
        let geometry = Geometry::new(self.network, self.x.sides())?;
        let [rows, cols] = [&self.x, self.z.as_ref().unwrap_or(&self.x)].map(|x| x.len() as f64);
        let images = rows + self.z.as_ref().map_or(0.0, |_| cols);
        let entry = geometry.entry_cycles(self.network);
        let image = ImageProfile::cycles(self.network, &geometry);
        Ok([images * image, rows * cols * entry])
    }

    /// Prepares the images, detached from the interpreter.
    ///
    /// # Errors
    /// As [`BatchPair::new`].
    fn prepare(self, watch: &mut Watch<'_>) -> Result<BatchPair<'a>> {
        BatchPair::new(self.network, (self.x, self.z), MOST_BYTES, watch)
    }
}

/// Returns the bounds for every pair of these images.
fn bounds(pair: &BatchPair<'_>) -> Bounds {
    let bound = pair.bound();
    (bound.nngp, bound.ntk)
}
