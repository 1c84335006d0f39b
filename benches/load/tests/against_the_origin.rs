//! Goal: what the load says happened is what happened. Method: every kind of load runs against the origin of the same
//! crate in the same thread, for a moment and without a proxy; and against origins that do what a bad proxy does.

use std::time::Duration;

use load::destination::Destination;
use load::http::{self, Plan};
use load::meter::{Report, Window};
use load::processes::Processes;
use load::websocket::{self, EchoPlan, RoomPlan, Speech};
use load::{hold, origin, polling};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn window() -> Window {
    let ms = Duration::from_millis;
    Window { warm: ms(20), measured: ms(150), watched: Processes::of(&[std::process::id()]) }
}

fn plan() -> Plan {
    Plan {
        target: "/bytes/128".into(),
        upload_bytes: 0,
        header_lines: String::new(),
        connections: 4,
        in_flight: 4,
        per_second: None,
        anew: false,
    }
}

/// Runs `load` against the origin, and the origin with it.
async fn with_origin<T>(load: impl AsyncFnOnce(Destination) -> T) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port");
    let destination = Destination::plain(listener.local_addr().expect("it is bound"), "bench.example");
    tokio::select! {
        done = load(destination) => done,
        ended = origin::serve(vec![listener]) => panic!("the origin ended: {ended:?}"),
    }
}

fn is_whole(report: &Report) {
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(report.done > 0 && report.watched_cpu_us > 0.0 && report.latency_us.p50 > 0.0, "{report:?}");
}

#[tokio::test]
async fn http_requests_of_every_shape_are_answered() {
    let plans = [
        plan(),
        Plan { connections: 7, in_flight: 2, ..plan() },
        Plan { upload_bytes: 1 << 20, ..plan() },
        Plan { target: "/bytes/1048576".into(), ..plan() },
        Plan { anew: true, ..plan() },
        Plan { per_second: Some(2000.0), ..plan() },
    ];
    for plan in plans {
        let report = with_origin(async |to| http::run(&to, &plan, &window()).await.unwrap()).await;
        is_whole(&report);
    }
}

#[tokio::test]
async fn an_open_loop_asks_as_often_as_it_was_told() {
    let plan = Plan { per_second: Some(1000.0), ..plan() };
    let window = Window { measured: Duration::from_millis(500), ..window() };
    let report = with_origin(async |to| http::run(&to, &plan, &window).await.unwrap()).await;
    is_whole(&report);
    // What was late on a busy machine is made up for, so that the number hardly depends on its speed.
    let wanted = report.seconds * 1000.0;
    assert!((report.done as f64 - wanted).abs() <= wanted / 4.0, "{report:?}");
}

#[tokio::test]
async fn echoes_rooms_and_polls_come_back() {
    for in_flight in [1, 3] {
        let plan = EchoPlan { target: "/echo".into(), sockets: 3, in_flight, bytes: 5000, per_second: None };
        is_whole(&with_origin(async |to| websocket::run_echo(&to, &plan, &window()).await.unwrap()).await);
    }
    for speech in [Speech::Plain, Speech::SocketIo] {
        let plan = RoomPlan { listeners: 20, per_second: 100.0, bytes: 64, speech };
        is_whole(&with_origin(async |to| websocket::run_room(&to, &plan, &window()).await.unwrap()).await);
    }
    let plan = polling::Plan { sessions: 9, connections: 2, bytes: 64 };
    is_whole(&with_origin(async |to| polling::run(&to, &plan, &window()).await.unwrap()).await);
}

#[tokio::test]
async fn connections_that_rest_cost_memory() {
    for kind in [hold::Kind::KeepAlive, hold::Kind::WebSocket] {
        let own = Processes::of(&[std::process::id()]);
        let report = with_origin(async |to| hold::run(&to, kind, 400, &own).await.unwrap()).await;
        assert_eq!(report.done, 400);
        // Both ends of each are in this process, and each has a buffer of some kilobytes.
        assert!(report.bytes_each > 1000.0, "{report:?}");
    }
}

/// Answers each request with `answer` after `delay`, for ever, on every connection.
async fn scripted(listener: TcpListener, answer: &'static str, delay: Duration) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("it accepts");
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                tokio::time::sleep(delay).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
    }
}

#[tokio::test]
async fn a_bad_answer_is_a_failure_and_not_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Destination::plain(listener.local_addr().unwrap(), "bench.example");
    let answer = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
    tokio::spawn(scripted(listener, answer, Duration::ZERO));
    let error = http::run(&to, &plan(), &window()).await.unwrap_err();
    assert!(format!("{error:#}").contains("502 Bad Gateway"), "{error:#}");
}

#[tokio::test]
async fn waits_that_a_slow_answer_causes_are_not_omitted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Destination::plain(listener.local_addr().unwrap(), "bench.example");
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    tokio::spawn(scripted(listener, answer, Duration::from_millis(20)));
    // Four times as many as such an origin can answer on one connection: those that are due while it is slow wait.
    let plan = Plan { connections: 1, in_flight: 1, per_second: Some(200.0), ..plan() };
    let window = Window { measured: Duration::from_millis(400), ..window() };
    let report = http::run(&to, &plan, &window).await.unwrap();
    assert!(report.latency_us.p50 > 2.0 * 20_000.0, "a closed loop would say 20 ms: {report:?}");
}

#[tokio::test]
async fn tls_sessions_are_resumed_only_when_told() {
    let directory = tempfile::tempdir().unwrap();
    let authority = testkit::certificates::Authority::new("bench");
    let ca = authority.write(directory.path());
    let files = authority.issue(&["bench.example"]).write(directory.path(), "bench");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(tls_origin(listener, files));
    for (resumes, want) in [(false, false), (true, true)] {
        let to = Destination::tls(address, "bench.example", &ca, resumes).unwrap();
        let plan = Plan { anew: true, connections: 1, in_flight: 1, ..plan() };
        let report = http::run(&to, &plan, &window()).await.unwrap();
        assert_eq!(report.failed, 0, "{report:?}");
        assert_eq!(report.resumed > 0, want, "{report:?}");
    }
}

async fn tls_origin(listener: TcpListener, files: testkit::certificates::CertificateFiles) {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_file_iter(&files.certificate).expect("it was written");
    let chain = chain.collect::<Result<_, _>>().expect("it is PEM");
    let key = PrivateKeyDer::from_pem_file(&files.key).expect("it was written");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("the key is its own");
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    loop {
        let (tcp, _) = listener.accept().await.expect("it accepts");
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut tls) = acceptor.accept(tcp).await else { return };
            let mut buffer = [0; 4096];
            if tls.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                let _ = tls.shutdown().await;
            }
        });
    }
}
