//! The metrics of a running broker: what is counted is what was done, the text is Prometheus's, and nobody who talks
//! nonsense to the listener disturbs clients.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, Options, binary};
use ottla_tests::topics::create_topic;
use ottla_tools::client::Client;
use ottla_tools::top::{Sample, page, parse};
use ottla_wire::ApiKey;
use ottla_wire::fetch_response::FetchResponse;
use ottla_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::metadata_response::MetadataResponse;

use super::{FETCH_VERSION, batch, fetch_request, fetched, produce};

/// A broker of two shards that serves metrics, with a topic `t`, and where they are.
fn start(data: &Path) -> (Broker, String) {
    let (broker, place) = start_again(data);
    create_topic(broker.address(), "t", 1, &[]);
    (broker, place)
}

/// The same over data that has the topic.
fn start_again(data: &Path) -> (Broker, String) {
    let broker = Broker::start(&Options::new(data).set("metrics.listener", "127.0.0.1:0"));
    let place = broker.metrics_place();
    (broker, place)
}

/// A page that has passed the check.
fn scrape(place: &str) -> Vec<Sample> {
    let text = page(place).expect("the broker serves metrics");
    check(&text);
    parse(&text).expect("checked")
}

/// The sum of a metric over all samples that have these labels.
fn sum(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |sample: &&Sample| {
        sample.name == name && labels.iter().all(|(label, value)| sample.label(label) == *value)
    };
    samples.iter().filter(has).map(|sample| sample.value).sum()
}

fn assert_sum(samples: &[Sample], name: &str, labels: &[(&str, &str)], expected: f64) {
    let found = sum(samples, name, labels);
    assert!((found - expected).abs() < 1e-9, "{name} {labels:?}: {found} instead of {expected}");
}

#[test]
fn a_client_that_says_no_more_is_answered() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (broker, place) = start_again(directory.path());
    for _ in 0..20 {
        let mut stream = TcpStream::connect(&place).expect("the broker listens");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("it reads");
        stream.shutdown(Shutdown::Write).expect("it is open");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("it answers");
        assert!(reply.starts_with("HTTP/1.0 200 OK\r\n") && reply.ends_with('\n'), "{reply}");
    }
    assert_eq!(broker.stop(), 0);
}

/// What promtool and the format's text demand: HELP and TYPE once and before the samples of their family, which stand
/// together; no series twice; counters end with `_total` and are not negative; histograms rise to `+Inf`, which is
/// `_count`.
fn check(text: &str) {
    assert!(text.ends_with('\n'), "the last line ends");
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut helped, mut series) = (BTreeSet::new(), BTreeSet::new());
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help has a text");
            assert!(helped.insert(name) && !help.is_empty(), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type has a kind");
            assert!(kinds.insert(name, kind).is_none(), "{name} has one TYPE");
            assert!(helped.contains(name), "HELP comes before TYPE: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            family = name;
        } else {
            assert!(!line.is_empty() && !line.starts_with('#'), "no other comments: {line}");
            let sample = parse(line).expect("a sample").remove(0);
            let kind = kinds.get(family).copied().unwrap_or_default();
            let suffix =
                sample.name.strip_prefix(family).unwrap_or_else(|| panic!("{line} is not of {family}"));
            match kind {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                _ => assert_eq!(suffix, "", "{line}"),
            }
            assert!(kind == "gauge" || sample.value >= 0.0, "{line}");
            assert!(series.insert((sample.name.clone(), sample.labels.clone())), "{line} stands once");
        }
    }
    check_histograms(&parse(text).expect("every line was"));
}

/// Bounds and counts.
type Buckets = Vec<(f64, f64)>;

