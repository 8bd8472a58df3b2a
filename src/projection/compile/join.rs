//! Which columns join two tables: along the declared foreign keys, or as the definition says.

use super::{Builder, Pair};
use crate::model::{ForeignKey, KeyClass, Table};
use crate::projection::definition::yaml::{Place, Spot};

/// From a node's row to the one row of `table` that it refers to.
pub fn to_one<'c>(
    node: usize,
    table: &'c Table,
    place: Place,
    via: &[Spot<String>],
    references: &[Spot<String>],
    builder: &mut Builder<'c>,
) -> Option<Vec<Pair>> {
    let parent = builder.nodes[node].table;
    let side = Side { referring: parent, target: table, place, key: "via" };
    let (referring, target) = columns(side, via, references, &[], builder)?;
    require_unique(table, &target, place, builder)?;
    pairs(parent, &referring, table, &target, via.first().map_or(place, |spot| spot.place), builder)
}

/// From a node's row to the rows of `table` that refer to it.
pub fn to_many<'c>(
    node: usize,
    table: &'c Table,
    place: Place,
    via: &[Spot<String>],
    references: &[Spot<String>],
    builder: &mut Builder<'c>,
) -> Option<Vec<Pair>> {
    let parent = builder.nodes[node].table;
    let side = Side { referring: table, target: parent, place, key: "via" };
    let (referring, target) = columns(side, via, references, &[], builder)?;
    pairs(parent, &target, table, &referring, via.first().map_or(place, |spot| spot.place), builder)
}

/// From a junction's row to the row of `table` that it refers to with other columns than `used`.
pub fn onward<'c>(
    node: usize,
    table: &'c Table,
    place: Place,
    via: &[Spot<String>],
    used: &[usize],
    builder: &mut Builder<'c>,
) -> Option<Vec<Pair>> {
    let junction = builder.nodes[node].table;
    let side = Side { referring: junction, target: table, place, key: "target_via" };
    let (referring, target) = columns(side, via, &[], used, builder)?;
    require_unique(table, &target, place, builder)?;
    pairs(junction, &referring, table, &target, via.first().map_or(place, |spot| spot.place), builder)
}

/// The two tables of a reference, and the word with which a definition names its columns.
#[derive(Clone, Copy)]
struct Side<'c> {
    referring: &'c Table,
    target: &'c Table,
    place: Place,
    key: &'static str,
}

/// The referring columns and those referred to, as positions, pair by pair.
fn columns<'c>(
    side: Side<'c>,
    via: &[Spot<String>],
    references: &[Spot<String>],
    used: &[usize],
    builder: &mut Builder<'c>,
) -> Option<(Vec<usize>, Vec<usize>)> {
    let Side { referring, target, place, key } = side;
    let declared: Vec<&ForeignKey> = referring
        .foreign_keys
        .iter()
        .filter(|foreign| foreign.foreign_schema == target.schema && foreign.foreign_table == target.name)
        .filter(|foreign| {
            let positions: Option<Vec<usize>> =
                foreign.columns.iter().map(|name| Some(referring.column(name)?.0)).collect();
            used.is_empty() || positions.is_none_or(|positions| positions != used)
        })
        .collect();
    if via.is_empty() {
        let foreign = one_of(&declared, side, builder)?;
        let position = |table: &Table, name: &String| table.column(name).map(|(position, _)| position);
        let from: Option<Vec<_>> = foreign.columns.iter().map(|name| position(referring, name)).collect();
        let to: Option<Vec<_>> = foreign.references.iter().map(|name| position(target, name)).collect();
        return from.zip(to);
    }
    let from: Vec<_> = via.iter().map(|name| builder.column_of(referring, name)).collect();
    let to: Vec<_> = references.iter().map(|name| builder.column_of(target, name)).collect();
    let from: Vec<usize> = from.into_iter().map(|found| found.map(|found| found.0)).collect::<Option<_>>()?;
    let to: Vec<usize> = to.into_iter().map(|found| found.map(|found| found.0)).collect::<Option<_>>()?;
    if !to.is_empty() {
        return matching(from, to, via[0].place, builder);
    }
    // Columns that are a declared foreign key refer to what it refers to, in whatever order they stand.
    let names: Vec<&String> = via.iter().map(|name| &name.value).collect();
    let same = |foreign: &&&ForeignKey| {
        foreign.columns.len() == names.len() && foreign.columns.iter().all(|name| names.contains(&name))
    };
    if let Some(foreign) = declared.iter().find(same) {
        let position = |table: &Table, name: &String| table.column(name).map(|(position, _)| position);
        let from: Option<Vec<_>> = foreign.columns.iter().map(|name| position(referring, name)).collect();
        let to: Option<Vec<_>> = foreign.references.iter().map(|name| position(target, name)).collect();
        return from.zip(to);
    }
    let primary: Option<Vec<usize>> =
        target.primary_key.iter().map(|name| target.column(name).map(|found| found.0)).collect();
    match primary {
        Some(to) if to.len() == from.len() => Some((from, to)),
        _ => {
            let message = format!(
                "`{key}` names {} columns, the primary key of {} has {}",
                via.len(),
                target.qualified_name(),
                target.primary_key.len()
            );
            builder.problems.add(
                via.first().map_or(place, |spot| spot.place),
                "join-columns",
                message,
                "name the columns referred to with `references: [...]`",
            );
            None
        }
    }
}

