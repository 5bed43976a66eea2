//! Jobs that train: critics and policies, killed, paused, resumed, over budget; on a model of a few hundred kilobytes.
#![allow(missing_docs)]

mod common;
mod critic;
mod jobs;
mod killed;
mod replies;
