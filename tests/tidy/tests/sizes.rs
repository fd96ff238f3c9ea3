//! How long a file and a function may be, before tests.

use sfu_tidy::{is_test, rust_files};

/// A file of more lines is two rooms in one.
const MAX_FILE_LINES: usize = 600;
/// A function of more lines does two things.
const MAX_FUNCTION_LINES: usize = 70;

/// The part of a file before its test module.
fn before_tests(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| !line.trim_start().starts_with("#[cfg(test)]")).collect()
}

#[test]
fn files_are_small() {
    let long: Vec<String> = rust_files()
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (path, before_tests(&text).len()))
        .filter(|(_, lines)| *lines > MAX_FILE_LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "longer than {MAX_FILE_LINES} lines before tests:\n{}", long.join("\n"));
}

#[test]
fn functions_are_small() {
    let mut long = Vec::new();
    for (path, text) in rust_files().into_iter().filter(|(path, _)| !is_test(path)) {
        for (name, lines) in functions(&before_tests(&text)) {
            if lines > MAX_FUNCTION_LINES {
                long.push(format!("{path}: {name} has {lines} lines"));
            }
        }
    }
    assert!(long.is_empty(), "longer than {MAX_FUNCTION_LINES} lines:\n{}", long.join("\n"));
}

/// Name and length of each function, by rustfmt's indentation: a function ends at the brace that stands under its `fn`.
fn functions(lines: &[&str]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let end = lines[start..].iter().position(|l| l.len() == indent + 1 && l.trim_start() == "}");
        let one_line = line.trim_end().ends_with('}') || line.trim_end().ends_with(';');
        found.push((name, if one_line { 1 } else { end.map_or(1, |n| n + 1) }));
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let (before, after) = line.split_once("fn ")?;
    let is_definition = before.split_whitespace().all(|word| {
        matches!(word, "pub" | "pub(crate)" | "pub(super)" | "const" | "async" | "unsafe" | "extern" | "\"C\"")
    });
    let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (is_definition && !name.is_empty()).then_some(name)
}

#[test]
fn the_measure_of_functions_is_right() {
    let text =
        ["fn a() {", "    1", "}", "    pub fn b(", "        x: u8,", "    ) {", "        x", "    }", "fn c() {}"];
    let measured = functions(&text);
    assert_eq!(measured, [("a".into(), 3), ("b".into(), 5), ("c".into(), 1)]);
}
