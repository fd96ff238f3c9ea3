//! Text of peers where people and programs read it: names, error texts, logs.

use std::borrow::Cow;
use std::str::FromStr;

/// Whether a terminal, a log or a page would show something else for this than what stands there: control characters
/// (line ends, ESC), and what breaks lines or turns the order of what is around (Unicode UAX #9, section 2).
pub(crate) fn misleads(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// `text` with such characters written out, as in Rust's sources.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    escape_with(text, |c, escaped| escaped.extend(c.escape_default()))
}

/// `text` with such characters written as `write` does.
pub(crate) fn escape_with(text: &str, write: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(misleads) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if misleads(c) { write(c, &mut escaped) } else { escaped.push(c) }
    }
    escaped.into()
}

/// The longest beginning of `text` that has at most `max` bytes.
pub(crate) fn clip(text: &str, max: usize) -> String {
    let end = (0..=max.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    text[..end].to_owned()
}

/// A decimal number of digits alone; the library's own reading takes a plus before them.
pub(crate) fn number<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// What is wrong with JSON, for its writer: what the library says of numbers is about its own types.
pub(crate) fn json_error(error: &str) -> String {
    let of_number = "data did not match any variant of untagged enum Content";
    error.replace(of_number, "a number is malformed or out of its range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_misleads_is_written_out_and_nothing_else() {
        for (text, expected) in [
            ("Zoë עברית 👩‍💻 `x`\\n", "Zoë עברית 👩‍💻 `x`\\n"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[2J\0\u{7f}\u{9b}", "\\u{1b}[2J\\u{0}\\u{7f}\\u{9b}"),
            ("gnp\u{202e}.exe\u{2066}\u{2028}", "gnp\\u{202e}.exe\\u{2066}\\u{2028}"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn clipping_keeps_characters_whole() {
        assert_eq!(clip("aé", 2), "a");
        assert_eq!(clip("aé", 3), "aé");
    }
}
