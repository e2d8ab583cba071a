//! Checks of every line of the catalogue.

use std::collections::BTreeSet;
use std::f64::consts::PI;
use std::sync::Arc;

use super::{activation, catalogue};
use crate::activations::activation::Activation;
use crate::activations::differentiable::DualStep;
use crate::activations::dual::{Description, Dual};
use crate::activations::features::{Features, Variables};
use crate::engine::pool::unwatched;
use crate::isa::{Isa, WIDTH};
use crate::math::double_double::DoubleDouble;
use crate::math::quadrature::legendre;

/// Two roots r, and the gap between variables of these roots.
const PAIRS: [([f64; 2], f64); 6] = [
    ([1.0, 1.0], 0.0),
    ([0.7, 1.3], 0.5),
    ([1.2, 0.4], -0.03),
    ([0.9, 0.9], 1e-3),
    ([0.6, 1.1], -0.8),
    ([1.3, 0.2], 1.0),
];

/// The step of central differences.
const H: f64 = 1e-5;

/// A derivative, from the values at H and −H.
fn difference([above, below]: [f64; 2]) -> f64 {
    (above - below) / (2.0 * H)
}

/// Every activation, with its example of parameters.
fn examples() -> impl Iterator<Item = (&'static str, Arc<dyn Activation>)> {
    catalogue().into_iter().map(|entry| {
        let built = (entry.build)(&entry.example);
        let built = built.expect("the example has the right number of parameters");
        (entry.name, built.expect("the example is valid"))
    })
}

fn dual<'a>(name: &str, activation: &'a Arc<dyn Activation>) -> &'a dyn Dual {
    let dual = activation.dual();
    dual.unwrap_or_else(|| panic!("{name} has no dual"))
}

fn describe(dual: &dyn Dual, r: [f64; 2]) -> Description {
    let r = r.map(DoubleDouble::from);
    dual.describe(&r, &mut unwatched)
        .expect("the formulas do not fail")
}

/// The first of two variables, with both: the second one is in lane 1.
fn first_with_both(features: &Features) -> Variables<'_> {
    Variables {
        rows: features,
        row: 0,
        cols: features,
        blocks: 0..1,
    }
}

/// The gap of (φ(u), φ(v)), and Ṫ, of two variables with these features.
fn step(dual: &dyn Dual, isa: Isa, features: &Features, gap: f64) -> (f64, f64) {
    let (mut gaps, mut dots) = ([[gap; WIDTH]], [[f64::NAN; WIDTH]]);
    dual.step(isa, first_with_both(features), &mut gaps, &mut dots);
    (gaps[0][1], dots[0][1])
}

/// φ and φ' at these points.
fn evaluate(activation: &dyn Activation, points: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut values, mut slopes) = (points.to_vec(), vec![f64::NAN; points.len()]);
    activation.evaluate(&mut values, &mut slopes);
    (values, slopes)
}

/// Nodes and weights of a standard Gaussian, from a rule for [−1, 1], with an edge of the panels at `kink`.
fn gaussian_rule(rule: &[(f64, f64)], kink: f64) -> Vec<(f64, f64)> {
    const END: f64 = 9.0;
    let edge = kink.clamp(-END, END);
    let panels = [(-END, edge), (edge, END)].into_iter();
    let panels = panels.flat_map(|(from, to)| {
        let count = (to - from).ceil().max(1.0);
        let width = (to - from) / count;
        (0..count as u32).map(move |panel| (from + width * f64::from(panel), width))
    });
    let nodes = panels.flat_map(|(start, width)| {
        rule.iter().map(move |(node, weight)| {
            let z = start + 0.5 * width * (1.0 + node);
            let density = libm::exp(-0.5 * z * z) / (2.0 * PI).sqrt();
            (z, 0.5 * width * weight * density)
        })
    });
    nodes.collect()
}

/// T and Ṫ, by quadrature.
fn expectations(activation: &dyn Activation, [r_u, r_v]: [f64; 2], gap: f64) -> [f64; 2] {
    let rho = (1.0 - gap.abs()).copysign(gap);
    let rest = (gap.abs() * (2.0 - gap.abs())).sqrt(); // √(1 − ρ²)
    // The inner expectations change quickly at z = 0 if u and v are nearly parallel.
    let (rule, inner_rule) = (legendre(32), legendre(16));
    let outer = gaussian_rule(&rule, 0.0);
    let u: Vec<f64> = outer.iter().map(|(z, _)| r_u * z).collect();
    let (values, slopes) = evaluate(activation, &u);
    let mut sums = [0.0; 2];
    for (((z, weight), value), slope) in outer.iter().zip(values).zip(slopes) {
        let kink = if rest > 0.0 { -rho * z / rest } else { 0.0 };
        let inner = gaussian_rule(&inner_rule, kink);
        let v: Vec<f64> = inner
            .iter()
            .map(|(y, _)| r_v * (rho * z + rest * y))
            .collect();
        let (values, slopes) = evaluate(activation, &v);
        let mean = |list: &[f64]| -> f64 { inner.iter().zip(list).map(|((_, w), f)| w * f).sum() };
        sums[0] += weight * value * mean(&values);
        sums[1] += weight * slope * mean(&slopes);
    }
    sums
}

#[test]
fn names_are_unique_and_wrong_calls_are_refused() {
    let names: BTreeSet<_> = catalogue().iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), catalogue().len());
    for (name, parameters) in [("nothing", &[][..]), ("relu", &[1.0]), ("cos", &[1.0, 2.0])] {
        let message = activation(name, parameters)
            .expect_err("it is refused")
            .to_string();
        assert!(message.starts_with("there is no activation"), "{message}");
    }
}

