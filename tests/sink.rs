//! The sink against a real cluster, whichever of the supported ones its address names, and against answers that
//! no healthy cluster gives.

#[path = "sink/answers.rs"]
mod answers;
#[path = "sink/documents.rs"]
mod documents;
#[path = "sink/fake.rs"]
mod fake;
#[path = "sink/indices.rs"]
mod indices;
#[path = "sink/limits.rs"]
mod limits;
#[path = "sink/throughput.rs"]
mod throughput;
#[path = "sink/world.rs"]
mod world;
