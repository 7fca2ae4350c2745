//! What stands under "Examples:" in the long help and the manual page of each command: lines that can be typed as they are.

/// Command lines, by the command they are of, without the program's name: `keyring create`. A comment may follow.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "keyring create",
        &[
            "touchseal keyring create prod --holder alice",
            "touchseal keyring create prod --holder alice --pgp 71E50555C45F4897724F4D5B48D9DB018AA333F1",
        ],
    ),
    (
        "keyring enrol",
        &[
            "touchseal keyring enrol -f prod.keyring.yaml --holder bob --serial 12345678",
            "touchseal keyring enrol -f prod.keyring.yaml --holder bob --pgp 71E50555C45F4897724F4D5B48D9DB018AA333F1",
        ],
    ),
    (
        "keyring holders",
        &["touchseal keyring holders -f prod.keyring.yaml", "touchseal keyring holders prod -o json"],
    ),
    ("keyring remove-holder", &["touchseal keyring remove-holder alice -f prod.keyring.yaml"]),
    ("keyring rotate", &["touchseal keyring rotate -f prod.keyring.yaml"]),
    ("keyring quorum", &["touchseal keyring quorum 2 -f prod.keyring.yaml"]),
    ("keyring seal-after", &["touchseal keyring seal-after 12h -f prod.keyring.yaml"]),
    ("keyring retire", &["touchseal keyring retire 1 -f prod.keyring.yaml --tree ."]),
    ("keyring hand-over", &["touchseal keyring hand-over deny -f prod.keyring.yaml"]),
    ("keyring on-key-removal", &["touchseal keyring on-key-removal seal -f prod.keyring.yaml"]),
    ("keyring emergency-enrolment", &["touchseal keyring emergency-enrolment allow -f prod.keyring.yaml"]),
    (
        "keyring emergency-enrol",
        &[
            "touchseal keyring emergency-enrol -f prod.keyring.yaml --holder carol --reason \"fire in the office\"",
        ],
    ),
    ("keyring show", &["touchseal keyring show -f prod.keyring.yaml", "touchseal keyring show prod"]),
    (
        "recipients",
        &[
            "touchseal recipients -f prod.keyring.yaml --for shop",
            "touchseal recipients -f prod.keyring.yaml --for shop --for chat --sops-yaml",
        ],
    ),
    (
        "wrap",
        &[
            "touchseal wrap shop/app.yaml --name app --namespace shop > shop/app.esec.yaml",
            "touchseal wrap tls.crt tls.key --name tls --type kubernetes.io/tls --as file > tls.esec.yaml",
            "touchseal wrap shop/app.yaml --update shop/app.esec.yaml",
        ],
    ),
    (
        "import",
        &[
            "touchseal import --namespace shop --dry-run .env settings.py",
            "touchseal import --namespace shop tls.crt tls.key --name web",
            "touchseal import --namespace shop --from-secret app --from-secret mail --to shop",
            "touchseal import old/secrets.yaml --to shop",
        ],
    ),
    (
        "encrypt",
        &[
            "touchseal encrypt --in-place shop/app.yaml    # by its rule in .sops.yaml",
            "touchseal encrypt --in-place --dry-run .",
            "touchseal encrypt bot.env --namespace chat --keyring prod.keyring.yaml --to bot.enc.env",
        ],
    ),
    (
        "decrypt",
        &["touchseal decrypt shop/app.yaml", "touchseal decrypt shop/app.yaml --extract database.password"],
    ),
    ("edit", &["touchseal edit shop/app.esec.yaml", "touchseal edit shop/app.yaml --rotate-data-key"]),
    ("verify", &["touchseal verify shop", "touchseal verify --decrypt . -o wide"]),
    (
        "lint",
        &[
            "touchseal lint",
            "touchseal lint --no-ignore -o sarif > touchseal.sarif",
            "touchseal lint shop --skip foreign-recipient",
        ],
    ),
    ("render", &["touchseal render shop/app.esec.yaml", "touchseal render shop/app.esec.yaml --show-values"]),
    (
        "audit git",
        &[
            "touchseal audit git",
            "touchseal audit git shop chat --repository ../old-settings -o json > audit.json",
        ],
    ),
    ("rekey", &["touchseal rekey --dry-run .", "touchseal rekey shop chat"]),
    ("rotation", &["touchseal rotation", "touchseal rotation -n shop --sort age"]),
    ("rotation wait", &["touchseal rotation wait app -n shop"]),
    ("rotation report", &["touchseal rotation report -f rotations.html"]),
    (
        "incident open",
        &[
            "touchseal incident open ci-leak --exposed-at 3d --description \"token of the CI job\"",
            "touchseal incident open laptop --exposed-at 2026-05-01T14:30:00Z --namespaces shop",
            "touchseal incident open history --from-audit audit.json",
        ],
    ),
    ("incident status", &["touchseal incident status", "touchseal incident status ci-leak"]),
    ("incident accept", &["touchseal incident accept ci-leak shop/app:PORT --reason \"not a secret\""]),
    ("incident close", &["touchseal incident close ci-leak"]),
    ("incident report", &["touchseal incident report ci-leak -f ci-leak.html"]),
    ("unseal", &["touchseal unseal", "touchseal unseal --keyring prod --pin-fd 3 3< <(pass yubikey)"]),
    ("seal", &["touchseal seal"]),
    ("status", &["touchseal status", "touchseal status -n shop -o wide"]),
    ("doctor", &["touchseal doctor", "touchseal doctor --offline"]),
    ("version", &["touchseal version", "touchseal version --client"]),
    ("completion", &["source <(touchseal completion bash)"]),
    ("man", &["touchseal man ~/.local/share/man/man1"]),
];

