//! stub
use super::plan::{Plan, PlanSet, Rows};
#[derive(Clone, Debug, Default)]
pub struct Shape;
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    #[error("x")]
    Incomplete { table: u16 },
    #[error("y")]
    Other,
}
pub enum Assembled {
    Document,
    Absent,
}
pub fn assemble(
    _p: &Plan,
    _s: &PlanSet,
    _r: &impl Rows,
    _k: &[u8],
    _o: &mut Vec<u8>,
) -> Result<Assembled, AssembleError> {
    Ok(Assembled::Absent)
}
impl Plan {
    pub fn document_id(&self, _key: &[u8]) -> String {
        String::new()
    }
}
