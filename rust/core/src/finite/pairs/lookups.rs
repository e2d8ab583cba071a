//! The kernel of an embedding, whose rows are looked up by index: only equal indices meet.

use std::mem;

use super::token_batch::Leaving;
use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, Tile, TileKernel};
use crate::error::{Error, Result};
use crate::isa::{Isa, Vector, Vectorized, WIDTH};

/// The cycles of a search for an index among those of a batch.
const SEARCH: f64 = 100.0;

/// The gradients with respect to the rows of a table that a batch of samples reads: `ĝ_iv = Σ_s [v_is = v] g_is`.
#[derive(Debug)]
pub struct Lookups {
    /// The distinct indices of each sample, ascending, one sample after another.
    indices: Vec<i64>,
    /// The first of the distinct indices of each sample, and their number.
    starts: Vec<usize>,
    /// All places of `indices`, by index and then by sample.
    places: Vec<Place>,
    /// ĝ for each plane. Rows (e, o): the place e in `indices`, and the direction o of the outputs.
    sums: Vec<Vec<f64>>,
    directions: usize,
    depth: usize,
    isa: Isa,
}

/// An index, the sample that reads its row, and its place among those of all samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    index: i64,
    sample: usize,
    entry: usize,
}

impl Lookups {
    /// Adds up the gradients of tokens that read the same row. `indices` are those of token s of sample i at i·T + s.
    ///
    /// # Errors
    /// [`Error::Memory`]; as [`pool::for_each`].
    pub fn new<T: Scalar>(
        indices: &[i64],
        leaving: &Leaving<T>,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let first = &leaving.planes[0];
        let mut lookups = Self {
            indices: Vec::new(),
            starts: vec![0],
            places: Vec::new(),
            sums: Vec::new(),
            directions: leaving.directions,
            depth: first.depth(),
            isa: first.all().isa(),
        };
        for tokens in indices.chunks(leaving.tokens) {
            lookups.push_sample(tokens);
        }
        lookups.places.sort_unstable();
        for _ in &leaving.planes {
            let zeros = lookups.zeros()?;
            lookups.sums.push(zeros);
        }
        lookups.add_up(indices, leaving, watch)?;
        Ok(lookups)
    }

    /// Adds the distinct indices of the next sample.
    fn push_sample(&mut self, tokens: &[i64]) {
        let mut distinct = tokens.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let sample = self.starts.len() - 1;
        let place = |(entry, index): (usize, &i64)| Place {
            index: *index,
            sample,
            entry,
        };
        self.places
            .extend((self.indices.len()..).zip(&distinct).map(place));
        self.indices.extend(distinct);
        self.starts.push(self.indices.len());
    }

    /// Room for the sums of a plane.
    fn zeros(&self) -> Result<Vec<f64>> {
        let count = self.indices.len() * self.directions * self.depth;
        let mut values = Vec::new();
        let reserved = values.try_reserve_exact(count);
        reserved.map_err(|_| Error::Memory {
            bytes: 8 * count,
            purpose: "the gradients of an embedding",
        })?;
        values.resize(count, 0.0);
        Ok(values)
    }

    /// Adds the gradients of all tokens to the sums of their sample.
    fn add_up<T: Scalar>(
        &mut self,
        indices: &[i64],
        leaving: &Leaving<T>,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let (tokens, directions, depth) = (leaving.tokens, self.directions, self.depth);
        let values = indices.len() * directions * depth * leaving.planes.len();
        let mut sums = mem::take(&mut self.sums);
        let mut items = Vec::new();
        for (plane, sums) in leaving.planes.iter().zip(&mut sums) {
            let mut rest = &mut sums[..];
            for (sample, range) in self.starts.windows(2).enumerate() {
                let (own, after) = rest.split_at_mut((range[1] - range[0]) * directions * depth);
                rest = after;
                items.push((plane, sample, &self.indices[range[0]..range[1]], own));
            }
        }
        let load = Load::new(items.len(), 3.0 * values as f64);
        pool::for_each(items.into_iter(), load, watch, Vec::new, |row, item, _| {
            let (plane, sample, distinct, sums) = item;
            row.resize(depth, 0.0);
            for (s, index) in indices[sample * tokens..][..tokens].iter().enumerate() {
                let entry = distinct.partition_point(|other| other < index);
                for o in 0..directions {
                    plane.copy_row((sample * directions + o) * tokens + s, row);
                    let sum = &mut sums[(entry * directions + o) * depth..][..depth];
                    sum.iter_mut()
                        .zip(&*row)
                        .for_each(|(sum, value)| *sum += value);
                }
            }
        })?;
        self.sums = sums;
        Ok(())
    }

