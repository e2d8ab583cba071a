//! Pools along one axis, as counts: in how many ways a pooled pixel reaches each pixel before the pools.

/// Pools after each other along one axis.
#[derive(Clone, Debug)]
pub(super) struct PoolCounts {
    /// Row a holds the number of ways in which output a reaches each pixel.
    pub rows: Vec<Vec<f64>>,
    /// The sum of each row.
    pub reach: f64,
}

impl PoolCounts {
    /// Pools on n pixels, given (window, stride) of each.
    pub fn new(n: usize, pools: &[(usize, usize)]) -> Self {
        let mut rows: Vec<Vec<f64>> = (0..n)
            .map(|p| (0..n).map(|q| f64::from(u8::from(p == q))).collect())
            .collect();
        let mut reach = 1.0;
        for (window, stride) in pools {
            reach *= *window as f64;
            let sum = |start: usize| -> Vec<f64> {
                let inside = &rows[start..start + window];
                (0..n)
                    .map(|p| inside.iter().map(|row| row[p]).sum())
                    .collect()
            };
            rows = (0..=rows.len() - window)
                .step_by(*stride)
                .map(sum)
                .collect();
        }
        Self { rows, reach }
    }

    /// The pixels that an output reaches, each with its count.
    pub fn reached(&self, output: usize) -> impl Iterator<Item = (usize, f64)> {
        let row = self.rows[output].iter().copied().enumerate();
        row.filter(|(_, count)| *count != 0.0)
    }
}

/// Places in the pooled tensor, each with a weight, of all pairs of n pixels.
pub(super) struct PairPlaces {
    n: usize,
    pairs: Vec<Vec<(usize, f64)>>,
}

impl PairPlaces {
    /// No places.
    pub fn new(n: usize) -> Self {
        Self {
            n,
            pairs: vec![Vec::new(); n * n],
        }
    }

    /// Adds a place of the pair of pixels p and q.
    pub fn push(&mut self, [p, q]: [usize; 2], place: usize, weight: f64) {
        self.pairs[p * self.n + q].push((place, weight));
    }

    /// The places of `len` consecutive pairs, given the pixels of the first one.
    pub fn along(&self, start: usize, partner: usize, len: usize) -> PairTargets {
        let mut targets = PairTargets::default();
        for line in 0..len {
            let pair = (start + line) * self.n + partner + line;
            targets.places.extend(&self.pairs[pair]);
            targets.ends.push(targets.places.len());
        }
        targets
    }
}

/// Places in the pooled tensor, each with a weight, of consecutive pairs.
#[derive(Clone, Debug, Default)]
pub(super) struct PairTargets {
    places: Vec<(usize, f64)>,
    /// The number of places of each pair and all before it.
    ends: Vec<usize>,
}

impl PairTargets {
    /// The places of a pair.
    #[inline(always)]
    pub fn of(&self, pair: usize) -> &[(usize, f64)] {
        let start = pair.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.places[start..self.ends[pair]]
    }

    /// True if no pair has a place.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}
