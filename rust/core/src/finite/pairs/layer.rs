//! The kernel of one layer, in either form, added to a kernel.

use ndarray::{Array4, ArrayViewMut4};

use super::gradients::GradientFactors;
use super::lookups::{LookupKernel, Lookups};
use super::token_batch::{Entering, Leaving, TokenBatch};
use super::tokens::TokenKernel;
use crate::engine::gram;
use crate::engine::panel::Panels;
use crate::engine::pool::{Stages, Watch, unwatched};
use crate::engine::scalar::Scalar;
use crate::engine::tile::product_cycles;
use crate::error::{Error, Result};

/// Values and gradients of a batch of samples at one layer.
#[derive(Debug)]
pub struct LayerBatch<T: Scalar> {
    /// The values that enter. Rows are (i, s) of depth n for [`PairForm::Tokens`], (i, k) of depth T for
    /// [`PairForm::Gradients`].
    pub entering: Entering<T>,
    /// The gradients. Rows are (i, o, s) of depth m for [`PairForm::Tokens`], (i, o, k) of depth T for
    /// [`PairForm::Gradients`].
    pub leaving: Leaving<T>,
    /// N, at least 1.
    pub samples: usize,
}

/// The two forms of a layer's kernel. They differ in rounding errors only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairForm {
    /// Inner products of tokens: T² (n + m) multiply-adds an entry.
    Tokens,
    /// Inner products of gradients of the weights: n·m multiply-adds an entry.
    Gradients,
}

/// The kernel of a layer: its form and its factors.
#[derive(Clone, Copy, Debug)]
pub struct PairTerm {
    /// The form in which it is computed.
    pub form: PairForm,
    /// The learning rate of the layer.
    pub factor: f64,
    /// 1 for a layer with biases, else 0.
    pub bias: f64,
}

/// Adds the kernel of a layer to `outputs`: arrays (N, S, M, S), one for each plane of the gradients. Without `cols`, the
/// second batch is the first, and half of the kernel is computed.
///
/// # Errors
/// [`Error::Invalid`] if the gradients of weights are wanted of a layer that has none, [`Error::Memory`]; as [`gram::add`].
pub fn add_layer<T: Scalar>(
    term: PairTerm,
    rows: &LayerBatch<T>,
    cols: Option<&LayerBatch<T>>,
    outputs: Vec<ArrayViewMut4<'_, f64>>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    if term.form == PairForm::Gradients {
        return add_gradients(term, rows, cols, outputs, watch);
    }
    let other = cols.unwrap_or(rows);
    if let (Some(x), Some(z)) = (rows.lookups(), other.lookups())
        && (rows.leaving.tokens > 1 || other.leaving.tokens > 1)
    {
        let batches = [(x, &rows.leaving), (z, &other.leaving)];
        return add_lookups(term.factor, batches, cols.is_none(), outputs, watch);
    }
    let kernel = TokenKernel {
        rows: rows.tokens(),
        cols: other.tokens(),
        factor: term.factor,
        bias: term.bias,
    };
    gram::add(&kernel, outputs, cols.is_none(), watch)
}

/// Adds the kernel of an embedding, given the indices and the gradients of two batches.
fn add_lookups<T: Scalar>(
    factor: f64,
    [rows, cols]: [(&[i64], &Leaving<T>); 2],
    symmetric: bool,
    outputs: Vec<ArrayViewMut4<'_, f64>>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let mut stages = Stages::new(watch, &[1.0, 1.0, 2.0]);
    let x = stages.next(|watch| Lookups::new(rows.0, rows.1, watch))?;
    let of_cols = |watch: &mut Watch<'_>| {
        let z = (!symmetric).then(|| Lookups::new(cols.0, cols.1, watch));
        z.transpose()
    };
    let z = stages.next(of_cols)?;
    let kernel = LookupKernel {
        rows: &x,
        cols: z.as_ref().unwrap_or(&x),
        factor,
    };
    stages.next(|watch| gram::add(&kernel, outputs, symmetric, watch))
}

