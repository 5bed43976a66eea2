//! What `unspoken council` keeps and shows.

pub mod journal;
pub mod picture;