fn check_histograms(samples: &[Sample]) {
    let mut buckets: BTreeMap<(String, Vec<String>), Buckets> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let bound = match sample.label("le") {
            "+Inf" => f64::INFINITY,
            bound => bound.parse().expect("a number"),
        };
        let labels: Vec<String> =
            sample.labels.iter().filter(|(name, _)| *name != "le").map(|it| format!("{it:?}")).collect();
        let name = sample.name.trim_end_matches("_bucket").to_owned();
        buckets.entry((name, labels)).or_default().push((bound, sample.value));
    }
    assert!(!buckets.is_empty(), "something was observed");
    for ((name, labels), buckets) in buckets {
        let rise = |two: &[(f64, f64)]| two[0].0 < two[1].0 && two[0].1 <= two[1].1;
        assert!(buckets.windows(2).all(rise), "{name} {labels:?} rises: {buckets:?}");
        let (bound, all) = buckets[buckets.len() - 1];
        assert!(bound.is_infinite(), "{name} {labels:?} ends with +Inf");
        let count = samples.iter().find(|sample| {
            sample.name == format!("{name}_count")
                && sample.labels.iter().map(|it| format!("{it:?}")).collect::<Vec<_>>() == labels
        });
        let count = count.unwrap_or_else(|| panic!("{name} {labels:?} has a count")).value;
        assert!((count - all).abs() < 1e-9, "{name} {labels:?}: +Inf is _count");
    }
}

const PRODUCE_STAGES: [&str; 8] =
    ["receive", "decode", "append", "commit_wait", "commit", "reply", "order", "send"];

#[test]
fn what_is_counted_is_what_was_done() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (broker, place) = start(directory.path());
    let mut client = Client::connect(broker.address(), "metrics").expect("the broker listens");
    let before = scrape(&place);
    assert_sum(&before, "ottla_appended_records_total", &[], 0.0);
    assert_sum(&before, "ottla_produce_stage_seconds_count", &[], 0.0);
    assert_sum(&before, "ottla_shards", &[], 2.0);
    assert_sum(&before, "ottla_partitions_led", &[], 1.0);

    let sent = batch(7);
    for _ in 0..20 {
        produce(&mut client, &sent);
    }
    let request = fetch_request(0, 100);
    let reply: FetchResponse<'_> = client.call(ApiKey::Fetch, FETCH_VERSION, &request).expect("it answers");
    let (error, bytes) = fetched(&reply);
    assert_eq!((error, bytes), (0, 20 * sent.len()));
    let request = fetch_request(140, 50);
    let reply: FetchResponse<'_> = client.call(ApiKey::Fetch, FETCH_VERSION, &request).expect("it answers");
    assert_eq!(fetched(&reply), (0, 0), "nothing more is there, for which it waited");
    let unknown = MetadataRequestTopic { name: Some("no such name!".into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![unknown]), ..Default::default() };
    let reply: MetadataResponse<'_> =
        client.call(ApiKey::Metadata, super::METADATA_VERSION, &request).expect("it answers");
    assert_eq!(reply.topics[0].error_code, 17, "INVALID_TOPIC_EXCEPTION");
    let request = fetch_request(999, 0);
    let reply: FetchResponse<'_> = client.call(ApiKey::Fetch, FETCH_VERSION, &request).expect("it answers");
    assert_eq!(fetched(&reply).0, 1, "OFFSET_OUT_OF_RANGE");

    let after = scrape(&place);
    assert_sum(&after, "ottla_requests_total", &[("api", "Produce")], 20.0);
    assert_sum(&after, "ottla_requests_total", &[("api", "Fetch")], 3.0);
    assert_sum(&after, "ottla_errors_total", &[("api", "Fetch"), ("error", "OFFSET_OUT_OF_RANGE")], 1.0);
    assert_sum(
        &after,
        "ottla_errors_total",
        &[("api", "Metadata"), ("error", "INVALID_TOPIC_EXCEPTION")],
        1.0,
    );
    assert_sum(&after, "ottla_errors_total", &[], 2.0);
    assert_sum(&after, "ottla_appended_batches_total", &[], 20.0);
    assert_sum(&after, "ottla_appended_records_total", &[], 140.0);
    assert_sum(&after, "ottla_appended_bytes_total", &[], (20 * sent.len()) as f64);
    assert_sum(&after, "ottla_fetched_bytes_total", &[("source", "memory")], (20 * sent.len()) as f64);
    assert_sum(&after, "ottla_fetched_bytes_total", &[], (20 * sent.len()) as f64);
    assert_sum(&after, "ottla_fetched_records_total", &[("source", "memory")], 140.0);
    check_stages(&after);
    let commits = |samples: &[Sample]| {
        let count = |kind| sum(samples, "ottla_commit_seconds_count", &[("kind", kind)]);
        count("journal") + count("segment")
    };
    let more = commits(&after) - commits(&before);
    assert!((1.0..=20.0).contains(&more), "{more} commits");
    assert!(sum(&after, "ottla_commit_bytes_total", &[]) >= commits(&after) * 4096.0, "whole blocks");
    assert!(sum(&after, "ottla_connections", &[]) >= 1.0);
    assert!(sum(&after, "ottla_received_bytes_total", &[]) > (20 * sent.len()) as f64);
    assert!(sum(&after, "ottla_sent_bytes_total", &[]) > (20 * sent.len()) as f64);
    assert!(sum(&after, "process_resident_memory_bytes", &[]) > 1e6);
    assert_eq!(broker.stop(), 0);
}

