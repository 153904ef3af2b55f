//! The least program that acknowledges durably: what no broker can be faster than on this machine.
//!
//! A thread for each connection receives what is there, writes all of it with one direct and synced write into space
//! that was zeroed before, and answers. It validates nothing, keeps no log, knows no offsets, and reads
//! nothing back: a floor for latency and CPU that is made of the kernel's and the disk's share alone. Wherever a broker
//! comes close to it, what is left is theirs.
//!
//! `compare least ADDRESS FILE`, as `brokers/least.yaml` starts it; it runs until it is ended.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla::errors::ErrorCode;
use ottla::limits::BLOCK_BYTES;
use ottla_wire::api_versions_response::{ApiVersion, ApiVersionsResponse};
use ottla_wire::create_topics_request::CreateTopicsRequest;
use ottla_wire::create_topics_response::{CreatableTopicResult, CreateTopicsResponse};
use ottla_wire::frame::{decode_request_header, encode_response};
use ottla_wire::init_producer_id_response::InitProducerIdResponse;
use ottla_wire::metadata_request::MetadataRequest;
use ottla_wire::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_wire::produce_request::ProduceRequest;
use ottla_wire::produce_response::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
use ottla_wire::{ApiKey, Message, Reader};

/// The broker's id.
const NODE: i32 = 1;
/// Bytes that are received at a time.
const RECEIVE_BYTES: usize = 256 << 10;
/// A file is written over and over.
const FILE_BYTES: u64 = 64 << 20;
/// What is offered, with the last version: Produce up to the last one that names topics. Nothing can be fetched; load
/// generators want to hear of versions all the same.
const OFFERED: [(ApiKey, i16); 7] = [
    (ApiKey::ApiVersions, 3),
    (ApiKey::Metadata, 12),
    (ApiKey::CreateTopics, 7),
    (ApiKey::InitProducerId, 4),
    (ApiKey::Produce, 12),
    (ApiKey::Fetch, 12),
    (ApiKey::ListOffsets, 7),
];

/// Serves for ever.
///
/// # Errors
/// One line: an address or a file that cannot be had.
pub fn serve(address: &str, file: &str) -> Result<(), String> {
    let listener = TcpListener::bind(address).map_err(|error| format!("{address}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let shared = Arc::new(Shared {
        address,
        file: PathBuf::from(file),
        topics: Mutex::default(),
        idle: Mutex::default(),
        files: AtomicUsize::new(0),
    });
    for stream in listener.incoming() {
        let stream = stream.map_err(|error| format!("{address}: {error}"))?;
        let mut connection = Connection { stream, shared: Arc::clone(&shared), disk: None };
        std::thread::spawn(move || {
            if let Err(error) = connection.serve() {
                eprintln!("a connection ends: {error}");
            }
            let disk = connection.disk.take();
            connection.shared.idle().extend(disk);
        });
    }
    Ok(())
}

/// A file of zeros that is written directly and durably.
struct Disk {
    file: File,
    at: u64,
    /// Its blocks begin at the first multiple of their size.
    buffer: Vec<u8>,
}

impl Disk {
    fn open(path: &Path) -> io::Result<Self> {
        let options = |flags| {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).custom_flags(flags);
            options
        };
        let zeros = vec![0; 1 << 20];
        let mut file = options(0).open(path)?;
        (0..FILE_BYTES).step_by(zeros.len()).try_for_each(|_| file.write_all(&zeros))?;
        file.sync_all()?;
        let file = options(libc::O_DIRECT | libc::O_DSYNC).open(path)?;
        Ok(Self { file, at: 0, buffer: Vec::new() })
    }

    /// Writes the bytes, filled up to whole blocks.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let blocks = bytes.len().next_multiple_of(BLOCK_BYTES);
        if self.buffer.len() < blocks + BLOCK_BYTES {
            self.buffer.resize(blocks + BLOCK_BYTES, 0);
        }
        let start = self.buffer.as_ptr().align_offset(BLOCK_BYTES);
        self.buffer[start..start + bytes.len()].copy_from_slice(bytes);
        if self.at + blocks as u64 > FILE_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(&self.buffer[start..start + blocks], self.at)?;
        self.at += blocks as u64;
        Ok(())
    }
}

/// What all connections have together.
struct Shared {
    address: SocketAddr,
    /// What the names of files begin with.
    file: PathBuf,
    /// The partitions of each topic.
    topics: Mutex<BTreeMap<String, i32>>,
    /// Files of connections that have ended.
    idle: Mutex<Vec<Disk>>,
    files: AtomicUsize,
}

impl Shared {
    fn topics(&self) -> MutexGuard<'_, BTreeMap<String, i32>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Disk>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file that no connection has.
    fn disk(&self) -> io::Result<Disk> {
        let idle = self.idle().pop();
        idle.map_or_else(
            || {
                let number = self.files.fetch_add(1, Ordering::Relaxed);
                Disk::open(&self.file.with_extension(number.to_string()))
            },
            Ok,
        )
    }
}

struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    /// Taken with the first record.
    disk: Option<Disk>,
}

/// A request's api, version and correlation id.
type Head = (ApiKey, i16, i32);

impl Connection {
    fn serve(&mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let (mut buffer, mut filled) = (vec![0; RECEIVE_BYTES], 0);
        loop {
            let received = self.stream.read(&mut buffer[filled..])?;
            if received == 0 {
                return Ok(());
            }
            filled += received;
            let whole = whole_frames(&buffer[..filled]);
            if whole > 0 {
                let replies = self.answer_all(&buffer[..whole])?;
                self.stream.write_all(&replies)?;
                buffer.copy_within(whole..filled, 0);
                filled -= whole;
            } else if filled == buffer.len() {
                buffer.resize(2 * filled, 0);
            }
        }
    }

