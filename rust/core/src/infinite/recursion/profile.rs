//! The recursion along the diagonal: per-row quantities of every layer.

use std::mem;
use std::ops::Range;

use super::{Batch, LayerScales};
use crate::activations::bias::{BIAS_NUMBERS, bias_numbers};
use crate::activations::features::{Features, SingleNumbers};
use crate::activations::row_pairs::{BandPairs, RowPairs};
use crate::activations::single::single_bias;
use crate::engine::pool::{Stages, Watch};
use crate::engine::rows::{Numbers, per_row};
use crate::error::Result;
use crate::infinite::error_bound::ErrorBound;
use crate::isa::{Block, Blocks, Isa, Vector, Vectorized, WIDTH};
use crate::math::double_double::DoubleDouble;

/// Scaled roots must stay below this, or the product of two of them would overflow.
const LARGEST: f64 = 1e154;

/// A learning scale in the unit of an input is below this power of two, which is less than [`LARGEST`].
const ROOM: i32 = 508;

/// Two powers of two with exponents of at most this size have a product that is a normal number.
const MODERATE: i32 = 500;

/// The diagonal of every layer's kernel on a batch of inputs.
///
/// Each input has its own unit: the power of two in which its `√Σ(x, x)` of the last layer is in [1, 2), or less if a
/// term of Θ is larger by far. Kernels are computed in the units of both inputs, and scaled back at the end. No
/// intermediate value overflows or underflows unless the result does.
#[derive(Debug)]
pub struct Profile {
    pub(super) levels: Vec<Level>,
    pub(super) exponents: Vec<i32>,
    /// The powers of two with these exponents, if all of them are moderate.
    factors: Option<Blocks>,
    /// The truncation error of each activation for any two of the inputs.
    missing: Vec<f64>,
    /// True if results are `f32`.
    pub(super) single: bool,
}

/// The inputs after one dense layer, where `u = σ_w √E φ²` is the root before the bias and `r = √(u² + σ_b²)` the one
/// after.
#[derive(Debug, Default)]
pub(super) struct Level {
    /// `r = √Σ(x, x)`.
    pub(super) r: Vec<DoubleDouble>,
    /// True if r of an input is 0.
    constants: bool,
    /// r in units of the power of two of its input (see [`Profile`]).
    pub(super) scaled: Blocks,
    /// The features of the inputs for the activation after the layer.
    pub(super) features: Features,
    /// The same in `f32`, if results are and the activation reads them.
    pub(super) single_features: Option<SingleNumbers>,
    /// The numbers of [`bias_numbers`], if there is a bias. Then r > 0.
    pub(super) bias: Option<[Blocks; BIAS_NUMBERS]>,
    /// The same in `f32`, if gaps of pairs may be `f32` before the layer.
    pub(super) single_bias: Option<SingleNumbers>,
    /// The numbers of the layer's own term of Θ, unless that term is Σ: `τ_w √E φ²` and `τ_b` of each input, in units of
    /// its power of two.
    pub(super) own: Option<[Blocks; 2]>,
}

impl Profile {
    /// Scales the levels by the powers of two of the last one.
    ///
    /// # Errors
    /// [`Error::Overflow`](crate::Error::Overflow) if a layer's kernel is too large even in units of the last layer's.
    pub(super) fn new(
        mut levels: Vec<Level>,
        missing: Vec<f64>,
        batch: &Batch,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let shares = vec![1.0; levels.len() + 1];
        let mut stages = Stages::new(watch, &shares);
        let (exponents, factors) = stages.next(|watch| units(&levels, watch))?;
        for level in &mut levels {
            stages.next(|watch| level.scale(&exponents, batch, watch))?;
        }
        let moderate = exponents.iter().all(|exponent| exponent.abs() <= MODERATE);
        Ok(Self {
            levels,
            exponents,
            factors: moderate.then_some(factors),
            missing,
            single: batch.single,
        })
    }

    /// The number of inputs.
    pub fn len(&self) -> usize {
        self.exponents.len()
    }

    /// True if there is no input.
    pub fn is_empty(&self) -> bool {
        self.exponents.is_empty()
    }

