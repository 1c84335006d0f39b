//! Who may, by somebody else's word.

use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

use super::{TIDELOCK, UPGRADE, UPGRADED, ask, counted};

/// Says who may by the cookie `who`: it is another one's cookie that nobody may have.
pub(crate) async fn asked() -> ScriptedOrigin {
    ScriptedOrigin::start(|request| {
        let cookie = request.header("cookie").unwrap_or_default();
        let who = cookie.split("; ").find_map(|pair| pair.strip_prefix("who=")).unwrap_or_default();
        let answer = match who {
            "ann" => "200 OK\r\nX-User: ann\r\nX-Groups: a\r\nX-Groups: b\r\nSet-Cookie: seen=1; Path=/\r\nContent-Length: 2\r\n\r\nok",
            "quiet" => "204 No Content\r\n\r\n",
            "login" => "302 Found\r\nLocation: https://login.example/?rd=%2Fin\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
            "forbidden" => "403 Forbidden\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nnot you\r\n0\r\n\r\n",
            "broken" => "500 Oops\r\nContent-Length: 0\r\n\r\n",
            "nonsense" => "what?\r\n\r\n",
            "silent" => return vec![Step::Hold],
            "cut" => return vec![Step::send("HTTP/1.1 200 OK\r\nX-Us"), Step::Close],
            _ => "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"app\"\r\nContent-Length: 4\r\n\r\nwho?",
        };
        vec![Step::send(&format!("HTTP/1.1 {answer}"))]
    })
    .await
}

async fn node() -> ScriptedOrigin {
    ScriptedOrigin::start(|request| match request.header("upgrade") {
        Some(_) => vec![Step::send(UPGRADED), Step::Echo],
        None => vec![Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnode")],
    })
    .await
}

struct Stand {
    proxy: Tidelock,
    asked: ScriptedOrigin,
    node: ScriptedOrigin,
}

/// `ask` in the route stands for the URL that is asked.
async fn start(route: &str) -> Stand {
    let (asked, node) = (asked().await, node().await);
    let file = format!(
        "trusted_proxies = [\"127.0.0.1\"]\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n\
         [[route]]\npath = \"/in\"\n{route}\nupstream = \"nodes\"\n\
         [upstream.nodes]\nnodes = [\"{}\"]\n[upstream.oracle]\nnodes = [\"{}\"]\nhost = \"oracle.example\"\n\
         [[route]]\npath = \"/oracle\"\nupstream = \"oracle\"\n",
        node.address(),
        asked.address()
    );
    let file = file.replace("URL", &format!("http://{}/verify?x=y", asked.address()));
    Stand { proxy: Tidelock::start(TIDELOCK, &file).await, asked, node }
}

fn who(name: &str) -> String {
    format!("Cookie: a=b; who={name}\r\n")
}

#[tokio::test]
async fn somebody_else_says_who_may() {
    let Stand { proxy, asked, node } =
        start("auth = { ask = \"URL\", copy = [\"X-User\", \"X-Groups\"] }").await;
    let spoofed =
        format!("{}X-User: root\r\nX_User: root\r\nX-Groups: wheel\r\nX_groups: wheel\r\n", who("ann"));
    let lines =
        format!("{spoofed}X-Forwarded-For: 192.0.2.1\r\nAuthorization: Bearer x\r\nContent-Length: 3\r\n");
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(format!("POST /in/x?a=b HTTP/1.1\r\nHost: app.example\r\n{lines}\r\nabc")).await;
    let answer = client.read_message().await;
    assert_eq!((answer.status(), answer.text()), (200, "node".to_owned()));
    assert_eq!(answer.header("set-cookie"), Some("seen=1; Path=/"));
    let question = asked.requests().pop().expect("it was asked");
    assert_eq!(question.start, "GET /verify?x=y HTTP/1.1");
    for (name, value) in [
        ("host", asked.address().to_string().as_str()),
        ("x-original-uri", "/in/x?a=b"),
        ("x-original-method", "POST"),
        ("x-forwarded-uri", "/in/x?a=b"),
        ("x-forwarded-method", "POST"),
        ("x-forwarded-host", "app.example"),
        ("authorization", "Bearer x"),
        ("cookie", "a=b; who=ann"),
    ] {
        assert_eq!(question.header(name), Some(value), "{name}");
    }
    assert!(question.header("x-forwarded-for").is_some_and(|said| said.contains("192.0.2.1")));
    assert!(question.header("content-length").is_none() && question.body.is_empty());
    let seen = node.requests().pop().expect("it was asked");
    assert_eq!(seen.all("x-user"), ["ann"]);
    assert_eq!(seen.all("x-groups"), ["a", "b"]);
    assert!(seen.header("x_user").is_none() && seen.header("x_groups").is_none());
    assert_eq!(seen.body, b"abc");
    // Who is said to be nobody is nobody.
    let quiet = format!("{}X-User: root\r\n", who("quiet"));
    client.send(format!("GET /in HTTP/1.1\r\nHost: h\r\n{quiet}\r\n")).await;
    assert_eq!(client.read_message().await.status(), 200);
    assert!(node.requests().pop().expect("it was asked").header("x-user").is_none());
    // A worker keeps its connection.
    assert_eq!(asked.connections(), 1);
    // Other routes ask nobody.
    assert_eq!(ask(&proxy, "GET /", &quiet).await.status(), 200);
    assert_eq!(asked.requests().len(), 2);
}

#[tokio::test]
async fn what_it_says_of_others_is_their_answer() {
    let Stand { proxy, asked, node } =
        start("auth = { ask = \"URL\" }\nrequest_headers = { set = { X-A = \"b\" } }").await;
    let requests = [
        ("GET /in", ""),
        ("GET /%69n/x", ""),
        ("GET //x/..//in", ""),
        ("POST /in", "Content-Length: 0\r\n"),
        ("GET /in/?EIO=4&transport=polling", ""),
        ("GET /in/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAA", ""),
        ("GET /in", UPGRADE),
    ];
    for (start, lines) in requests {
        let check = async |name: &str, status: u16| -> Message {
            let answer = ask(&proxy, start, &format!("{}{lines}", who(name))).await;
            assert_eq!(answer.status(), status, "{start} of {name}");
            answer
        };
        let refused = check("nobody", 401).await;
        assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"app\""));
        let login = check("login", 302).await;
        assert_eq!(login.header("location"), Some("https://login.example/?rd=%2Fin"));
        assert_eq!(login.all("set-cookie"), ["a=1", "b=2"]);
        let forbidden = check("forbidden", 403).await;
        assert_eq!(forbidden.header("content-type"), Some("text/plain"));
        assert_eq!(forbidden.header("content-length"), Some("7"));
        for name in ["broken", "nonsense", "cut"] {
            assert_eq!(check(name, 503).await.header("retry-after"), Some("1"));
        }
        let passed = if lines.is_empty() || lines.contains("Length") { 200 } else { 101 };
        check("ann", passed).await;
    }
    for start in ["GET /x/..%2fin", "GET /in%2fx"] {
        assert_eq!(ask(&proxy, start, &who("ann")).await.status(), 400, "{start}");
    }
    assert_eq!(node.requests().len(), requests.len(), "nobody else has come to it");
    // Beside probes, which have no cookies.
    let questions = asked.requests().into_iter().filter(|request| request.header("cookie").is_some());
    assert!(questions.map(|question| question.start).all(|start| start == "GET /verify?x=y HTTP/1.1"));
    let unanswered = counted(&proxy, "faults", "nobody has said whether the client may").await;
    assert_eq!(unanswered, 3 * requests.len() as u64);
}