    /// The replies to whole frames, once everything in them that is to be kept is on the disk.
    fn answer_all(&mut self, frames: &[u8]) -> io::Result<Vec<u8>> {
        let (mut replies, mut at, mut keeps) = (Vec::new(), 0, false);
        while at < frames.len() {
            let end = at + 4 + frame_bytes(&frames[at..]);
            let frame = &frames[at + 4..end];
            let (header, body) = decode_request_header(frame).map_err(|_| io::ErrorKind::InvalidData)?;
            let api = ApiKey::from_code(header.request_api_key).ok_or(io::ErrorKind::InvalidData)?;
            keeps |= api == ApiKey::Produce;
            let head = (api, header.request_api_version, header.correlation_id);
            replies.extend(self.answer(head, &frame[body..]).ok_or(io::ErrorKind::InvalidData)?);
            at = end;
        }
        if keeps {
            let disk = match self.disk.take() {
                Some(disk) => disk,
                None => self.shared.disk()?,
            };
            self.disk.insert(disk).write(frames)?;
        }
        Ok(replies)
    }

    /// `None` for what cannot be understood.
    fn answer(&self, head: Head, body: &[u8]) -> Option<Vec<u8>> {
        let (api, version, _) = head;
        let mut r = Reader::with_memory(body, usize::MAX);
        match api {
            ApiKey::ApiVersions => reply((api, version.min(3), head.2), &api_versions()),
            ApiKey::Metadata => {
                let request = MetadataRequest::decode(&mut r, version).ok()?;
                reply(head, &self.metadata(&request))
            }
            ApiKey::CreateTopics => {
                let request = CreateTopicsRequest::decode(&mut r, version).ok()?;
                reply(head, &self.create_topics(&request))
            }
            ApiKey::InitProducerId => {
                reply(head, &InitProducerIdResponse { producer_id: 1, ..Default::default() })
            }
            ApiKey::Produce => {
                let request = ProduceRequest::decode(&mut r, version).ok()?;
                reply(head, &produced(&request))
            }
            _ => None,
        }
    }

    fn metadata(&self, request: &MetadataRequest<'_>) -> MetadataResponse<'static> {
        let mut topics = self.shared.topics();
        let asked = request.topics.iter().flatten().filter_map(|topic| topic.name.as_deref());
        let topics = asked.map(|name| match request.allow_auto_topic_creation {
            true => described(name, Some(*topics.entry(name.to_owned()).or_insert(1))),
            false => described(name, topics.get(name).copied()),
        });
        let broker = MetadataResponseBroker {
            node_id: NODE,
            host: self.shared.address.ip().to_string().into(),
            port: i32::from(self.shared.address.port()),
            rack: None,
        };
        MetadataResponse { topics: topics.collect(), brokers: vec![broker], ..Default::default() }
    }

    fn create_topics(&self, request: &CreateTopicsRequest<'_>) -> CreateTopicsResponse<'static> {
        let mut topics = self.shared.topics();
        let created = request.topics.iter().map(|topic| {
            topics.insert(topic.name.to_string(), topic.num_partitions);
            CreatableTopicResult {
                name: topic.name.to_string().into(),
                num_partitions: topic.num_partitions,
                replication_factor: 1,
                ..Default::default()
            }
        });
        CreateTopicsResponse { topics: created.collect(), ..Default::default() }
    }
}

/// Bytes of the frame that begins here, which has its four bytes of length.
fn frame_bytes(frames: &[u8]) -> usize {
    frames.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize)
}

/// Bytes of the frames that are there to their ends.
fn whole_frames(bytes: &[u8]) -> usize {
    let mut at = 0;
    while bytes.len() >= at + 4 && bytes.len() >= at + 4 + frame_bytes(&bytes[at..]) {
        at += 4 + frame_bytes(&bytes[at..]);
    }
    at
}

fn reply<'a, M: Message<'a>>((api, version, correlation_id): Head, body: &M) -> Option<Vec<u8>> {
    encode_response(api, version, correlation_id, body).ok().map(|frame| frame.head)
}

fn api_versions() -> ApiVersionsResponse<'static> {
    let offered = OFFERED.into_iter().map(|(api, last)| ApiVersion {
        api_key: api.code(),
        min_version: *api.versions().start(),
        max_version: last,
    });
    ApiVersionsResponse { api_keys: offered.collect(), ..Default::default() }
}

fn described(name: &str, partitions: Option<i32>) -> MetadataResponseTopic<'static> {
    let topic = MetadataResponseTopic { name: Some(name.to_owned().into()), ..Default::default() };
    let Some(partitions) = partitions else {
        return MetadataResponseTopic { error_code: ErrorCode::UnknownTopicOrPartition.code(), ..topic };
    };
    let partitions = (0..partitions).map(|partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: NODE,
        ..Default::default()
    });
    MetadataResponseTopic { partitions: partitions.collect(), ..topic }
}

fn produced<'a>(request: &ProduceRequest<'a>) -> ProduceResponse<'a> {
    let responses = request.topic_data.iter().map(|topic| TopicProduceResponse {
        name: topic.name.clone(),
        partition_responses: topic
            .partition_data
            .iter()
            .map(|data| PartitionProduceResponse { index: data.index, ..Default::default() })
            .collect(),
        ..Default::default()
    });
    ProduceResponse { responses: responses.collect(), ..Default::default() }
}
