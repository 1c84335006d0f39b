//! Ten thousand spellings of a way out.

use super::{ask, get, serve, tree};

#[tokio::test]
async fn no_path_leads_out_of_the_folder() {
    let proxy = serve(tree(), "").await;
    let address = proxy.address();
    let dots = [
        "..",
        "%2e%2e",
        ".%2e",
        "%2E.",
        "..%00",
        "..;",
        "%252e%252e",
        "%c0%ae%c0%ae",
        "\u{2025}",
        "..%5c",
        "...",
        ".",
    ];
    let slashes = ["/", "//", "%2f", "%5c", "\\", "/./", "%252f", "%c0%af", ";/", "%00/"];
    let ends = [
        "secret.txt",
        "dist/.env",
        ".git/config",
        ".env",
        "passwd",
        "out.txt",
        "up/secret.txt",
        "etc/passwd",
    ];
    let asking = tokio::task::spawn_blocking(move || {
        let mut asked = 0;
        for first in dots {
            for slash in slashes {
                for second in dots {
                    for end in ends {
                        let path = format!("/assets{slash}{first}{slash}{second}{slash}{end}");
                        // A raw byte beyond ASCII is refused before it is a path.
                        let answer = ask(address, &get(&path, ""));
                        assert_ne!(answer.text(), "secret", "{path}");
                        assert!(!answer.text().contains("root:"), "{path}");
                        asked += 1;
                    }
                }
            }
        }
        assert!(asked >= 10_000, "{asked}");
        for path in ["/.env", "/.git/config", "/out.txt", "/passwd", "/up/secret.txt", "/up/dist/hello.txt"] {
            assert_eq!(ask(address, &get(path, "")).status(), 404, "{path}");
        }
        assert_eq!(ask(address, &get("/in.txt", "")).text(), "hello");
    });
    asking.await.expect("all are asked");
}
