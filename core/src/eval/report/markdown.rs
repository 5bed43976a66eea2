//! The report as Markdown tables.

use super::Report;
use crate::eval::{Interval, Share};

/// "37.0 % (30.6–43.9)".
pub(super) fn percent(s: &Share) -> String {
    format!("{:.1} % ({:.1}–{:.1})", 100.0 * s.mean, 100.0 * s.interval.low, 100.0 * s.interval.high)
}

pub(super) fn points(difference: f64, i: &Interval) -> String {
    format!("{:+.1} ({:+.1} to {:+.1})", 100.0 * difference, 100.0 * i.low, 100.0 * i.high)
}

/// A p-value.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}

/// Text that cannot break a table or become markup.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '|' | '<' | '>' | '*' | '_' | '`' | '[' | ']' | '\\' | '&' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

impl Report {
    /// Arms, comparisons and topics as tables.
    pub fn markdown(&self) -> String {
        let mut out = format!("# {}\n\n", cell(&self.suite));
        out += &format!("Policy {} on {}, {} items", cell(&self.policy), cell(&self.device), self.items);
        if let Some(critic) = &self.critic {
            out += &format!(", critic {}", cell(critic));
        }
        match &self.judge {
            Some(judge) => out += &format!(", judge {}", cell(judge)),
            None => out += ", no judge",
        }
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        out += &format!(", seeds {}. Intervals are at 95 %; probability: of the fitting answer, ", seeds.join(", "));
        out += "or, where steps were judged, of Yes.\n\n";
        out += "| arm | measure | n | share | probability | policy tokens | critic tokens | policy s | critic s | items/s |\n|---|---|---:|---|---:|---:|---:|---:|---:|---:|\n";
        for arm in &self.arms {
            for m in &arm.measures {
                let fitting = m.fitting_share.map_or("–".into(), |f| format!("{f:.3}"));
                out += &format!(
                    "| {} | {} | {} | {} | {fitting} | {} | {} | {:.1} | {:.1} | {:.2} |\n",
                    cell(&arm.label),
                    cell(&m.name),
                    m.share.n,
                    percent(&m.share),
                    m.cost.tokens(),
                    m.cost.critique_tokens,
                    m.cost.policy_seconds,
                    m.cost.critic_seconds,
                    m.items_per_second(),
                );
            }
        }
        if !self.comparisons.is_empty() {
            out += "\n| measure | second against first | points (second − first) | only first | only second | p (exact) |\n|---|---|---|---:|---:|---:|\n";
        }
        for c in &self.comparisons {
            out += &format!(
                "| {} | {} against {} | {} | {} | {} | {} |\n",
                cell(&c.measure),
                cell(&c.second),
                cell(&c.first),
                points(c.paired.difference, &c.paired.interval),
                c.paired.only_first,
                c.paired.only_second,
                p_value(c.paired.p),
            );
        }
        if self.topics.len() > 1 {
            out += &self.by_topic();
        }
        out
    }

    fn by_topic(&self) -> String {
        let columns: Vec<_> = self.arms.iter().flat_map(|a| a.measures.iter().map(move |m| (a, m))).collect();
        let mut out = "\n| topic | n |".to_owned();
        for (arm, m) in &columns {
            out += &format!(" {}, {} |", cell(&arm.label), cell(&m.name));
        }
        out += &format!("\n|---|---:|{}\n", "---|".repeat(columns.len()));
        for topic in &self.topics {
            let of: Vec<Option<&Share>> =
                columns.iter().map(|(_, m)| m.topics.iter().find(|(t, _)| t == topic).map(|(_, s)| s)).collect();
            let n = of.iter().flatten().map(|s| s.n).max().unwrap_or(0);
            out += &format!("| {} | {n} |", cell(topic));
            of.iter().for_each(|s| out += &format!(" {} |", s.map_or("–".into(), percent)));
            out += "\n";
        }
        out
    }
}
