//! `unspoken devices`.

use anyhow::Result;
use serde_json::json;
use unspoken::device::{Device, DeviceChoice, adapters};

use crate::args::Args;
use crate::output::print;

pub fn run(args: &Args) -> Result<()> {
    let cpu = Device::open(DeviceChoice::Cpu, args.threads)?;
    let auto = Device::open(DeviceChoice::Auto, args.threads)?;
    let found = adapters();
    let gpus: Vec<_> = found
        .iter()
        .map(|a| json!({ "name": a.name, "backend": a.backend, "kind": format!("{:?}", a.kind), "real": a.is_real() }))
        .collect();
    let value = json!({ "cpu": cpu.name(), "gpus": gpus, "auto": auto.name() });
    print(args.json, &value, || {
        let gpus = found.iter().map(|a| format!("gpu   {} ({}, {:?})", a.name, a.backend, a.kind));
        let lines = [format!("cpu   {}", cpu.name())].into_iter().chain(gpus);
        lines.chain([format!("auto  takes {}", auto.name())]).collect::<Vec<_>>().join("\n")
    })
}