/// The stages of 20 Produce and 3 Fetch requests, one of which has waited for 50 ms.
fn check_stages(after: &[Sample]) {
    for stage in PRODUCE_STAGES {
        assert_sum(after, "ottla_produce_stage_seconds_count", &[("stage", stage)], 20.0);
    }
    for stage in ["receive", "plan", "read", "reply", "order", "send"] {
        assert_sum(after, "ottla_fetch_stage_seconds_count", &[("stage", stage)], 3.0);
    }
    assert_sum(after, "ottla_fetch_stage_seconds_count", &[("stage", "wait")], 1.0);
    assert!(sum(after, "ottla_fetch_stage_seconds_sum", &[("stage", "wait")]) >= 0.045, "the long poll");
    // What a request takes is what its stages take.
    for (api, stages) in
        [("Produce", "ottla_produce_stage_seconds_sum"), ("Fetch", "ottla_fetch_stage_seconds_sum")]
    {
        let (whole, parts) =
            (sum(after, "ottla_request_seconds_sum", &[("api", api)]), sum(after, stages, &[]));
        assert!((whole - parts).abs() <= whole * 0.01 + 1e-4, "{api}: {whole} s in all, {parts} s in stages");
    }
}

#[test]
fn records_that_are_not_in_memory_are_told_from_those_that_are() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (broker, _) = start(directory.path());
    let mut client = Client::connect(broker.address(), "metrics").expect("the broker listens");
    // Above the last block, of which a fetch reads the end back into memory.
    let sent = batch(1_000);
    for _ in 0..4 {
        produce(&mut client, &sent);
    }
    assert_eq!(broker.stop(), 0);
    let (broker, place) = start_again(directory.path());
    let mut client = Client::connect(broker.address(), "metrics").expect("the broker listens");
    let mut bytes = 0;
    while bytes < 4 * sent.len() {
        let read = i64::try_from(bytes / sent.len()).expect("a few batches");
        let request = fetch_request(1_000 * read, 100);
        let reply: FetchResponse<'_> =
            client.call(ApiKey::Fetch, FETCH_VERSION, &request).expect("it answers");
        let (error, more) = fetched(&reply);
        assert_eq!((error, more % sent.len()), (0, 0), "whole batches");
        assert!(more > 0, "after {bytes} bytes");
        bytes += more;
    }
    let after = scrape(&place);
    assert_sum(&after, "ottla_fetched_bytes_total", &[], bytes as f64);
    let in_memory = sum(&after, "ottla_fetched_bytes_total", &[("source", "memory")]);
    assert!(in_memory < 4096.0, "{in_memory} bytes of the last block");
    assert_sum(&after, "ottla_fetched_records_total", &[], 0.0);
    assert_eq!(broker.stop(), 0);
}

/// A batch of which the last bit is wrong.
fn damaged_batch() -> Vec<u8> {
    let mut batch = batch(3);
    *batch.last_mut().expect("a batch has bytes") ^= 1;
    batch
}

#[test]
fn a_rejected_batch_is_counted_as_such() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (broker, place) = start(directory.path());
    let mut client = Client::connect(broker.address(), "metrics").expect("the broker listens");
    let damaged = damaged_batch();
    let request = super::produce_request(&damaged, -1);
    let reply: ottla_wire::produce_response::ProduceResponse<'_> =
        client.call(ApiKey::Produce, super::PRODUCE_VERSION, &request).expect("the broker answers");
    assert_eq!(reply.responses[0].partition_responses[0].error_code, 2, "CORRUPT_MESSAGE");
    let after = scrape(&place);
    assert_sum(&after, "ottla_rejected_batches_total", &[], 1.0);
    assert_sum(&after, "ottla_appended_batches_total", &[], 0.0);
    assert_sum(&after, "ottla_errors_total", &[("api", "Produce"), ("error", "CORRUPT_MESSAGE")], 1.0);
}

