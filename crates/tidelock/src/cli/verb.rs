//! Every verb, as it is typed and as `tidelock help` tells it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use clap_complete::Shell;

use super::at::At;
use crate::apps::Count;
use crate::explain::Url;
use crate::start::What;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Write a file of ten lines for the app in this folder.
    ///
    /// Looks at package.json, PM2's ecosystem file and nginx.conf in the folder of the file, and reads the app's script for its port;
    /// runs none of them. At a terminal it asks where clients connect and how many processes there are to be, with what it
    /// found as the answer to Enter; elsewhere, and with --yes, it takes what it found. Then it says what `tidelock check` says
    /// of the file, and how to serve it. A file that is there already stays as it is.
    #[command(after_help = "Examples:
  tidelock init                     writes ./upstreams.toml
  tidelock init --yes               the same, without a question
  tidelock init chat/upstreams.toml for the app in the folder chat")]
    Init {
        /// The file to write.
        #[arg(default_value = "upstreams.toml")]
        file: PathBuf,

        /// Ask nothing.
        #[arg(short, long)]
        yes: bool,
    },

    /// Say everything that is wrong with a file, and start nothing.
    ///
    /// Reads the file and looks whether this machine goes with it: certificates, ports, log folders, the admin socket, and
    /// the command, script, folder, `env_file` and user of each app. Prints every problem with its line, a caret and what to
    /// do, and changes nothing. Exits with 0 if tidelock would start with it, as this user and with this environment, with
    /// 1 if not.
    Check {
        /// The file, usually upstreams.toml.
        file: PathBuf,

        /// Say which route answers this URL, and why no other does.
        #[arg(long, value_name = "URL")]
        explain: Option<Url>,

        /// The method of `--explain`.
        #[arg(long, value_name = "METHOD", default_value = "GET", requires = "explain")]
        method: String,

        /// A header line of the request of `--explain`, once for each: "X-Version: 2".
        #[arg(long, value_name = "LINE", requires = "explain")]
        header: Vec<String>,
    },

    /// Say how browsers come to believe the certificates of `tls = "local"`.
    ///
    /// Makes the authority of this machine's own, if it is not there yet, and prints where its certificate is and how systems
    /// and programs are told of it. Changes nothing else, and asks nobody for a password.
    Trust {
        /// The file, if its `[acme]` says where certificates are kept.
        file: Option<PathBuf>,
    },

    /// Run an app, or start one that was stopped.
    ///
    /// `tidelock start index.js -i max --listen :8080` runs the file, one process on each core, with tidelock in front of
    /// them: an app that listens on a port of its own needs no change, and every Socket.IO session stays on its process.
    ///
    /// From a terminal it is run in the background: the first `start` starts a tidelock there, which goes on when you log
    /// out, and others add their apps to it. What it runs is a file of yours: ~/.config/tidelock/upstreams.toml, or
    /// /etc/tidelock/upstreams.toml for root. The variables of your shell that are not those of every login go with the
    /// app, into that file. `start` waits until the app is ready; if it does not get so, nothing was changed.
    ///
    /// With --foreground, without a terminal (in a script, as a service) and in a container it is run here, without a
    /// file, and ends with all of it at Ctrl-C or SIGTERM.
    ///
    /// `tidelock start chat` starts the app `[app.chat]` of the running tidelock: what was stopped or given up runs
    /// again, and what waits for its next start is started at once. Waits until all of it is ready; exits with 0 if it
    /// is, with 1 if not.
    #[command(after_help = START_EXAMPLES)]
    Start {
        #[command(flatten)]
        what: Box<What>,

        #[command(flatten)]
        at: At,
    },

    /// Stop an app of the running tidelock: its sessions leave, then its processes end.
    ///
    /// All at the same time, within the file's `[drain]`. It stays stopped, over reloads too, until `tidelock start`.
    /// Waits until the last process is gone.
    Stop {
        /// The name of an app, or `all`.
        app: String,

        #[command(flatten)]
        at: At,
    },

    /// End the processes of an app at once, and start them again. `tidelock reload APP` disturbs nobody.
    ///
    /// Nobody is served meanwhile, and every session is lost. Waits until all of them are ready.
    Restart {
        /// The name of an app, APP/NUMBER for one of its processes, or `all`.
        app: String,

        #[command(flatten)]
        at: At,
    },

    /// Run more or fewer processes of an app.
    ///
    /// Of what runs in the background the file says so from then on; of a tidelock with a file of its own it holds until that
    /// file says another number. Those that are too many are emptied before they are stopped. Waits until it is so.
    Scale {
        /// The name of an app.
        app: String,

        /// So many processes, 1 to 1024; `+1` for one more, `-1` for one less, `max` for one on each core.
        #[arg(value_name = "N", allow_hyphen_values = true)]
        instances: Count,

        #[command(flatten)]
        at: At,
    },

    /// End apps of the tidelock in the background, and take them out of its file.
    ///
    /// With all that only they have: their upstreams, routes and listens. Their sessions leave first. When nothing is left
    /// to run, that tidelock ends too.
    #[command(visible_aliases = ["del", "rm"])]
    Delete {
        /// Names of apps, or `all`.
        #[arg(value_name = "APP", required = true)]
        apps: Vec<String>,
    },

    /// Say another value under a key of an app that runs in the background.
    ///
    /// It is written into the file and applied; the processes are replaced one after the other if they have to be. What
    /// is wrong changes nothing. docs/file.md and configs/full.toml tell the keys.
    #[command(after_help = "Examples:
  tidelock set chat memory_max 300MiB
  tidelock set chat cron '0 4 * * *'
  tidelock set chat env.LOG_LEVEL debug
  tidelock set chat restart.max 5")]
    Set {
        /// The name of an app.
        app: String,

        /// A key of `[app.NAME]`; a dot leads into a table.
        key: String,

        /// As in the file; text needs no quotes.
        #[arg(allow_hyphen_values = true)]
        value: String,
    },

    /// Take a key of an app out of the file, so that its default holds.
    Unset {
        /// The name of an app.
        app: String,

        /// A key of `[app.NAME]`; a dot leads into a table.
        key: String,
    },

    /// Show the apps.
    #[command(visible_aliases = ["ls", "ps"], alias = "l")]
    List {
        #[command(flatten)]
        at: At,
    },

    /// Show all there is to know of an app.
    #[command(visible_aliases = ["show", "info"], alias = "desc")]
    Describe {
        /// The name of an app.
        app: String,

        #[command(flatten)]
        at: At,
    },

    /// Print the environment of an app's process.
    Env {
        /// The name of an app, or APP/NUMBER for one of its processes.
        app: String,

        #[command(flatten)]
        at: At,
    },

    /// Forget what apps have written: the lines in memory, and those in files.
    Flush {
        /// The name of an app, or APP/NUMBER for one of its processes [default: all].
        #[arg(default_value = "", hide_default_value = true)]
        app: String,

        #[command(flatten)]
        at: At,
    },

    /// Look at the status again and again, as `status --watch`.
    #[command(hide = true)]
    Monit {
        #[command(flatten)]
        at: At,
    },

    /// End the running tidelock, and all that it runs.
    ///
    /// Its sessions leave first. What it ran stays in its file: `tidelock resurrect` starts it again.
    Kill {
        /// Wait for no session.
        #[arg(long)]
        now: bool,

        #[command(flatten)]
        at: At,
    },

    /// Start the tidelock in the background again, with all that its file says.
    Resurrect,

    /// Start what runs in the background at boot, too: by a unit of systemd.
    ///
    /// Writes, enables and starts it: for root one of the system, for others one of the user, with linger, so that it
    /// begins without a login. The unit has the PATH of this shell, and so its `node`; it says which. What runs in the
    /// background is moved to it, and `start`, `delete` and the other verbs go on as before.
    Startup {
        /// Only print the unit.
        #[arg(long)]
        print: bool,
    },

    /// Take the unit of `startup` away. What runs goes on.
    Unstartup,

    /// Print the completions of a shell.
    ///
    /// Packages bring them for bash, zsh and fish. Where there is none:
    /// `tidelock completions bash > ~/.local/share/bash-completion/completions/tidelock`.
    Completions {
        /// For which shell.
        shell: Shell,
    },

    /// Write the manual's pages, one for each verb, as packages bring them.
    #[command(hide = true)]
    Man {
        /// The folder, which is there.
        folder: PathBuf,
    },

    /// What a tidelock in the background is started with.
    #[command(hide = true)]
    Background {
        #[arg(long)]
        file: PathBuf,
        #[arg(long)]
        state: PathBuf,
    },

    /// Show what apps write to standard output and standard error.
    Logs {
        /// The name of an app, or APP/NUMBER for one of its processes [default: all].
        #[arg(default_value = "", hide_default_value = true)]
        app: String,

        /// Go on with what is written from now on, until Ctrl-C.
        #[arg(short, long)]
        follow: bool,

        /// So many of the last lines.
        #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
        lines: usize,

        /// Only lines that hold this text.
        #[arg(long, value_name = "TEXT")]
        grep: Option<String>,

        /// Only what went to standard output.
        #[arg(long, visible_alias = "out")]
        stdout: bool,

        /// Only what went to standard error.
        #[arg(long, visible_alias = "err", conflicts_with = "stdout")]
        stderr: bool,

        /// Print each line as JSON.
        #[arg(long)]
        json: bool,

        #[command(flatten)]
        at: At,
    },

    /// Translate nginx's file, or PM2's ecosystem file, into an upstreams.toml.
    ///
    /// The file goes to standard output, with all that was not translated in comments, and to standard error. What an app's
    /// environment holds is written into it, secrets too.
    /// Of nginx's, what is included is read too, and `${NAME}` of Docker's templates is taken from the environment. Exits
    /// with 2 if something of it was not translated.
    Import {
        /// nginx.conf or a part of it; PM2's ecosystem file in JSON, YAML or JavaScript, which needs --run-node if it
        /// computes anything; `pm2` for what a running PM2 has saved (~/.pm2/dump.pm2).
        file: PathBuf,

        /// Run the file with `node`, to see what it exports: it is a program, and does what it does.
        #[arg(long)]
        run_node: bool,

        /// Takes `env_NAME` over `env`, as `pm2 start --env NAME` does.
        #[arg(long, value_name = "NAME")]
        env: Option<String>,
    },

    /// Apply the changed file to the running tidelock, or roll an app.
    ///
    /// With APP its processes are replaced one after the other: a new one is started, and when it is ready the sessions
    /// of an old one move, each once, and it is stopped. Nothing is lost. If a new one does not get ready the roll ends
    /// there, the old ones stay, and it exits with 1. Without APP:
    ///
    /// The file that tidelock was started with is read again, checked as a whole and compared with what is served.
    /// Only what differs is touched: connections and tunnels go on, and a node that is in the file no more is
    /// drained. Certificates are read again even if the file is the same. A file with a mistake changes nothing; what
    /// is wrong with it is printed as `tidelock check` does. Exits with 0 if the file was applied, with 1 if not.
    #[command(
        after_help = "SIGHUP does the same, and says what it did in tidelock's log. `[admin] watch = true` in \
                            the file applies it whenever it changes."
    )]
    Reload {
        /// The name of an app, APP/NUMBER for one of its processes, or `all`.
        app: Option<String>,

        /// The whole roll's budget: sessions are spread over so long [default: drain.window for each process].
        #[arg(long, value_name = "TIME", requires = "app", value_parser = duration)]
        window: Option<Duration>,

        #[command(flatten)]
        at: At,
    },

    /// Let another version of tidelock go on in the place of the running one.
    ///
    /// The new program is started beside the one that runs, with the same arguments. It gets its listening sockets, its admin
    /// socket and the processes of its apps, which do not restart, reads the file, and serves once all of that is ready. The old
    /// one accepts no more then, finishes what it has begun within `drain.deadline`, and ends: WebSockets are asked to reconnect, a
    /// few at a time, and sessions that poll go on in the new one.
    ///
    /// Waits until the new one serves, and exits with 0 if it does. If it ends before that, takes too long or refuses the file,
    /// the old one goes on as if nothing had been, and this says why and exits with 1.
    #[command(
        after_help = "SIGUSR2 does the same with the program that is where the running one was started from, and says \
                            how it went in tidelock's log."
    )]
    Upgrade {
        /// The new program [default: the one that says this].
        binary: Option<PathBuf>,

        /// It has to be ready within this time [default: 60s].
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,

        #[command(flatten)]
        at: At,
    },

    /// Empty a node: nothing new comes to it, and its sessions move to other nodes.
    ///
    /// Running requests finish. Each session is told to reconnect at a moment of its own within `drain.window`:
    /// WebSockets by a Close frame with code 1012, between two messages; polling sessions through their node; the
    /// stream of an EventSource by its end, between two events. Downloads and what else is read with `fetch` are waited
    /// for. Waits until the node is empty and says what is left, by kind, and exits with 0 when it is, or with 1 if
    /// something is still there after `drain.deadline`. The drain goes on if the waiting is interrupted, and the node gets nothing new
    /// until `tidelock undrain`, or a restart of tidelock.
    #[command(after_help = "Examples:
  tidelock drain 10.0.0.1:3000         the node as it is written in the file
  tidelock drain nodes/10.0.0.1:3000   the same, of one of several upstreams that have it
  tidelock drain nodes                 every node of the upstream `nodes`
  tidelock drain --no-wait 10.0.0.1:3000 && tidelock status --watch")]
    Drain {
        /// A node as in the file, its address, UPSTREAM/NODE, or the name of an upstream.
        #[arg(value_name = "NODE")]
        node: String,

        /// Begin, and do not wait for the end.
        #[arg(long)]
        no_wait: bool,

        #[command(flatten)]
        at: At,
    },

    /// Let a drained node take part again.
    ///
    /// New sessions and requests come to it at once. Sessions that were not told to leave yet stay.
    Undrain {
        /// A node as in the file, its address, UPSTREAM/NODE, or the name of an upstream.
        #[arg(value_name = "NODE")]
        node: String,

        #[command(flatten)]
        at: At,
    },

    /// Show the nodes and the apps: whether they are up, since when and why, and what they carry.
    ///
    /// SESSIONS counts Engine.IO sessions and other tunnels, SOCKETS the tunnels among them, IN FLIGHT the requests
    /// under way. A node that was removed from the file is shown until its last session has left.
    Status {
        /// The name of an app or of an upstream [default: all].
        name: Option<String>,

        /// Print everything there is as JSON: a line for each look.
        #[arg(long)]
        json: bool,

        /// Look again every second, until Ctrl-C.
        #[arg(long)]
        watch: bool,

        #[command(flatten)]
        at: At,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    config::duration(text).ok_or_else(|| "a time has a unit: \"60s\", \"2m\"".to_owned())
}

const START_EXAMPLES: &str = "Examples:
  tidelock start index.js                         one process, behind the port that it has always had
  tidelock start index.js -i max -l :80           one on each core
  tidelock start app.py -l 127.0.0.1:8080 -e DEBUG=1 -- --verbose
  tidelock start ./server -n chat                 any program
  tidelock start index.js --foreground            until Ctrl-C
  tidelock start chat                             an app that was stopped";
