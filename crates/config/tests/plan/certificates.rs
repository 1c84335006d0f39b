//! Which names certificates are got for, and which nobody certifies.

use std::path::Path;

use tidelock_config::parse;
use tidelock_config::plan::{Issuer, Scheme};

use super::plan_of;

/// What is wrong with a file that has this route and, under it, these lines.
fn refused(route: &str, more: &str) -> String {
    let file = format!(
        "[[listen]]\naddress = \":443\"\ntls = \"auto\"\n[[route]]\n{route}\nupstream = \"nodes\"\n\
         [upstream.nodes]\nnodes = [\"127.0.0.1:3000\"]\n{more}"
    );
    parse(&file, Path::new("test.toml")).expect_err("it is wrong").render(false)
}

#[test]
fn certificates_are_got_for_the_hosts_of_routes() {
    let plan = plan_of(
        r#"
[[listen]]
address = ":443"
tls = "auto"

[[listen]]
address = ":8443"
tls = "local"

[[listen]]
address = ":9443"
tls = "local"

[[route]]
host = ["b.example.com", "a.example.com", "*.example.org"]
path = "/chat"
upstream = "nodes"

[[route]]
host = "a.example.com"
upstream = "nodes"

[[route]]
host = "only.example.com"
listen = [":8443"]
upstream = "nodes"

[upstream.nodes]
nodes = ["127.0.0.1:3000"]

[acme]
email = "ops@example.com"
directory = "letsencrypt-staging"
state = "/var/lib/a"
dns_program = "bin/dns"
eab_key_id = "kid"
eab_secret = "0123456789abcdef"
"#,
    );
    let hosts = |number: usize| match &plan.listens[number].scheme {
        Scheme::Automatic { issuer, hosts } => (*issuer, hosts.join(" ")),
        other => panic!("{other:?}"),
    };
    assert_eq!(hosts(0), (Issuer::Acme, "*.example.org a.example.com b.example.com".to_owned()));
    let local = "*.example.org a.example.com b.example.com only.example.com";
    assert_eq!(hosts(1), (Issuer::Local, local.to_owned()));
    assert!(plan.uses_acme());
    let acme = &plan.acme;
    let file = |issuer, host| acme.file(issuer, host).display().to_string();
    let folder = "/var/lib/a/acme-staging-v02.api.letsencrypt.org_directory";
    assert_eq!(file(Issuer::Acme, "*.example.org"), format!("{folder}/_.example.org.pem"));
    assert_eq!(file(Issuer::Local, "localhost"), "/var/lib/a/local/localhost.pem");
    assert!(!format!("{acme:?}").contains("0123456789abcdef"), "{acme:?}");
}

#[test]
fn a_local_listen_without_names_is_for_localhost() {
    let plan = plan_of("[[listen]]\naddress = \":443\"\ntls = \"local\"\n[[route]]\nrespond = 200");
    let hosts = vec!["localhost".to_owned()];
    assert_eq!(plan.listens[0].scheme, Scheme::Automatic { issuer: Issuer::Local, hosts });
    assert!(!plan.uses_acme());
}

#[test]
fn names_that_nobody_certifies_are_told() {
    for (route, more, want) in [
        ("", "", "no route of this listen says a host"),
        ("host = \"*.example.com\"", "", "only given to whoever can put records into the DNS"),
        ("host = \"localhost\"", "", "localhost is no public name"),
        ("host = \"chat\"", "", "chat is no public name"),
        ("host = \"chat.internal\"", "", "chat.internal is no public name"),
        ("host = \"10.0.0.7\"", "", "10.0.0.7 is no public name"),
        (
            "host = \"a.example.com\"",
            "[acme]\nemail = \"mailto:a@b.example\"",
            "write `email = \"a@b.example\"`",
        ),
        ("host = \"a.example.com\"", "[acme]\ndirectory = \"letsencript\"", "did you mean \"letsencrypt\"?"),
        ("host = \"a.example.com\"", "[acme]\ndirectory = \"http://ca\"", "only believed over https://"),
        (
            "host = \"a.example.com\"",
            "[acme]\neab_key_id = \"kid\"",
            "`eab_key_id` is nothing without `eab_secret`",
        ),
        (
            "host = \"a.example.com\"",
            "[acme]\neab_key_id = \"k\"\neab_secret = \"not base64url, no\"",
            "is not base64url",
        ),
    ] {
        let said = refused(route, more);
        assert!(said.contains(want), "{route} {more}: {said}");
    }
    let own = "[acme]\ndirectory = \"https://ca.internal/directory\"";
    let file = format!(
        "[[listen]]\naddress = \":443\"\ntls = \"auto\"\n[[route]]\nhost = \"chat.internal\"\nrespond = 200\n{own}"
    );
    assert!(plan_of(&file).uses_acme(), "an authority of one's own knows its names");
    let said = parse(
        "[[listen]]\naddress = \":443\"\ntls = \"automatic\"\n[[route]]\nrespond = 200",
        Path::new("t"),
    )
    .expect_err("it is wrong")
    .render(false);
    assert!(said.contains("\"auto\""), "{said}");
}
