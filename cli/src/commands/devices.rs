//! `unspoken devices`.

use anyhow::Result;
use serde_json::json;
use unspoken::device::{Device, DeviceChoice};

use crate::args::Args;
use crate::output::print;

pub fn run(args: &Args) -> Result<()> {
    let cpu = Device::open(DeviceChoice::Cpu, args.threads)?;
    let auto = Device::open(DeviceChoice::Auto, args.threads)?;
    let value = json!({ "cpu": cpu.name(), "auto": auto.name() });
    print(args.json, &value, || format!("{}\nauto takes: {}", cpu.name(), auto.name()))
}