#[test]
fn errors_that_no_reply_tells_are_counted_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (broker, place) = start(directory.path());
    let mut client = Client::connect(broker.address(), "metrics").expect("the broker listens");
    let mut send = |batch: &[u8]| {
        let request = super::produce_request(batch, 0);
        client.send(ApiKey::Produce, super::PRODUCE_VERSION, &request).expect("it is sent");
        client.expect_silence();
    };
    send(&batch(3));
    send(&damaged_batch());
    let end = client.receive::<MetadataResponse<'_>>(ApiKey::Metadata, super::METADATA_VERSION);
    assert!(end.is_err(), "the connection is closed");
    let errors = |api, error| [("api", api), ("error", error)];
    let after = scrape(&place);
    assert_sum(&after, "ottla_errors_total", &errors("Produce", "CORRUPT_MESSAGE"), 1.0);
    assert_sum(&after, "ottla_errors_total", &[], 1.0);
    assert_sum(&after, "ottla_requests_total", &[("api", "Produce")], 2.0);
    assert_eq!(broker.stop(), 0);
}

/// Sends bytes and returns what comes back until the end, or nothing where the connection is cut.
fn exchange(place: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(place).expect("the broker listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a positive time");
    let _ = stream.write_all(bytes);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    String::from_utf8_lossy(&reply).into_owned()
}

#[test]
fn http_is_spoken_as_it_should_be() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (_broker, place) = start(directory.path());
    let ask =
        |line: &str| exchange(&place, format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
    let reply = ask("GET /metrics HTTP/1.1");
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(reply.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{reply}");
    let head = ask("HEAD /metrics HTTP/1.1");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(ask("GET /healthz HTTP/1.1").ends_with("\r\n\r\nok\n"));
    assert!(ask("POST /metrics HTTP/1.1").starts_with("HTTP/1.1 405 "));
    assert!(ask("POST /metrics HTTP/1.1").contains("allow: GET, HEAD\r\n"));
    assert!(ask("GET / HTTP/1.1").starts_with("HTTP/1.1 404 "));
    assert!(exchange(&place, b"GET /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200 OK\r\n"));
    // Two requests of one connection.
    let twice = exchange(
        &place,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(twice.matches("HTTP/1.1 200 OK").count(), 2, "{twice}");
}

#[test]
fn hostile_http_disturbs_nobody() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut broker, place) = start(directory.path());
    let mut client = Client::connect(broker.address(), "metrics").expect("the broker listens");
    let garbage: Vec<u8> = (0..100_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [&garbage[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET", b"\r\n\r\n\r\n"] {
        let mut stream = TcpStream::connect(&place).expect("the broker listens");
        let _ = stream.write_all(bytes);
    }
    // A header without an end: it is cut off, whatever comes.
    let mut stream = TcpStream::connect(&place).expect("the broker listens");
    stream.set_write_timeout(Some(Duration::from_secs(60))).expect("a positive time");
    let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ");
    let line = [b'a'; 4096];
    let cut = (0..10_000).any(|_| stream.write_all(&line).is_err());
    assert!(cut, "40 MB of one header are not taken");
    // Many lines of a header.
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1_000));
    assert!(!exchange(&place, many.as_bytes()).contains(" 200 "), "so many lines are refused");
    // A thousand connections that say nothing: each finds its place, and so does who asks.
    let address: SocketAddr = place.parse().expect("an address");
    let idle: Vec<TcpStream> =
        (0..1_000).map(|_| TcpStream::connect(address).expect("the broker listens")).collect();
    let began = Instant::now();
    let samples = scrape(&place);
    assert!(sum(&samples, "ottla_up_seconds", &[]) > 0.0);
    assert_eq!(produce(&mut client, &batch(1)), 0, "clients are served");
    assert!(began.elapsed() < Duration::from_secs(30), "at once");
    let open = std::fs::read_dir(format!("/proc/{}/fd", broker.pid())).expect("it runs").count();
    assert!(open < 500, "{open} descriptors: those who say nothing give way");
    drop(idle);
    assert!(broker.is_running());
    assert_eq!(broker.stop(), 0);
}

