//! The report as a whole.

use super::*;
use crate::result::example;

#[test]
fn the_report_holds_everything_and_needs_nothing() {
    let html = html(&example());
    for part in ["One-way latency", "Packets per second", "CPU by thread", "Against the floor", "Settings", "p99"] {
        assert!(html.contains(part), "{part}");
    }
    for reference in ["http://", "https://", "<script", "src=", "href=", "@import", "url("] {
        let allowed = html.replace("ws://", "");
        assert!(!allowed.contains(reference), "{reference}");
    }
    assert!(html.matches("<svg").count() >= 7);
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    assert_eq!(html.matches("<section").count(), html.matches("</section>").count());
    assert!(!html.contains("NaN") && !html.contains("inf,"), "a plot has a place that is none");
}

#[test]
fn names_cannot_break_the_page() {
    let mut result = example();
    result.scenario.name = "<script>alert('x')</script>".to_owned();
    result.first_error = Some("\"<b>\"".to_owned());
    result.join_failures = 1;
    let html = html(&result);
    assert!(!html.contains("<script") && !html.contains("<b>\""));
}

#[test]
fn a_run_in_which_nothing_arrived_has_a_report() {
    let mut result = example();
    result.latency_distribution.clear();
    result.audio_latency_distribution.clear();
    result.samples.clear();
    (result.server, result.floor) = (None, None);
    result.ended_early = Some("the server is gone".to_owned());
    let html = html(&result);
    assert!(html.contains("No packet arrived") && html.contains("the server is gone"));
}