    /// The number of kernel rows (i, o).
    fn rows(&self) -> usize {
        (self.starts.len() - 1) * self.directions
    }

    /// The places of an index in some samples, `samples[0]..samples[1]`.
    fn places_of(&self, index: i64, samples: [usize; 2]) -> &[Place] {
        let before = |sample: usize| {
            let limit = (index, sample);
            self.places
                .partition_point(|place| (place.index, place.sample) < limit)
        };
        let start = before(samples[0]);
        let found = &self.places[start..];
        let end = found
            .iter()
            .take_while(|place| place.index == index && place.sample < samples[1])
            .count();
        &found[..end]
    }

    /// ĝ of a plane at a place, for direction `o`.
    fn sum(&self, plane: usize, entry: usize, o: usize) -> &[f64] {
        &self.sums[plane][(entry * self.directions + o) * self.depth..][..self.depth]
    }
}

/// `factor · Σ_v ⟨ĝ_iv, ĝ_jv⟩`, over all indices v in ascending order.
#[derive(Debug)]
pub struct LookupKernel<'a> {
    /// The first batch.
    pub rows: &'a Lookups,
    /// The second batch.
    pub cols: &'a Lookups,
    /// The factor of the kernel.
    pub factor: f64,
}

impl LookupKernel<'_> {
    /// Adds the terms of a kernel row to the row `line` of each tile, whose columns are `area.cols`.
    fn add_row(&self, kernel_row: usize, area: &Area, line: usize, planes: &mut [Tile]) {
        let (rows, cols) = (self.rows, self.cols);
        let count = cols.directions;
        let samples = [area.cols.start / count, (area.cols.end - 1) / count + 1];
        let (i, o) = (kernel_row / rows.directions, kernel_row % rows.directions);
        for entry in rows.starts[i]..rows.starts[i + 1] {
            for place in cols.places_of(rows.indices[entry], samples) {
                let own = place.sample * count..(place.sample + 1) * count;
                for col in own.start.max(area.cols.start)..own.end.min(area.cols.end) {
                    for (plane, tile) in planes.iter_mut().enumerate() {
                        let term = rows.isa.run(InnerProduct {
                            x: rows.sum(plane, entry, o),
                            z: cols.sum(plane, place.entry, col - own.start),
                        });
                        tile.row_mut(line)[col - area.cols.start] += term;
                    }
                }
            }
        }
    }
}

impl TileKernel for LookupKernel<'_> {
    type Scratch = ();

    fn rows(&self) -> usize {
        self.rows.rows()
    }

    fn cols(&self) -> usize {
        self.cols.rows()
    }

    fn planes(&self) -> usize {
        self.rows.sums.len()
    }

    fn entry_cycles(&self) -> f64 {
        let (samples, entries) = (self.rows.starts.len() - 1, self.rows.indices.len());
        let searches = entries as f64 / samples as f64 * SEARCH / self.edge() as f64;
        let pairs = samples as f64 * (self.cols.starts.len() - 1) as f64;
        let product = self.planes() as f64 * (20.0 + self.rows.depth as f64 / 4.0);
        searches + meetings(&self.rows.places, &self.cols.places) / pairs * product
    }

    fn compute(&self, area: &Area, (): &mut (), planes: &mut [Tile], _: &Stop) {
        for plane in &mut *planes {
            plane.reset(area.rows.len(), area.cols.len());
        }
        for (line, kernel_row) in area.rows.clone().enumerate() {
            self.add_row(kernel_row, area, line, planes);
            for plane in &mut *planes {
                let row = plane.row_mut(line).iter_mut();
                row.for_each(|value| *value *= self.factor);
            }
        }
    }
}

/// The number of pairs of places with equal indices.
fn meetings(x: &[Place], z: &[Place]) -> f64 {
    let groups = x.chunk_by(|place, next| place.index == next.index);
    let of_group = |group: &[Place]| {
        let index = group[0].index;
        let before = z.partition_point(|place| place.index < index);
        let up_to = z.partition_point(|place| place.index <= index);
        group.len() as f64 * (up_to - before) as f64
    };
    groups.map(of_group).sum()
}

/// ⟨x, z⟩, with the same bits for ⟨z, x⟩. Places that meet are too few, and too scattered, for the panels of the engine.
struct InnerProduct<'a> {
    x: &'a [f64],
    z: &'a [f64],
}

