//! The limits of decoding. Kafka's own are named where one exists.

/// Elements of one array; Kafka 4.4 refuses more as well.
pub const ARRAY_ELEMENTS_MAX: usize = 1_000_000;

/// Elements of all arrays of one message: what is made of an element, and its answer, costs more than the element.
pub const MESSAGE_ELEMENTS_MAX: usize = 2_000_000;

/// Tagged fields of one struct; Kafka 4.4 refuses more as well.
pub const TAGGED_FIELDS_MAX: u32 = 10_000;

/// Bytes of one string, the most that Kafka's two-byte length can say.
pub const STRING_BYTES_MAX: usize = 32_767;

/// Bytes of one varint of 32 bits.
pub const VARINT_BYTES_MAX: usize = 5;

/// Memory that a decode may reserve per byte of its input.
pub const DECODE_MEMORY_PER_BYTE: usize = 4;

/// Memory that a decode may reserve whatever the size of its input: enough for a hundred thousand elements, which take
/// more in memory than on the wire where names are short.
pub const DECODE_MEMORY_BASE: usize = 8 * 1024 * 1024;

/// Bytes of one frame with what is spliced into it, without the length before it: what the length can say.
pub const FRAME_BYTES_MAX: usize = i32::MAX as usize;

const _: () = assert!(STRING_BYTES_MAX == i16::MAX as usize);
const _: () = assert!(ARRAY_ELEMENTS_MAX < i32::MAX as usize);
const _: () = assert!(ARRAY_ELEMENTS_MAX <= MESSAGE_ELEMENTS_MAX);
const _: () = assert!(VARINT_BYTES_MAX * 7 >= 32);