#[test]
fn derivatives_are_those_of_the_values() {
    for (name, activation) in examples() {
        for x in [-800.0, -30.0, -2.5, -1e-3, 0.3, 1.9, 4.0, 40.0, 800.0] {
            let (values, slopes) = evaluate(&*activation, &[x - H, x, x + H]);
            let mut bend = [x];
            activation.curvature(&mut bend);
            for (list, found) in [(&values, slopes[1]), (&slopes, bend[0])] {
                let difference = difference([list[2], list[0]]);
                // A sixth of H² times a third derivative, and the round-off of the values and of x over 2H.
                let size = list[1].abs() + x.abs() * difference.abs();
                let tolerance = 1e-9 * difference.abs().max(1.0) + 2e-16 * size / H;
                assert!(
                    (found - difference).abs() < tolerance,
                    "{name} {x}: {found} {difference}"
                );
            }
        }
    }
}

#[test]
fn duals_are_the_expectations() {
    for (name, activation) in examples() {
        let dual = dual(name, &activation);
        for (r, gap) in PAIRS {
            let description = describe(dual, r);
            let [root_u, root_v] = [0, 1].map(|index| description.roots[index].hi);
            let exact = expectations(&*activation, r, gap);
            for isa in Isa::available() {
                let (new, dot) = step(dual, isa, &description.features, gap);
                let value = (1.0 - new.abs()).copysign(new) * root_u * root_v;
                let tolerance = 1e-11 + description.missing;
                assert!(
                    (value - exact[0]).abs() < tolerance * root_u * root_v,
                    "{name} {r:?} {gap} {isa}: T is {value}, not {}",
                    exact[0]
                );
                assert!(
                    (dot - exact[1]).abs() < tolerance * exact[1].abs().max(1.0),
                    "{name} {r:?} {gap} {isa}: Ṫ is {dot}, not {}",
                    exact[1]
                );
            }
        }
    }
}

#[test]
fn duals_are_symmetric_and_equal_variables_stay_equal() {
    for (name, activation) in examples() {
        let dual = dual(name, &activation);
        for (r, gap) in PAIRS {
            let both = [r, [r[1], r[0]]].map(|r| describe(dual, r).features);
            for isa in Isa::available() {
                let [there, back] = both.each_ref().map(|both| step(dual, isa, both, gap));
                let bits = |(new, dot): (f64, f64)| [new.to_bits(), dot.to_bits()];
                assert_eq!(bits(there), bits(back), "{name} {r:?} {gap} {isa}");
                if r[0] == r[1] && gap == 0.0 {
                    assert_eq!(there.0.to_bits(), 0, "{name} {isa}");
                }
            }
        }
    }
}

#[test]
fn derivatives_of_descriptions_are_those_of_differences() {
    for (name, activation) in examples() {
        let dual = dual(name, &activation);
        for r in [[0.7, 1.3], [1.2, 0.4]] {
            let slopes = dual.slopes(&r.map(DoubleDouble::from), &mut unwatched);
            let slopes = slopes.expect("the formulas do not fail");
            let sides = [H, -H].map(|h| describe(dual, r.map(|r| r * libm::exp(h))));
            for index in [0, 1] {
                let logarithms = sides.each_ref().map(|side| side.roots[index].hi.ln());
                let error = slopes.elasticities.get(index) - difference(logarithms);
                assert!(error.abs() < 1e-8, "{name} {r:?}: {error}");
            }
        }
    }
}

#[test]
fn derivatives_of_steps_are_those_of_differences() {
    for (name, activation) in examples() {
        let dual = dual(name, &activation);
        for (r, gap) in &PAIRS[1..5] {
            let slopes = dual.slopes(&r.map(DoubleDouble::from), &mut unwatched);
            let slopes = slopes.expect("the formulas do not fail").features;
            let features = |[u, v]: [f64; 2]| {
                let r = [r[0] * libm::exp(u), r[1] * libm::exp(v)];
                describe(dual, r).features
            };
            let (own, gaps) = (features([0.0, 0.0]), [H, -H].map(|h| gap * libm::exp(h)));
            let sides = [
                [H, -H].map(|h| features([h, 0.0])),
                [H, -H].map(|h| features([0.0, h])),
            ];
            for isa in Isa::available() {
                let (pairs, slopes) = (first_with_both(&own), first_with_both(&slopes));
                let mut steps = [DualStep::default()];
                dual.differentiate(isa, &pairs, &slopes, &[[*gap; WIDTH]], &mut steps);
                let along_gap = gaps.map(|gap| step(dual, isa, &own, gap));
                let [along_u, along_v] = sides
                    .each_ref()
                    .map(|side| side.each_ref().map(|both| step(dual, isa, both, *gap)));
                for (n, sides) in [along_gap, along_u, along_v].into_iter().enumerate() {
                    let gap_error =
                        steps[0].gap_slopes[n][1] - difference(sides.map(|side| side.0));
                    let dot_error =
                        steps[0].dot_slopes[n][1] - difference(sides.map(|side| side.1));
                    assert!(
                        gap_error.abs() < 1e-7 && dot_error.abs() < 1e-7,
                        "{name} {r:?} {gap} {isa} {n}: {gap_error} {dot_error}"
                    );
                }
            }
        }
    }
}