impl Vectorized for InnerProduct<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        let mut sums = [0.0; WIDTH];
        let ((x, of_x), (z, of_z)) = (self.x.as_chunks::<WIDTH>(), self.z.as_chunks::<WIDTH>());
        for (x, z) in x.iter().zip(z) {
            for (sum, (x, z)) in sums.iter_mut().zip(x.iter().zip(z)) {
                *sum += x * z;
            }
        }
        for (sum, (x, z)) in sums.iter_mut().zip(of_x.iter().zip(of_z)) {
            *sum += x * z;
        }
        sums.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;
    use crate::engine::gram;
    use crate::engine::panel::Panels;
    use crate::engine::pool::unwatched;

    /// Indices of T tokens of some samples, and gradients (N, S, T, m).
    fn batch(samples: usize, shape: [usize; 3], seed: usize) -> (Vec<i64>, Array4<f64>) {
        let [directions, tokens, depth] = shape;
        let index = |k: usize| ((k * k + seed) % 7) as i64 - 3;
        let value = |(i, o, s, k): (usize, usize, usize, usize)| {
            ((seed + 101 * i + 43 * o + 17 * s + 5 * k) as f64).sin()
        };
        let indices = (0..samples * tokens).map(index).collect();
        let gradients = Array4::from_shape_fn((samples, directions, tokens, depth), value);
        (indices, gradients)
    }

    fn lookups((indices, gradients): &(Vec<i64>, Array4<f64>)) -> Lookups {
        let (_, directions, tokens, _) = gradients.dim();
        let panels = Panels::pack_merged(&gradients.view(), "G", &mut unwatched).unwrap();
        let leaving = Leaving {
            planes: vec![panels],
            directions,
            tokens,
        };
        Lookups::new(indices, &leaving, &mut unwatched).unwrap()
    }

    /// The kernel by its definition: the sum over all pairs of tokens with equal indices.
    fn expected(x: &(Vec<i64>, Array4<f64>), z: &(Vec<i64>, Array4<f64>)) -> Array4<f64> {
        let ((n, s, t, depth), (m, _, u, _)) = (x.1.dim(), z.1.dim());
        Array4::from_shape_fn((n, s, m, s), |(i, o, j, p)| {
            let pairs = (0..t * u).map(|k| (k / u, k % u));
            let equal = pairs.filter(|(a, b)| x.0[i * t + a] == z.0[j * u + b]);
            let product = |(a, b)| {
                (0..depth)
                    .map(|k| x.1[[i, o, a, k]] * z.1[[j, p, b, k]])
                    .sum::<f64>()
            };
            3.0 * equal.map(product).sum::<f64>()
        })
    }

    fn kernel(x: &Lookups, z: Option<&Lookups>) -> Array4<f64> {
        let cols = z.unwrap_or(x);
        let samples = |batch: &Lookups| batch.starts.len() - 1;
        let shape = (samples(x), x.directions, samples(cols), cols.directions);
        let mut out = Array4::zeros(shape);
        let factor = 3.0;
        let kernel = LookupKernel {
            rows: x,
            cols,
            factor,
        };
        gram::add(&kernel, vec![out.view_mut()], z.is_none(), &mut unwatched).unwrap();
        out
    }

    #[test]
    fn only_equal_indices_meet() {
        for (directions, tokens, depth) in [(1, 1, 1), (1, 4, 19), (5, 6, 8), (97, 2, 3)] {
            let x = batch(31, [directions, tokens, depth], 1);
            let z = batch(12, [directions, tokens + 2, depth], 5);
            let truth = expected(&x, &z);
            let (x, z) = (lookups(&x), lookups(&z));
            let between = kernel(&x, Some(&z));
            // Sums of up to 500 products of sines, times 3.
            let error = (&between - &truth).mapv(f64::abs);
            assert!(error.iter().all(|error| *error < 1e-12));
            let turned = kernel(&z, Some(&x));
            assert_eq!(between, turned.view().permuted_axes([2, 3, 0, 1]));
            assert_eq!(kernel(&x, None), kernel(&x, Some(&x)));
        }
    }

    #[test]
    fn meetings_are_counted() {
        let x = lookups(&batch(9, [1, 3, 2], 0));
        let z = lookups(&batch(4, [1, 5, 2], 3));
        let pairs = x
            .places
            .iter()
            .flat_map(|a| z.places.iter().map(move |b| a.index == b.index));
        let count = pairs.filter(|equal| *equal).count() as f64;
        assert!((meetings(&x.places, &z.places) - count).abs() < 0.5);
    }
}
