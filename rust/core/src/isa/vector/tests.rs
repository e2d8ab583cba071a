//! Vectors of every instruction set, against scalars.

use std::array::from_fn;

use super::*;

const X: Block = [-3.5, -0.0, 0.0, 0.5, 1.5, 2.5, 1e300, -7.25];
const Y: Block = [2.0, -1.0, 3.0, -0.0, 1.5, -2.5, 1e-30, 100.0];

/// X beside 2 Y, and Y beside X, in the range of `f32`.
fn operands() -> [BlockPair; 2] {
    let lines = [[X, Y.map(|y| 2.0 * y)], [Y, X]];
    let lane =
        |halves: [Block; 2], lane: usize| halves[lane / WIDTH][lane % WIDTH].min(1e30) as f32;
    lines.map(|halves| Lanes(from_fn(|at| lane(halves, at))))
}

#[inline(always)]
fn values<V: Vector>(vector: V) -> Block {
    let mut values = [f64::NAN; WIDTH];
    vector.store(&mut values);
    values
}

#[inline(always)]
fn single_values<S: Singles>(vector: S) -> [f32; 2 * WIDTH] {
    let mut values = Lanes([f32::NAN; 2 * WIDTH]);
    vector.store(&mut values);
    values.0
}

/// The operations of [`Real`] that are the same for `f64` and for `f32`.
#[inline(always)]
fn operations<R: Real>(x: R, y: R) -> [R; 14] {
    let (zero, one) = (R::splat(0.0), R::splat(1.0));
    assert!(R::any(x.less(y)) && !R::any(x.less(x)) && R::any(x.is_negative()));
    assert!(!R::any(one.is_negative()) && R::any((-zero).is_negative()));
    [
        x + y,
        x - y,
        x * y,
        x / y,
        -x,
        x.mul_add(y, one),
        x.abs().sqrt(),
        x.abs(),
        x.copysign(y),
        x.max(y),
        x.min(y),
        R::select(x.less(y), one, zero),
        R::select(x.is_negative(), one, zero),
        x.each(|x| 1.0 / x),
    ]
}

/// The results of [`operations`] for two scalars.
macro_rules! expected_operations {
    ($x:expr, $y:expr, $fused:expr) => {{
        let (x, y) = ($x, $y);
        let of = |condition: bool| if condition { 1.0 } else { 0.0 };
        [
            x + y,
            x - y,
            x * y,
            x / y,
            -x,
            if $fused {
                x.mul_add(y, 1.0)
            } else {
                x * y + 1.0
            },
            x.abs().sqrt(),
            x.abs(),
            x.copysign(y),
            if x > y { x } else { y },
            if x < y { x } else { y },
            of(x < y),
            of(x.is_sign_negative()),
            1.0 / x,
        ]
    }};
}

/// Compares all lanes of some operations with the expected ones, bit by bit.
macro_rules! assert_lanes {
    ($isa:expr, $results:expr, $expected:expr) => {
        for (operation, result) in $results.into_iter().enumerate() {
            for (lane, result) in result.into_iter().enumerate() {
                let expected = $expected(lane)[operation];
                assert_eq!(
                    result.to_bits(),
                    expected.to_bits(),
                    "{}, operation {operation}, lane {lane}: {result} {expected}",
                    $isa
                );
            }
        }
    };
}

const TO_ROUND: Block = [0.5, 1.5, 2.5, -0.5, -1.5, 1e9, 0.49, -3.9];
const ROUNDED: Block = [0.0, 2.0, 2.0, -0.0, -2.0, 1e9, 0.0, -4.0];

const EXPONENTS: Block = [0.0, 1.0, -1.0, 1023.0, -1022.0, 52.0, -52.0, 3.0];

/// 2 to these exponents.
const POWERS: Block = [
    1.0,
    2.0,
    0.5,
    8.98846567431158e307,
    f64::MIN_POSITIVE,
    4503599627370496.0,
    f64::EPSILON,
    8.0,
];

/// Every operation on X and Y, and a lookup.
struct Operations;

impl Vectorized for Operations {
    type Output = Vec<Block>;

    #[inline(always)]
    fn run<V: Vector>(self) -> Self::Output {
        let indices = [0.0, 1.0, 7.0, 8.0, 15.0, -1.0, -16.0, -7.0];
        let found = V::lookup(
            &Lut::new(from_fn(|i| i as f64)),
            V::load(&indices).indices(),
        );
        let more = [
            V::load(&TO_ROUND).round(),
            V::load(&EXPONENTS).power_of_two(),
            found,
        ];
        let common = operations(V::load(&X), V::load(&Y));
        common.into_iter().chain(more).map(values).collect()
    }
}

#[test]
fn operations_are_those_of_scalars_on_every_instruction_set() {
    let found = [0.0, 1.0, 7.0, 8.0, 15.0, 15.0, 0.0, 9.0];
    for isa in Isa::available() {
        assert_lanes!(isa, isa.run(Operations), |lane: usize| {
            let common = expected_operations!(X[lane], Y[lane], isa != Isa::PORTABLE);
            [&common[..], &[ROUNDED[lane], POWERS[lane], found[lane]]].concat()
        });
    }
}

/// Every operation on the lanes of [`operands`], in `f32`.
struct SingleOperations;

impl Vectorized for SingleOperations {
    type Output = Vec<[f32; 2 * WIDTH]>;

