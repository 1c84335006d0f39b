//! How a process is started, and what is said of one that is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use config::app::App;
use supervisor::process::Ending;

use crate::support::{Stand, app, port, sh};

#[tokio::test]
async fn it_knows_who_it_is_and_where_to_listen() {
    let stand = Stand::new();
    // Without a redirect it does not hear of that, and it has a channel only if that is used.
    let script =
        "echo $PORT $HOST $NODE_APP_INSTANCE $INSTANCE_ID; pwd; echo $TIDELOCK_FOLDER$NODE_CHANNEL_FD end";
    let process = stand.start_at(sh(script), 7).await.unwrap();
    assert_eq!(process.ended().await, Ending::Code(0));
    let port = port(&process);
    assert_eq!(stand.lines(3).await, [format!("{port} 127.0.0.1 7 7"), "/".to_owned(), "end".to_owned()]);
    stand.is_empty().await;
}

#[tokio::test]
async fn the_file_is_weaker_than_the_table_and_stronger_than_our_own() {
    let stand = Stand::new();
    let file = stand.folder.path().join("env");
    fs::write(&file, "A=file\nB=file\nPATH=/nowhere\nPORT=1\n").unwrap();
    let env =
        [("B", "table"), ("PATH", "/usr/bin:/bin")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let script = "test $PORT != 1 && echo $A $B $PATH";
    let process = stand.start(App { env_file: Some(file), env: env.into(), ..sh(script) }).await;
    assert_eq!(process.ended().await, Ending::Code(0));
    assert_eq!(stand.lines(1).await, ["file table /usr/bin:/bin"]);
    stand.is_empty().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words() {
    let stand = Stand::new();
    let folder = stand.folder.path();
    let (plain, wrong_env) = (folder.join("plain"), folder.join("wrong.env"));
    fs::write(&plain, "no program").unwrap();
    fs::write(&wrong_env, "A=1\n\nB: 2\n").unwrap();
    let no_interpreter = folder.join("script");
    fs::write(&no_interpreter, "#!/nowhere/sh\n").unwrap();
    fs::set_permissions(&no_interpreter, fs::Permissions::from_mode(0o755)).unwrap();
    let plain = plain.to_str().unwrap();
    let table = [
        (app(&["tidelock-no-such-program", "x"]), "`tidelock-no-such-program` is not found in PATH"),
        (app(&["./nothing.js"]), "there is no /./nothing.js"),
        (app(&[plain]), "not marked as executable (chmod +x)"),
        (app(&["/etc"]), "/etc cannot be executed: it is a folder"),
        (app(&[no_interpreter.to_str().unwrap()]), "the system does not start"),
        (App { cwd: "/no/such/folder".into(), ..sh("true") }, "its cwd /no/such/folder is not there"),
        (App { cwd: plain.into(), ..sh("true") }, "is no folder"),
        (
            App { env_file: Some("/no/such.env".into()), ..sh("true") },
            "its env_file /no/such.env: No such file",
        ),
        (App { env_file: Some(wrong_env), ..sh("true") }, "wrong.env line 3: there is no `=`"),
        (
            App { user: Some("nobody-of-that-name".into()), ..sh("true") },
            "there is no user `nobody-of-that-name`",
        ),
        (
            App { group: Some("none-of-that-name".into()), ..sh("true") },
            "there is no group `none-of-that-name`",
        ),
    ];
    for (app, expected) in table {
        let _row = testkit::Row(expected.to_owned());
        let problem = stand.start_at(app, 0).await.expect_err("it cannot be started").to_string();
        assert!(problem.contains(expected), "{problem}");
    }
    stand.is_empty().await;
}

#[tokio::test]
async fn only_root_starts_it_as_somebody_else() {
    let stand = Stand::new();
    let wanted =
        App { user: Some("65534".into()), ..sh("exec 2>&1; id -u; id -g; id -G; touch own && echo wrote") };
    if !rustix::process::geteuid().is_root() {
        let problem = stand.start_at(wanted, 0).await.expect_err("it cannot be started").to_string();
        assert!(problem.contains("only root may"), "{problem}");
        return;
    }
    let process = stand.start(wanted).await;
    assert_eq!(process.ended().await, Ending::Code(1));
    // Neither root's groups nor root's rights are left to it.
    let lines = stand.lines(4).await;
    assert_eq!(lines[0], "65534");
    assert_eq!(lines[1], lines[2]);
    assert!(lines[3].contains("Permission denied"), "{lines:?}");
    stand.is_empty().await;
}

#[tokio::test]
async fn no_two_instances_are_told_the_same_port() {
    let stand = Stand::new();
    let first = stand.start_at(sh("sleep 1000"), 0).await.unwrap();
    let second = stand.start_at(sh("sleep 1000"), 1).await.unwrap();
    assert_ne!(port(&first), port(&second));
    let both = App { ports: Some(port(&first)..=port(&first)), ..sh("true") };
    let problem = stand.start_at(both, 2).await.expect_err("there is no port left").to_string();
    assert!(problem.contains("a wider `ports` is needed"), "{problem}");
    drop((first, second));
    stand.is_empty().await;
}

/// An app may not have root read what it cannot read itself.
#[tokio::test]
async fn an_env_file_is_read_with_the_rights_of_the_app() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = tempfile::tempdir_in("/run").unwrap();
    let at = |name: &str| place.path().join(name);
    for folder in ["ours", "open"] {
        fs::create_dir(at(folder)).unwrap();
    }
    for (folder, mode) in [(place.path().to_owned(), 0o755), (at("open"), 0o777)] {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(at("ours/secret"), "A=secret\n").unwrap();
    fs::set_permissions(at("ours/secret"), fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(at("ours/secret"), at("open/env")).unwrap();
    let stand = Stand::new();
    let with =
        |file: &str| App { user: Some("65534".into()), env_file: Some(at(file)), ..sh("echo A is $A") };
    let problem = stand.start_at(with("open/env"), 0).await.expect_err("it cannot be read").to_string();
    assert!(problem.contains("Permission denied") && problem.contains("read as the user 65534"), "{problem}");
    // What only root can have put there is read by root, as by any service manager.
    let process = stand.start(with("ours/secret")).await;
    assert_eq!(process.ended().await, Ending::Code(0));
    stand.line_with("A is secret").await;
    stand.is_empty().await;
}

#[tokio::test]
async fn an_app_may_be_kept_from_gaining_rights() {
    for no_new_privs in [false, true] {
        let stand = Stand::new();
        let app = App { no_new_privs, ..sh("grep NoNewPrivs /proc/self/status") };
        let process = stand.start(app).await;
        assert_eq!(process.ended().await, Ending::Code(0));
        assert_eq!(stand.lines(1).await, [format!("NoNewPrivs:\t{}", u8::from(no_new_privs))]);
        stand.is_empty().await;
    }
}
