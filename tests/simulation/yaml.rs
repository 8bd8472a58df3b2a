//! A shape as the text of a projection file.

use super::schema::Schema;
use super::shape::{Children, Condition, Content, Field, Function, Shape};

impl Shape {
    /// The projection file.
    pub fn yaml(&self, schema: &Schema) -> String {
        let root = &schema.tables[self.root].name;
        let mut out = format!("projection: {0}\nroot: {root}\nindex: {0}\n", self.name);
        if let Some(filter) = &self.filter {
            out.push_str(&format!("where: \"{}\"\n", filter.text(schema, self.root)));
        }
        out.push_str("fields:\n");
        for (name, field) in &self.fields {
            out.push_str(&format!("  {name}: {}\n", field.text(schema, self.root)));
        }
        out
    }
}

impl Field {
    fn text(&self, schema: &Schema, at: usize) -> String {
        let column = |table: usize, at: usize| schema.tables[table].columns[at].name.clone();
        match self {
            Field::Column(position) => column(at, *position),
            Field::One { table, via, fields } => {
                let (name, via) = (&schema.tables[*table].name, column(at, *via));
                format!("{{ one: {name}, via: {via}, fields: {} }}", braced(fields, schema, *table))
            }
            Field::Many { children, order, nested, content } => {
                let mut out = format!("{{ many: {}", children.text(schema));
                if let Some(filter) = &children.filter {
                    out.push_str(&format!(", where: \"{}\"", filter.text(schema, children.table)));
                }
                if !order.is_empty() {
                    let by = |(at, down): &(usize, bool)| {
                        let column = column(children.table, *at);
                        if *down { format!("{{ {column}: desc }}") } else { column }
                    };
                    let by: Vec<String> = order.iter().map(by).collect();
                    out.push_str(&format!(", order_by: [{}]", by.join(", ")));
                }
                if *nested {
                    out.push_str(", nested: true");
                }
                match content {
                    Content::Fields(fields) => {
                        out.push_str(&format!(", fields: {} }}", braced(fields, schema, children.table)));
                    }
                    Content::Value(at) => {
                        out.push_str(&format!(", values: {} }}", column(children.table, *at)));
                    }
                }
                out
            }
            Field::Aggregate { function, sibling, children, column: counted, filter } => {
                let function = match function {
                    Function::Count => "count",
                    Function::Sum => "sum",
                    Function::Min => "min",
                    Function::Max => "max",
                };
                let counted = counted.map_or(String::new(), |at| format!(".{}", column(children.table, at)));
                let mut out = match sibling {
                    Some(name) => format!("{{ {function}: {name}{counted}"),
                    None => {
                        let table = &schema.tables[children.table].name;
                        // Only a name with a column may be split at its dot.
                        format!("{{ {function}: {table}{counted}{}", children.joined(schema))
                    }
                };
                if let Some(filter) = filter {
                    out.push_str(&format!(", where: \"{}\"", filter.text(schema, children.table)));
                }
                out + " }"
            }
        }
    }
}

impl Children {
    fn text(&self, schema: &Schema) -> String {
        format!("{}{}", schema.tables[self.table].name, self.joined(schema))
    }

    fn joined(&self, schema: &Schema) -> String {
        match self.through {
            None => format!(", via: {}", schema.tables[self.table].columns[self.via].name),
            Some((junction, onward)) => {
                let junction = &schema.tables[junction];
                let (via, onward) = (&junction.columns[self.via].name, &junction.columns[onward].name);
                format!(", through: {}, via: {via}, target_via: {onward}", junction.name)
            }
        }
    }
}

impl Condition {
    fn text(&self, schema: &Schema, at: usize) -> String {
        let column = |position: &usize| schema.tables[at].columns[*position].name.clone();
        match self {
            Condition::IsNull(position) => format!("{} IS NULL", column(position)),
            Condition::IsNotNull(position) => format!("{} IS NOT NULL", column(position)),
            Condition::Is(position) => column(position),
            Condition::Less(position, number) => format!("{} < {number}", column(position)),
            Condition::In(position, numbers) => {
                let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
                format!("{} IN ({})", column(position), numbers.join(", "))
            }
            Condition::Equal(position, text) => {
                format!("{} = '{}'", column(position), text.replace('\\', "\\\\"))
            }
            Condition::Not(inner) => format!("NOT ({})", inner.text(schema, at)),
            Condition::Both(a, b) => format!("({}) AND ({})", a.text(schema, at), b.text(schema, at)),
            Condition::Either(a, b) => format!("({}) OR ({})", a.text(schema, at), b.text(schema, at)),
        }
    }
}

fn braced(fields: &[(String, Field)], schema: &Schema, at: usize) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(name, field)| format!("{name}: {}", field.text(schema, at))).collect();
    format!("{{ {} }}", fields.join(", "))
}
