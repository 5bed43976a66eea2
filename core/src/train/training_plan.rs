//! What training takes in memory, rehearsed.

use super::{AdamWParams, Group, Planner, Trainer};
use crate::model::{Adapter, ModelError};

impl Planner {
    pub(super) fn train(
        &self,
        prompt: usize,
        answers: usize,
        answer: usize,
        rank: usize,
        activation_bytes: Option<usize>,
    ) -> Result<(u64, u64), ModelError> {
        let before = self.device.bytes();
        let adapter = Adapter::new(&self.model, rank, 1.0, 0)?;
        // The adapter, its gradient, two moments.
        let held = self.device.bytes() - before + 3 * 4 * adapter.shape.words as u64;
        // A branch repeats the prompt's last token.
        let tokens = prompt + answers * answer;
        let mut trainer = Trainer::new(&self.model, adapter, AdamWParams::default(), tokens)?;
        let cache = self.device.bytes() - before - held;
        if let Some(bytes) = activation_bytes {
            trainer.limit_activations(bytes);
        }
        let (prompt, answer) = (vec![0; prompt], vec![0; answer]);
        let group = Group { prompt: &prompt, answers: vec![&answer; answers] };
        let log_probs = trainer.log_probs(&group)?.concat();
        trainer.backward(&vec![0.0; log_probs.len()])?;
        trainer.step()?;
        Ok((cache, held))
    }
}
