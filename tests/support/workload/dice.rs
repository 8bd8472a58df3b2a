//! Chances of the workload: rows, keys, texts and documents that databases and encoders stumble over.
//!
//! Rows are chosen by range (`id >= n ORDER BY id LIMIT 1`), so that gaps left by deletes do no harm.

/// Where a deed takes its chances from.
pub struct Dice(fastrand::Rng);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(fastrand::Rng::with_seed(seed))
    }

    /// 0 .. sides - 1
    pub fn below(&mut self, sides: u64) -> u64 {
        self.0.u64(..sides)
    }

    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0.u64(least..=most)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[self.0.usize(..words.len())]
    }

    /// An expression for an existing key: one of a dozen hot rows mostly, else any.
    pub fn row(&mut self, table: &str) -> String {
        if self.chance(60) {
            let offset = self.below(12);
            format!("(SELECT id FROM {table} ORDER BY id OFFSET {offset} LIMIT 1)")
        } else if self.chance(20) {
            let offset = self.below(12);
            format!("(SELECT id FROM {table} ORDER BY id DESC OFFSET {offset} LIMIT 1)")
        } else {
            let part = self.0.f64();
            format!(
                "(SELECT id FROM {table} WHERE id >= (SELECT max(id) * {part:.6} FROM {table}) ORDER BY id LIMIT 1)"
            )
        }
    }

    /// As [`Dice::row`], or NULL now and then.
    pub fn row_or_null(&mut self, table: &str) -> String {
        if self.chance(15) { "NULL".to_owned() } else { self.row(table) }
    }

    /// A key of its own in a wide space: two connections may still take the same one.
    pub fn new_key(&mut self) -> u64 {
        if self.chance(10) { 900_000 + self.below(50) } else { 1_000_000 + self.below(1_000_000_000) }
    }

    /// An expression for text that does not compress below PostgreSQL's limit for storing it in the row.
    pub fn long_text(&mut self) -> String {
        let seed = self.0.u32(..);
        format!("(SELECT string_agg(md5({seed}::text || i), ' ') FROM generate_series(1, 150) AS i)")
    }

    /// Text with everything that encoders stumble over.
    pub fn text(&mut self) -> String {
        let number = self.below(100_000);
        let word = self.one_of(&[
            "plain",
            "quote '' \" both",
            "back\\slash",
            "tab\tand\nline",
            "naïve Größe 漢字 🛒",
            "",
            "\u{1}\u{7f}\u{85}\u{2028}",
            " blanks ",
        ]);
        format!("'{word}{number}'")
    }

    pub fn json(&mut self) -> String {
        let number = self.below(1_000_000);
        let shape = self.one_of(&[
            r#"{}"#,
            r#"{"n": N.50, "big": 1234567890123456789N, "list": [1, null, {"deep": [[]]}]}"#,
            r#"{"t": "naïve \" \\ \n", "n": N}"#,
            r#"[N, 1e-7, -0.0]"#,
            r#"{"a": {"a": {"a": N}}, "": false}"#,
        ]);
        format!("'{}'::jsonb", shape.replace('N', &number.to_string()))
    }
}
