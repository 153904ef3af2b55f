//! From the command line, the file and the environment to the broker's settings.
//!
//! Layers, weakest first: defaults, `server.properties`, `KAFKA_*` variables, `--data` and `--override`. What is
//! refused is one line that names the key, the value and what is allowed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ottla::config::{BrokerConfig, ConfigError, Layers, env, properties};

/// Where data goes when nothing says otherwise.
const DATA_DEFAULT: &str = "./ottla-data";
/// The most bytes of a properties file: far above any that a person wrote.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// `ottla start`.
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    /// A server.properties written for Kafka in KRaft mode; without one, defaults for a single node
    pub file: Option<PathBuf>,
    /// A setting that wins over the file and the environment
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Where the data lies, for log.dirs
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// What a start goes by.
#[derive(Debug)]
pub struct Start {
    /// The settings.
    pub config: BrokerConfig,
    /// The id that a first start gives the cluster, where the environment names one.
    pub cluster_id: Option<String>,
}

/// Why the settings cannot be used: one line.
#[derive(Debug)]
pub struct SettingsError(String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}

impl From<ConfigError> for SettingsError {
    fn from(error: ConfigError) -> Self {
        SettingsError(error.to_string())
    }
}

/// Gathers the layers and reads them.
///
/// # Errors
/// The first thing that is refused, as one line.
pub fn gather(args: &StartArgs) -> Result<Start, SettingsError> {
    let file = args.file.as_deref().map(read_file).transpose()?;
    let variables: Vec<(String, String)> = std::env::vars_os()
        // What is no text is refused by its name, if it is a setting's.
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect();
    let environment =
        env::from_variables(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut command_line = overrides(&args.overrides)?;
    let names_dirs =
        |layer: &BTreeMap<String, String>| layer.contains_key("log.dirs") || layer.contains_key("log.dir");
    let is_placed = file.as_ref().is_some_and(names_dirs) || names_dirs(&environment.settings);
    match &args.data {
        Some(data) if names_dirs(&command_line) => {
            return Err(SettingsError(format!(
                "--data {}: --override says where the data lies, too; give one of them",
                data.display()
            )));
        }
        Some(data) => {
            command_line.insert("log.dirs".to_owned(), data.display().to_string());
        }
        None if is_placed || names_dirs(&command_line) => {}
        None => {
            command_line.insert("log.dirs".to_owned(), DATA_DEFAULT.to_owned());
        }
    }
    let layers = Layers { file, environment: environment.settings, command_line };
    Ok(Start { config: BrokerConfig::new(&layers)?, cluster_id: environment.cluster_id })
}

/// The settings that are given as `key=value`; the last one of a key counts.
fn overrides(given: &[String]) -> Result<BTreeMap<String, String>, SettingsError> {
    let pair = |setting: &String| {
        let pair = setting.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        let pair = pair.filter(|(key, _)| !key.is_empty());
        let (key, value) =
            pair.ok_or_else(|| SettingsError(format!("--override {setting}: it takes key=value")))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    given.iter().map(pair).collect()
}

/// Reads a properties file, of a broker or of a tool.
///
/// # Errors
/// A file that cannot be read, is far too large, or is none; one line that names it.
pub fn read_file(path: &Path) -> Result<BTreeMap<String, String>, SettingsError> {
    let refused = |why: &dyn fmt::Display| SettingsError(format!("{}: {why}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| refused(&error))?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| refused(&error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(refused(&format!("a properties file has at most {FILE_BYTES_MAX} bytes")));
    }
    // Java reads properties files as ISO 8859-1; UTF-8 is what people write.
    let text = String::from_utf8_lossy(&bytes);
    properties::parse(&text).map_err(|error| refused(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(overrides: &[&str]) -> StartArgs {
        StartArgs {
            file: None,
            overrides: overrides.iter().map(|&text| text.to_owned()).collect(),
            data: None,
        }
    }

    #[test]
    fn an_override_without_a_key_or_a_value_is_refused_by_name() {
        for bad in ["num.partitions", "=3"] {
            let error = gather(&args(&[bad])).expect_err("a key or a value is missing");
            assert_eq!(error.to_string(), format!("--override {bad}: it takes key=value"));
        }
    }

    #[test]
    fn a_file_may_have_other_bytes_than_text_and_an_end_in_sight() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::io::Write::write_all(&mut file, b"# gr\xf6\xdfe\nnode.id=7\n").expect("is written");
        let read = read_file(file.path()).expect("a properties file");
        assert_eq!(read, BTreeMap::from([("node.id".to_owned(), "7".to_owned())]));
        let endless = read_file(Path::new("/dev/zero")).expect_err("it has no end").to_string();
        assert_eq!(endless, "/dev/zero: a properties file has at most 4194304 bytes");
    }

    #[test]
    fn the_command_line_says_once_where_the_data_lies() {
        let dirs = |args: &StartArgs| gather(args).map(|start| start.config.storage.log_dirs);
        for key in ["log.dir", "log.dirs"] {
            let overridden = args(&[&format!("{key}=/var/lib/ottla")]);
            assert_eq!(dirs(&overridden).expect("it is placed"), ["/var/lib/ottla"], "{key}");
            let twice = StartArgs { data: Some("/srv/ottla".into()), ..overridden };
            let error = dirs(&twice).expect_err("two places").to_string();
            assert_eq!(
                error,
                "--data /srv/ottla: --override says where the data lies, too; give one of them"
            );
        }
        let data = StartArgs { data: Some("/srv/ottla".into()), ..args(&[]) };
        assert_eq!(dirs(&data).expect("it is placed"), ["/srv/ottla"]);
        assert_eq!(dirs(&args(&[])).expect("the default"), [DATA_DEFAULT]);
    }

    #[test]
    fn a_bad_value_names_key_and_value() {
        let error = gather(&args(&["num.partitions=many"])).expect_err("it is no number");
        let text = error.to_string();
        assert!(text.contains("num.partitions") && text.contains("many"), "{text}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let args =
            StartArgs { file: Some("/no/such/server.properties".into()), overrides: Vec::new(), data: None };
        assert!(
            gather(&args)
                .expect_err("there is no such file")
                .to_string()
                .contains("/no/such/server.properties")
        );
    }
}
