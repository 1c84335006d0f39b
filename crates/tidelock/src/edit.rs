//! Changes an `upstreams.toml` as its owner would: what is not meant stays as it is written, comments too. Text in, text out;
//! whether it says something good is for `config` to find out.

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// A file that is being changed.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    document: DocumentMut,
}

impl Edit {
    /// `Err` is what is wrong with it as TOML.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        let document = text.parse::<DocumentMut>().map_err(|error| error.to_string())?;
        Ok(Self { document })
    }

    pub(crate) fn text(&self) -> String {
        self.document.to_string()
    }

    /// The names of its apps, in their order.
    pub(crate) fn apps(&self) -> Vec<String> {
        let table = self.document.get("app").and_then(Item::as_table_like);
        table.map(|table| table.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default()
    }

    pub(crate) fn get(&self, app: &str, key: &str) -> Option<&Item> {
        self.document.get("app")?.get(app)?.get(key)
    }

    /// The tables of an app, as they are written.
    pub(crate) fn text_of_app(&self, app: &str) -> Option<String> {
        let mut alone = DocumentMut::new();
        let mut apps = Table::new();
        apps.set_implicit(true);
        apps.insert(app, self.document.get("app")?.get(app)?.clone());
        alone.insert("app", Item::Table(apps));
        Some(alone.to_string())
    }

    /// Where clients of an app connect, as the file has it.
    pub(crate) fn listens_of(&self, app: &str) -> Vec<String> {
        let upstreams = self.upstreams_of(app);
        let mut listens = Vec::new();
        for route in tables(&self.document, "route") {
            if text_of(route, "upstream").is_some_and(|upstream| upstreams.contains(&upstream)) {
                listens.extend(match listens_named(route) {
                    Some(named) => named,
                    None => self.listens(),
                });
            }
        }
        listens.dedup();
        listens
    }

    /// All addresses, as they are written.
    pub(crate) fn listens(&self) -> Vec<String> {
        tables(&self.document, "listen").filter_map(|listen| text_of(listen, "address")).collect()
    }

    /// Whether clients of this address speak TLS, as far as the file says; one that it does not name has none.
    pub(crate) fn is_tls(&self, address: &str) -> bool {
        let mut all = tables(&self.document, "listen");
        all.any(|listen| text_of(listen, "address").as_deref() == Some(address) && listen.contains_key("tls"))
    }

    fn upstreams_of(&self, app: &str) -> Vec<String> {
        let table = self.document.get("upstream").and_then(Item::as_table_like);
        let uses = |(name, upstream): (&str, &Item)| {
            let used = upstream.as_table_like().and_then(|upstream| text_of(upstream, "app"));
            (used.as_deref() == Some(app)).then(|| name.to_owned())
        };
        table.into_iter().flat_map(|table| table.iter()).filter_map(uses).collect()
    }

    /// Puts tables behind all that is there.
    pub(crate) fn append(&mut self, tables: &str) -> Result<(), String> {
        let mut text = self.text();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        if !text.trim().is_empty() {
            text.push('\n');
        }
        text += tables;
        *self = Self::of(&text).map_err(|error| {
            format!(
                "the file has its tables on one line each, and another cannot be put behind them: {error}"
            )
        })?;
        Ok(())
    }

    /// Says `value` under a key of an app; a dot leads into a table. The table is made if need be.
    pub(crate) fn set(&mut self, app: &str, key: &str, value: Value) -> Result<(), String> {
        let mut table = self.app_mut(app)?;
        let mut names = key.split('.').collect::<Vec<_>>();
        let last = names.pop().filter(|last| !last.is_empty()).ok_or("which key?")?;
        for name in names {
            let inner = table.entry(name).or_insert(Item::Value(Value::InlineTable(InlineTable::new())));
            table = inner.as_table_like_mut().ok_or_else(|| {
                format!("`{name}` of the app `{app}` is no table, so that it has no `{last}`")
            })?;
        }
        put(table, last, value);
        Ok(())
    }

    /// Sets a variable of an app's environment, whose name may have dots.
    pub(crate) fn set_env(&mut self, app: &str, variable: &str, text: &str) -> Result<(), String> {
        let table = self.app_mut(app)?;
        let env = table.entry("env").or_insert(Item::Value(Value::InlineTable(InlineTable::new())));
        let env = env.as_table_like_mut().ok_or_else(|| format!("`env` of the app `{app}` is no table"))?;
        put(env, variable, value(text, true));
        Ok(())
    }

    /// Whether an app's own environment says something of a variable.
    pub(crate) fn has_env(&self, app: &str, variable: &str) -> bool {
        let env = self.get(app, "env").and_then(Item::as_table_like);
        env.is_some_and(|env| env.contains_key(variable))
    }

    /// Takes a key of an app out. `false` if it is not there.
    pub(crate) fn unset(&mut self, app: &str, key: &str) -> Result<bool, String> {
        let mut table = self.app_mut(app)?;
        let mut names = key.split('.').collect::<Vec<_>>();
        let last = names.pop().unwrap_or_default();
        for name in names {
            match table.get_mut(name).and_then(Item::as_table_like_mut) {
                Some(inner) => table = inner,
                None => return Ok(false),
            }
        }
        Ok(table.remove(last).is_some())
    }

    /// Takes an app out, with the upstreams that are nothing else, the routes to them, and the listens that nobody is
    /// served on then. `false` if there is no such app.
    pub(crate) fn remove(&mut self, app: &str) -> bool {
        let upstreams = self.upstreams_of(app);
        let was_there = remove_key(&mut self.document, "app", app);
        if !was_there {
            return false;
        }
        for upstream in &upstreams {
            remove_key(&mut self.document, "upstream", upstream);
        }
        let mut named = Vec::new();
        retain(&mut self.document, "route", |route| {
            let goes = text_of(route, "upstream").is_some_and(|upstream| upstreams.contains(&upstream));
            if goes {
                named.extend(listens_named(route).unwrap_or_default());
            }
            !goes
        });
        let routes: Vec<_> = tables(&self.document, "route").map(listens_named).collect();
        let is_of_all = routes.iter().any(Option::is_none);
        let still: Vec<String> = routes.iter().flatten().flatten().cloned().collect();
        let is_last = routes.is_empty();
        retain(&mut self.document, "listen", |listen| {
            let address = text_of(listen, "address").unwrap_or_default();
            let is_useless = is_last || (!is_of_all && named.contains(&address) && !still.contains(&address));
            !is_useless
        });
        true
    }

    /// Takes out the routes that show files to whoever connects at these addresses and nowhere else, with the addresses, unless
    /// something else is served there. What `pm2 serve` was has no app by whose name it could be found.
    pub(crate) fn remove_files_at(&mut self, addresses: &[String]) {
        let is_of_them = |route: &dyn TableLike| {
            route.contains_key("files") && listens_named(route).is_some_and(|named| named == addresses)
        };
        if !tables(&self.document, "route").any(is_of_them) {
            return;
        }
        retain(&mut self.document, "route", |route| !is_of_them(route));
        let routes: Vec<_> = tables(&self.document, "route").map(listens_named).collect();
        let still: Vec<String> = routes.iter().flatten().flatten().cloned().collect();
        let is_of_all = routes.iter().any(Option::is_none);
        retain(&mut self.document, "listen", |listen| {
            let address = text_of(listen, "address").unwrap_or_default();
            is_of_all || still.contains(&address) || !addresses.contains(&address)
        });
    }

    fn app_mut(&mut self, app: &str) -> Result<&mut dyn TableLike, String> {
        let table = self.document.get_mut("app").and_then(|apps| apps.get_mut(app));
        table.and_then(Item::as_table_like_mut).ok_or_else(|| format!("the file has no app `{app}`"))
    }
}

