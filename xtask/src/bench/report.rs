//! The table, printed and put into `benches/RESULTS.md` between two marks.

use anyhow::{Context, Result};

use super::{Costs, Row, machine, median, peers::Peers, picture};
use crate::process::root;

const BEGIN: &str = "<!-- what `cargo xtask bench` measured last -->";
const END: &str = "<!-- end of it -->";

pub fn write(rows: &[Row], costs: &Costs, peers: &Peers, threads: usize) -> Result<()> {
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
    if let (Some(adapter), Some(group)) = (median(&costs.adapter), median(&costs.group)) {
        text += &format!(
            "\nSmolLM2: decoding with an adapter of rank 16 takes {:.0} % more time than without; eight rollouts of one \
             prompt take {group:.2} times the time of one.\n",
            100.0 * adapter
        );
    }
    println!("{text}");
    let folder = root().join("benches");
    picture::draw(&folder.join("results.svg"), rows)?;
    let path = folder.join("RESULTS.md");
    let before = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (head, rest) = before.split_once(BEGIN).with_context(|| format!("{} lacks {BEGIN}", path.display()))?;
    let (_, tail) = rest.split_once(END).with_context(|| format!("{} lacks {END}", path.display()))?;
    let picture = "![ratios to the peers](results.svg)";
    std::fs::write(&path, format!("{head}{BEGIN}\n\n{text}\n{picture}\n\n{END}{tail}"))?;
    eprintln!("written to {}", path.display());
    Ok(())
}
