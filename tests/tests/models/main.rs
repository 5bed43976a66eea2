//! What the library does with whole models. One program, for each would have the whole library linked again.
#![allow(missing_docs)]

mod adapters;
mod council;
mod decode;
mod deeppref_mini;
mod engine;
mod eval;
mod forward;
mod greedy;
mod kv;
mod limits;
mod profile;
mod text;
mod tiny;
mod train;
mod user_story;
mod users;
mod vocabs;
