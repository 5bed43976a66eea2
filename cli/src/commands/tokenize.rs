//! `unspoken tokenize`.

use anyhow::Result;
use serde_json::json;
use unspoken::gguf::GgufFile;
use unspoken::text::{Specials, Tokenizer};

use crate::args::{Args, Tokenize};
use crate::output::print;

pub fn run(args: &Args, a: &Tokenize) -> Result<()> {
    let tokenizer = Tokenizer::from_gguf(&GgufFile::open(&a.model)?)?;
    let ids = tokenizer.encode(&a.text, if a.special { Specials::Parse } else { Specials::Text })?;
    print(args.json, &json!({ "token_ids": ids }), || {
        let lines = ids.iter().map(|id| format!("{id:>7}  {:?}", tokenizer.token(*id).unwrap_or_default()));
        lines.collect::<Vec<_>>().join("\n")
    })
}
