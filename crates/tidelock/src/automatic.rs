//! The certificates that tidelock gets by itself: where they are kept, and how a person makes those of this machine's own
//! authority known.

use std::io;
use std::path::{Path, PathBuf};

use config::plan::{Acme, Plan, Scheme};

/// Says where certificates are kept, if the plan has any of its own and does not say so itself, and makes ready what has to be
/// there before anybody is served.
///
/// # Errors
/// If there is no place for them, or nothing can be written there.
pub(crate) fn prepare(plan: &mut Plan) -> io::Result<()> {
    if !plan.listens.iter().any(|listen| matches!(listen.scheme, Scheme::Automatic { .. })) {
        return Ok(());
    }
    settle(&mut plan.acme)?;
    let state = plan.acme.state.clone().unwrap_or_default();
    acme::prepare(plan).map_err(|error| {
        let hint = "set `[acme] state` to a folder that this user may write";
        io::Error::new(
            error.kind(),
            format!("no certificates can be kept in {}: {error}; {hint}", state.display()),
        )
    })
}

/// Says where certificates are kept, if nobody has.
fn settle(acme: &mut Acme) -> io::Result<()> {
    if acme.state.is_some() {
        return Ok(());
    }
    let Some(folder) = admin::places::state_folder() else {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "there is no folder for certificates: set `[acme] state`, or $STATE_DIRECTORY",
        ));
    };
    acme.state = Some(folder.join("acme"));
    Ok(())
}

/// Where the authority of this machine's own is, for the file at `path` or without one; it is made if it is not there.
///
/// # Errors
/// If it cannot be made.
pub(crate) fn authority(mut acme: Acme) -> io::Result<PathBuf> {
    settle(&mut acme)?;
    acme::authority(&acme)
}

/// How programs are told to believe it.
pub(crate) fn how_to_trust(file: &Path) -> String {
    let file = file.display();
    format!(
        "The certificate of this machine's own authority is {file}

Debian, Ubuntu   sudo cp {file} /usr/local/share/ca-certificates/tidelock.crt && sudo update-ca-certificates
Fedora, RHEL     sudo cp {file} /etc/pki/ca-trust/source/anchors/tidelock.crt && sudo update-ca-trust
Arch             sudo trust anchor {file}
macOS            sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {file}
Chromium, Linux  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n tidelock -i {file}
Firefox          Settings, Privacy & Security, View Certificates, Authorities, Import: {file}
Node.js          NODE_EXTRA_CA_CERTS={file} node client.js
curl             curl --cacert {file} https://localhost/

Whoever can read the key beside it can be any host for whoever trusts it: it never leaves this machine.
"
    )
}
