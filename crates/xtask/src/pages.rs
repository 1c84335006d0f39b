//! The pages for whoever begins, and what they tell people to type: each block of it is run, in the order of the page. Those that
//! need a machine of their own are run by `cargo xtask boot`, those about containers by `cargo xtask dist --try`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::run::{aloud, command, root};

/// What readers of `docs/PAGE` type, as a script that ends with the first line that fails.
pub(crate) fn script(page: &str) -> Result<String> {
    let file = root().join("docs").join(page);
    let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
    let typed = typed(&text);
    ensure!(!typed.is_empty(), "{} tells nobody to type anything", file.display());
    Ok(format!("set -euo pipefail\nset -x\n{typed}"))
}

/// The blocks of a page that are for a shell.
fn typed(page: &str) -> String {
    let mut typed = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line == "```sh" {
            for line in lines.by_ref().take_while(|line| *line != "```") {
                typed += line;
                typed.push('\n');
            }
        }
    }
    typed
}

/// Plays the page about containers with buildah in the place of Docker, and the image `archive`. `store` is where buildah keeps
/// what it has; a Debian with Node.js stands in for Docker Hub's image of it.
pub(crate) fn containers(archive: &Path, version: &str, store: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::copy(archive, folder.path().join(format!("tidelock-{version}-image.tar")))?;
    // Its port is the reader's to choose, and this machine may have something there.
    let port = testkit::port::free();
    let script = script("in-containers.md")?.replace("8080", &port.to_string());
    let mut shell = shell(folder.path(), &script)?;
    shell.env("STORE", store).env("BUILDAH_ISOLATION", "chroot");
    shell.env("COMPOSE_SCHEMA", from_pypi("check-jsonschema==0.39.0", "check-jsonschema")?);
    let said = said(shell, "docs/in-containers.md")?;
    for wanted in ["process ", "chat/0", "event=\"ended\""] {
        ensure!(said.contains(wanted), "nothing says `{wanted}`:\n{said}");
    }
    Ok(())
}

/// Builds `configs/Containerfile` beside an app, and starts it, as its head says.
pub(crate) fn containerfile(binary: &Path, store: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let port = testkit::port::free().to_string();
    let file = fs::read_to_string(root().join("configs/Containerfile"))?.replace("8080", &port);
    let typed: String =
        file.lines().filter_map(|line| line.strip_prefix("#   ")).map(|line| format!("{line}\n")).collect();
    ensure!(typed.contains("docker run"), "configs/Containerfile does not say how it is run");
    fs::copy(binary, folder.path().join("tidelock"))?;
    for (name, text) in [
        ("Containerfile", &*file),
        ("index.js", "require('http').createServer((_, answer) => answer.end('it serves')).listen(3000);\n"),
        ("package.json", "{ \"name\": \"app\", \"version\": \"1.0.0\" }\n"),
        (
            "package-lock.json",
            "{ \"name\": \"app\", \"version\": \"1.0.0\", \"lockfileVersion\": 3, \"packages\": {} }\n",
        ),
    ] {
        fs::write(folder.path().join(name), text)?;
    }
    let looks = format!(
        "curl --silent --retry 20 --retry-connrefused --retry-delay 1 http://localhost:{port}/\n\
         docker stop chat\ndocker logs chat\ndocker rm chat\n"
    );
    let mut shell = shell(folder.path(), &format!("set -euo pipefail\nset -x\n{typed}{looks}"))?;
    shell.env("STORE", store).env("BUILDAH_ISOLATION", "chroot");
    let said = said(shell, "configs/Containerfile")?;
    for wanted in ["it serves", "event=\"ended\""] {
        ensure!(said.contains(wanted), "nothing says `{wanted}`:\n{said}");
    }
    Ok(())
}

/// Plays the page about Kubernetes without a cluster: what is applied is validated, and a Secret is made without being sent.
pub(crate) fn kubernetes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::os::unix::fs::symlink(root().join("configs"), folder.path().join("configs"))?;
    let mut shell = shell(folder.path(), &script("on-kubernetes.md")?)?;
    shell.env("VALIDATE", from_pypi("kubernetes-validate==1.37.0", "kubernetes-validate")?);
    let said = said(shell, "docs/on-kubernetes.md")?;
    ensure!(said.contains("kind: Secret"), "no secret is made:\n{said}");
    Ok(())
}

/// bash with the script, in `folder`, where stand-ins for Docker and kubectl come first.
fn shell(folder: &Path, script: &str) -> Result<Command> {
    let stands_in = folder.join("stands-in");
    fs::create_dir(&stands_in)?;
    for (name, text) in
        [("docker", include_str!("pages/docker.sh")), ("kubectl", include_str!("pages/kubectl.sh"))]
    {
        let file = stands_in.join(name);
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    let page = folder.join("page.sh");
    fs::write(&page, script)?;
    let mut shell = command(".", "bash", &[&page.display().to_string()]);
    let path = std::env::var("PATH").unwrap_or_default();
    shell.current_dir(folder).env("PATH", format!("{}:{path}", stands_in.display()));
    Ok(shell)
}

fn said(mut shell: Command, page: &str) -> Result<String> {
    eprintln!("xtask: typing what {page} says");
    let output = shell.output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{page} does not hold ({}):\n{said}", output.status);
    Ok(said)
}

/// A program of a Python package, in an environment of its own under `target/xtask`.
fn from_pypi(package: &str, program: &str) -> Result<String> {
    let folder = root().join("target/xtask").join(package);
    let found = folder.join("bin").join(program);
    if !found.exists() {
        let folder = folder.display().to_string();
        aloud("making an environment for Python", command(".", "python3", &["-m", "venv", &folder]))?;
        let pip = format!("{folder}/bin/pip");
        aloud("installing a Python package", command(".", &pip, &["install", "--quiet", package]))?;
    }
    Ok(found.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_a_shell_is_typed_and_nothing_else() {
        let page = "# A\n\n```sh\none\ntwo\n```\n\n```toml\nthree = 3\n```\n```sh\nfour\n```\n";
        assert_eq!(typed(page), "one\ntwo\nfour\n");
    }

    /// Somebody who begins types something on each of the pages.
    #[test]
    fn each_page_has_something_to_type() {
        for page in ["on-a-server.md", "from-nginx-and-pm2.md", "in-containers.md", "on-kubernetes.md"] {
            assert!(script(page).expect("it is there").lines().count() > 3, "{page}");
        }
    }
}
