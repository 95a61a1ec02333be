//! Programs whose one-letter options carry secrets.

/// What an option brings with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// A secret, attached or in the next argument.
    Secret,
    /// A secret, attached only; alone the option asks for it.
    AttachedSecret,
    /// `user:password`, attached or in the next argument.
    Credentials,
}

/// Program, its option letter, and what that carries.
const OPTIONS: &[(&str, char, Carries)] = &[
    ("mysql", 'p', Carries::AttachedSecret),
    ("mysqladmin", 'p', Carries::AttachedSecret),
    ("mysqldump", 'p', Carries::AttachedSecret),
    ("mysqlimport", 'p', Carries::AttachedSecret),
    ("mysqlslap", 'p', Carries::AttachedSecret),
    ("mariadb", 'p', Carries::AttachedSecret),
    ("mariadb-admin", 'p', Carries::AttachedSecret),
    ("mariadb-dump", 'p', Carries::AttachedSecret),
    ("7z", 'p', Carries::AttachedSecret),
    ("sshpass", 'p', Carries::Secret),
    ("mongo", 'p', Carries::Secret),
    ("mongosh", 'p', Carries::Secret),
    ("mongodump", 'p', Carries::Secret),
    ("sqlcmd", 'P', Carries::Secret),
    ("zip", 'P', Carries::Secret),
    ("unzip", 'P', Carries::Secret),
    ("redis-cli", 'a', Carries::Secret),
    ("redis-benchmark", 'a', Carries::Secret),
    ("ldapsearch", 'w', Carries::Secret),
    ("ldapmodify", 'w', Carries::Secret),
    ("curl", 'u', Carries::Credentials),
    ("curl", 'U', Carries::Credentials),
];

/// The letter of a one-letter option of `program` that carries a secret.
pub(super) fn short_option(program: &str, argument: &str) -> Option<(char, Carries)> {
    let letter = argument.strip_prefix('-')?.chars().next()?;
    OPTIONS
        .iter()
        .find(|(name, option, _)| *name == program && *option == letter)
        .map(|&(_, option, carries)| (option, carries))
}
