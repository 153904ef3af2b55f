//! One shard at work: feeds the cores with requests, durable appends and time, and performs what they put out.
//!
//! A [`Shard`] lives on its executor's thread. It serves the connections that were handed to it (`dispatch` and the
//! files
//! beside it, one per kind of request) and owns the partitions that `ottla::placement` gives it (`owner`). What one
//! shard
//! wants of another it asks over the mesh; nothing is shared but immutable images.
//!
//! | file | what it drives |
//! |---|---|
//! | `dispatch` | from a frame to the code that serves it |
//! | `produce`, `fetch`, `offsets`, `coordinate`, `metadata` | requests on the connection's shard |
//! | `stages`, `errors` | where requests spend their time, and what their replies tell of, for the metrics |
//! | `messages`, `fan_out` | what crosses the mesh, and to whom |
//! | `owner`, `append`, `read`, `lookup`, `watch` | this shard's partitions |
//! | `groups` | the group coordinator |
//! | `control` | the controller, on shard 0 |
//! | `cleaner` | compaction in the background |
//! | `lifecycle`, `hosted`, `offline`, `replay` | opening, configuring, closing partitions |

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use ottla::config::BrokerConfig;
use ottla::controller::image::Image;
use ottla::ids::{ShardId, TopicIdPartition};
use ottla::limits::FETCH_SESSION_PARTITIONS_MAX;
use ottla::metrics::ShardMetrics;
pub use ottla::placement::CONTROLLER_SHARD;
use ottla::request::fetch_session::FetchSessions;
use ottla::request::init_producer_id::ProducerIdBlock;

use crate::disk::ShardDisk;
use crate::host::sync::{Notify, Semaphore};
use crate::logs::Loggers;
use crate::mesh::Mesh;
use crate::net::{Complaint, Connections};

pub mod append;
pub mod cleaner;
mod control;
mod coordinate;
mod describe;
mod dispatch;
mod errors;
pub(crate) mod fan_out;
mod fetch;
mod groups;
mod hosted;
pub mod lifecycle;
mod lookup;
pub mod messages;
mod metadata;
mod metadata_snapshot;
mod offline;
mod offsets;
mod owner;
mod produce;
mod read;
mod replay;
mod stages;
mod stint;
mod watch;

pub use control::{Controller, LoadedMetadata};
pub use groups::Groups;
pub use hosted::Hosted;
pub use owner::perform;

use messages::{Answer, Query};
use offline::Offline;
use stint::Stint;
use watch::Watches;

/// Everything that one shard has.
pub struct Shard {
    /// Its number.
    pub id: ShardId,
    /// How many there are.
    pub shards: u16,
    /// Its end of the mesh.
    pub mesh: Rc<Mesh<Query, Answer>>,
    /// Its part of the log directories.
    pub disk: Rc<ShardDisk>,
    /// The listeners' names, by the number that connections carry.
    pub listeners: Arc<[Arc<str>]>,
    /// The loggers of the process.
    pub loggers: Loggers,
    /// They hold the shard, which serves them: whoever has put both together keeps them.
    connections: OnceCell<Weak<Connections>>,
    /// Its group coordinator.
    pub groups: Groups,
    config: RefCell<Arc<BrokerConfig>>,
    configured: Notify,
    image: RefCell<Arc<Image>>,
    hosted: RefCell<BTreeMap<TopicIdPartition, Rc<Hosted>>>,
    sessions: RefCell<FetchSessions>,
    /// Topics that are being created because clients asked for them.
    creating: metadata::Creating,
    watches: Watches,
    next_watch: Cell<u64>,
    producer_ids: RefCell<ProducerIdBlock>,
    producer_ids_turn: Rc<Semaphore>,
    stint: Rc<Stint>,
    /// Of clients that ask for what is not served.
    unserved: Complaint,
    controller: OnceCell<Controller>,
    /// Partitions of the image that could not be opened or created.
    offline: Offline,
    /// Where the shard counts.
    pub metrics: Rc<ShardMetrics>,
    stopping: Cell<bool>,
    stop: Notify,
}

