//! Only what begins with `unspoken_` leaves the shared library: a dependency (llguidance) has C symbols of its own.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os == "linux" || os == "android" {
        // Dependencies come to the linker as archives, this crate as objects.
        println!("cargo::rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }
}