/// Adds the inner products of the gradients of the weights, then of the biases.
fn add_gradients<T: Scalar>(
    term: PairTerm,
    rows: &LayerBatch<T>,
    cols: Option<&LayerBatch<T>>,
    outputs: Vec<ArrayViewMut4<'_, f64>>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let ones = (rows.ones()?, cols.map(LayerBatch::ones).transpose()?);
    let entering = (rows.values()?, cols.map(LayerBatch::values).transpose()?);
    let share = 1.0 / rows.inputs() as f64;
    let shares: Vec<_> = outputs.iter().flat_map(|_| [1.0, share]).collect();
    let mut stages = Stages::new(watch, &shares);
    for (plane, mut output) in outputs.into_iter().enumerate() {
        let factors = |x, z: Option<_>| {
            let cols = cols.zip(z).map(|(cols, z)| cols.factors(z, plane));
            (rows.factors(x, plane), cols)
        };
        let weights = factors(entering.0, entering.1);
        let biases = factors(&ones.0, ones.1.as_ref());
        let factor = term.factor * term.bias;
        stages.next(|watch| add_chunks(term.factor, weights, output.view_mut(), watch))?;
        if factor != 0.0 {
            stages.next(|watch| add_chunks(factor, biases, output, watch))?;
        }
    }
    Ok(())
}

/// Adds the inner products of the gradients of one batch, or of two, chunk by chunk.
fn add_chunks<T: Scalar>(
    factor: f64,
    (rows, cols): (GradientFactors<'_, T>, Option<GradientFactors<'_, T>>),
    mut output: ArrayViewMut4<'_, f64>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let other = cols.as_ref().unwrap_or(&rows);
    let chunks = rows.chunks(other);
    let gram = (rows.count() * other.count()) as f64 * product_cycles(rows.weights());
    let of_cols = cols.as_ref().map_or(0.0, GradientFactors::cycles);
    let shares = [rows.cycles(), of_cols, gram].repeat(chunks.len());
    let mut stages = Stages::new(watch, &shares);
    for chunk in &chunks {
        let x = stages.next(|watch| rows.gradients(chunk, watch))?;
        let gradients = |watch: &mut Watch<'_>| cols.map(|cols| cols.gradients(chunk, watch));
        let z = stages.next(gradients).transpose()?;
        stages.next(|watch| add_gram(factor, x, z, output.view_mut(), watch))?;
    }
    Ok(())
}

/// Adds `factor · ⟨u, v⟩` of the rows of one matrix, or of two.
fn add_gram<T: Scalar>(
    factor: f64,
    x: Panels<T>,
    z: Option<Panels<T>>,
    output: ArrayViewMut4<'_, f64>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let leaving = |panels| Leaving {
        planes: vec![panels],
        directions: 1,
        tokens: 1,
    };
    let (x, z) = (leaving(x), z.map(leaving));
    let alone = |leaving| TokenBatch {
        entering: &Entering::Nothing,
        leaving,
    };
    let kernel = TokenKernel {
        rows: alone(&x),
        cols: alone(z.as_ref().unwrap_or(&x)),
        factor,
        bias: 1.0,
    };
    gram::add(&kernel, vec![output], z.is_none(), watch)
}

impl PairTerm {
    /// Estimated cycles of [`add_layer`], on one thread.
    pub fn cycles<T: Scalar>(self, rows: &LayerBatch<T>, cols: &LayerBatch<T>) -> f64 {
        let planes = rows.leaving.planes.len();
        let entries = (rows.samples * rows.leaving.directions) as f64
            * (cols.samples * cols.leaving.directions) as f64;
        let leaving = rows.leaving.planes[0].rows() * rows.leaving.planes[0].depth()
            / (rows.samples * rows.leaving.directions * rows.leaving.tokens);
        let tokens = (rows.leaving.tokens * cols.leaving.tokens) as f64;
        let each = match self.form {
            // Few tokens have equal indices.
            PairForm::Tokens if rows.lookups().is_some() => product_cycles(planes * leaving),
            PairForm::Tokens => tokens * product_cycles(rows.inputs() + planes * leaving),
            PairForm::Gradients => product_cycles(rows.inputs() * planes * leaving),
        };
        entries * each
    }
}

