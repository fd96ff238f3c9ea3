//! The syntax level (RFC 8866 section 5): lines of `<type>=<value>`, a session part and media sections.
//!
//! ```text
//! v=0                                session part
//! a=group:BUNDLE 0 1
//! m=audio 9 UDP/TLS/RTP/SAVPF 111    first section
//! a=mid:0
//! m=video 9 UDP/TLS/RTP/SAVPF 96     second section
//! a=mid:1
//! ```
//! Order within a part is not checked and unknown lines are passed over, as robust endpoints do.

use super::error::SdpError;

/// Most bytes of a description. Chromium spends 5 kB on each slot for video: this is a gallery of 49.
pub(super) const MAX_BYTES: usize = 256 * 1024;
/// Most media sections that are read at all, stopped ones too, of which a long call collects many; a policy limits the
/// live ones.
pub(super) const MAX_SECTIONS: usize = 1024;
/// Most attributes of one section; Chromium has about 140, and a host with many addresses some candidates more.
const MAX_ATTRIBUTES: usize = 1024;
/// Most formats in one section: there are no more payload types.
const MAX_FORMATS: usize = 128;

/// One `a=` line: `name` or `name:value`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Attribute<'a> {
    /// Number of the line, from 1.
    pub(super) line: usize,
    pub(super) name: &'a str,
    /// Empty for a property attribute.
    pub(super) value: &'a str,
    /// All that follows `a=`.
    text: &'a str,
}

impl<'a> Attribute<'a> {
    fn parse(line: usize, text: &'a str) -> Self {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        Self { line, name: name.trim(), value: value.trim(), text }
    }

    /// The error that this line cannot be read.
    pub(super) fn wrong(&self, what: &'static str) -> SdpError {
        SdpError::syntax(self.line, &format!("a={}", self.text), what)
    }
}

/// A media section: its `m=` line and attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct MediaPart<'a> {
    /// Number of the `m=` line, from 1.
    pub(super) line: usize,
    pub(super) media: &'a str,
    pub(super) port: u16,
    pub(super) proto: &'a str,
    pub(super) formats: Vec<&'a str>,
    pub(super) attributes: Vec<Attribute<'a>>,
}

impl<'a> MediaPart<'a> {
    /// `<media> <port>[/<ports>] <proto> <fmt> ...`
    fn parse(line: usize, text: &'a str) -> Result<Self, SdpError> {
        let what = "m= needs a media type, a port, a protocol and formats";
        let wrong = SdpError::syntax(line, &format!("m={text}"), what);
        let mut words = text.split_ascii_whitespace();
        let (Some(media), Some(port), Some(proto)) = (words.next(), words.next(), words.next()) else {
            return Err(wrong);
        };
        let Ok(port) = port.split('/').next().unwrap_or(port).parse() else { return Err(wrong) };
        let formats: Vec<_> = words.take(MAX_FORMATS + 1).collect();
        match formats.len() {
            0 => Err(wrong),
            n if n > MAX_FORMATS => Err(SdpError::TooMany { line, what: "formats in a section", limit: MAX_FORMATS }),
            _ => Ok(Self { line, media, port, proto, formats, attributes: Vec::new() }),
        }
    }

    /// The first attribute `name`.
    pub(super) fn attribute(&self, name: &str) -> Option<Attribute<'a>> {
        find(&self.attributes, name)
    }

    /// All attributes `name`.
    pub(super) fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = Attribute<'a>> + 'b {
        self.attributes.iter().copied().filter(move |attribute| attribute.name == name)
    }
}

/// The first attribute `name`.
pub(super) fn find<'a>(attributes: &[Attribute<'a>], name: &str) -> Option<Attribute<'a>> {
    attributes.iter().copied().find(|attribute| attribute.name == name)
}

/// A description, split.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Description<'a> {
    pub(super) session: Vec<Attribute<'a>>,
    pub(super) media: Vec<MediaPart<'a>>,
}

impl<'a> Description<'a> {
    /// A whole description, which begins with `v=0`.
    pub(super) fn parse(text: &'a str) -> Result<Self, SdpError> {
        const WHAT: &str = "a description begins with v=0";
        match lines(text)?.next().transpose()? {
            Some((_, 'v', "0")) => Self::parse_fragment(text),
            Some((line, kind, value)) => Err(SdpError::syntax(line, &format!("{kind}={value}"), WHAT)),
            None => Err(SdpError::syntax(1, "", WHAT)),
        }
    }