#[tokio::test]
async fn who_says_nothing_lets_nobody_pass() {
    let Stand { proxy, asked, node } = start("auth = { ask = \"URL\", timeout = \"100ms\" }").await;
    assert_eq!(ask(&proxy, "GET /in", &who("silent")).await.status(), 503);
    // A client that does not wait for it ends the question.
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(format!("GET /in HTTP/1.1\r\nHost: h\r\n{}\r\n", who("silent"))).await;
    asked.until_requests(2).await;
    drop(client);
    asked.until_ended(2).await;
    assert_eq!(node.requests().len(), 0);
    drop(asked);
    assert_eq!(ask(&proxy, "GET /in", &who("ann")).await.status(), 503);
    assert_eq!(ask(&proxy, "GET /", &who("ann")).await.status(), 200);
}

/// A name in the URL is that of an upstream; an address may be enough; and pages come in the place of a refusal.
#[tokio::test]
async fn an_upstream_of_the_file_is_asked_by_its_name() {
    let route = "auth = { ask = \"http://oracle/who\", copy = [\"X-User\"] }\nallow = [\"10.0.0.0/8\"]\nsatisfy = \"any\"\n\
                 error_pages = { 401 = { text = \"log in\" } }";
    let Stand { proxy, asked, node } = start(route).await;
    assert_eq!(ask(&proxy, "GET /in", &who("ann")).await.status(), 200);
    let question = asked.requests().pop().expect("it was asked");
    assert_eq!((&*question.start, question.header("host")), ("GET /who HTTP/1.1", Some("oracle.example")));
    let refused = ask(&proxy, "GET /in", "").await;
    assert_eq!((refused.status(), refused.text()), (401, "log in".to_owned()));
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"app\""));
    let from_within = "X-Forwarded-For: 10.0.0.1\r\nX-User: root\r\n";
    assert_eq!(ask(&proxy, "GET /in", from_within).await.status(), 200);
    assert_eq!(asked.requests().len(), 2);
    assert!(
        node.requests().pop().expect("it was asked").header("x-user").is_none(),
        "nobody has said who it is"
    );
}
