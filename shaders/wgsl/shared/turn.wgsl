// (sin x, cos x) for any x that is a position times a frequency.
fn sin_cos(x: f32) -> vec2<f32> {
    // x minus a multiple of pi/2 that is split in three, so that the first products are exact.
    let n = round(x * 0.636619772);
    let r = ((x - n * 1.5703125) - n * 4.837512969970703125e-4) - n * 7.54978995489188216e-8;
    let r2 = r * r;
    // Polynomials on [-pi/4, pi/4] (Cephes sinf, cosf).
    let s = ((-1.9515295891e-4 * r2 + 8.3321608736e-3) * r2 - 1.6666654611e-1) * r2 * r + r;
    let c = ((2.443315711809948e-5 * r2 - 1.388731625493765e-3) * r2 + 4.166664568298827e-2) * r2 * r2 - 0.5 * r2 + 1.0;
    let quarter = i32(n) & 3;
    let turned = select(vec2(s, c), vec2(c, s), (quarter & 1) == 1);
    let signs = vec2(select(1.0, -1.0, quarter >= 2), select(1.0, -1.0, quarter == 1 || quarter == 2));
    return turned * signs;
}
