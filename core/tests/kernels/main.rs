//! Every kernel on every device against its plain CPU twin, on odd shapes; gradients against finite differences.
//!
//! Devices: the CPU's fast forms with all sets of instructions that the machine has, two threads each, and each
//! adapter that the system's drivers report. Where there is
//! no adapter the GPU half is skipped, unless `UNSPOKEN_REQUIRE_GPU=1` makes that a failure.

mod attention;
mod devices;
mod gradients;
mod harness;
mod matmul;
mod sample;
mod small;
