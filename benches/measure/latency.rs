//! From a commit to the document that shows it: transactions at a steady rate, and for some of them a
//! real-time GET again and again from the moment that COMMIT has returned.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_postgres::NoTls;

use super::http::Http;
use super::{Arguments, Outcome, figure};

/// Writers side by side.
const WRITERS: u64 = 4;
/// One in so many transactions is watched.
const WATCH_EVERY: u64 = 25;
/// Between two looks at a document.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// A change that takes longer has not arrived.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);

pub fn run(arguments: &Arguments) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Outcome<()> {
    let rate = arguments.number("rate")?;
    let total = rate * arguments.number("seconds")?;
    let orders = arguments.number("orders")?;
    let options = arguments.postgres()?;
    let url = arguments.text("url")?.to_owned();
    // No run writes what an earlier one has just written: it would be there at once. Below ten millions, from
    // where on the server writes a number with an exponent.
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() % 999;
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let began = Instant::now() + Duration::from_millis(200);
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (arrived, url) = (Arc::clone(&arrived), url.clone());
        let target =
            format!("host=127.0.0.1 port={} user=postgres dbname={}", options.port, options.database);
        writers.push(tokio::spawn(async move {
            let work = async {
                let (client, connection) = tokio_postgres::connect(&target, NoTls).await?;
                tokio::spawn(connection);
                let sql = "UPDATE orders SET shipping_fee = $1::text::numeric WHERE id = $2";
                let update = client.prepare(sql).await?;
                let mut watches = Vec::new();
                let mut late = Duration::ZERO;
                for number in (writer..total).step_by(WRITERS as usize) {
                    let due = began + Duration::from_secs_f64(number as f64 / rate as f64);
                    tokio::time::sleep_until(due.into()).await;
                    let id = 1 + number * 7919 % orders;
                    let fee = format!("{}.25", run * 10_000 + number % 10_000);
                    client.execute(&update, &[&fee, &(id as i64)]).await?;
                    let committed = Instant::now();
                    late = late.max(committed.saturating_duration_since(due));
                    if number % WATCH_EVERY == 0 {
                        watches.push(tokio::spawn(watch(
                            url.clone(),
                            id,
                            fee,
                            committed,
                            Arc::clone(&arrived),
                        )));
                    }
                }
                for watch in watches {
                    watch.await??;
                }
                Outcome::<Duration>::Ok(late)
            };
            work.await.map_err(|error| error.to_string())
        }));
    }
    let mut late = Duration::ZERO;
    for writer in writers {
        late = late.max(writer.await??);
    }
    let mut arrived = arrived.lock().expect("no watcher panicked").clone();
    arrived.sort_unstable();
    let at = |share: f64| arrived[((arrived.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    figure("latency_watched", &[arrived.len() as f64]);
    figure("latency_p50_ms", &[at(0.5)]);
    figure("latency_p99_ms", &[at(0.99)]);
    figure("latency_max_ms", &[at(1.0)]);
    figure("latency_commit_late_max_ms", &[late.as_secs_f64() * 1e3]);
    Ok(())
}

async fn watch(
    url: String,
    id: u64,
    fee: String,
    committed: Instant,
    arrived: Arc<Mutex<Vec<Duration>>>,
) -> Result<(), String> {
    let look = async {
        let mut http = Http::connect(&url).await?;
        let path = format!("/orders/_doc/{id}?_source_includes=shipping_fee");
        loop {
            let (_, answer) = http.call("GET", &path, b"").await?;
            if String::from_utf8_lossy(&answer).contains(&format!(":{fee}")) {
                return Outcome::Ok(committed.elapsed());
            }
            if committed.elapsed() > ARRIVAL_LIMIT {
                return Err(format!("order {id} does not show its change").into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let took = look.await.map_err(|error: Box<dyn std::error::Error>| error.to_string())?;
    arrived.lock().expect("no watcher panicked").push(took);
    Ok(())
}
