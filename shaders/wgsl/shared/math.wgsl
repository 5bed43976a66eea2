// The same arithmetic as the CPU twins: what a driver calls exp, sin or cos may be good to a few digits only.

// e^x: 2^n times a polynomial on [-ln2/2, ln2/2] (coefficients: Cephes expf).
fn exp32(value: f32) -> f32 {
    let x = clamp(value, -87.3, 88.3);
    let n = round(x * 1.44269504);
    let r = x - n * 0.693359375 + n * 2.12194440e-4;
    var y = 1.9875691500e-4;
    y = y * r + 1.3981999507e-3;
    y = y * r + 8.3334519073e-3;
    y = y * r + 4.1665795894e-2;
    y = y * r + 1.6666665459e-1;
    y = y * r + 5.0000001201e-1;
    return (y * r * r + r + 1.0) * bitcast<f32>(u32(i32(n) + 127) << 23u);
}
