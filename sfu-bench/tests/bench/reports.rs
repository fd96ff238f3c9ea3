//! Results as files: the report, and comparisons.

use crate::harness::{Bench, Folder, Server};

/// What makes a page load something.
const REFERENCES: [&str; 8] = ["src=", "href=", "@import", "url(", "<script", "<link", "<iframe", "<object"];

#[tokio::test]
async fn a_report_needs_nothing_but_itself_and_results_are_compared() {
    let (server, folder) = (Server::start().await, Folder::new());
    let common = format!("run --server {} --json --settle 1 --server-pid {}", server.url(), server.pid());
    let first = format!("{common} --subscribers 3 --bitrate 200000 --duration 2 --html report.html");
    let first = Bench::start_among(&folder, &first).end().await;
    let packets = first.complete().number("packets_out_per_second");
    let page = folder.read("report.html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    for reference in REFERENCES.iter().chain(&["http://", "https://"]) {
        assert!(!page.contains(reference), "{reference}");
    }
    for part in ["Packets per second", "One-way latency", "CPU by thread", "Settings"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(
        page.matches("<svg").count() >= 5 && page.contains("<path d='M") && !page.contains("NaN"),
        "there are plots"
    );
    assert!(page.contains(&format!("{packets:.0}")), "the page has the figures of the run");
    let second = Bench::start(&format!("{common} --subscribers 6 --bitrate 200000 --duration 1")).end().await;
    let ratio = second.complete().number("packets_out_per_second") / packets;
    folder.write("a.json", &first.out);
    folder.write("b.json", &second.out);
    let compared = Bench::start_among(&folder, "compare a.json b.json").end().await;
    assert!(compared.success, "{compared:?}");
    let line = |name: &str| compared.out.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("packets/s out").contains(&format!("{ratio:.3}")), "{ratio}: {compared:?}");
    for figure in ["server CPU per packet", "server memory", "latency p99", "join to first frame", "generator cores"] {
        assert!(!line(figure).is_empty(), "{figure}: {compared:?}");
    }
    assert!(compared.out.contains("The loads differ"), "{compared:?}");
    let sides = Bench::start_among(&folder, "compare --base a.json b.json --with b.json").end().await;
    assert!(sides.success && sides.out.contains(" to "), "several results have a spread: {sides:?}");
}

#[tokio::test]
async fn what_is_no_result_is_named() {
    let folder = Folder::new();
    folder.write("page.json", "<html>");
    folder.write("other.json", "{\"seal\": 5}");
    for (file, said) in [("page.json", "is no result"), ("other.json", "is no result"), ("none.json", "cannot read")] {
        let refused = Bench::start_among(&folder, &format!("compare {file} {file}")).end().await;
        assert!(!refused.success && refused.out.is_empty(), "{refused:?}");
        assert!(refused.err.contains(said) && refused.err.contains(file), "{refused:?}");
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_written_does_not_cost_the_result() {
    let server = Server::start().await;
    let load = "--subscribers 1 --bitrate 100000 --settle 0 --duration 1 --html no-such-folder/report.html";
    let ended = Bench::start(&format!("run --server {} --json {load}", server.url())).end().await;
    assert!(!ended.success && ended.err.contains("cannot write no-such-folder/report.html"), "{ended:?}");
    assert!(ended.result().number("packets_out") > 0.0);
}
