//! Server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

/// An event that is longer is none of ours: a session description of 64 Ki characters, each of
/// them escaped, has room.
const MAX_EVENT: usize = 1024 * 1024;

/// Makes events of bytes as they come.
#[derive(Debug, Default)]
pub(super) struct SseDecoder {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// Whether the last line ended with a carriage return, which a line feed may belong to.
    after_return: bool,
    data: String,
    has_data: bool,
    id: String,
}

/// What was said at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SseEvent {
    pub(super) data: String,
    /// The last id that was said with this event or before.
    pub(super) id: String,
}

/// An event is longer than any should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {MAX_EVENT} bytes")]
pub(super) struct TooLong;

impl SseDecoder {
    /// Takes bytes, and puts what they complete into `events`.
    pub(super) fn feed(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), TooLong> {
        for &byte in bytes {
            let second_half = byte == b'\n' && self.after_return;
            self.after_return = byte == b'\r';
            if second_half {
                continue;
            }
            if byte == b'\n' || byte == b'\r' {
                let line = std::mem::take(&mut self.line);
                events.extend(self.end_line(&String::from_utf8_lossy(&line)));
                continue;
            }
            if self.line.len() + self.data.len() >= MAX_EVENT {
                return Err(TooLong);
            }
            self.line.push(byte);
        }
        Ok(())
    }

    fn end_line(&mut self, line: &str) -> Option<SseEvent> {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            let id = self.id.clone();
            return std::mem::take(&mut self.has_data).then_some(SseEvent { data, id });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            // A comment, or what says nothing to us.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\u{FEFF}: hello\n\ndata: one\nid: 1\n\nevent: x\rdata:two\rdata:  more\r\r\
        data\r\nid\r\n\r\nid: lost\n\nretry: 5\ndata: three\n\ndata: unfinished";

    fn events(cut: usize) -> Vec<(String, String)> {
        let (mut decoder, mut events) = (SseDecoder::default(), Vec::new());
        for piece in TEXT.as_bytes().chunks(cut) {
            decoder.feed(piece, &mut events).unwrap();
        }
        events.into_iter().map(|SseEvent { data, id }| (data, id)).collect()
    }

    #[test]
    fn events_are_the_same_however_the_bytes_come() {
        let expected = [("one", "1"), ("two\n more", "1"), ("", ""), ("three", "lost")];
        let expected = expected.map(|(data, id)| (data.to_owned(), id.to_owned()));
        for cut in 1..=TEXT.len() {
            assert_eq!(events(cut), expected, "in pieces of {cut}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut decoder = SseDecoder::default();
        let mut events = Vec::new();
        let line = format!("data: {}\n", "a".repeat(1000));
        let fed =
            (0..MAX_EVENT / 1000 + 1).try_for_each(|_| decoder.feed(line.as_bytes(), &mut events));
        assert_eq!((fed, events), (Err(TooLong), Vec::new()));
    }
}