    /// A part of a description (RFC 8840), which may begin with anything.
    pub(super) fn parse_fragment(text: &'a str) -> Result<Self, SdpError> {
        let mut description = Self { session: Vec::new(), media: Vec::new() };
        for line in lines(text)? {
            let (line, kind, value) = line?;
            match kind {
                'm' if description.media.len() == MAX_SECTIONS => {
                    return Err(SdpError::TooMany { line, what: "media sections", limit: MAX_SECTIONS });
                }
                'm' => description.media.push(MediaPart::parse(line, value)?),
                'a' => {
                    let last = description.media.last_mut().map(|section| &mut section.attributes);
                    let attributes = last.unwrap_or(&mut description.session);
                    if attributes.len() == MAX_ATTRIBUTES {
                        let what = "attributes in a section";
                        return Err(SdpError::TooMany { line, what, limit: MAX_ATTRIBUTES });
                    }
                    attributes.push(Attribute::parse(line, value));
                }
                _ => {}
            }
        }
        Ok(description)
    }
}

/// The lines with their numbers, types and values; empty lines are left out.
fn lines(text: &str) -> Result<impl Iterator<Item = Result<(usize, char, &str), SdpError>>, SdpError> {
    if text.len() > MAX_BYTES {
        return Err(SdpError::TooLarge { bytes: text.len(), limit: MAX_BYTES });
    }
    // A byte order mark is how some editors begin a file, and a zero how some programs in C end a text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.strip_suffix('\0').unwrap_or(text);
    let numbered = text.split('\n').enumerate().map(|(i, line)| (i + 1, line.trim()));
    Ok(numbered.filter(|(_, text)| !text.is_empty()).map(|(line, text)| {
        // What is read here may be written into an answer, where a control character would begin a line of its own.
        if text.chars().any(char::is_control) {
            return Err(SdpError::syntax(line, text, "control characters"));
        }
        match text.split_once('=') {
            Some((kind, value)) if kind.len() == 1 => Ok((line, char::from(kind.as_bytes()[0]), value)),
            _ => Err(SdpError::syntax(line, text, "a line is one letter, '=' and a value")),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_own_the_attributes_that_follow() {
        let text = "v=0\r\na=x:1\r\nm=audio 9/2 UDP/TLS/RTP/SAVPF 0 8\r\na=mid: 0\na=y\r\n\r\nm=video 0 P 1\r\n";
        let description = Description::parse(text).unwrap();
        assert_eq!(description.session, [Attribute { line: 2, name: "x", value: "1", text: "x:1" }]);
        let [audio, video] = description.media.as_slice() else { panic!("two sections") };
        assert_eq!((audio.media, audio.port, audio.formats.as_slice()), ("audio", 9, ["0", "8"].as_slice()));
        assert_eq!(audio.attribute("mid").unwrap().value, "0");
        assert_eq!(audio.attribute("y").unwrap().line, 5);
        assert_eq!((video.line, video.port, video.proto), (7, 0, "P"));
    }

    #[test]
    fn what_is_no_description_is_refused_with_its_line() {
        let line = |text: &str| match Description::parse(text) {
            Err(SdpError::Syntax { line, .. }) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(line(""), 1);
        assert_eq!(line("v=1"), 1);
        assert_eq!(line("v=0\nhello"), 2);
        assert_eq!(line("v=0\n\nm=audio"), 3);
        assert_eq!(line("v=0\nm=audio nine P 0"), 2);
        assert_eq!(line("v=0\nm=audio 9 P"), 2);
        assert_eq!(line("v=0\na=fmtp:1 x\ry"), 2);
    }

    #[test]
    fn sizes_are_bounded() {
        let large = format!("v=0\r\na={}", "x".repeat(MAX_BYTES));
        assert!(matches!(Description::parse(&large), Err(SdpError::TooLarge { .. })));
        let first_too_many = |text: &str| match Description::parse(text) {
            Err(SdpError::TooMany { line, .. }) => line,
            other => panic!("{other:?}"),
        };
        let sections = "m=audio 9 P 0\n".repeat(MAX_SECTIONS + 1);
        assert_eq!(first_too_many(&format!("v=0\n{sections}")), MAX_SECTIONS + 2);
        let attributes = "a=x\n".repeat(MAX_ATTRIBUTES + 1);
        assert_eq!(first_too_many(&format!("v=0\n{attributes}")), MAX_ATTRIBUTES + 2);
        let formats = " 0".repeat(MAX_FORMATS + 1);
        assert_eq!(first_too_many(&format!("v=0\nm=audio 9 P{formats}")), 2);
    }
}
