//! Matrices cut into bands that are filled in parallel.

use super::Panels;
use crate::engine::scalar::Scalar;

/// Cuts several matrices of the same rows into bands of `panels` panels: one element per band, holding the lines of
/// that band of each matrix, so that bands can be filled in parallel.
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

/// Cuts several matrices of the same columns into bands of `columns` columns: one element per band, holding for each
/// matrix the lines of that band of each of its panels.
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

/// Cuts a matrix into tiles of `panels` panels by `columns` columns: element (i, j) of the result holds for each of the
/// panels of group i its lines of band j.
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

/// For each band of columns, its lines of each panel.
fn cut<T: Scalar>(lines: &mut [T::Line], depth: usize, columns: usize) -> Vec<Vec<&mut [T::Line]>> {
    let mut bands: Vec<_> = (0..depth).step_by(columns).map(|_| Vec::new()).collect();
    for panel in lines.chunks_mut(depth) {
        for (band, lines) in bands.iter_mut().zip(panel.chunks_mut(columns)) {
            band.push(lines);
        }
    }
    bands
}
