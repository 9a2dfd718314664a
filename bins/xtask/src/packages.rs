//! Installs what the machine lacks, with the package manager it has.

use std::process::Command;

/// One package manager: the program that shows its presence, and how it installs.
struct Manager {
    program: &'static str,
    needs_root: bool,
    first: &'static [&'static str],
    install: &'static [&'static str],
}

const MANAGERS: [Manager; 6] = [
    Manager {
        program: "apt-get",
        needs_root: true,
        first: &["apt-get", "update", "-qq"],
        install: &["apt-get", "install", "-y", "-qq", "--no-install-recommends"],
    },
    Manager { program: "dnf", needs_root: true, first: &[], install: &["dnf", "install", "-y"] },
    Manager { program: "zypper", needs_root: true, first: &[], install: &["zypper", "-n", "install"] },
    Manager { program: "apk", needs_root: true, first: &[], install: &["apk", "add"] },
    Manager { program: "pacman", needs_root: true, first: &[], install: &["pacman", "-Sy", "--noconfirm"] },
    Manager { program: "brew", needs_root: false, first: &[], install: &["brew", "install"] },
];

/// Something that has to be on the machine.
pub(crate) struct Need {
    /// What it is called.
    pub(crate) name: &'static str,
    /// How a person gets it.
    pub(crate) by_hand: &'static str,
    /// Whether it is there.
    pub(crate) found: fn() -> bool,
    /// What each package manager calls it.
    pub(crate) packages: &'static [(&'static str, &'static [&'static str])],
}

impl Need {
    /// Finds it, or installs it when this account may.
    ///
    /// # Errors
    /// One line that says what to type.
    pub(crate) fn ensure(&self) -> Result<(), String> {
        let Self { name, by_hand, .. } = self;
        if (self.found)() {
            return Ok(());
        }
        let known = |manager: &&Manager| on_path(manager.program);
        let packages = |manager: &Manager| self.packages.iter().find(|(program, _)| *program == manager.program);
        let Some((manager, (_, packages))) =
            MANAGERS.iter().find(known).and_then(|manager| Some((manager, packages(manager)?)))
        else {
            return Err(format!("{name}: missing; {by_hand}"));
        };
        let install: Vec<&str> = manager.install.iter().chain(*packages).copied().collect();
        let commands: Vec<&[&str]> = [manager.first, &install].into_iter().filter(|words| !words.is_empty()).collect();
        let line = |prefix: &str| {
            let typed: Vec<String> = commands.iter().map(|words| format!("{prefix}{}", words.join(" "))).collect();
            typed.join(" && ")
        };
        if manager.needs_root && !is_root() {
            return Err(format!("{name}: missing; type: {}", line("sudo ")));
        }
        println!("installing {name}: {}", line(""));
        for words in &commands {
            let Some((program, args)) = words.split_first() else { continue };
            let status = Command::new(program).args(args).env("DEBIAN_FRONTEND", "noninteractive").status();
            if !status.is_ok_and(|status| status.success()) {
                return Err(format!("`{}` failed; {by_hand}", words.join(" ")));
            }
        }
        if (self.found)() {
            Ok(())
        } else {
            Err(format!("{name}: installed, but not where it is looked for; {by_hand}"))
        }
    }
}

/// Whether a program is on the search path.
pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|d| d.join(program).is_file()))
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
