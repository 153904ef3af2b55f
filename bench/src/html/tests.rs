//! Pages, parsed back: whole, self-contained, and with everything escaped that was not written here.

use roxmltree::{Document, Node, ParsingOptions};

use super::*;
use crate::result::tests::sample;
use crate::result::{ACK, END_TO_END};

fn parse(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{error} in\n{page}"))
}

fn all<'d>(document: &'d Document<'_>, name: &str) -> Vec<Node<'d, 'd>> {
    document.descendants().filter(|node| node.has_tag_name(name)).collect()
}

fn text_of(node: &Node<'_, '_>) -> String {
    node.descendants().filter_map(|inner| inner.text().filter(|_| inner.is_text())).collect()
}

#[test]
fn the_page_of_several_runs_is_well_formed_and_has_a_line_for_each() {
    let mut second = sample("second", 3_000_000);
    second.latencies_ns.insert(END_TO_END.to_owned(), second.latencies_ns[ACK].clone());
    second.settings.insert("topic".to_owned(), "other".to_owned());
    let page = runs::page(&[sample("first", 1_000_000), second]);
    let document = parse(&page);
    // Ack by percentile and over time, end to end by percentile (over time it has no points), throughput, errors.
    assert_eq!(all(&document, "svg").len(), 5);
    let lines = |number: usize| {
        let svg = all(&document, "svg")[number];
        svg.children()
            .filter(|node| node.attribute("class").is_some_and(|class| class.contains("line ")))
            .map(|node| node.attribute("class").unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(0), ["line c0", "line c1"]);
    assert_eq!(lines(1).len(), 6);
    assert_eq!(lines(2), ["line c1"]);
    let marked = all(&document, "td").into_iter().filter(|cell| cell.attribute("class") == Some("marked"));
    assert_eq!(marked.count(), 2, "the topics differ");
    assert!(all(&document, "title").len() > 100, "values are shown");
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let page = runs::page(&[sample("a run", 1_000_000)]);
    let document = parse(&page);
    for node in document.descendants() {
        for attribute in ["src", "href", "action", "data"] {
            assert!(!node.has_attribute(attribute), "{node:?}");
        }
    }
    for reference in ["http:", "https:", "//", "url(", "@import", "fetch("] {
        assert!(!page.contains(reference), "{reference}");
    }
}

#[test]
fn what_came_from_elsewhere_is_text() {
    let mut run = sample("</title><script>alert(1)</script>", 1_000_000);
    run.notes.push("<img src=x onerror=alert(2)> & \"quoted\" \u{0}\u{1b}[31m".to_owned());
    run.command_line = vec!["ottla".to_owned(), "</pre><script>".to_owned()];
    run.errors.insert("]]><b>".to_owned(), 1);
    let page = runs::page(&[run.clone(), run]);
    let document = parse(&page);
    assert_eq!(all(&document, "script").len(), 1, "our own");
    assert!(all(&document, "img").is_empty() && all(&document, "b").is_empty());
    let text = text_of(&document.root());
    for part in
        ["<script>alert('&\"')</script>", "<img src=x onerror=alert(2)> & \"quoted\" \u{fffd}\u{fffd}[31m"]
    {
        assert!(text.contains(part), "{part}");
    }
    assert_eq!(escaped("a<b>&\"'\u{7}é"), "a&lt;b&gt;&amp;&quot;&#39;\u{fffd}é");
}

#[test]
fn an_overlay_is_made_from_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    for name in ["a.json", "b.json"] {
        file::write(&sample("same title", 1_000_000), &at(name)).expect("it is written");
    }
    overlay(&[at("a.json"), at("b.json")], &at("out.html")).expect("it is drawn");
    let page = std::fs::read_to_string(at("out.html")).expect("it is there");
    let legend = parse(&page);
    let entries: Vec<String> = all(&legend, "span").iter().map(text_of).collect();
    assert_eq!(entries.len(), 2);
    assert!(entries[0].ends_with("a.json)") && entries[1].ends_with("b.json)"), "{entries:?}");
    std::fs::write(at("c.json"), "no JSON").expect("it is written");
    let line =
        overlay(&[at("a.json"), at("c.json")], &at("not.html")).expect_err("one is damaged").to_string();
    assert!(line.contains("c.json: not a result"), "{line}");
    assert!(!at("not.html").exists());
}

#[test]
fn a_day_of_seconds_is_a_page_that_a_browser_takes() {
    let mut run = sample("a day", 1_000_000);
    let second = run.intervals[0].clone();
    run.intervals = (0..86_400_u32)
        .map(|start| crate::result::Interval { start_seconds: f64::from(start), ..second.clone() })
        .collect();
    let page = runs::page(&[run]);
    assert!(page.len() < 400_000, "{} bytes", page.len());
    parse(&page);
}

