//! Text of an answer while its tokens come.

/// Joins the bytes of tokens to whole characters.
#[derive(Clone, Debug, Default)]
pub struct StreamDecoder {
    /// The beginning of a character, at most three bytes between calls.
    pending: Vec<u8>,
}

impl StreamDecoder {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the bytes of a token; gives the text that is complete by now, `None` where there is none. A character is
    /// never cut; bytes that cannot become one are U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> Option<String> {
        self.pending.extend_from_slice(bytes);
        let mut out = String::new();
        let mut rest: &[u8] = &self.pending;
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    rest = &[];
                    break;
                }
                Err(e) => e,
            };
            let (valid, after) = rest.split_at(error.valid_up_to());
            out.push_str(&String::from_utf8_lossy(valid));
            // No length means that the text ends inside of a character, which the next token may complete.
            let Some(bad) = error.error_len() else {
                rest = after;
                break;
            };
            out.push(char::REPLACEMENT_CHARACTER);
            rest = &after[bad..];
        }
        self.pending = rest.to_vec();
        (!out.is_empty()).then_some(out)
    }

    /// What is left at the end, an incomplete character as U+FFFD; `None` where nothing is.
    pub fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.pending);
        (!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn streamed(parts: &[Vec<u8>]) -> String {
        let mut d = StreamDecoder::new();
        let mut out: String = parts.iter().filter_map(|p| d.push(p)).collect();
        assert!(d.pending.len() < 4);
        out.extend(d.finish());
        out
    }

    #[test]
    fn a_character_never_comes_in_pieces() {
        let text = "aé漢👩‍👧x";
        for cut in 1..5 {
            let mut d = StreamDecoder::new();
            for part in text.as_bytes().chunks(cut) {
                assert!(!d.push(part).unwrap_or_default().contains('\u{fffd}'));
            }
            assert_eq!(d.finish(), None);
            let parts: Vec<Vec<u8>> = text.as_bytes().chunks(cut).map(<[u8]>::to_vec).collect();
            assert_eq!(streamed(&parts), text);
        }
        let mut d = StreamDecoder::new();
        assert_eq!(d.push(b"\xe6"), None);
        assert_eq!(d.push(b"\xbc\xa2").as_deref(), Some("漢"));
        assert_eq!(d.push(b"a\xff\xe6\xbc").as_deref(), Some("a\u{fffd}"));
        assert_eq!(d.finish().as_deref(), Some("\u{fffd}"));
        assert_eq!(d.finish(), None);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 0..12)) {
            let whole = parts.concat();
            prop_assert_eq!(streamed(&parts), String::from_utf8_lossy(&whole));
        }
    }
}
