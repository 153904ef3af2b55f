//! Round trips, limits and damage, for every codec.

use proptest::prelude::*;

use super::*;

const COMPRESSED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// Bytes that compress in some places and not in others, longer than a block of any codec.
fn mixed(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..bytes)
        .map(|index| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if index / 1_000 % 2 == 0 { (state >> 24) as u8 } else { (index / 100) as u8 }
        })
        .collect()
}

#[test]
fn every_codec_and_level_round_trips() {
    for bytes in [0, 1, 61, 1_000, 32 * 1024, 65_536, 65_537, 300_000] {
        let input = mixed(bytes);
        for codec in Codec::ALL {
            let range = codec.levels();
            let levels = range.map_or(vec![None], |l| vec![None, Some(l.min), Some(l.default), Some(l.max)]);
            for level in levels {
                let packed = compress(codec, level, &input);
                let unpacked = decompress(codec, &packed, bytes);
                assert_eq!(unpacked.as_ref(), Ok(&input), "{codec:?} {level:?} {bytes}");
            }
        }
    }
}

#[test]
fn names_and_numbers_are_kafkas() {
    let names = ["none", "gzip", "snappy", "lz4", "zstd"];
    for (id, codec) in (0..).zip(Codec::ALL) {
        assert_eq!((codec.id(), Codec::from_id(id)), (id, Some(codec)));
        assert_eq!(codec.name(), names[usize::from(id)]);
        assert_eq!(Codec::from_name(codec.name()), Some(codec));
    }
    assert_eq!(Codec::from_name("uncompressed"), Some(Codec::None));
    assert_eq!((Codec::from_name("producer"), Codec::from_id(5)), (None, None));
    assert!(Codec::Gzip.levels().is_some_and(|levels| levels.allow(-1) && !levels.allow(0)));
}

#[test]
fn the_limit_is_exact() {
    let input = mixed(200_000);
    for codec in Codec::ALL {
        let packed = compress(codec, None, &input);
        assert!(decompress(codec, &packed, input.len()).is_ok(), "{codec:?}");
        for limit in [0, 1, 65_536, input.len() - 1] {
            let error = CompressionError::TooLarge { limit };
            assert_eq!(decompress(codec, &packed, limit), Err(error), "{codec:?}");
        }
    }
}

#[test]
fn a_bomb_is_given_up_at_the_limit() {
    let input = vec![0; 64 * 1024 * 1024];
    let limit = 1024 * 1024;
    for codec in COMPRESSED {
        let packed = compress(codec, None, &input);
        assert!(packed.len() < input.len() / 15, "{codec:?} packs zeroes");
        let mut decompressor = Decompressor::new();
        let error = decompressor.decompress(codec, &packed, limit);
        assert_eq!(error, Err(CompressionError::TooLarge { limit }), "{codec:?}");
        assert!(decompressor.kept_bytes() <= 2 * limit, "{codec:?} kept {}", decompressor.kept_bytes());
    }
}

#[test]
fn a_claimed_length_reserves_nothing() {
    // A raw snappy block that claims 4 GiB - 1 and one that claims 128 MiB, of four bytes of content.
    for claim in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0x80, 0x80, 0x80, 0x40][..]] {
        let block = [claim, &[0x0c, 1, 2, 3, 4][..]].concat();
        let mut decompressor = Decompressor::new();
        let error = decompressor.decompress(Codec::Snappy, &block, 128 * 1024 * 1024);
        assert!(matches!(error, Err(CompressionError::Corrupt { .. })), "{error:?}");
        assert_eq!(decompressor.kept_bytes(), 0);
    }
    // A zstd frame of one segment that claims 2^62 bytes of content.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
    frame.extend_from_slice(&(1_u64 << 62).to_le_bytes());
    frame.extend_from_slice(&[1, 0, 0]);
    let mut decompressor = Decompressor::new();
    let error = decompressor.decompress(Codec::Zstd, &frame, 1 << 20);
    assert_eq!(error, Err(CompressionError::TooLarge { limit: 1 << 20 }));
    assert_eq!(decompressor.kept_bytes(), 0);
}

