//! Products with stored matrices against naive loops, for any pieces, layouts and strides.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::engine::packed_layout::PackedLayout;
use crate::engine::pool::unwatched;

/// A symmetric matrix of small integers, whose products are exact.
fn integers<T: Scalar>(order: usize) -> Array2<T> {
    let entry = |(i, j): (usize, usize)| T::narrow(((i * j + i + j) % 17) as f64 - 8.0);
    Array2::from_shape_fn((order, order), entry)
}

/// A matrix in packed format.
fn packed<T: Scalar>(matrix: ArrayView2<'_, T>) -> Array2<T> {
    let layout = PackedLayout::new(matrix.nrows());
    let mut packed = Array2::from_elem((layout.rows(), layout.cols()), T::narrow(f64::NAN));
    let values = packed.as_slice_mut().unwrap();
    for ((i, j), value) in matrix.indexed_iter() {
        values[layout.offset(i, j)] = *value;
    }
    packed
}

/// The product, from pieces of `step` rows of the packed array, or of the matrix itself.
fn product<T: Scalar>(
    matrix: ArrayView2<'_, T>,
    vectors: ArrayView2<'_, f64>,
    step: usize,
    pack: bool,
) -> Array2<f64> {
    let layout = PackedLayout::new(matrix.nrows());
    let (whole, half) = (packed(matrix), layout.half());
    let product = StoredProduct::new(layout.order(), vectors).unwrap();
    for start in (0..layout.rows()).step_by(step) {
        let end = layout.rows().min(start + step);
        let lower = (!pack).then(|| matrix.slice(s![half + start..half + end, ..]));
        let upper = if pack { whole.view() } else { matrix };
        let upper = upper.slice(s![start..end, ..]);
        let rows = Stored::new(layout.order(), start, upper, lower).unwrap();
        product.add(&rows, &mut unwatched).unwrap();
    }
    product.total(&mut unwatched).unwrap()
}

fn check<T: Scalar>(order: usize) {
    let matrix = integers::<T>(order);
    for count in [0, 1, 2, 3, 5, 8, 9, 12, 21] {
        let shape = (order, count);
        let vectors = Array2::from_shape_fn(shape, |(i, r)| ((3 * i + 5 * r) % 11) as f64 - 5.0);
        let expected = matrix.mapv(Scalar::widen).dot(&vectors);
        for pack in [true, false] {
            for step in [EDGE, 2 * EDGE, 100 * EDGE] {
                let found = product(matrix.view(), vectors.view(), step, pack);
                assert_eq!(found, expected, "{order} {count} {pack} {step}");
            }
        }
    }
}

#[test]
fn products_are_those_of_naive_loops() {
    for order in [0, 1, 2, 3, 7, 96, 97, 191, 192, 193, 500, 1701] {
        check::<f64>(order);
        check::<f32>(order);
    }
}

#[test]
fn the_bits_do_not_depend_on_pieces_or_storage() {
    for order in [1900, 1901] {
        let entry = |(i, j): (usize, usize)| 1.0 / (1.0 + i as f64 + j as f64);
        let matrix = Array2::from_shape_fn((order, order), entry);
        let vectors = Array2::from_shape_fn((order, 11), |(i, r)| (i as f64 + r as f64).sin());
        let expected = product(matrix.view(), vectors.view(), EDGE, true);
        for (step, pack) in [
            (10_000 * EDGE, true),
            (10_000 * EDGE, false),
            (3 * EDGE, false),
        ] {
            let found = product(matrix.view(), vectors.view(), step, pack);
            assert_eq!(found, expected, "{step} {pack}");
        }
        let one = vectors.slice(s![.., 4..5]);
        let found = product(matrix.view(), one, 10_000 * EDGE, true);
        assert_eq!(found, expected.slice(s![.., 4..5]));
    }
}

#[test]
fn any_strides_are_read() {
    let matrix = integers::<f32>(300);
    let vectors = Array2::from_shape_fn((300, 3), |(i, r)| (i + r) as f64);
    let expected = product(matrix.view(), vectors.view(), 300 * EDGE, true);
    assert_eq!(
        product(matrix.t(), vectors.view(), 300 * EDGE, false),
        expected
    );
}

#[test]
fn one_half_alone_is_read() {
    let mut matrix = integers::<f64>(400);
    let vectors = Array2::ones((400, 1));
    let expected = matrix.dot(&vectors);
    matrix.slice_mut(s![200.., ..200]).fill(f64::NAN);
    assert_eq!(
        product(matrix.view(), vectors.view(), EDGE, false),
        expected
    );
}

#[test]
fn pieces_that_do_not_fit_are_errors() {
    let (matrix, vectors) = (Array2::<f64>::zeros((200, 400)), Array2::zeros((3, 1)));
    let message = |start, upper, lower| {
        let stored = Stored::<f64>::new(400, start, upper, lower);
        stored.unwrap_err().to_string()
    };
    let all = matrix.view();
    assert!(message(5, all, None).contains("a multiple of 96 and end at 200"));
    assert!(message(96, all, None).contains("these are 96..296"));
    assert!(message(0, all, None).contains("the packed K has shape [200, 400]"));
    assert!(message(0, all, Some(matrix.slice(s![1.., ..]))).contains("[199, 400]"));
    let wide = Array2::<f64>::zeros((200, 802));
    assert!(message(0, wide.slice(s![.., ..;2]), None).contains("not contiguous"));
    let error = StoredProduct::new(4, vectors.view()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "V has shape [3, 1], but [4, 1] is needed"
    );
}
