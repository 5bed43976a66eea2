//! `unspoken council`.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use unspoken::align::{
    Assistant, Council, CouncilParams, Critic, CriticParams, CriticRow, PathRow, Persona, TreeRecord, TreeSeed,
    default_personas, read_lines, write_lines,
};
use unspoken::model::{Adapter, ContextParams};

use crate::args::Args;
use crate::args::council::Council as Asked;
use crate::council::{journal, picture};
use crate::output::{bar, print};

pub fn run(args: &Args, a: &Asked) -> Result<()> {
    let personas = match &a.personas {
        None => default_personas(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            serde_json::from_str::<Vec<Persona>>(&text).with_context(|| path.display().to_string())?
        }
    };
    let params = CouncilParams {
        personas,
        branch: a.branch,
        depth: a.depth,
        threshold: a.threshold,
        width: a.width,
        max_tokens: a.max_tokens,
        temperature: a.temperature,
        seed: a.seed,
        ..CouncilParams::default()
    };
    params.check()?;
    let seeds = seeds(a)?;
    let device = super::device(args)?;
    // Siblings share their prompt up to the persona; a critique takes up to 192 tokens.
    let room = 1024 + params.branch * (params.max_tokens + 320);
    let room = ContextParams { cache_tokens: room, ..ContextParams::default() };
    let mut policy = Assistant::open(&a.policy, &device, room)?;
    let adapter = a.policy_adapter.as_ref().map(|p| Adapter::load(&policy.model, p)).transpose()?;
    let judge = match &a.critic {
        Some(path) => Assistant::open(path, &device, room)?,
        None => policy.share(room)?,
    };
    let judge_adapter = a.critic_adapter.as_ref().map(|p| Adapter::load(&judge.model, p)).transpose()?;
    // Whatever changes what is drawn.
    let identity = json!({
        "council": 1,
        "params": params,
        "policy": policy.model.fingerprint(),
        "policy_adapter": fingerprint(a.policy_adapter.as_deref())?,
        "critic": judge.model.fingerprint(),
        "critic_adapter": fingerprint(a.critic_adapter.as_deref())?,
    });
    let mut critic = Critic::new(judge, judge_adapter, CriticParams::default())?;
    std::fs::create_dir_all(&a.out).with_context(|| a.out.display().to_string())?;
    let progress = bar(seeds.len() * params.max_nodes(), "thinking");
    let (mut run, kept) = journal::open(&a.out.join("journal.jsonl"), &identity, progress.clone())?;
    run.budget(a.max_seconds, a.max_thoughts);
    let start = Instant::now();
    let mut council = Council { policy: &mut policy, adapter: adapter.as_ref(), critic: &mut critic, params };
    let mut trees = Vec::new();
    for (i, seed) in seeds.iter().enumerate() {
        // Trees that were finished before cost nothing, so they are shown whatever the budget.
        if let Some(tree) = council.grow(seed, &kept, &mut run)? {
            progress.set_position(((i + 1) * council.params.max_nodes()) as u64);
            trees.push(tree);
        }
        if run.spent() {
            break;
        }
    }
    progress.finish_and_clear();
    let critic_rows: Vec<CriticRow> = trees.iter().flat_map(TreeRecord::critic_rows).collect();
    let best: Vec<PathRow> = trees.iter().filter_map(TreeRecord::best_path).collect();
    write_lines(&a.out.join("trees.jsonl"), &trees)?;
    write_lines(&a.out.join("critic.jsonl"), &critic_rows)?;
    write_lines(&a.out.join("best.jsonl"), &best)?;
    let page = a.out.join("trees.html");
    std::fs::write(&page, picture::page(&trees)).with_context(|| page.display().to_string())?;
    let value = json!({
        "trees": trees.len(),
        "of": seeds.len(),
        "thoughts": trees.iter().flat_map(|t| &t.thought_tree).map(unspoken::align::ThoughtNode::size).sum::<usize>(),
        "new_thoughts": run.thoughts,
        "new_pruned": run.pruned,
        "new_failed_critiques": run.failed,
        "critic_rows": critic_rows.len(),
        "best_paths": best.len(),
        "seconds": start.elapsed().as_secs_f64(),
        "out": a.out,
    });
    print(args.json, &value, || {
        let shown: String = trees.iter().map(|t| picture::text(t) + "\n").collect();
        let done = format!("{} of {} trees; rows and picture in {}", trees.len(), seeds.len(), a.out.display());
        let hint = if trees.len() < seeds.len() { "; the same command goes on" } else { "" };
        shown + &done + hint
    })
}

/// What trees are grown for.
fn seeds(a: &Asked) -> Result<Vec<TreeSeed>> {
    let mut seeds: Vec<TreeSeed> = Vec::new();
    for path in &a.data {
        for file in super::jsonl_files(path)? {
            seeds.extend(read_lines(&file)?);
        }
    }
    seeds.truncate(a.limit.unwrap_or(usize::MAX));
    ensure!(!seeds.is_empty(), "there are no records");
    let mut ids: Vec<&str> = seeds.iter().map(|s| s.id.as_str()).collect();
    ids.sort_unstable();
    if let Some(twice) = ids.windows(2).find(|w| w[0] == w[1]) {
        anyhow::bail!("two records have the id {:?}", twice[0]);
    }
    Ok(seeds)
}

/// Says which adapter file it is.
fn fingerprint(path: Option<&std::path::Path>) -> Result<Option<String>> {
    path.map(|p| Ok(unspoken::gguf::GgufFile::open(p)?.fingerprint())).transpose()
}
