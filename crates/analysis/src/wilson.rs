//! Where a share lies that was sampled.

/// Standard errors on either side: 95 %.
const Z: f64 = 1.96;

/// Where a share lies of which `n` looks showed `p`, at 95 % (E. B. Wilson, 1927).
pub(crate) fn interval(p: f64, n: f64) -> [f64; 2] {
    let square = Z * Z / n;
    let middle = (p + square / 2.0) / (1.0 + square);
    let half = Z * (p * (1.0 - p) / n + square / (4.0 * n)).sqrt() / (1.0 + square);
    [(middle - half).max(0.0), (middle + half).min(1.0)]
}