fn put(table: &mut dyn TableLike, key: &str, value: Value) {
    match table.get_mut(key) {
        // What stands behind it on its line is about the key.
        Some(Item::Value(there)) => {
            let decor = there.decor().clone();
            *there = value;
            *there.decor_mut() = decor;
        }
        Some(item) => *item = Item::Value(value),
        None => drop(table.insert(key, Item::Value(value))),
    }
}

/// What was typed as a value: TOML where it is some, and otherwise text, as a shell has it.
pub(crate) fn value(typed: &str, is_text: bool) -> Value {
    let text = || Value::from(config::literal(typed));
    match typed.parse::<Value>() {
        _ if is_text => text(),
        // A day is none of our values.
        Ok(Value::Datetime(_)) | Err(_) => text(),
        Ok(value) => value,
    }
}

/// Tables of an array, in either of its forms.
fn tables<'d>(document: &'d DocumentMut, key: &str) -> Box<dyn Iterator<Item = &'d dyn TableLike> + 'd> {
    match document.get(key) {
        Some(Item::ArrayOfTables(tables)) => {
            Box::new(tables.iter().map(|table: &Table| table as &dyn TableLike))
        }
        Some(Item::Value(Value::Array(array))) => Box::new(
            array
                .iter()
                .filter_map(Value::as_inline_table)
                .map(|table: &InlineTable| table as &dyn TableLike),
        ),
        _ => Box::new(std::iter::empty()),
    }
}