    /// Bound on the error of any kernel entry between these inputs, round-off excluded.
    pub fn bound(&self) -> ErrorBound {
        ErrorBound::of_network(&self.missing)
    }

    /// The relative truncation error of each activation, for any two of the inputs.
    pub fn missing(&self) -> &[f64] {
        &self.missing
    }

    /// Scales kernels of `pairs` back from the units of both inputs. The row is in this profile, the columns are in
    /// `cols`.
    pub(super) fn unscale(&self, cols: &Self, isa: Isa, pairs: &RowPairs, values: &mut [Block]) {
        if let (Some(rows), Some(cols)) = (&self.factors, &cols.factors) {
            isa.run(Unscale {
                row: rows.get(pairs.row),
                cols: pairs.cols(cols),
                values,
            });
        } else {
            let exponents = &cols.exponents[pairs.blocks.start * WIDTH..];
            for (value, exponent) in values.as_flattened_mut().iter_mut().zip(exponents) {
                *value = libm::scalbn(*value, self.exponents[pairs.row] + exponent);
            }
        }
    }

    /// The exponent of the power of two that is the unit of an input.
    pub fn exponent(&self, row: usize) -> i32 {
        self.exponents[row]
    }
}

/// `values[j] ← row · cols[j] · values[j]`.
struct Unscale<'a> {
    row: f64,
    cols: &'a [Block],
    values: &'a mut [Block],
}

impl Vectorized for Unscale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let row = V::splat(self.row);
        for (value, col) in self.values.iter_mut().zip(self.cols) {
            (row * V::load(col) * V::load(value)).store(value);
        }
    }
}

/// The exponents of the units of inputs (see [`Profile`]), and these units.
fn units(levels: &[Level], watch: &mut Watch<'_>) -> Result<(Vec<i32>, Blocks)> {
    let last = levels.last().map_or(&[][..], |level| &level.r);
    let own: Vec<_> = levels
        .iter()
        .flat_map(|level| level.own.iter().flatten())
        .collect();
    let exponent = |value: f64| libm::frexp(value).1 - 1;
    let band = |rows: Range<usize>| {
        let of_row = |row: usize| {
            let terms = own
                .iter()
                .map(|own| own.get(row))
                .filter(|term| *term > 0.0);
            let least = terms.map(|term| exponent(term) - ROOM);
            least.fold(exponent(last[row].hi), i32::max)
        };
        let exponents: Vec<_> = rows.map(of_row).collect();
        let units = exponents.iter().map(|e| libm::scalbn(1.0, *e)).collect();
        Ok((exponents, vec![units]))
    };
    let (exponents, mut units) = per_row(last.len(), 20.0, watch, &band)?;
    Ok((exponents, units.swap_remove(0)))
}

impl Level {
    /// Estimated cycles of [`Level::new`] per input.
    pub(super) const CYCLES: f64 = 200.0;
    /// Estimated cycles of [`Level::scale`] per input.
    pub(super) const SCALING_CYCLES: f64 = 30.0;

    /// The inputs after a layer of these `scales`, given `√E φ²` of each. Features and scaled numbers are still empty.
    ///
    /// # Errors
    /// [`Error::Overflow`](crate::Error::Overflow) if r of an input is not finite.
    pub(super) fn new(
        scales: &LayerScales,
        batch: &Batch,
        root: &(dyn Fn(usize) -> DoubleDouble + Sync),
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let band = |rows: Range<usize>| {
            let roots: Vec<_> = rows.clone().map(root).collect();
            let numbers = level_numbers(scales, &roots);
            match numbers.0.iter().position(|r| !r.hi.is_finite()) {
                Some(row) => Err(batch.overflow(rows.start + row)),
                None => Ok(numbers),
            }
        };
        let (r, numbers) = per_row(batch.rows, Self::CYCLES, watch, &band)?;
        let mut numbers = numbers.into_iter();
        let mut next = || numbers.next().unwrap_or_default();
        let bias = (scales.sigma_b != 0.0).then(|| [(); BIAS_NUMBERS].map(|()| next()));
        let own = (!scales.tau_is_sigma()).then(|| [next(), next()]);
        let in_use = bias.as_ref().filter(|_| batch.single);
        Ok(Self {
            constants: r.iter().any(|r| r.hi == 0.0),
            r,
            single_bias: in_use.map(single_bias),
            bias,
            own,
            ..Self::default()
        })
    }

