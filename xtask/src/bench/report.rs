//! The table, printed and put into `benches/RESULTS.md` between two marks.

use anyhow::{Context, Result};

use super::{Costs, DECODE, Fewer, PREFILL, Row, machine, median, peers::Peers, picture};
use crate::process::root;

/// What marks the place of the CPU's table, its end, and the picture; the same for the GPU's.
const CPU: [&str; 3] = ["<!-- what `cargo xtask bench` measured last -->", "<!-- end of it -->", "results.svg"];
const GPU: [&str; 3] =
    ["<!-- what `cargo xtask bench --gpu` measured last -->", "<!-- end of the GPU's -->", "results-gpu.svg"];

pub fn write(rows: &[Row], costs: &Costs, fewer: &[Fewer], peers: &Peers, threads: usize, gpu: bool) -> Result<()> {
    let [begin, end, image] = if gpu { GPU } else { CPU };
    let mut text = format!("Machine: {}. {}.", machine::describe(threads), machine::today());
    if !peers.versions().is_empty() {
        text += &format!(" Peers: {}.", peers.versions());
    }
    text += "\n\n| tokens/s, medians | unspoken | peer | ratio |\n| --- | --- | --- | --- |\n";
    for row in rows {
        let shown = |x: Option<f64>| x.map_or("–".into(), |x| format!("{x:.1}"));
        let (ours, theirs) = (median(&row.ours), median(&row.theirs));
        let ratio = ours.zip(theirs).map_or("–".into(), |(a, b)| format!("{:.2}", a / b));
        text += &format!("| {} | {} | {} ({}) | {ratio} |\n", row.what, shown(ours), shown(theirs), row.peer);
    }
    let costs = [&costs.adapter, &costs.group, &costs.rollouts].map(|cost| median(cost));
    if let [Some(adapter), Some(group), Some(rollouts)] = costs {
        text += &format!(
            "\nSmolLM2: decoding with an adapter of rank 16 takes {:.0} % more time than without; eight rollouts of one \
             prompt take {group:.2} times the time of one token by token, and {rollouts:.2} times from the prompt, which is read \
             once, to the last of {DECODE} tokens.\n",
            100.0 * adapter
        );
    }
    if !fewer.is_empty() {
        text += &format!(
            "\n| SmolLM2, kept to | prefill {PREFILL}, tokens/s | decode {DECODE} | LoRA step of {PREFILL} | an adapter | eight \
             rollouts |\n| --- | --- | --- | --- | --- | --- |\n"
        );
    }
    for Fewer { instructions, prefill, decode, train, adapter, group } in fewer {
        let percent = 100.0 * adapter;
        text += &format!(
            "| {instructions} | {prefill:.1} | {decode:.1} | {train:.1} | +{percent:.0} % | {group:.2} times one |\n"
        );
    }
    println!("{text}");
    let folder = root().join("benches");
    picture::draw(&folder.join(image), rows)?;
    let path = folder.join("RESULTS.md");
    let before = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (head, rest) = before.split_once(begin).with_context(|| format!("{} lacks {begin}", path.display()))?;
    let (_, tail) = rest.split_once(end).with_context(|| format!("{} lacks {end}", path.display()))?;
    let picture = format!("![ratios to the peers]({image})");
    std::fs::write(&path, format!("{head}{begin}\n\n{text}\n{picture}\n\n{end}{tail}"))?;
    eprintln!("written to {}", path.display());
    Ok(())
}