fn matching(
    from: Vec<usize>,
    to: Vec<usize>,
    place: Place,
    builder: &mut Builder<'_>,
) -> Option<(Vec<usize>, Vec<usize>)> {
    if from.len() != to.len() {
        let message = format!("`via` names {} columns, `references` {}", from.len(), to.len());
        builder.problems.add(place, "join-columns", message, "name them pair by pair");
        return None;
    }
    Some((from, to))
}

fn one_of<'c>(
    declared: &[&'c ForeignKey],
    side: Side<'c>,
    builder: &mut Builder<'c>,
) -> Option<&'c ForeignKey> {
    let (from, to) = (side.referring.qualified_name(), side.target.qualified_name());
    let key = side.key;
    match declared {
        [foreign] => Some(foreign),
        [] => {
            let message = format!("no foreign key leads from {from} to {to}");
            let hint = format!("name the columns of {from} that refer to it: `{key}: COLUMN`");
            builder.problems.add(side.place, "missing-foreign-key", message, hint);
            None
        }
        several => {
            let list: Vec<String> = several.iter().map(|foreign| foreign.columns.join(", ")).collect();
            let message = format!("{} foreign keys lead from {from} to {to}", several.len());
            let choices: Vec<String> = list.iter().map(|columns| format!("`{key}: [{columns}]`")).collect();
            let hint = format!("write {}", choices.join(" or "));
            builder.problems.add(side.place, "ambiguous-foreign-key", message, hint);
            None
        }
    }
}

/// At most one row may be found: some unique index lies within the columns.
fn require_unique(table: &Table, columns: &[usize], place: Place, builder: &mut Builder<'_>) -> Option<()> {
    let names: Vec<&str> = columns.iter().map(|position| table.columns[*position].name.as_str()).collect();
    let keys = table.unique_keys.iter().chain([&table.key, &table.primary_key]);
    let unique =
        keys.filter(|key| !key.is_empty()).any(|key| key.iter().all(|name| names.contains(&name.as_str())));
    if unique {
        return Some(());
    }
    let message = format!("({}) is not unique in {}", names.join(", "), table.qualified_name());
    let hint = "join columns with a unique index that is neither partial nor deferrable, or use `many`";
    builder.problems.add(place, "not-unique", message, hint);
    None
}

fn pairs(
    parent: &Table,
    parent_columns: &[usize],
    child: &Table,
    child_columns: &[usize],
    place: Place,
    builder: &mut Builder<'_>,
) -> Option<Vec<Pair>> {
    let mut pairs: Vec<Pair> = Vec::new();
    for (up, down) in parent_columns.iter().zip(child_columns) {
        let (a, b) = (&parent.columns[*up], &child.columns[*down]);
        if let Some((table, column)) =
            [(parent, a), (child, b)].into_iter().find(|(_, column)| column.generated)
        {
            let message = format!(
                "`{}` of {} is generated: PostgreSQL does not send it",
                column.name,
                table.qualified_name()
            );
            builder.problems.add(place, "generated-column", message, "join by another column");
            return None;
        }
        let classes = (KeyClass::of(&a.kind), KeyClass::of(&b.kind));
        let (Some(class), Some(other)) = classes else {
            let (table, column) = if classes.0.is_none() { (parent, a) } else { (child, b) };
            let message = format!(
                "cannot join by `{}` of {}: the equality of {} is not that of its text",
                column.name,
                table.qualified_name(),
                column.type_name
            );
            builder.problems.add(place, "join-type", message, "join by a column of another type");
            return None;
        };
        if class != other || (class == KeyClass::Text && a.kind != b.kind) {
            let message = format!(
                "`{}` of {} is {}, `{}` of {} is {}: their texts do not compare",
                a.name,
                parent.qualified_name(),
                a.type_name,
                b.name,
                child.qualified_name(),
                b.type_name
            );
            let hint = "both columns of a join must be of one type";
            builder.problems.add(place, "join-types-differ", message, hint);
            return None;
        }
        let pair = Pair { parent: *up, child: *down, class };
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    Some(pairs)
}