fn text_of(table: &dyn TableLike, key: &str) -> Option<String> {
    table.get(key).and_then(Item::as_str).map(str::to_owned)
}

/// `None` where a route is for all of them.
fn listens_named(route: &dyn TableLike) -> Option<Vec<String>> {
    match route.get("listen")? {
        Item::Value(Value::String(one)) => Some(vec![one.value().clone()]),
        Item::Value(Value::Array(all)) => {
            Some(all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        _ => None,
    }
}

fn retain(document: &mut DocumentMut, key: &str, mut keep: impl FnMut(&dyn TableLike) -> bool) {
    let is_empty = match document.get_mut(key) {
        Some(Item::ArrayOfTables(tables)) => {
            ArrayOfTables::retain(tables, |table| keep(table));
            tables.is_empty()
        }
        Some(Item::Value(Value::Array(array))) => {
            Array::retain(array, |value| value.as_inline_table().is_none_or(|table| keep(table)));
            array.is_empty()
        }
        _ => false,
    };
    if is_empty {
        document.remove(key);
    }
}

fn remove_key(document: &mut DocumentMut, of: &str, name: &str) -> bool {
    let Some(table) = document.get_mut(of).and_then(Item::as_table_like_mut) else { return false };
    let was_there = table.remove(name).is_some();
    if table.is_empty() {
        document.remove(of);
    }
    was_there
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# Mine.
[drain]
window = "3s" # quick

[[listen]]
address = ":80"

# The chat.
[[route]]
listen = [":80"]
upstream = "chat"

[upstream.chat]
app = "chat"

[app.chat]
command = "node chat.js" # ours
instances = 2 # for now

[app.chat.env]
A = "1"

# Letters.
[[listen]]
address = ":81"

[[route]]
listen = [":81"]
upstream = "mail"

[upstream.mail]
app = "mail"

[app.mail]
command = "node mail.js"
# The end.
"#;

    #[test]
    fn a_key_is_said_where_it_stands() {
        let mut edit = Edit::of(FILE).expect("TOML");
        for (key, typed) in
            [("instances", "4"), ("memory_max", "300M"), ("restart.max", "5"), ("env.A", "2 3")]
        {
            edit.set("chat", key, value(typed, key.starts_with("env."))).expect("a key");
        }
        edit.set_env("mail", "A.B", "7").expect("an app");
        assert!(
            edit.text().contains("command = \"node mail.js\"\nenv = { \"A.B\" = \"7\" }\n"),
            "{}",
            edit.text()
        );
        assert!(edit.unset("mail", "env").expect("an app"));
        let text = edit.text();
        assert!(text.contains("instances = 4 # for now\n"), "{text}");
        assert!(text.contains("memory_max = \"300M\"\nrestart = { max = 5 }\n"), "{text}");
        assert!(text.contains("[app.chat.env]\nA = \"2 3\"\n"), "{text}");
        assert!(edit.unset("chat", "restart.max").expect("an app"));
        assert!(!edit.unset("chat", "cron").expect("an app"));
        for key in ["restart", "memory_max"] {
            assert!(edit.unset("chat", key).expect("an app"));
        }
        let text = edit.text().replace("4 # for now", "2 # for now").replace("2 3", "1");
        assert_eq!(text, FILE);
        assert!(edit.set("char", "instances", value("4", false)).is_err());
        assert!(edit.set("chat", "instances.x", value("4", false)).is_err());
    }

    #[test]
    fn an_app_goes_with_all_that_is_its_alone() {
        let mut edit = Edit::of(FILE).expect("TOML");
        assert_eq!(
            (edit.listens_of("mail"), edit.apps()),
            (vec![":81".to_owned()], vec!["chat".into(), "mail".into()])
        );
        assert!(!edit.remove("char"));
        assert!(edit.remove("chat"));
        let text = edit.text();
        assert!(!text.contains("chat") && !text.contains(":80"), "{text}");
        for stays in [
            "# Mine.\n[drain]\nwindow = \"3s\" # quick\n",
            "# Letters.\n[[listen]]\naddress = \":81\"",
            "# The end.",
        ] {
            assert!(text.contains(stays), "{stays}: {text}");
        }
        assert!(edit.remove("mail"));
        let text = edit.text();
        assert!(!text.contains('8') && !text.contains("app"), "{text}");
        assert!(text.contains("# Mine.\n[drain]"), "{text}");
    }

    #[test]
    fn a_listen_that_others_are_served_on_stays() {
        let shared =
            FILE.replace(":81", ":80").replacen("# Letters.\n[[listen]]\naddress = \":80\"\n", "", 1);
        let mut edit = Edit::of(&shared).expect("TOML");
        assert!(edit.remove("chat"));
        assert_eq!(edit.listens(), [":80"]);
        let of_all = FILE.replace("listen = [\":81\"]\n", "");
        let mut edit = Edit::of(&of_all).expect("TOML");
        assert!(edit.remove("chat"));
        assert_eq!(edit.listens(), [":80", ":81"], "the other route is for both");
    }

    #[test]
    fn what_is_put_behind_it_leaves_the_rest_as_it_is() {
        let mut edit = Edit::of(FILE).expect("TOML");
        edit.append("[app.bot]\ncommand = \"node bot.js\"\n").expect("it fits");
        assert_eq!(edit.text(), format!("{FILE}\n[app.bot]\ncommand = \"node bot.js\"\n"));
        let mut edit = Edit::of("app = { chat = { command = \"x\" } }\n").expect("TOML");
        assert!(edit.append("[app.bot]\ncommand = \"node bot.js\"\n").is_err());
        let mut edit = Edit::of("").expect("TOML");
        edit.append("[app.bot]\n").expect("it fits");
        assert_eq!(edit.text(), "[app.bot]\n");
    }

    #[test]
    fn values_are_what_they_look_like() {
        for (typed, written) in [
            ("4", "4"),
            ("true", "true"),
            ("max", "\"max\""),
            ("300MiB", "\"300MiB\""),
            ("0 4 * * *", "\"0 4 * * *\""),
            ("[\"a\", \"b\"]", "[\"a\", \"b\"]"),
            ("{ max = 3 }", "{ max = 3 }"),
            ("\"x\"", "\"x\""),
            ("2026-01-01", "\"2026-01-01\""),
            ("${A}", "\"$${A}\""),
        ] {
            assert_eq!(value(typed, false).to_string().trim(), written, "{typed}");
        }
        assert_eq!(value("4", true).to_string(), "\"4\"");
    }
}