    #[inline(always)]
    fn run<V: Vector>(self) -> Self::Output {
        let [x, y] = operands().map(|values| V::Singles::load(&values));
        let one = V::Singles::splat(1.0);
        let more = [
            x.round(),
            x.copysign(one).min(one).round().power_of_two(),
            V::Singles::twice(&X.map(|x| x as f32)),
            V::Singles::halves([3.0, -4.0]),
        ];
        let common = operations(x, y);
        common.into_iter().chain(more).map(single_values).collect()
    }
}

#[test]
fn single_operations_are_those_of_scalars_on_every_instruction_set() {
    for isa in Isa::available() {
        assert_lanes!(isa, isa.run(SingleOperations), |lane: usize| {
            let [x, y] = operands().map(|values| values.0[lane]);
            let more = [
                x.round_ties_even(),
                if x.abs() > 0.5 { 2.0 } else { 1.0 },
                X[lane % WIDTH] as f32,
                if lane < WIDTH { 3.0 } else { -4.0 },
            ];
            let common = expected_operations!(x, y, isa != Isa::PORTABLE);
            [&common[..], &more].concat()
        });
    }
}

/// Inverse roots of numbers of every binary order that is used, and of all leading digits.
struct InverseRoots;

impl Vectorized for InverseRoots {
    type Output = Vec<(f64, f64)>;

    #[inline(always)]
    fn run<V: Vector>(self) -> Self::Output {
        let mut pairs = Vec::new();
        for order in [-1022, -501, -2, -1, 0, 1, 300, 1023] {
            for step in 0..512 {
                let lane = |lane: usize| f64::from(step * 8 + lane as i32) / 4096.0 + 1.0;
                let block: Block = from_fn(|l| libm::scalbn(lane(l), order));
                let roots = values(V::load(&block).inverse_sqrt());
                pairs.extend(block.into_iter().zip(roots));
            }
        }
        pairs
    }
}

#[test]
fn inverse_roots_are_right_to_the_last_digit_on_every_instruction_set() {
    for isa in Isa::available() {
        for (x, root) in isa.run(InverseRoots) {
            let exact = 1.0 / x.sqrt();
            // Both round: the reference by up to ε, from half of the root's rounding and that of the division.
            let error = (root / exact - 1.0).abs();
            assert!(error <= 2.0 * f64::EPSILON, "{isa}: {x} {root} {exact}");
        }
    }
}

/// Inverse roots of `f32` of some binary orders, and of all leading digits.
struct SingleInverseRoots;

impl Vectorized for SingleInverseRoots {
    type Output = Vec<(f32, f32)>;

    #[inline(always)]
    fn run<V: Vector>(self) -> Self::Output {
        let mut pairs = Vec::new();
        for order in [-126, -51, -2, -1, 0, 1, 30, 127] {
            for step in 0..512_u16 {
                let lane = |lane: u16| 1.0 + f32::from(step * 16 + lane) / 8192.0;
                let x = from_fn(|l| lane(l as u16) * 2.0_f32.powi(order));
                let roots = single_values(V::Singles::load(&Lanes(x)).inverse_sqrt());
                pairs.extend(x.into_iter().zip(roots));
            }
        }
        pairs
    }
}

#[test]
fn single_inverse_roots_are_right_to_the_last_digit_on_every_instruction_set() {
    for isa in Isa::available() {
        for (x, root) in isa.run(SingleInverseRoots) {
            let exact = 1.0 / f64::from(x).sqrt();
            let error = (f64::from(root) / exact - 1.0).abs();
            assert!(
                error <= f64::from(f32::EPSILON),
                "{isa}: {x} {root} {exact}"
            );
        }
    }
}

/// Checks conversions, writes past the caches and transposes.
struct Moves;

impl Vectorized for Moves {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (x, y) = (V::load(&X), V::load(&Y));
        let mut narrow = [f32::NAN; WIDTH];
        x.narrow(&mut narrow);
        assert_eq!(narrow, X.map(|value| value as f32));
        assert_eq!(values(V::widen(&narrow)), narrow.map(f64::from));
        let [first, second] = V::split(V::join([x, -x]));
        assert_eq!(values(first), narrow.map(f64::from));
        assert_eq!(values(second), narrow.map(|value| f64::from(-value)));
        let (mut line, mut rounded) = (Lanes([0.0; WIDTH]), Lanes([0.0; 2 * WIDTH]));
        x.stream(&mut line);
        V::stream_rounded([x, y], &mut rounded);
        V::drain();
        assert_eq!(line.0, X);
        assert_eq!(rounded.0[..WIDTH], X.map(|value| value as f32));
        assert_eq!(rounded.0[WIDTH..], Y.map(|value| value as f32));
        let rows = from_fn(|row| V::load(&from_fn(|column| (row * WIDTH + column) as f64)));
        for (column, vector) in V::transpose(rows).into_iter().enumerate() {
            assert_eq!(values(vector), from_fn(|row| (row * WIDTH + column) as f64));
        }
        let square = from_fn(|r| Lanes(from_fn(|c| (r * 2 * WIDTH + c) as f32)));
        let mut turned = [Lanes([f32::NAN; 2 * WIDTH]); 2 * WIDTH];
        V::transpose_narrow(&square, &mut turned);
        for (column, line) in turned.iter().enumerate() {
            assert_eq!(line.0, from_fn(|row| square[row].0[column]));
        }
    }
}

#[test]
fn values_move_unchanged_on_every_instruction_set() {
    for isa in Isa::available() {
        isa.run(Moves);
    }
}
