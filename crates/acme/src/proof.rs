//! What an authority finds when it looks whose a name is. While it is there, every tidelock that shares the folder shows it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use config::plan::Acme;
use instant_acme::{ChallengeType, KeyAuthorization};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::state;

/// Shown until it is taken down.
#[derive(Debug)]
pub(crate) enum Proof {
    File(PathBuf),
    Dns { program: PathBuf, name: String, value: String },
}

/// What is to be proved.
pub(crate) struct Wanted<'a> {
    pub(crate) kind: ChallengeType,
    /// Without the star of a wildcard.
    pub(crate) name: &'a str,
    pub(crate) token: &'a str,
    pub(crate) authorization: &'a KeyAuthorization,
}

impl Proof {
    /// Shows what the authority wants to see.
    pub(crate) async fn show(acme: &Acme, wanted: Wanted<'_>) -> Result<Self, Failure> {
        let Wanted { kind, name, token, authorization } = wanted;
        match kind {
            ChallengeType::Http01 => {
                // It becomes the name of a file.
                if token.is_empty()
                    || !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                {
                    return Err(Failure::new("the authority has sent a token that is none"));
                }
                let file = acme.http_challenges().join(token);
                state::write(&file, authorization.as_str().as_bytes())?;
                Ok(Self::File(file))
            }
            ChallengeType::TlsAlpn01 => {
                let file = acme.tls_challenges().join(format!("{name}.pem"));
                state::write(&file, certificate(name, authorization)?.as_bytes())?;
                Ok(Self::File(file))
            }
            _ => {
                let program = acme.dns_program.clone().unwrap_or_default();
                let (name, value) = (format!("_acme-challenge.{name}"), authorization.dns_value());
                let proof = Self::Dns { program, name, value };
                match proof.run("set").await {
                    Ok(()) => Ok(proof),
                    Err(failure) => {
                        // It may have been put there all the same.
                        proof.take_down().await;
                        Err(failure)
                    }
                }
            }
        }
    }

    /// Nobody sees it any more.
    pub(crate) async fn take_down(&self) {
        match self {
            Self::File(file) => drop(fs::remove_file(file)),
            Self::Dns { .. } => {
                if let Err(failure) = self.run("remove").await {
                    tracing::warn!(%failure, "a record stays in the DNS");
                }
            }
        }
    }

    async fn run(&self, verb: &'static str) -> Result<(), Failure> {
        let Self::Dns { program, name, value } = self else { return Ok(()) };
        run(program, [verb.into(), name.into(), value.into()]).await
    }
}

/// A certificate that only says who has asked for the proof (RFC 8737 section 3), and its key.
fn certificate(name: &str, authorization: &KeyAuthorization) -> Result<String, Failure> {
    let made = || -> Result<String, rcgen::Error> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.custom_extensions =
            vec![CustomExtension::new_acme_identifier(authorization.digest().as_ref())];
        let key = KeyPair::generate()?;
        Ok(params.self_signed(&key)?.pem() + &key.serialize_pem())
    };
    made().map_err(|error| Failure::new(format!("no certificate can be made to show: {error}")))
}

/// Runs the user's program until it ends well.
async fn run(program: &Path, args: [OsString; 3]) -> Result<(), Failure> {
    let named = |what: String| Failure::new(format!("{} {}: {what}", program.display(), args[0].display()));
    let child = Command::new(program)
        .args(&args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| named(format!("cannot be run: {error}")))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let ended = timeout(PROGRAM_ENDS_WITHIN, spawn_blocking(move || child.wait_with_output())).await;
    match ended {
        Ok(Ok(Ok(output))) if output.status.success() => Ok(()),
        Ok(Ok(Ok(output))) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            Err(named(format!("{}: {last}", output.status)))
        }
        Ok(Ok(Err(error))) => Err(named(error.to_string())),
        Ok(Err(error)) => Err(named(error.to_string())),
        Err(_) => {
            // It is waited for by the thread that does so already.
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
            Err(named(format!("has not ended within {} s", PROGRAM_ENDS_WITHIN.as_secs())))
        }
    }
}

/// Records take minutes to be seen everywhere.
const PROGRAM_ENDS_WITHIN: Duration = Duration::from_secs(600);