#[test]
fn ottla_top_prints_one_look() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (broker, place) = start(directory.path());
    let top = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["top", "--metrics", &place, "--interval", "300ms"]).args(arguments);
        let output = command.output().expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let producer = std::thread::spawn({
        let address = broker.address();
        move || {
            let mut client = Client::connect(address, "metrics").expect("the broker listens");
            let deadline = Instant::now() + Duration::from_secs(3);
            while Instant::now() < deadline {
                produce(&mut client, &batch(1));
            }
        }
    });
    let (code, text, error) = top(&["--once"]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
    for part in
        ["Ottla ", place.as_str(), "requests/s", "Produce", "commit_wait", "share of the time", "journal"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(text.contains('%') && !text.contains('\x1b'), "plain text: {text}");
    assert_eq!(top(&[]).0, Some(0), "without a terminal it is the same");
    let (code, _, error) = top(&["--shard", "9"]);
    assert_eq!((code, error.lines().count()), (Some(1), 1), "{error}");
    producer.join().expect("the producer is served");
    assert_eq!(broker.stop(), 0);
    let (code, text, error) = top(&["--once"]);
    assert_eq!((code, text.as_str(), error.lines().count()), (Some(1), "", 1), "{error}");
    assert!(error.contains("metrics.listener"), "{error}");
}

/// Another screen without a cursor, and back.
const TAKES: &str = "\x1b[?1049h\x1b[?25l";
const GIVES_BACK: &str = "\x1b[?25h\x1b[?1049l";

/// What `ottla top` writes on a terminal until it gets a signal and ends, in between two lines of the terminal's modes
/// and before its exit code as a shell says it. `None` without the tool `script`.
fn top_until(signal: &str, place: &str) -> Option<String> {
    // Whoever runs the tests may have switched signals off, as a shell does for what it starts in the background.
    let with_signals = "exec env --default-signal=TERM,INT,HUP";
    let top = format!(
        "echo pid $$; {with_signals} '{}' top --metrics {place} --interval 100ms",
        binary().display()
    );
    let line = "stty -g; sh -c \"$TOP\"; echo code $?; stty -g";
    let mut script = Command::new("script");
    script.args(["--quiet", "--command", line, "/dev/null"]).env("TOP", top).env("SHELL", "/bin/sh");
    let mut child = match script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        child => child.expect("it starts"),
    };
    // Its input stays open: at its end a key would come that ends everything.
    let input = child.stdin.take();
    let mut output = child.stdout.take().expect("it is piped");
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    let mut read = |text: &mut String| {
        let more = output.read(&mut bytes).expect("the terminal can be read");
        text.push_str(&String::from_utf8_lossy(&bytes[..more]));
        more > 0
    };
    while !text.contains("requests/s") {
        assert!(read(&mut text), "it ends too early: {text:?}");
    }
    let pid = text.lines().find_map(|line| line.trim().strip_prefix("pid ")).expect("it says who it is");
    let status = Command::new("kill").arg(format!("-{signal}")).arg(pid).status();
    assert!(status.expect("kill is there").success(), "{pid} takes a signal");
    while read(&mut text) {}
    drop(input);
    assert!(child.wait().expect("it ends").success());
    Some(text)
}

#[test]
fn ottla_top_gives_the_terminal_back_when_a_signal_ends_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (broker, place) = start(directory.path());
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let Some(text) = top_until(signal, &place) else { return eprintln!("script is not installed") };
        let (before, during) = text.split_once(TAKES).expect("it takes the terminal");
        let (during, after) = during.split_once(GIVES_BACK).unwrap_or_else(|| panic!("{signal}: {during:?}"));
        assert!(during.contains("Produce"), "{signal}: {during:?}");
        assert!(!after.contains("\x1b["), "{signal}: nothing is drawn any more: {after:?}");
        assert!(after.contains(&format!("code {code}")), "{signal} ends it: {after:?}");
        let modes = |line: Option<&str>| line.expect("stty prints a line").trim().to_owned();
        assert_eq!(modes(before.lines().next()), modes(after.trim().lines().next_back()), "{signal}");
    }
    assert_eq!(broker.stop(), 0);
}
