//! Matrices split into bands that are filled in parallel.

use super::Panels;
use crate::engine::scalar::Scalar;

/// Splits matrices of the same number of rows into bands of `panels` panels. Element i of the result holds the lines of
/// band i, one slice per matrix.
pub fn bands_mut<'a, T: Scalar>(
    matrices: impl Iterator<Item = &'a mut Panels<T>>,
    panels: usize,
) -> Vec<Vec<&'a mut [T::Line]>> {
    let mut bands = Vec::new();
    for (index, matrix) in matrices.enumerate() {
        for (band, lines) in matrix.lines.chunks_mut(panels * matrix.depth).enumerate() {
            if index == 0 {
                bands.push(Vec::new());
            }
            bands[band].push(lines);
        }
    }
    bands
}

/// Splits matrices of the same depth into bands of `columns` columns. Element i of the result holds the lines of band i:
/// for each matrix, one slice per panel.
pub(crate) fn columns_mut<T: Scalar>(
    matrices: &mut [Panels<T>],
    columns: usize,
) -> Vec<Vec<Vec<&mut [T::Line]>>> {
    let mut bands = Vec::new();
    for (index, matrix) in matrices.iter_mut().enumerate() {
        let parts = cut::<T>(&mut matrix.lines, matrix.depth, columns);
        for (band, part) in parts.into_iter().enumerate() {
            if index == 0 {
                bands.push(Vec::new());
            }
            bands[band].push(part);
        }
    }
    bands
}

/// Splits a matrix into tiles of `panels` panels by `columns` columns. Element (i, j) of the result holds the lines of
/// tile (i, j), one slice per panel.
pub(crate) fn tiles_mut<T: Scalar>(
    matrix: &mut Panels<T>,
    panels: usize,
    columns: usize,
) -> Vec<Vec<Vec<&mut [T::Line]>>> {
    let depth = matrix.depth;
    let groups = matrix.lines.chunks_mut(panels * depth);
    groups
        .map(|lines| cut::<T>(lines, depth, columns))
        .collect()
}

/// The lines of each band of `columns` columns, one slice per panel.
fn cut<T: Scalar>(lines: &mut [T::Line], depth: usize, columns: usize) -> Vec<Vec<&mut [T::Line]>> {
    let mut bands: Vec<_> = (0..depth).step_by(columns).map(|_| Vec::new()).collect();
    for panel in lines.chunks_mut(depth) {
        for (band, lines) in bands.iter_mut().zip(panel.chunks_mut(columns)) {
            band.push(lines);
        }
    }
    bands
}
