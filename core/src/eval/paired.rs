//! Comparing two ways on the same items.

use serde::{Deserialize, Serialize};

use super::interval::{Interval, bootstrap_mean, wilson};

/// How one way did against another on the same items and seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Items that both have.
    pub n: usize,
    /// (Item, seed) pairs that only the first got right.
    pub only_first: usize,
    /// Those that only the second got right.
    pub only_second: usize,
    /// The second's accuracy less the first's.
    pub difference: f64,
    /// Its 95 % interval: Newcombe's (1998, method 10) for one seed, by bootstrap over items for several.
    pub interval: Interval,
    /// The two-sided exact p-value of no difference. For one seed this is McNemar's exact test; for several, its
    /// extension: all assignments of signs to the items' differences, each as likely as the other.
    pub p: f64,
}

/// Compares item by item; `first[i]` and `second[i]` are what item i gave under each seed, as many of both.
/// `None` where there are no items or the seeds differ in number.
pub fn paired(first: &[&[bool]], second: &[&[bool]]) -> Option<Paired> {
    let seeds = first.first()?.len();
    if seeds == 0 || first.len() != second.len() || first.iter().chain(second).any(|h| h.len() != seeds) {
        return None;
    }
    let n = first.len();
    let (mut both, mut only_first, mut only_second) = (0, 0, 0);
    let mut differences = Vec::with_capacity(n);
    for (a, b) in first.iter().zip(second) {
        let mut d = 0i32;
        for (a, b) in a.iter().zip(*b) {
            both += usize::from(*a && *b);
            only_first += usize::from(*a && !*b);
            only_second += usize::from(!*a && *b);
            d += i32::from(*b) - i32::from(*a);
        }
        differences.push(d);
    }
    let share = f64::from(differences.iter().sum::<i32>()) / (n * seeds) as f64;
    let interval = if seeds == 1 {
        newcombe(both, only_first, only_second, n - both - only_first - only_second)
    } else {
        bootstrap_mean(&differences.iter().map(|d| f64::from(*d) / seeds as f64).collect::<Vec<_>>())
    };
    Some(Paired { n, only_first, only_second, difference: share, interval, p: sign_test(&differences) })
}

/// The two-sided p-value of Σ dᵢ under independent random signs of the dᵢ, from the exact distribution of the sum.
/// Differences of ±1 and 0 make it McNemar's exact test.
fn sign_test(differences: &[i32]) -> f64 {
    let total: usize = differences.iter().map(|d| d.unsigned_abs() as usize).sum();
    let observed = differences.iter().sum::<i32>().unsigned_abs() as usize;
    // at[s + total]: probability that the sum is s.
    let mut at = vec![0.0f64; 2 * total + 1];
    at[total] = 1.0;
    for d in differences.iter().map(|d| d.unsigned_abs() as usize).filter(|d| *d > 0) {
        let mut next = vec![0.0; at.len()];
        for (i, p) in at.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            next[i - d] += p / 2.0;
            next[i + d] += p / 2.0;
        }
        at = next;
    }
    let tail = |i: usize| i.abs_diff(total) >= observed;
    at.iter().enumerate().filter(|(i, _)| tail(*i)).map(|(_, p)| p).sum::<f64>().min(1.0)
}

/// Newcombe's interval for a difference of paired shares, second less first (Statistics in Medicine 17, 1998, pp.
/// 2635–2650, method 10): Wilson's intervals of both, joined with the correlation φ, corrected for continuity.
fn newcombe(both: usize, only_first: usize, only_second: usize, neither: usize) -> Interval {
    let n = both + only_first + only_second + neither;
    let share = |hits: usize| hits as f64 / n as f64;
    let (x, y) = (both + only_second, both + only_first);
    let (p, q) = (share(x), share(y));
    let (ip, iq) = (wilson(x, n), wilson(y, n));
    let [a, b, c, d] = [both, only_second, only_first, neither].map(|v| v as f64);
    let product = (a + b) * (c + d) * (a + c) * (b + d);
    let phi = if product > 0.0 {
        let cross = a * d - b * c;
        let corrected = if cross > 0.0 { (cross - n as f64 / 2.0).max(0.0) } else { cross };
        corrected / product.sqrt()
    } else {
        0.0
    };
    let half = |u: f64, v: f64| (u * u - 2.0 * phi * u * v + v * v).max(0.0).sqrt();
    let difference = p - q;
    Interval {
        low: (difference - half(p - ip.low, iq.high - q)).max(-1.0),
        high: (difference + half(ip.high - p, q - iq.low)).min(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn expected() -> Value {
        serde_json::from_str(include_str!("../../../tests/statistics/expected.json")).unwrap()
    }

    fn number(v: &Value, key: &str) -> usize {
        v[key].as_u64().unwrap() as usize
    }

    #[test]
    fn one_seed_is_mcnemar_with_newcombes_interval() {
        for t in expected()["tables"].as_array().unwrap() {
            let cells = ["both", "only_second", "only_first", "neither"].map(|k| number(t, k));
            let kinds = [[true, true], [false, true], [true, false], [false, false]];
            let rows: Vec<[bool; 2]> = kinds.iter().zip(cells).flat_map(|(k, n)| vec![*k; n]).collect();
            let first: Vec<&[bool]> = rows.iter().map(|r| &r[..1]).collect();
            let second: Vec<&[bool]> = rows.iter().map(|r| &r[1..]).collect();
            let got = paired(&first, &second).unwrap();
            assert_eq!((got.only_second, got.only_first), (cells[1], cells[2]));
            let near = |x: f64, key: &str| (x - t[key].as_f64().unwrap()).abs() < 1e-9;
            assert!(
                near(got.p, "p") && near(got.interval.low, "low") && near(got.interval.high, "high"),
                "{t}: {got:?}"
            );
        }
        // The example that Newcombe published.
        let i = newcombe(36, 2, 12, 0);
        assert!((i.low - 0.0569).abs() < 5e-5 && (i.high - 0.3404).abs() < 5e-5, "{i:?}");
    }

    #[test]
    fn several_seeds_count_all_signs() {
        for e in expected()["seeds"].as_array().unwrap() {
            let d: Vec<i32> = e["differences"].as_array().unwrap().iter().map(|d| d.as_i64().unwrap() as i32).collect();
            assert!((sign_test(&d) - e["p"].as_f64().unwrap()).abs() < 1e-12, "{e}");
        }
        let (first, second) = ([[false, true, false]; 30], [[true, true, false]; 30]);
        let a: Vec<&[bool]> = first.iter().map(|r| &r[..]).collect();
        let b: Vec<&[bool]> = second.iter().map(|r| &r[..]).collect();
        let got = paired(&a, &b).unwrap();
        assert!((got.difference - 1.0 / 3.0).abs() < 1e-12 && (got.interval.low - 1.0 / 3.0).abs() < 1e-12);
        assert!(got.p < 1e-8 && got.only_second == 30 && got.only_first == 0);
        assert!(paired(&a, &b[1..]).is_none() && paired(&[], &[]).is_none());
    }
}
