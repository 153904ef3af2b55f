//! Fetch questions: what the broker's own limits make of the client's.

use ottla_wire::ApiKey;

use super::*;
use crate::request::tests::context;

fn params(request: &FetchRequest<'_>, bytes_max: u32) -> FetchParams {
    FetchQuestion::new(&context(ApiKey::Fetch, 12), request, bytes_max).params
}

#[test]
fn a_client_gets_no_more_than_the_broker_gives() {
    let asked = |min_bytes, max_bytes| FetchRequest { min_bytes, max_bytes, ..Default::default() };
    let cases = [((1, i32::MAX), (1, 2_000)), ((1, 1_999), (1, 1_999)), ((5_000, 9_000), (2_000, 2_000))];
    for ((min, max), (min_given, max_given)) in cases {
        let params = params(&asked(min, max), 2_000);
        assert_eq!((params.min_bytes, params.max_bytes), (min_given, max_given), "asked for {min}..{max}");
    }
    assert_eq!(
        params(&asked(9, 5), 2_000).min_bytes,
        5,
        "no answer can have more than its limit to wait for"
    );
    assert_eq!(params(&asked(1, i32::MAX), u32::MAX).max_bytes, i32::MAX);
}
