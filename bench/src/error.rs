//! Why a load could not begin. Each error is one line for the person who typed the command.

use std::io;

use ottla::errors::ErrorCode;
use ottla_tools::client::ClientError;
use ottla_wire::ApiKey;
use thiserror::Error;

use crate::result::FileError;
use crate::workload::WorkloadError;

/// Why a load could not begin.
#[derive(Debug, Error)]
pub enum BenchError {
    /// A flag has a value that it cannot have.
    #[error("{flag} {value}: {allowed}")]
    Argument {
        /// The flag with its dashes.
        flag: String,
        /// What was given.
        value: String,
        /// What would be right.
        allowed: String,
    },
    /// No broker answers.
    #[error("no broker at {address}: {error}")]
    Connect {
        /// The address, or the last of several.
        address: String,
        /// What the system said.
        error: io::Error,
    },
    /// A broker answers, but not as it should.
    #[error("{api} to {address}: {error}")]
    Call {
        /// The request.
        api: ApiKey,
        /// The broker.
        address: String,
        /// What went wrong.
        error: ClientError,
    },
    /// A broker refuses a request that the load needs.
    #[error("{api}: {code}{message}")]
    Refused {
        /// The request.
        api: ApiKey,
        /// The error as Kafka names it.
        code: String,
        /// The broker's sentence behind a colon, or nothing.
        message: String,
    },
    /// The broker has no version of a request in common with this program.
    #[error("the broker at {address} serves no version of {api} that this program speaks")]
    Version {
        /// The request.
        api: ApiKey,
        /// The broker.
        address: String,
    },
    /// The topic is not as the load needs it.
    #[error("topic {name}: {what}")]
    Topic {
        /// The topic's name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The executors of the load do not run.
    #[error("{0}")]
    Shards(String),
    /// A result could not be written, or one that is to be drawn not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A workload file is refused.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The report could not be printed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl BenchError {
    /// The refusal of `api` with `code` and the broker's sentence, if it sent one.
    pub(crate) fn refused(api: ApiKey, code: i16, message: Option<&str>) -> Self {
        let message = message.map(|text| format!(": {text}")).unwrap_or_default();
        Self::Refused { api, code: code_name(code), message }
    }
}

/// Kafka's name of an error code; the number where this program does not know it.
pub(crate) fn code_name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("error {code}"), |code| code.name().to_owned())
}

/// One line on why a connection ended, short enough for a table.
pub(crate) fn reason(error: &ClientError) -> String {
    match error {
        ClientError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "connection closed by the broker".to_owned()
        }
        ClientError::Io(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
        {
            "no answer in time".to_owned()
        }
        ClientError::Io(_)
        | ClientError::Encode(_)
        | ClientError::Decode(_)
        | ClientError::Correlation { .. }
        | ClientError::ReplyTooLarge(_) => error.to_string(),
    }
}
