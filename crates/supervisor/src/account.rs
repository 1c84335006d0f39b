//! Whom an app runs as. Read from /etc/passwd and /etc/group at every start; numbers are taken as they are.

use std::fs;
use std::path::PathBuf;

use config::app::App;

use crate::process::StartProblem;

/// A user that an app becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// Of the user, if it has a name.
    pub(crate) name: Option<String>,
    pub(crate) home: Option<PathBuf>,
}

impl Account {
    /// Whom `app` runs as, if not as tidelock does.
    pub(crate) fn of(app: &App) -> Result<Option<Self>, StartProblem> {
        let files = Files {
            passwd: fs::read_to_string("/etc/passwd").unwrap_or_default(),
            group: fs::read_to_string("/etc/group").unwrap_or_default(),
        };
        let own =
            Own { user: rustix::process::geteuid().as_raw(), group: rustix::process::getegid().as_raw() };
        files.account(app.user.as_deref(), app.group.as_deref(), own)
    }
}

/// Whom tidelock runs as.
#[derive(Debug, Clone, Copy)]
struct Own {
    user: u32,
    group: u32,
}

#[derive(Debug)]
struct Files {
    passwd: String,
    group: String,
}

impl Files {
    fn account(
        &self,
        user: Option<&str>,
        group: Option<&str>,
        own: Own,
    ) -> Result<Option<Account>, StartProblem> {
        if user.is_none() && group.is_none() {
            return Ok(None);
        }
        let mut account = match user {
            None => Account { user: own.user, group: own.group, name: None, home: None },
            Some(user) => self.user(user).ok_or_else(|| StartProblem::NoUser(user.to_owned()))?,
        };
        if let Some(group) = group {
            account.group = self.group(group).ok_or_else(|| StartProblem::NoGroup(group.to_owned()))?;
        }
        if (account.user, account.group) == (own.user, own.group) {
            return Ok(None);
        }
        if own.user != 0 {
            let wanted = [user, group].into_iter().flatten().collect::<Vec<_>>().join(":");
            return Err(StartProblem::NotRoot(wanted));
        }
        Ok(Some(account))
    }

    /// `name:password:uid:gid:comment:home:shell` (passwd(5)).
    fn user(&self, wanted: &str) -> Option<Account> {
        let entry = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let (name, user, group) =
                (*fields.first()?, fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
            let home = fields.get(5).filter(|home| !home.is_empty()).map(PathBuf::from);
            Some(Account { user, group, name: Some(name.to_owned()), home })
        };
        let number = wanted.parse::<u32>().ok();
        let is_it =
            |account: &Account| account.name.as_deref() == Some(wanted) || Some(account.user) == number;
        let bare = || number.map(|user| Account { user, group: user, name: None, home: None });
        self.passwd.lines().filter_map(entry).find(is_it).or_else(bare)
    }

    /// `name:password:gid:members` (group(5)).
    fn group(&self, wanted: &str) -> Option<u32> {
        let entry = |line: &str| {
            let mut fields = line.split(':');
            Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
        };
        let named = self.group.lines().filter_map(entry).find(|(name, _)| name == wanted);
        named.map(|(_, group)| group).or_else(|| wanted.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(user: Option<&str>, group: Option<&str>, own_user: u32) -> String {
        let files = Files {
            passwd: "root:x:0:0::/root:/bin/sh\nbroken\nwww:x:33:34:,,,:/var/www:/bin/false\n".to_owned(),
            group: "root:x:0:\nwww:x:34:\nssl:x:99:www,x\n".to_owned(),
        };
        match files.account(user, group, Own { user: own_user, group: own_user }) {
            Ok(None) => "as tidelock".to_owned(),
            Ok(Some(account)) => {
                format!(
                    "{}:{} {:?} {:?}",
                    account.user,
                    account.group,
                    account.name.unwrap_or_default(),
                    account.home.unwrap_or_default()
                )
            }
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn accounts_are_found_by_name_and_number() {
        assert_eq!(check(None, None, 0), "as tidelock");
        assert_eq!(check(Some("www"), None, 0), r#"33:34 "www" "/var/www""#);
        assert_eq!(check(Some("33"), Some("ssl"), 0), r#"33:99 "www" "/var/www""#);
        assert_eq!(check(Some("5000"), None, 0), r#"5000:5000 "" """#);
        assert_eq!(check(None, Some("34"), 0), r#"0:34 "" """#);
        assert_eq!(check(Some("root"), None, 0), "as tidelock");
        assert_eq!(check(Some("33"), Some("33"), 33), "as tidelock");
    }

    #[test]
    fn what_cannot_be_is_said() {
        assert!(check(Some("wwww"), None, 0).contains("no user `wwww`"));
        assert!(check(Some("www"), Some("sll"), 0).contains("no group `sll`"));
        assert!(check(Some("www"), None, 1000).contains("root"));
    }
}
