//! What a Node.js app has of its parent: `process.send`, messages and `cluster.worker`, as under PM2 and `cluster`. What
//! the app starts itself has it not.

use config::app::{App, Ready, ReadyWhen, Stop};
use testkit::TIMEOUT;

use crate::support::{Stand, app, in_time, node};

/// Prints what there is, and the word that stands behind it.
const SHOW: &str = "const show = (word) => console.log(
    typeof process.send, process.connected, require('cluster').isWorker, require('cluster').worker?.id, 'TIDELOCK_MESSAGES' in process.env, word);\n";
/// A process of the app that is nobody's worker, and generation 1.
const HAS: &str = "function true false 1 false";

/// Starts it as the app's process, of its stand's first generation, and waits for its line.
async fn check(what: &str, app: App, expected: &str) {
    let stand = Stand::new();
    let process =
        stand.start(App { ready: Ready { when: ReadyWhen::Running, deadline: TIMEOUT }, ..app }).await;
    let shown = stand.line_with("shown").await;
    assert_eq!(shown, format!("{expected} shown"), "{what}");
    drop(process);
    stand.is_empty().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn the_app_has_a_parent() {
    let show = format!("{SHOW}show('shown'); setInterval(() => {{}}, 1000)");
    check("CommonJS", node(&show), HAS).await;
    let module = "import cluster, { isWorker } from 'node:cluster'; console.log(typeof process.send, process.connected, isWorker, cluster.worker.id, 'TIDELOCK_MESSAGES' in process.env, 'shown'); setInterval(() => {}, 1000)";
    check("an ES module", app(&["node", "--input-type=module", "-e", module]), HAS).await;
    let shell = "node -e \"$SCRIPT\" & wait";
    let through_a_shell =
        App { env: [("SCRIPT".to_owned(), show.clone())].into(), ..app(&["sh", "-c", shell]) };
    check("through a shell", through_a_shell, HAS).await;
    let told = App { stop: Stop { tell: true, signal: 15, timeout: TIMEOUT }, ..node(&show) };
    check("with PM2's `shutdown`", told, HAS).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn npm_leaves_it_to_the_app() {
    let folder = testkit::tidelock::directory();
    std::fs::write(folder.path().join("package.json"), r#"{ "scripts": { "start": "node app.js" } }"#)
        .unwrap();
    let show = format!("{SHOW}show('shown'); setInterval(() => {{}}, 1000)");
    std::fs::write(folder.path().join("app.js"), show).unwrap();
    let cwd = folder.path().to_owned();
    check("npm start", App { cwd, ..app(&["npm", "start"]) }, HAS).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn what_the_app_starts_has_its_own_parent_or_none() {
    let starts = |how: &str| {
        let helper = "if (process.env.HELPER) show(process.env.HELPER), setInterval(() => {}, 1000); else { process.env.HELPER = 'shown'; const { execPath, execArgv } = process;";
        node(&format!("{SHOW}{helper} {how} }}"))
    };
    let spawned = starts("require('child_process').spawn(execPath, execArgv, { stdio: 'inherit' })");
    check("spawned", spawned, "undefined undefined false undefined false").await;
    let with_a_channel = starts(
        "require('child_process').spawn(execPath, execArgv, { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] })",
    );
    check("with a channel", with_a_channel, "function true false undefined false").await;
    let worker = starts(
        "const cluster = require('cluster'); cluster.setupPrimary({ exec: '-e', args: [], execArgv: [] });
         cluster.setupPrimary({ exec: require('path').join(process.env.FOLDER, 'worker.js') }); cluster.fork()",
    );
    let folder = testkit::tidelock::directory();
    std::fs::write(folder.path().join("worker.js"), format!("{SHOW}show('shown')")).unwrap();
    let mut env = worker.env.clone();
    env.insert("FOLDER".to_owned(), folder.path().display().to_string());
    check("a worker of its own", App { env, ..worker }, "function true true 1 false").await;
}

/// Two instances of an app. What an adapter says goes to the other one, whatever it holds; what else is said does not.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn what_an_adapter_says_goes_to_the_others() {
    let listens = "process.on('message', (message) => console.log('heard', require('util').inspect(message, { breakLength: Infinity })));";
    // The other one answers, and is known to listen.
    let answers = "process.send({ source: '_sio_adapter', type: 'here' });
        process.on('message', ({ type }) => { if (type === 'are you there') process.send({ source: '_sio_adapter', type: 'here' }); });";
    let says = "const ask = setInterval(() => process.send({ source: '_sio_adapter', type: 'are you there' }), 20);
        process.once('message', () => {
            clearInterval(ask);
            process.send({ type: 'process:msg', data: 'for PM2' });
            process.send({ source: '_sio_adapter', type: 'whole', data: [Buffer.from('ab'), new Map([[1, 2n]]), undefined] });
            process.send({ source: '_sio_adapter', type: 'told', data: { f() {}, a: 1 } }, (error) => console.log('sent', error));
        });";
    let stand = Stand::new();
    let app = |script: &str, told: bool| App {
        ready: Ready { when: if told { ReadyWhen::Message } else { ReadyWhen::Running }, deadline: TIMEOUT },
        ..node(&format!("{script} setInterval(() => {{}}, 1000)"))
    };
    let hears =
        stand.start_at(app(&format!("process.send('ready'); {answers} {listens}"), true), 0).await.unwrap();
    in_time("PM2's `ready`", hears.told_ready()).await;
    let speaks = stand.start_at(app(says, false), 1).await.unwrap();
    stand.line_with("sent null").await;
    let lines = stand.lines_until(|line| line.text().contains("'told'")).await;
    let mut heard: Vec<_> =
        lines.iter().filter(|line| line.starts_with("heard") && !line.contains("there")).collect();
    heard.dedup();
    assert_eq!(
        heard,
        [
            "heard { source: '_sio_adapter', type: 'whole', data: [ <Buffer 61 62>, Map(1) { 1 => 2n }, undefined ] }",
            "heard { source: '_sio_adapter', type: 'told', data: { a: 1 } }",
        ]
    );
    drop((hears, speaks));
    stand.is_empty().await;
}
