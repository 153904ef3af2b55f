//! Tests that end, starve or break their process: each runs as a process of its own.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::time::Duration;

use ottla::ids::ShardId;

use crate::host::{self, Listener, ShardSpec, Stream};

/// Runs the ignored test `name` of this module in a process of its own.
fn run_child(name: &str) -> Output {
    let me = std::env::current_exe().expect("tests are a file");
    let module = module_path!().split_once("::").expect("a crate and a path").1;
    let name = format!("{module}::{name}");
    let mut child = Command::new(me);
    child.args(["--exact", &name, "--ignored", "--nocapture"]).output().expect("the child runs")
}

#[test]
#[ignore = "ends its process"]
fn panicking_shard() {
    let specs = (0..2).map(|shard| ShardSpec { shard: ShardId(shard), cpu: None }).collect();
    let outcome = host::run_shards(specs, |shard| async move {
        if shard == ShardId(1) {
            host::spawn_detached(async { panic!("on purpose") });
        }
        std::future::pending::<()>().await;
    });
    drop(outcome);
}

#[test]
fn a_panic_of_any_task_of_any_shard_ends_the_process_with_its_backtrace() {
    let output = run_child("panicking_shard");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("on purpose"), "{text}");
    assert!(text.contains("a shard panicked"), "{text}");
    assert!(text.contains("panicking_shard"), "the backtrace leads to the task: {text}");
}

#[test]
#[ignore = "ends its process"]
fn panicking_job() {
    let specs = vec![ShardSpec { shard: ShardId(0), cpu: None }];
    let outcome = host::run_shards(specs, |_| async {
        host::spawn_blocking(|| panic!("in a job")).await;
        std::future::pending::<()>().await;
    });
    drop(outcome);
}

#[test]
fn a_panic_of_a_blocking_job_is_one_of_the_task_that_awaits_it() {
    let output = run_child("panicking_job");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    assert!(String::from_utf8_lossy(&output.stderr).contains("in a job"));
}

#[test]
fn shards_start_together_or_not_at_all() {
    let specs = vec![
        ShardSpec { shard: ShardId(0), cpu: None },
        ShardSpec { shard: ShardId(1), cpu: Some(100_000) },
        ShardSpec { shard: ShardId(2), cpu: None },
    ];
    let outcome = host::run_shards(specs, |_| async { unreachable!("no shard starts") });
    let text = outcome.expect_err("there is no such cpu").to_string();
    assert!(text.starts_with("shard 1 cannot run on cpu 100000"), "{text}");
}

#[test]
#[ignore = "uses up its descriptors"]
fn starving_listener() {
    // Room for a few dozen descriptors more than the runtime itself has.
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    host::run_local(async move {
        let listener = Listener::bind("127.0.0.1", 0).await.expect("binds");
        let address = listener.addresses()[0];
        // SAFETY: the pointer leads to `limit`.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        let mut clients = Vec::new();
        while let Ok(client) = Stream::connect(address).await {
            clients.push(client);
        }
        assert!(clients.len() > 10);
        for _ in 0..5 {
            let error = listener.accept().await.expect_err("no descriptor is left");
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            super::sleeps_while_it_waits().await;
        }
        drop(clients.split_off(2));
        host::sleep(Duration::from_millis(1)).await;
        listener.accept().await.expect("a descriptor is free");
        println!("recovered");
    });
}

#[test]
fn running_out_of_descriptors_is_an_error_that_passes() {
    let output = run_child("starving_listener");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("recovered"), "{text} {}", String::from_utf8_lossy(&output.stderr));
}