/// What a shard is made of.
pub struct Parts {
    /// How many shards there are.
    pub shards: u16,
    /// Its end of the mesh.
    pub mesh: Rc<Mesh<Query, Answer>>,
    /// Its part of the log directories.
    pub disk: Rc<ShardDisk>,
    /// The listeners' names, by the number that connections carry.
    pub listeners: Arc<[Arc<str>]>,
    /// The loggers of the process.
    pub loggers: Loggers,
    /// The broker's settings.
    pub config: Arc<BrokerConfig>,
    /// The image to begin with.
    pub image: Arc<Image>,
}

impl Shard {
    /// Puts a shard together. It owns no partition yet.
    #[must_use]
    pub fn new(parts: Parts) -> Rc<Self> {
        let Parts { shards, mesh, disk, listeners, loggers, config, image } = parts;
        let sessions_max = (config.fetch.sessions_max as usize).div_ceil(usize::from(shards));
        Rc::new(Self {
            id: mesh.shard(),
            shards,
            mesh,
            disk,
            listeners,
            loggers,
            connections: OnceCell::new(),
            groups: Groups::new(&config),
            config: RefCell::new(config),
            configured: Notify::new(),
            image: RefCell::new(image),
            hosted: RefCell::default(),
            sessions: RefCell::new(FetchSessions::new(sessions_max, FETCH_SESSION_PARTITIONS_MAX)),
            creating: metadata::Creating::default(),
            watches: Watches::default(),
            next_watch: Cell::new(0),
            producer_ids: RefCell::default(),
            producer_ids_turn: Semaphore::new(1),
            stint: Rc::default(),
            unserved: Complaint::default(),
            controller: OnceCell::new(),
            offline: Offline::default(),
            metrics: crate::host::shard_slot(),
            stopping: Cell::new(false),
            stop: Notify::new(),
        })
    }

    /// The metadata as this shard knows it.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        Arc::clone(&self.image.borrow())
    }

    /// The broker's settings as they are now.
    #[must_use]
    pub fn config(&self) -> Arc<BrokerConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// Waits until the broker's settings are others than `known`; `None` when it stops.
    pub async fn config_behind(&self, known: &Arc<BrokerConfig>) -> Option<Arc<BrokerConfig>> {
        while !self.stopping.get() {
            let config = self.config();
            if !Arc::ptr_eq(&config, known) {
                return Some(config);
            }
            self.configured.notified().await;
        }
        None
    }

    /// A partition that this shard owns and has open.
    #[must_use]
    pub fn hosted(&self, id: TopicIdPartition) -> Option<Rc<Hosted>> {
        self.hosted.borrow().get(&id).cloned()
    }

    /// How many partitions this shard has open.
    #[must_use]
    pub fn partitions_led(&self) -> usize {
        self.hosted.borrow().len()
    }

    /// The controller.
    ///
    /// # Panics
    /// On any shard but [`CONTROLLER_SHARD`], and before the metadata log is loaded.
    #[must_use]
    pub fn controller(&self) -> &Controller {
        self.controller.get().expect("the controller is asked on its own shard, after its start")
    }

    /// Its connections.
    ///
    /// # Panics
    /// Before they are there, which is part of the start.
    #[must_use]
    pub fn connections(&self) -> Rc<Connections> {
        let connections = self.connections.get().and_then(Weak::upgrade);
        connections.expect("connections are there before the first one comes, and as long as the shard")
    }

    /// Gives the shard its connections, which need the shard to serve them and live as long as the caller keeps them.
    ///
    /// # Panics
    /// When it has them already.
    pub fn set_connections(&self, connections: &Rc<Connections>) {
        assert!(self.connections.set(Rc::downgrade(connections)).is_ok(), "a shard has its connections once");
    }

    /// Makes this shard the controller's.
    ///
    /// # Panics
    /// When it is already.
    pub fn set_controller(&self, controller: Controller) {
        assert!(self.controller.set(controller).is_ok(), "there is one controller");
    }
}
