//! stub
use crate::model::Diagnostic;
pub struct Definition;
pub fn parse(_name: &str, _source: &str) -> Result<Definition, Vec<Diagnostic>> {
    Ok(Definition)
}
