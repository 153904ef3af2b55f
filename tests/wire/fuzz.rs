//! Hostile bytes at every decoder of requests: no panic, and no more memory than the input may cost.

use ottla_wire::arbitrary::Arbitrary;
use ottla_wire::arbitrary::Rng;
use ottla_wire::{Message, Reader, decode_request_any, decode_response_any, for_each_message, frame};

use crate::allocations::peak_of;
use crate::every_api::{Case, Direction, all, bytes_of};

/// What a decode may have reserved at its peak: the promise of the crate, said a second time.
fn memory_allowed(input: usize) -> usize {
    4 * input + 8 * 1024 * 1024
}

/// Mutations of each request in each version.
const REQUEST_MUTATIONS: u64 = 800;
/// Mutations of each response in each version.
const RESPONSE_MUTATIONS: u64 = 100;
/// Mutations of each message in each version, the records and the embedded messages among them.
const MESSAGE_MUTATIONS: u64 = 60;

/// Counts and lengths that have hurt others: the extremes of each width, and just below and above the limits.
const HURTFUL: &[&[u8]] = &[
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0x00, 0x00, 0x00],
    &[0xff, 0xff, 0xff, 0xfe],
    &[0x00, 0x0f, 0x42, 0x40],
    &[0x00, 0x0f, 0x42, 0x41],
    &[0x00, 0x00, 0xff, 0xff],
    &[0xff, 0xff],
    &[0x7f, 0xff],
    &[0x80, 0x00],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xc1, 0x84, 0x3d],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
    &[0x00],
    &[0x01],
    &[0xff],
];

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(3) {
        let at = rng.below(bytes.len() as u64 + 1) as usize;
        match rng.below(8) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            2 if at < bytes.len() => bytes[at] = rng.bits() as u8,
            3 | 4 => overwrite(bytes, at, HURTFUL[rng.below(HURTFUL.len() as u64) as usize]),
            5 => {
                let hurtful = HURTFUL[rng.below(HURTFUL.len() as u64) as usize];
                bytes.splice(at..at, hurtful.iter().copied());
            }
            6 => {
                let many = rng.below(2000) as usize;
                let fill = [0u8, 1, 2, 0xff][rng.below(4) as usize];
                bytes.splice(at..at, std::iter::repeat_n(fill, many));
            }
            _ if at < bytes.len() => {
                bytes.remove(at);
            }
            _ => bytes.push(rng.bits() as u8),
        }
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let end = bytes.len().min(at + with.len());
    bytes[at..end].copy_from_slice(&with[..end - at]);
}

/// Decodes and returns whether the bytes were a message.
fn decode_within_bounds(case: &Case, bytes: &[u8], seed: u64) -> bool {
    let mut accepted = false;
    let peak = peak_of(|| {
        accepted = match case.direction {
            Direction::Request => decode_request_any(case.api, case.version, bytes),
            Direction::Response => decode_response_any(case.api, case.version, bytes),
        }
        .is_ok();
    });
    let allowed = memory_allowed(bytes.len());
    let what = format_args!("{} {:?} v{} seed {seed}", case.api, case.direction, case.version);
    assert!(peak <= allowed, "{what}: {peak} bytes of memory for {} bytes of input", bytes.len());
    accepted
}

fn fuzz(direction: Direction, mutations: u64) -> (u64, u64) {
    let (mut cases, mut accepted) = (0, 0);
    for case in all().iter().filter(|c| c.direction == direction) {
        for seed in 0..mutations {
            let rng = &mut Rng::new(seed * 1000 + u64::from(case.version.unsigned_abs()));
            // A fresh message now and then; between them the mutations differ.
            let mut bytes = case.random_bytes(&mut Rng::new(seed / 8));
            mutate(rng, &mut bytes);
            accepted += u64::from(decode_within_bounds(case, &bytes, seed));
            cases += 1;
        }
    }
    (cases, accepted)
}

#[test]
fn mutated_requests_neither_panic_nor_cost_memory() {
    let (cases, accepted) = fuzz(Direction::Request, REQUEST_MUTATIONS);
    assert!(cases >= 200_000, "{cases}");
    // Mutations that only ever break the first byte would prove little, and so would mutations that break nothing.
    assert!(accepted > cases / 100 && accepted < cases / 2, "{accepted} of {cases} were accepted");
}

#[test]
fn mutated_responses_neither_panic_nor_cost_memory() {
    fuzz(Direction::Response, RESPONSE_MUTATIONS);
}

#[test]
fn every_mutated_message_neither_panics_nor_costs_memory() {
    macro_rules! check {
        ($module:ident, $message:ident) => {
            for version in <ottla_wire::$module::$message as Message>::VERSIONS {
                for seed in 0..MESSAGE_MUTATIONS {
                    let rng = &mut Rng::new(seed);
                    let value = <ottla_wire::$module::$message as Arbitrary>::arbitrary(rng, version);
                    let mut bytes = bytes_of(&value, version);
                    mutate(rng, &mut bytes);
                    let peak = peak_of(|| {
                        let mut r = Reader::new(&bytes);
                        drop(<ottla_wire::$module::$message as Message>::decode(&mut r, version));
                    });
                    let name = stringify!($message);
                    assert!(peak <= memory_allowed(bytes.len()), "{name} v{version} seed {seed}: {peak}");
                }
            }
        };
    }
    for_each_message!(check);
}

#[test]
fn noise_neither_panics_nor_costs_memory() {
    for case in all() {
        for seed in 0..20 {
            let rng = &mut Rng::new(seed);
            let len = rng.below(300);
            let bytes: Vec<u8> = (0..len).map(|_| if rng.bool() { rng.bits() as u8 } else { 1 }).collect();
            decode_within_bounds(&case, &bytes, seed);
            let _ = frame::decode_request_header(&bytes);
        }
    }
}

#[test]
fn many_small_elements_meet_the_bound_of_memory() {
    // Null and one-byte elements cost the most memory per byte of input.
    for case in all() {
        for fill in [0u8, 1, 2] {
            let mut bytes = vec![fill; 200_000];
            // 49,152 elements, which are let in, and 190,000, which may take more than is allowed.
            let prefixes: [&[u8]; 6] = [
                &[0x00, 0x00, 0xc0, 0x00],
                &[0x80, 0x80, 0x03],
                &[0, 0, 0, 1, 0x80, 0x80, 0x03],
                &[0x00, 0x02, 0xe6, 0x30],
                &[0xb1, 0xcc, 0x0b],
                &[0, 0, 0, 1, 0xb1, 0xcc, 0x0b],
            ];
            for prefix in prefixes {
                overwrite(&mut bytes, 0, prefix);
                decode_within_bounds(&case, &bytes, u64::from(fill));
            }
        }
    }
}