    /// Makes inputs that are the constant 0 after the layer orthogonal to all others, as they were before an activation
    /// with a kink moved their gaps. `also` hears of each such pair by its place in the band: row, block and lane.
    pub(super) fn separate_constants(
        [rows, cols]: [&Self; 2],
        pairs: &BandPairs,
        gaps: &mut [Block],
        mut also: impl FnMut([usize; 3]),
    ) {
        if !(rows.constants || cols.constants) {
            return;
        }
        let first = pairs.blocks.start * WIDTH;
        let cols = &cols.r[first..cols.r.len().min(pairs.blocks.end * WIDTH)];
        for (index, row) in pairs.rows.clone().enumerate() {
            let row = rows.r[row].hi == 0.0;
            for (col, r) in cols.iter().enumerate() {
                if row || r.hi == 0.0 {
                    let [block, lane] = [col / WIDTH, col % WIDTH];
                    gaps[index * pairs.blocks.len() + block][lane] = 1.0;
                    also([index, block, lane]);
                }
            }
        }
    }

    /// Fills the numbers that are in units of the inputs' powers of two.
    ///
    /// # Errors
    /// [`Error::Overflow`](crate::Error::Overflow) if one of them is NaN or at least [`LARGEST`].
    fn scale(&mut self, exponents: &[i32], batch: &Batch, watch: &mut Watch<'_>) -> Result<()> {
        let band = |rows: Range<usize>| {
            let scale = |(value, exponent): (f64, &i32)| libm::scalbn(value, -exponent);
            let scaled = |numbers: &mut dyn Iterator<Item = f64>| -> Blocks {
                numbers.zip(&exponents[rows.clone()]).map(scale).collect()
            };
            let own = self.own.iter().flatten();
            let mut numbers: Vec<_> = own.map(|own| scaled(&mut own.of(&rows))).collect();
            numbers.push(scaled(&mut self.r[rows.clone()].iter().map(|r| r.hi)));
            let too_large = |number: f64| number.is_nan() || number >= LARGEST;
            let mut rows_too_large = numbers.iter().map(|list| list.iter().position(too_large));
            match rows_too_large.find_map(|row| row) {
                Some(row) => Err(batch.overflow(rows.start + row)),
                None => Ok((Vec::<()>::new(), numbers)),
            }
        };
        let (_, mut numbers) = per_row(self.r.len(), Self::SCALING_CYCLES, watch, &band)?;
        self.scaled = numbers.pop().unwrap_or_default();
        if let (Some(own), [weights, biases]) = (&mut self.own, &mut numbers[..]) {
            *own = [mem::take(weights), mem::take(biases)];
        }
        Ok(())
    }
}

/// r of inputs after a layer, given `√E φ²` of each; then the numbers of [`bias_numbers`], if there is a bias, and those
/// of the layer's own term of Θ, unless that term is Σ.
fn level_numbers(scales: &LayerScales, roots: &[DoubleDouble]) -> Numbers<DoubleDouble> {
    let (sigma_w, sigma_b) = (DoubleDouble::from(scales.sigma_w), scales.sigma_b);
    let u: Vec<_> = roots.iter().map(|root| sigma_w * *root).collect();
    let (r, mut numbers) = if sigma_b == 0.0 {
        (u, Vec::new())
    } else {
        let r: Vec<_> = u.iter().map(|u| u.hypot(sigma_b.into())).collect();
        let pairs = u.iter().zip(&r);
        let numbers: Vec<_> = pairs.map(|(u, r)| bias_numbers(*u, *r, sigma_b)).collect();
        let number = |index: usize| numbers.iter().map(|numbers| numbers[index]).collect();
        (r, (0..BIAS_NUMBERS).map(number).collect())
    };
    if !scales.tau_is_sigma() {
        numbers.push(roots.iter().map(|root| scales.tau_w * root.hi).collect());
        numbers.push(roots.iter().map(|_| scales.tau_b).collect());
    }
    (r, numbers)
}
