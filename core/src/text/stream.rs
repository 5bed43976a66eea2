//! Text as it is made: bytes of tokens go in, whole characters come out.

/// Holds back the bytes of a character that is not complete yet.
#[derive(Clone, Debug, Default)]
pub struct StreamDecoder {
    pending: Vec<u8>,
}

impl StreamDecoder {
    /// With nothing held back.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the bytes of a token and gives what has become text; bytes that can never become a
    /// character come out as U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend(bytes);
        let mut out = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(text) => {
                    out.push_str(text);
                    self.pending.clear();
                    return out;
                }
                Err(e) => {
                    let valid = e.valid_up_to();
                    out.push_str(&String::from_utf8_lossy(&self.pending[..valid]));
                    match e.error_len() {
                        Some(n) => {
                            out.push('\u{fffd}');
                            self.pending.drain(..valid + n);
                        }
                        None => {
                            self.pending.drain(..valid);
                            return out;
                        }
                    }
                }
            }
        }
    }

    /// What is left at the end, incomplete characters as U+FFFD.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_never_comes_in_pieces() {
        let text = "aé漢👩‍👧x";
        for cut in 1..5 {
            let mut d = StreamDecoder::new();
            let mut out = String::new();
            for part in text.as_bytes().chunks(cut) {
                let piece = d.push(part);
                assert!(!piece.contains('\u{fffd}'));
                out += &piece;
            }
            assert_eq!(out + &d.finish(), text);
        }
        let mut d = StreamDecoder::new();
        assert_eq!(d.push(b"a\xff\xe6\xbc"), "a\u{fffd}");
        assert_eq!(d.finish(), "\u{fffd}");
    }
}
