//! What is asked, what is taken where nobody is asked, and the file that follows.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, ErrorKind, IsTerminal as _};

use super::found::{App, Found};
use crate::import::Listens;
use crate::output;
use crate::quote::{key, quoted};

/// What the folder does not say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// Its certificates are got by themselves, and clients connect at the usual ports.
    pub(super) domain: Option<String>,
    pub(super) listen: String,
    /// As in the file: a number, or "max".
    pub(super) instances: String,
    /// Where an app is that runs by itself.
    pub(super) node: String,
}

/// Whether there is somebody to ask.
pub(super) fn is_asked() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

impl Answers {
    pub(super) fn guessed(found: &Found) -> Self {
        let (listen, instances) = match found {
            Found::App(App { listens: Listens::At(address), shares_rooms, .. }) => {
                (address.as_str(), shares_rooms)
            }
            Found::App(App { shares_rooms, .. }) => (":3000", shares_rooms),
            Found::Ecosystem(_) | Found::Nothing => (":8080", &false),
        };
        Self {
            domain: None,
            listen: listen.to_owned(),
            instances: if *instances { "max" } else { "1" }.to_owned(),
            node: "127.0.0.1:3000".to_owned(),
        }
    }

    /// Enter takes what stands in brackets.
    pub(super) fn ask(found: &Found) -> io::Result<Self> {
        let mut answers = Self::guessed(found);
        let is_worker = matches!(found, Found::App(App { listens: Listens::Nowhere, .. }));
        if !is_worker {
            let domain = question("Domain, for HTTPS with a certificate of its own", "none")?;
            answers.domain = Some(domain).filter(|domain| domain != "none");
        }
        if !is_worker && answers.domain.is_none() {
            answers.listen = question("Where do clients connect", &answers.listen)?;
            if answers.listen.parse::<u16>().is_ok() {
                answers.listen.insert(0, ':');
            }
        }
        match found {
            Found::App(_) => {
                answers.instances =
                    question("How many processes; max is one for each core", &answers.instances)?;
            }
            Found::Ecosystem(_) | Found::Nothing => {
                answers.node = question("Where does the app listen", &answers.node)?;
            }
        }
        Ok(answers)
    }

    /// The file.
    pub(super) fn file(&self, found: &Found) -> String {
        let mut text =
            "# Where clients connect, and what answers them; `tidelock check` tells what is wrong with it.\n"
                .to_owned();
        match found {
            Found::App(app) if app.listens == Listens::Nowhere => {
                text = "# Nothing here says that the app listens: it runs as a worker, to which nobody connects.\n".to_owned();
                text += &self.app(app);
            }
            Found::App(app) => {
                let name = quoted(&app.name);
                text += &self.listens();
                let _ = writeln!(text, "upstream = {name}\n\n[upstream.{}]\napp = {name}\n", key(&app.name));
                text += &self.app(app);
            }
            Found::Ecosystem(_) | Found::Nothing => {
                text += &self.listens();
                let _ = writeln!(
                    text,
                    "upstream = \"nodes\"\n\n# The app's processes: one more address for each of them.\n[upstream.nodes]\nnodes = [{}]",
                    quoted(&self.node)
                );
            }
        }
        text
    }

    /// Up to the line of the route that says what answers.
    fn listens(&self) -> String {
        match &self.domain {
            None => format!("[[listen]]\naddress = {}\n\n[[route]]\n", quoted(&self.listen)),
            Some(domain) => format!(
                "[[listen]]\naddress = \":443\"\ntls = \"auto\"\n\n[[listen]]\naddress = \":80\"\nredirect = \"https\"\n\n[[route]]\nhost = {}\n",
                quoted(domain)
            ),
        }
    }

    fn app(&self, app: &App) -> String {
        let command: Vec<String> = app.command.iter().map(|word| quoted(word)).collect();
        let instances = if self.instances.parse::<u32>().is_ok() {
            self.instances.clone()
        } else {
            quoted(&self.instances)
        };
        let rooms = match (app.has_sockets, app.shares_rooms) {
            (true, false) => {
                "\n# Several processes share the rooms of Socket.IO with `fanout = true`, or through an adapter of the app's own."
            }
            _ => "",
        };
        format!(
            "[app.{}]\ncommand = [{}]{rooms}\ninstances = {instances}\n",
            key(&app.name),
            command.join(", ")
        )
    }
}

/// Asks on standard error, where what is not the file goes.
fn question(what: &str, guess: &str) -> io::Result<String> {
    output::err(format_args!("{what} [{guess}]? "));
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "there was no answer"));
    }
    let answer = line.trim();
    Ok(if answer.is_empty() { guess.to_owned() } else { answer.to_owned() })
}
