//! Which upstream gets a request, by its path: however it is spelled, and what a route that is strict refuses.

use testkit::origin::ScriptedOrigin;
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

#[tokio::test]
async fn a_path_is_routed_by_what_it_means_and_sent_as_it_came() {
    let answering = async |who: &str| {
        ScriptedOrigin::answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{who}")).await
    };
    let (admin, other) = (answering("admin").await, answering("other").await);
    let config = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/admin\"\nupstream = \"admin\"\n\
         [[route]]\nhost = \"strict\"\npath = \"/admin\"\nupstream = \"admin\"\npaths = \"strict\"\n\
         [[route]]\nhost = \"strict\"\nupstream = \"other\"\npaths = \"strict\"\n\
         [[route]]\nupstream = \"other\"\n\
         [upstream.admin]\nnodes = [\"{}\"]\n[upstream.other]\nnodes = [\"{}\"]\n",
        admin.address(),
        other.address()
    );
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await;
    for (path, lenient, strict) in [
        ("/admin", "admin", "admin"),
        ("/%61dmin/x", "admin", "admin"),
        ("//admin", "admin", "admin"),
        ("/x/../admin", "admin", "admin"),
        ("/x/%2e%2e/%61dmin?a=%2f", "admin", "admin"),
        ("/administrator", "other", "other"),
        ("/.well-known/x", "other", "other"),
        ("/../admin", "admin", "400"),
        ("/x/..%2fadmin", "other", "400"),
        ("/admin%5cx", "other", "400"),
        ("/admin/%00", "admin", "400"),
        ("/admin/..;/x", "admin", "400"),
        ("/x%zz", "other", "400"),
    ] {
        for (host, want) in [("lenient", lenient), ("strict", strict)] {
            let mut client = RawConnection::connect(proxy.address()).await;
            client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            let answer = client.read_message().await;
            match want {
                "400" => assert_eq!(answer.status(), 400, "{host}{path}"),
                who => {
                    assert_eq!(answer.text(), who, "{host}{path}");
                    let origin = if who == "admin" { &admin } else { &other };
                    let sent = origin.requests().last().map(|request| request.start.clone());
                    assert_eq!(sent, Some(format!("GET {path} HTTP/1.1")));
                }
            }
        }
    }
}