impl<T: Scalar> LayerBatch<T> {
    /// n, or 1 where no values enter.
    fn inputs(&self) -> usize {
        self.values().map_or(1, |values| {
            values.rows() * values.depth() / (self.samples * self.leaving.tokens)
        })
    }

    /// The tokens of all samples.
    fn tokens(&self) -> TokenBatch<'_, T> {
        TokenBatch {
            entering: &self.entering,
            leaving: &self.leaving,
        }
    }

    /// The values that enter.
    fn values(&self) -> Result<&Panels<T>> {
        match &self.entering {
            Entering::Values(values) => Ok(values),
            _ => Err(Error::Invalid(
                "gradients of weights need values that enter the layer".into(),
            )),
        }
    }

    /// The indices that are looked up, if the layer is an embedding.
    fn lookups(&self) -> Option<&[i64]> {
        match &self.entering {
            Entering::Indices(indices) => Some(indices),
            _ => None,
        }
    }

    /// The value 1 at every token of every sample: it enters the biases.
    fn ones(&self) -> Result<Panels<T>> {
        let one = Array4::from_elem((1, 1, 1, 1), T::narrow(1.0));
        let shape = (self.samples, 1, 1, self.leaving.tokens);
        let ones = one.broadcast(shape).unwrap_or_else(|| one.view());
        Panels::pack_merged(&ones, "ones", &mut unwatched)
    }

    /// The factors of the gradients of one plane, with these values entering.
    fn factors<'a>(&'a self, entering: &'a Panels<T>, plane: usize) -> GradientFactors<'a, T> {
        GradientFactors {
            entering,
            leaving: &self.leaving.planes[plane],
            samples: self.samples,
            directions: self.leaving.directions,
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;

    use super::*;
    use crate::engine::tile::EDGE;

    type Shape = (usize, usize, usize);

    /// Values (N, 1, T, n) and gradients (N, S, T, m) of N samples, of `(T, n, m)`.
    fn arrays(samples: usize, directions: usize, shape: Shape) -> [Array4<f64>; 2] {
        let (tokens, inputs, outputs) = shape;
        let value = |seed: usize| {
            move |(i, o, s, k): (usize, usize, usize, usize)| {
                ((seed + 101 * i + 43 * o + 17 * s + 5 * k) as f64).sin()
            }
        };
        [
            Array4::from_shape_fn((samples, 1, tokens, inputs), value(1)),
            Array4::from_shape_fn((samples, directions, tokens, outputs), value(7)),
        ]
    }

    fn batch<T: Scalar>([a, g]: &[Array4<f64>; 2], form: PairForm) -> LayerBatch<T> {
        let pack = |array: &Array4<f64>| {
            let array = array.mapv(T::narrow);
            let view = match form {
                PairForm::Tokens => array.view(),
                PairForm::Gradients => array.view().permuted_axes([0, 1, 3, 2]),
            };
            Panels::pack_merged(&view, "array", &mut unwatched).unwrap()
        };
        let (samples, directions, tokens, _) = g.dim();
        LayerBatch {
            entering: Entering::Values(pack(a)),
            leaving: Leaving {
                planes: vec![pack(g)],
                directions,
                tokens,
            },
            samples,
        }
    }

    /// The kernel by its definition, of gradients of weights and biases.
    fn expected(x: &[Array4<f64>; 2], z: &[Array4<f64>; 2], bias: f64) -> Array4<f64> {
        let jacobian = |[a, g]: &[Array4<f64>; 2], i: usize, o: usize| {
            let (a, g) = (a.index_axis(Axis(0), i), g.index_axis(Axis(0), i));
            let (a, g) = (a.index_axis(Axis(0), 0), g.index_axis(Axis(0), o));
            (g.t().dot(&a), g.sum_axis(Axis(0)))
        };
        let ([n, s, ..], [m, ..]) = ([x[1].dim().0, x[1].dim().1], [z[1].dim().0]);
        Array4::from_shape_fn((n, s, m, s), |(i, o, j, p)| {
            let ((u, c), (v, d)) = (jacobian(x, i, o), jacobian(z, j, p));
            (&u * &v).sum() + bias * c.dot(&d)
        })
    }

    fn kernel<T: Scalar>(
        x: &[Array4<f64>; 2],
        z: Option<&[Array4<f64>; 2]>,
        form: PairForm,
    ) -> Array4<f64> {
        let (rows, cols) = (batch::<T>(x, form), z.map(|z| batch::<T>(z, form)));
        let ([n, s], m) = ([x[1].dim().0, x[1].dim().1], z.unwrap_or(x)[1].dim().0);
        let mut sum = Array4::from_elem((n, s, m, s), 1.0);
        let (factor, bias) = (2.0, 1.0);
        let term = PairTerm { form, factor, bias };
        add_layer(
            term,
            &rows,
            cols.as_ref(),
            vec![sum.view_mut()],
            &mut unwatched,
        )
        .unwrap();
        sum
    }

    fn check<T: Scalar>(tolerance: f64) {
        let shapes = [
            (1, 5, 3),
            (2, 9, 4),
            (7, 1, 1),
            (EDGE + 5, 3, 2),
            (3, 300, 40),
        ];
        for (samples, directions) in [(1, 1), (5, 3), (EDGE + 3, 1)] {
            for shape in shapes {
                let x = arrays(samples, directions, shape);
                let mut z = x.clone();
                z.iter_mut().for_each(|array| array.invert_axis(Axis(0)));
                let truth = 1.0 + 2.0 * expected(&x, &z, 1.0);
                let largest = truth
                    .iter()
                    .fold(0.0, |max: f64, value| max.max(value.abs()));
                for form in [PairForm::Tokens, PairForm::Gradients] {
                    let mut between = kernel::<T>(&x, Some(&z), form);
                    let error = (&between - &truth).mapv(f64::abs);
                    let error = error.iter().copied().fold(0.0, f64::max);
                    assert!(error <= tolerance * largest, "{shape:?} {form:?} {error:e}");
                    // The same bits in the symmetric kernel, and with rows and columns exchanged.
                    let symmetric = kernel::<T>(&x, None, form);
                    between.invert_axis(Axis(2));
                    assert_eq!(between, symmetric, "{shape:?} {form:?}");
                    assert_eq!(symmetric.view().permuted_axes([2, 3, 0, 1]), symmetric);
                }
            }
        }
    }

    #[test]
    fn both_forms_are_the_kernel_by_its_definition() {
        // Sums of up to 1e4 terms; entries of up to the largest one.
        check::<f64>(1e-13);
        check::<f32>(1e-5);
    }

    #[test]
    fn equal_indices_have_the_inner_product_one() {
        let [_, g] = arrays(4, 2, (3, 1, 5));
        let indices = [0, 1, 1, 2, 0, 0, 7, 7, 7, 1, 2, 3_i64];
        let one_hot = Array4::from_shape_fn((4, 1, 3, 8), |(i, _, s, k)| {
            f64::from(u8::from(indices[3 * i + s] == k as i64))
        });
        let mut looked_up = batch::<f64>(&[one_hot.clone(), g.clone()], PairForm::Tokens);
        looked_up.entering = Entering::Indices(indices.to_vec());
        let (form, factor, bias) = (PairForm::Tokens, 2.0, 0.0);
        let term = PairTerm { form, factor, bias };
        let mut sum = Array4::zeros((4, 2, 4, 2));
        add_layer(term, &looked_up, None, vec![sum.view_mut()], &mut unwatched).unwrap();
        let both = [one_hot, g];
        let error = sum - 2.0 * expected(&both, &both, 0.0);
        // Sums of 45 products of sines.
        assert!(error.iter().all(|error| error.abs() < 1e-13));
        let term = PairTerm {
            form: PairForm::Gradients,
            ..term
        };
        let mut sum = Array4::zeros((4, 2, 4, 2));
        let result = add_layer(term, &looked_up, None, vec![sum.view_mut()], &mut unwatched);
        assert!(matches!(result, Err(Error::Invalid(_))));
    }
}
