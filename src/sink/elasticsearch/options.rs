//! How to reach the cluster.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

#[derive(Clone, Debug)]
pub enum Credentials {
    None,
    Basic {
        user: String,
        password: SecretString,
    },
    /// The encoded form that the API hands out.
    ApiKey(SecretString),
    Bearer(SecretString),
}

#[derive(Clone, Debug)]
pub struct Options {
    /// `https://host:9200`; one or several nodes of one cluster.
    pub urls: Vec<String>,
    pub credentials: Credentials,
    /// PEM file of CA certificates; the system's own ones when none is given.
    pub ca: Option<PathBuf>,
    /// Limit of one request. An answer later than this counts as unknown (hazard 49).
    pub request_timeout: Duration,
    pub compress: bool,
}