#[test]
fn a_run_without_anything_has_a_page() {
    let page = runs::page(&[RunResult::begin("consume", "nothing")]);
    assert!(all(&parse(&page), "svg").is_empty());
}

#[test]
fn ratios_are_drawn_with_what_is_wanted_of_them() {
    let rung = |name: &str, value: f64, is_met| Rung { name: name.to_owned(), value, wanted: 0.35, is_met };
    let rungs = vec![
        rung("<cpu>", 0.2, true),
        rung("p99", 3.0, false),
        rung("nothing", f64::NAN, false),
        rung("none", 0.0, true),
    ];
    let mut page = Page::new("ratios");
    page.ladder(&Ladder { title: "ours & theirs".to_owned(), rungs });
    page.ladder(&Ladder::default());
    let text = page.finish();
    let document = parse(&text);
    assert_eq!(all(&document, "svg").len(), 1);
    let classes: Vec<_> = all(&document, "g").iter().filter_map(|rung| rung.attribute("class")).collect();
    assert_eq!(classes, ["rung met", "rung missed"]);
}

/// A run of five seconds and a bit, of which nothing came in the third.
fn with_an_outage() -> RunResult {
    let mut run = sample("an outage", 1_000_000);
    let second = run.intervals[0].clone();
    run.intervals = (0..5_u32)
        .map(|start| crate::result::Interval { start_seconds: f64::from(start), ..second.clone() })
        .collect();
    run.intervals[2].flows.clear();
    run.intervals[2].latencies.clear();
    let mut rest = second;
    (rest.start_seconds, rest.length_seconds) = (5.0, 0.01);
    rest.flows.insert("produced".to_owned(), crate::result::Flow { records: 200, bytes: 0 });
    run.intervals.push(rest);
    run
}

#[test]
fn an_outage_is_drawn_at_zero_and_a_short_rest_is_no_spike() {
    let plot = runs::throughput(&[with_an_outage(), RunResult::begin("consume", "nothing")]);
    let [produced, nothing] = &plot.lines[..] else { panic!("{:?}", plot.lines) };
    let rates: Vec<u64> = produced.points.iter().map(|point| point.1.round() as u64).collect();
    assert_eq!(rates, [1_000, 1_000, 0, 1_000, 1_188], "the last 10 ms belong to the second before them");
    assert!(nothing.points.is_empty());
}

#[test]
fn errors_are_told_and_drawn_where_they_came() {
    let mut run = with_an_outage();
    run.errors = std::collections::BTreeMap::from([("REQUEST_TIMED_OUT".to_owned(), 7)]);
    run.intervals.iter_mut().for_each(|interval| interval.errors = 0);
    run.intervals[2].errors = 7;
    let page = runs::page(&[run.clone()]);
    let document = parse(&page);
    let warnings = all(&document, "p").into_iter().filter(|node| node.attribute("class") == Some("warning"));
    assert!(warnings.map(|node| text_of(&node)).any(|text| text == "7 errors: REQUEST_TIMED_OUT"), "{page}");
    let plot = runs::errors(&[run]);
    let rates: Vec<u64> = plot.lines[0].points.iter().map(|point| point.1.round() as u64).collect();
    assert_eq!(rates, [0, 0, 7, 0, 0]);
    let mut without = sample("none", 1_000_000);
    let is_drawn = |run: &RunResult| {
        runs::plots(std::slice::from_ref(run)).iter().any(|plot| plot.title == "Errors over time")
    };
    assert!(is_drawn(&without));
    without.intervals.iter_mut().for_each(|interval| interval.errors = 0);
    assert!(!is_drawn(&without));
}

#[test]
fn an_end_without_a_value_takes_its_room() {
    let mut run = with_an_outage();
    run.intervals.truncate(3);
    let drawn = |run: &RunResult| {
        let page = runs::page(std::slice::from_ref(run));
        let document = parse(&page);
        let svg = all(&document, "svg")[1];
        let texts = svg.children().filter(|node| node.has_tag_name("text"));
        texts.map(|node| text_of(&node)).collect::<Vec<_>>()
    };
    let with_an_end = drawn(&run);
    run.intervals[2].latencies = run.intervals[1].latencies.clone();
    assert_eq!(with_an_end, drawn(&run));
}

#[test]
fn a_latency_that_nothing_had_breaks_its_line() {
    let plot = runs::over_time(ACK, &[with_an_outage()]);
    assert!(plot.lines.iter().all(|line| line.points[2].1.is_nan()));
    let page = runs::page(&[with_an_outage()]);
    let document = parse(&page);
    let paths = all(&document, "path");
    let broken = paths.iter().filter(|path| path.attribute("d").is_some_and(|d| d.matches('M').count() == 2));
    assert_eq!(broken.count(), 3, "p50, p99 and p99.9");
    assert!(!page.contains("NaN"), "a gap has no value");
}
