//! What the library does with whole models. One program: each holds the whole library, and takes long to link.
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