#[test]
fn a_large_batch_does_not_pin_its_memory() {
    let input = mixed(8 * 1024 * 1024);
    let mut decompressor = Decompressor::new();
    for codec in COMPRESSED {
        let packed = compress(codec, None, &input);
        let unpacked = decompressor.decompress(codec, &packed, input.len());
        assert_eq!(unpacked.map(<[u8]>::len), Ok(input.len()));
        let small = compress(codec, None, b"small");
        assert_eq!(decompressor.decompress(codec, &small, 100), Ok(&b"small"[..]));
        assert!(decompressor.kept_bytes() <= decompress::KEPT_BYTES_MAX, "{codec:?}");
    }
}

#[test]
fn raw_and_joined_snappy_are_read() {
    let input = mixed(50_000);
    let raw = snap::raw::Encoder::new().compress_vec(&input).expect("snappy packs anything");
    assert_eq!(decompress(Codec::Snappy, &raw, input.len()).as_ref(), Ok(&input));
    let framed = compress(Codec::Snappy, None, &input);
    let twice = [&framed[..], &framed[..]].concat();
    let joined = decompress(Codec::Snappy, &twice, 2 * input.len());
    assert_eq!(joined, Ok([&input[..], &input[..]].concat()));
}

#[test]
fn gzip_members_and_zstd_frames_may_follow_each_other() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let joined = [compress(codec, None, b"one"), compress(codec, None, b"two")].concat();
        assert_eq!(decompress(codec, &joined, 6), Ok(b"onetwo".to_vec()));
        assert_eq!(decompress(codec, &joined, 5), Err(CompressionError::TooLarge { limit: 5 }));
    }
}

#[test]
fn lz4_frames_that_java_cannot_read_are_refused() {
    use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};
    let input = mixed(200_000);
    let frame = |info: FrameInfo| {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&input).expect("memory");
        encoder.finish().expect("memory")
    };
    let plain = FrameInfo::new().block_mode(BlockMode::Independent);
    for info in [
        plain.clone(),
        plain.clone().content_checksum(true),
        plain.clone().block_checksums(true),
        plain.clone().content_size(Some(200_000)),
        plain.content_checksum(true).block_checksums(true).content_size(Some(200_000)),
    ] {
        let packed = frame(info.clone());
        assert_eq!(decompress(Codec::Lz4, &packed, input.len()).as_ref(), Ok(&input), "{info:?}");
        let joined = [&packed[..], &packed[..]].concat();
        assert!(decompress(Codec::Lz4, &joined, 1 << 20).is_err());
        assert!(decompress(Codec::Lz4, &packed[..packed.len() - 4], 1 << 20).is_err());
    }
    let linked = frame(FrameInfo::new().block_mode(BlockMode::Linked));
    assert!(decompress(Codec::Lz4, &linked, 1 << 20).is_err());
}

#[test]
fn a_zstd_window_that_consumers_refuse_is_refused() {
    // Magic, no single segment, window of 2^27 or 2^28, a last raw block of one byte.
    let frame = |window_log: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3, 9, 0, 0, b'x'];
    assert_eq!(decompress(Codec::Zstd, &frame(27), 10), Ok(b"x".to_vec()));
    assert!(matches!(decompress(Codec::Zstd, &frame(28), 10), Err(CompressionError::Corrupt { .. })));
}

#[test]
fn every_cut_is_noticed() {
    let input = mixed(3_000);
    for codec in COMPRESSED {
        let packed = compress(codec, None, &input);
        for bytes in 1..packed.len() {
            let cut = decompress(codec, &packed[..bytes], input.len());
            // The cut of a framed snappy stream at the end of a block leaves a shorter whole stream.
            assert!(cut != Ok(input.clone()), "{codec:?} cut to {bytes}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damage_never_panics_nor_passes_the_limit(
        codec in 1_u8..5,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let codec = Codec::from_id(codec).expect("a codec");
        let mut packed = compress(codec, None, &mixed(5_000));
        for (index, byte) in damage {
            let at = index.index(packed.len());
            packed[at] = byte;
        }
        if let Some(cut) = cut {
            packed.truncate(cut.index(packed.len()));
        }
        let limit = 6_000;
        if let Ok(unpacked) = decompress(codec, &packed, limit) {
            prop_assert!(unpacked.len() <= limit);
        }
    }

    #[test]
    fn noise_never_panics(codec in 0_u8..5, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let codec = Codec::from_id(codec).expect("a codec");
        if let Ok(unpacked) = decompress(codec, &bytes, 1_000) {
            prop_assert!(unpacked.len() <= 1_000);
        }
    }
}
