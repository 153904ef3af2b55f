//! Log levels of this process, which admin clients change as configs of the type BROKER_LOGGER (KIP-412).
//!
//! They are not metadata: nothing is written, and a restart forgets them. The rules and the words are those of Kafka's
//! `RuntimeLoggerManager`; the shell knows the loggers and applies the changes.

use std::fmt;

use ottla_wire::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};

use super::ApiError;
use crate::config::alter::AlterOp;
use crate::errors::ErrorCode;
use crate::ids::NodeId;

/// The logger that all others inherit from.
pub const ROOT: &str = "root";

/// A level of logging; a logger writes its level and what is more severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl LogLevel {
    const ALL: [LogLevel; 6] =
        [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error, LogLevel::Fatal];

    /// The name that clients see and send.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            LogLevel::Trace => "TRACE",
            LogLevel::Debug => "DEBUG",
            LogLevel::Info => "INFO",
            LogLevel::Warn => "WARN",
            LogLevel::Error => "ERROR",
            LogLevel::Fatal => "FATAL",
        }
    }

    /// The level of a name, which is in upper case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<LogLevel> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A logger of this process and its level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logger {
    /// Its name.
    pub name: String,
    /// What it writes at least.
    pub level: LogLevel,
}

/// What the shell does to one logger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggerChange {
    /// The logger's name.
    pub name: String,
    /// Its new level; `None` to inherit again.
    pub level: Option<LogLevel>,
}

/// The changes that a resource of the type BROKER_LOGGER asks for, all of them or none.
pub(super) fn changes(
    node: NodeId,
    loggers: &[Logger],
    resource: &AlterConfigsResource<'_>,
) -> Result<Vec<LoggerChange>, ApiError> {
    let invalid = |text| ApiError::new(ErrorCode::InvalidRequest, text);
    let name = &resource.resource_name;
    let id: i32 =
        name.parse().map_err(|_| invalid(format!("Node id must be an integer, but it is: {name}")))?;
    if id != node.0 {
        return Err(invalid(format!("Unexpected node id. Expected {node}, but received {id}")));
    }
    resource.configs.iter().map(|config| change(loggers, config)).collect()
}

fn change(loggers: &[Logger], config: &AlterableConfig<'_>) -> Result<LoggerChange, ApiError> {
    let invalid = |text| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    let name = &*config.name;
    let known = || match loggers.iter().any(|logger| logger.name == name) {
        true => Ok(name.to_owned()),
        false => Err(ApiError::new(ErrorCode::InvalidConfig, format!("Logger {name} does not exist!"))),
    };
    match AlterOp::from_code(config.config_operation) {
        Some(AlterOp::Set) => {
            let name = known()?;
            let value = config.value.as_deref().unwrap_or_default();
            let level = LogLevel::from_name(value).ok_or_else(|| {
                let text = format!(
                    "Cannot set the log level of {name} to {value} as it is not a supported log level. Valid log \
                     levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN"
                );
                ApiError::new(ErrorCode::InvalidConfig, text)
            })?;
            Ok(LoggerChange { name, level: Some(level) })
        }
        Some(AlterOp::Delete) => match known()? {
            name if name == ROOT => {
                invalid(format!("Removing the log level of the {ROOT} logger is not allowed"))
            }
            name => Ok(LoggerChange { name, level: None }),
        },
        Some(AlterOp::Append) => {
            invalid("APPEND operation is not allowed for the BROKER_LOGGER resource".to_owned())
        }
        Some(AlterOp::Subtract) => {
            invalid("SUBTRACT operation is not allowed for the BROKER_LOGGER resource".to_owned())
        }
        None => {
            let code = config.config_operation;
            invalid(format!("Unknown operation type {code} is not allowed for the BROKER_LOGGER resource"))
        }
    }
}
