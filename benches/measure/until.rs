//! Waits until the daemon's status says so: with hardly any processor time of its own, for it is the
//! daemon's that is measured meanwhile.

use std::time::{Duration, Instant};

use projectord::pipeline::Status;

use super::http::Http;
use super::{Arguments, Outcome};

const LOOK_EVERY: Duration = Duration::from_millis(10);

pub fn run(arguments: &Arguments) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let url = arguments.text("url")?;
    let limit = Duration::from_secs(arguments.number("limit")?);
    let (state, entry) = (arguments.text("state")?, arguments.number("entry")?);
    let began = Instant::now();
    runtime.block_on(async {
        while began.elapsed() < limit {
            // Nobody listens yet while the daemon starts.
            if let Ok(status) = status(url).await
                && status.state == state
                && status.watermarks.projected_entry.0 >= entry
            {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(format!("not {state} at entry {entry} within {limit:?}").into())
    })
}

async fn status(url: &str) -> Outcome<Status> {
    let (_, body) = Http::connect(url).await?.call("GET", "/status", b"").await?;
    Ok(serde_json::from_slice(&body)?)
}