/// The section of a command's help, as it is typed under the program's name; empty for those that only hold others.
pub fn of(path: &str, program: &str) -> String {
    let lines = EXAMPLES.iter().find(|(name, _)| *name == path).map_or(&[][..], |(_, lines)| lines);
    let line = |line: &&str| format!("\n  {}", folded(&line.replace("touchseal ", &format!("{program} "))));
    match lines {
        [] => String::new(),
        lines => format!("Examples:{}", lines.iter().map(line).collect::<String>()),
    }
}

/// A line that is longer than help is wide goes on in a second one, as a shell reads it: what help wraps cannot be pasted.
fn folded(line: &str) -> String {
    const HELP: usize = 80;
    const MARGIN: usize = 2; // before the line, and what goes on behind it: " \"
    let most = HELP - 2 * MARGIN;
    let cut = || [" -", " >"].iter().filter_map(|word| line.get(..most)?.rfind(word)).max();
    match (line.len() + MARGIN > HELP).then(cut).flatten() {
        Some(at) => format!("{} \\\n      {}", &line[..at], line[at..].trim_start()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::definition;

    /// The words of a line that are the program's: without a comment and what a shell does with its files.
    fn words(line: &str) -> Vec<String> {
        let line = line.strip_prefix("source <(").map_or(line, |rest| rest.trim_end_matches(')'));
        let words = shlex::split(line.split("    #").next().unwrap()).unwrap();
        let own = words.into_iter().take_while(|word| word != ">" && !word.starts_with("3<"));
        own.collect()
    }

    /// Every command that does something by itself.
    fn commands() -> Vec<String> {
        fn leaves(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            for inner in command.get_subcommands() {
                let path = format!("{path} {}", inner.get_name()).trim().to_owned();
                if !inner.has_subcommands() || !inner.is_subcommand_required_set() {
                    found.push(path.clone());
                }
                leaves(inner, &path, found);
            }
        }
        let mut commands = Vec::new();
        leaves(&definition("touchseal"), "", &mut commands);
        commands
    }

    #[test]
    fn every_command_has_a_transcript() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cli");
        let pages = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let pages = pages.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
        let text: String = pages.map(|page| std::fs::read_to_string(page).unwrap()).collect();
        let typed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
        let shown = |path: &String| {
            let start = format!("touchseal {path}");
            typed.iter().any(|line| {
                line.find(&start).is_some_and(|at| {
                    // Asked for help is not tried.
                    let rest = &line[at + start.len()..];
                    (rest.is_empty() || rest.starts_with(' '))
                        && !rest.split(' ').any(|word| ["-h", "--help"].contains(&word))
                })
            })
        };
        let missing: Vec<String> = commands().into_iter().filter(|path| !shown(path)).collect();
        assert!(missing.is_empty(), "no transcript of {}", missing.join(", "));
    }

    #[test]
    fn every_command_has_examples_and_each_can_be_typed() {
        let mut commands = commands();
        let mut with: Vec<&str> = EXAMPLES.iter().map(|(path, _)| *path).collect();
        commands.sort();
        with.sort_unstable();
        assert_eq!(commands, with);
        for (path, lines) in EXAMPLES {
            for line in *lines {
                let words = words(line);
                let parsed = definition("touchseal").try_get_matches_from(&words);
                let mut matches = parsed.as_ref().unwrap_or_else(|error| panic!("{line}: {error}"));
                let mut reached = Vec::new();
                while let Some((name, inner)) = matches.subcommand() {
                    reached.push(name);
                    matches = inner;
                }
                assert_eq!(reached.join(" "), *path, "{line}");
            }
        }
    }

    #[test]
    fn none_is_wider_than_help_and_none_is_changed_by_that() {
        for (path, lines) in EXAMPLES {
            for program in ["touchseal", "kubectl touchseal"] {
                let shown = of(path, program);
                for line in shown.lines() {
                    assert!(line.len() <= 80, "{path}: {line}");
                }
                let pasted = shown.replace(" \\\n      ", " ").replace(&format!("{program} "), "touchseal ");
                let pasted: Vec<&str> = pasted.lines().skip(1).map(str::trim_start).collect();
                assert_eq!(pasted, *lines);
            }
        }
    }

    #[test]
    fn they_are_typed_as_the_program_is_called() {
        assert_eq!(of("seal", "kubectl touchseal"), "Examples:\n  kubectl touchseal seal");
        assert_eq!(of("keyring", "touchseal"), "");
    }
}
