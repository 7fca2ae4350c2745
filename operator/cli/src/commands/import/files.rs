//! Files and folders of the command line: what each is, and which belong into one Secret.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use touchseal_sops::limits;
use zeroize::Zeroizing;

use super::ImportArgs;
use super::error::ImportError;
use super::kind::{self, Kind};
use super::material::{Found, InCluster, Material, Part};
use super::{dotenv, encrypted, generator, manifests, registry, settings, tls};
use crate::commands::wrap::is_secret_key;
use crate::documents;
use crate::error::{Failure, one_line};
use crate::files::{self, FileError};

/// What the API server takes of a manifest, and more than a document holds.
const MAX_BYTES: u64 = 4 * limits::MAX_BYTES as u64;

/// A file that is one part of a Secret, or one half of a TLS pair.
struct Piece {
    path: PathBuf,
    name: String,
    kind: Kind,
    bytes: Zeroizing<Vec<u8>>,
}

/// Everything that the files hold.
pub fn gather(args: &ImportArgs, namespace: Option<&str>) -> Result<Found, Failure> {
    let mut found = Found::default();
    let mut pieces = Vec::new();
    let (stdin, paths): (Vec<_>, Vec<_>) =
        args.files.iter().cloned().partition(|path| path == Path::new("-"));
    if !stdin.is_empty() {
        found.add(manifests::secrets("stdin", &text("stdin", &from_stdin()?)?, namespace, Path::new("."))?);
    }
    for candidate in documents::find(&paths)? {
        let path = candidate.path;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = match files::read(&path, MAX_BYTES).map(Zeroizing::new) {
            Err(FileError::TooLarge { .. }) if !candidate.named => {
                if has_manifests(&name) {
                    let why =
                        format!("larger than {MAX_BYTES} bytes: nobody looked whether Secrets are in it");
                    found.left_out.push((path.display().to_string(), why));
                }
                continue;
            }
            read => read?,
        };
        let shown = one_line(&path.display().to_string());
        let detected = kind::of(&name, &bytes);
        if !candidate.named && detected != Kind::Secret && !generator::is_one(&bytes) {
            continue;
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let said = args.kind.filter(|_| candidate.named);
        if said != Some(Kind::File) {
            if generator::is_one(&bytes) {
                found.add(generator::secrets(&shown, &text(&shown, &bytes)?, namespace, &folder)?);
                continue;
            }
            if kind::is_encrypted(&name, &bytes) {
                let wrapped = encrypted::secret(&shown, &name, &text(&shown, &bytes)?, namespace, &folder)?;
                match wrapped {
                    Some(material) => found.materials.push(material),
                    None if detected == Kind::Secret => {
                        found.add(manifests::secrets(&shown, &text(&shown, &bytes)?, namespace, &folder)?);
                    }
                    None if !candidate.named => {}
                    None => return Err(ImportError::Encrypted(shown).into()),
                }
                continue;
            }
        }
        match said.unwrap_or(detected) {
            Kind::Secret => {
                let mut of_file = manifests::secrets(&shown, &text(&shown, &bytes)?, namespace, &folder)?;
                of_file.materials.iter_mut().for_each(|one| one.plain.push(path.clone()));
                found.add(of_file);
            }
            kind => pieces.push(Piece { path, name, kind, bytes }),
        }
    }
    let manifests = found.materials.len();
    if let Some(first) = found.materials.first() {
        args.not_plain(&first.from.join(", "))?;
    }
    found.materials.extend(grouped(args, namespace, pieces)?);
    if let (Some(name), true) = (&args.name, manifests > 0) {
        let [only] = found.materials.as_mut_slice() else {
            return Err(ImportError::OneName(found.materials.len()).into());
        };
        only.name.clone_from(name);
    }
    Ok(found)
}

/// Whether a file of this name may be one of manifests.
fn has_manifests(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending))
}

fn from_stdin() -> Result<Zeroizing<Vec<u8>>, FileError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = std::io::stdin().lock().take(16 * MAX_BYTES).read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|error| FileError::Read(PathBuf::from("stdin"), error))
}

fn text(from: &str, bytes: &[u8]) -> Result<Zeroizing<String>, ImportError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(ImportError::NotText(from.to_owned())),
    }
}

/// With a name all of them make one Secret; else each its own, a certificate together with its key.
fn grouped(
    args: &ImportArgs,
    namespace: Option<&str>,
    pieces: Vec<Piece>,
) -> Result<Vec<Material>, ImportError> {
    let mut groups: BTreeMap<Group, Vec<Piece>> = BTreeMap::new();
    let halves = pieces.iter().filter(|piece| piece.kind == Kind::Tls).count();
    let one_pair = halves == 2 && pieces.iter().filter(|piece| is_key(piece)).count() == 1;
    let pair = pieces.iter().find(|piece| piece.kind == Kind::Tls && !is_key(piece)).map(group);
    for piece in pieces {
        let key = match (&args.name, &pair) {
            (Some(name), _) => (PathBuf::new(), name.clone(), String::new()),
            (None, Some(pair)) if one_pair && piece.kind == Kind::Tls => pair.clone(),
            (None, _) => group(&piece),
        };
        groups.entry(key).or_default().push(piece);
    }
    groups.into_iter().map(|((_, name, _), pieces)| material(args, namespace, name, pieces)).collect()
}

/// Folder, name of the Secret, and for what is no half of a pair the file.
type Group = (PathBuf, String, String);

fn group(piece: &Piece) -> Group {
    let folder = piece.path.parent().unwrap_or(Path::new("")).to_owned();
    // A key and its certificate are called alike but for the ending; of others the ending is no part of the name either.
    let trimmed = piece.name.trim_start_matches('.');
    let stem = if piece.name.starts_with('.') {
        trimmed
    } else {
        trimmed.rsplit_once('.').map_or(trimmed, |(stem, _)| stem)
    };
    let fits = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let alone = if piece.kind == Kind::Tls { String::new() } else { piece.name.clone() };
    (folder, stem.chars().map(fits).collect::<String>().trim_matches('-').to_owned(), alone)
}

fn is_key(piece: &Piece) -> bool {
    kind::is_pem(&piece.bytes, "PRIVATE KEY")
}

fn material(
    args: &ImportArgs,
    namespace: Option<&str>,
    name: String,
    pieces: Vec<Piece>,
) -> Result<Material, ImportError> {
    let shown = |piece: &Piece| one_line(&piece.path.display().to_string());
    let from: Vec<String> = pieces.iter().map(shown).collect();
    let namespace = namespace.ok_or_else(|| ImportError::NoNamespace(from.join(", ")))?.to_owned();
    let mut material = Material {
        plain: pieces.iter().map(|piece| piece.path.clone()).collect(),
        folder: pieces[0].path.parent().unwrap_or(Path::new("")).to_owned(),
        cluster: InCluster::Unknown,
        secret_type: args.secret_type.clone(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        documents: Vec::new(),
        notes: Vec::new(),
        from,
        name,
        namespace,
    };
    let mut types: Vec<&str> = Vec::new();
    let (halves, others): (Vec<Piece>, Vec<Piece>) =
        pieces.into_iter().partition(|piece| piece.kind == Kind::Tls);
    if !halves.is_empty() {
        types.extend(certificates(args, halves, &mut material)?);
    }
    for piece in others {
        types.extend(add(args, piece, &mut material)?);
    }
    types.dedup();
    match (types.as_slice(), &material.secret_type) {
        ([], _) | (_, Some(_)) => {}
        ([one], None) => material.secret_type = Some((*one).to_owned()),
        _ => return Err(ImportError::Types(material.label())),
    }
    Ok(material)
}

/// One file; the type it asks for.
fn add(
    args: &ImportArgs,
    piece: Piece,
    material: &mut Material,
) -> Result<Option<&'static str>, ImportError> {
    let from = one_line(&piece.path.display().to_string());
    let document =
        || format!("{}.yaml", if piece.name.starts_with('.') { &piece.name[1..] } else { &piece.name });
    match piece.kind {
        Kind::Env => {
            let read = dotenv::parse(&text(&from, &piece.bytes)?);
            let read = read.map_err(|dotenv::Problem { line, what: problem }| ImportError::Line {
                from: from.clone(),
                line,
                problem,
            })?;
            for (key, doubt) in read.doubtful {
                material.notes.push(format!(
                    "{key} of {from} is taken as it stands, with {doubt}, which not every reader does"
                ));
            }
            material.documents.push(Part::Values { name: document(), pairs: read.pairs });
            Ok(None)
        }
        Kind::Flat => {
            let pairs = settings::flat(&from, &piece.name, &text(&from, &piece.bytes)?)?;
            material.documents.push(Part::Values { name: document(), pairs });
            Ok(None)
        }
        Kind::Docker => {
            let (key, type_) = registry::check(&from, &piece.name, &piece.bytes)?;
            let pairs = vec![(key.to_owned(), piece.bytes)];
            material.documents.push(Part::Values { name: document(), pairs });
            Ok(Some(type_))
        }
        Kind::File | Kind::Tls | Kind::Secret => {
            let key = args.key.clone().unwrap_or(piece.name);
            if !is_secret_key(&key) {
                return Err(ImportError::Key { from, key });
            }
            material.documents.push(Part::File { key, bytes: piece.bytes });
            Ok(None)
        }
    }
}

/// A pair becomes a TLS Secret. What is no pair, such as the certificate of an authority or the key of an SSH server, is files,
/// unless somebody said it is one.
fn certificates(
    args: &ImportArgs,
    mut halves: Vec<Piece>,
    material: &mut Material,
) -> Result<Option<&'static str>, ImportError> {
    let from = material.from.join(", ");
    let problem = |problem: String| ImportError::Tls { from: from.clone(), problem };
    halves.sort_by_key(is_key);
    let both = |piece: &Piece| is_key(piece) && kind::is_pem(&piece.bytes, "CERTIFICATE");
    let (certificate, key) = match halves.as_slice() {
        [certificate, key] if !is_key(certificate) && is_key(key) && !both(key) => (certificate, key),
        _ if args.kind == Some(Kind::Tls) => {
            return Err(problem(format!(
                "a pair is one certificate and one private key in two files, and there are {}",
                halves.len()
            )));
        }
        _ => {
            for piece in halves {
                add(args, piece, material)?;
            }
            return Ok(None);
        }
    };
    match tls::pair(&certificate.bytes, &key.bytes).map_err(problem)? {
        tls::Pair::Fits => {}
        tls::Pair::Differs => {
            return Err(ImportError::Tls {
                from,
                problem: "the private key is not the certificate's".to_owned(),
            });
        }
        tls::Pair::Unknown => {
            material.notes.push(
                "whether the key is the certificate's could not be checked: its algorithm is not known here"
                    .to_owned(),
            );
        }
    }
    let pairs =
        vec![("tls.crt".to_owned(), certificate.bytes.clone()), ("tls.key".to_owned(), key.bytes.clone())];
    material.documents.push(Part::Values { name: "tls.yaml".to_owned(), pairs });
    Ok(Some("kubernetes.io/tls"))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use clap::Parser as _;

    use super::*;
    use crate::error::Exit;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ImportArgs,
    }

    fn line(arguments: &[&str]) -> ImportArgs {
        Line::parse_from([&["import"], arguments].concat()).args
    }

    #[test]
    fn what_is_too_large_to_be_looked_at_in_a_folder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["big.yaml", "disk.img"] {
            File::create(dir.path().join(name)).unwrap().set_len(MAX_BYTES + 1).unwrap();
        }
        let found = gather(&line(&[dir.path().to_str().unwrap()]), Some("shop")).unwrap();
        let [(which, why)] = found.left_out.as_slice() else { panic!("{:?}", found.left_out) };
        assert!(which.ends_with("big.yaml") && why.contains("larger than"), "{which}: {why}");
    }

    /// Of each way that a Secret comes in, with what is for plain files only.
    #[test]
    fn what_would_count_for_nothing_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let secret =
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: shop}\nstringData: {a: b}\n";
        fs::write(dir.path().join("a.yaml"), secret).unwrap();
        let folder = dir.path().to_str().unwrap();
        let file = dir.path().join("a.yaml");
        let file = file.to_str().unwrap();
        let refused = |arguments: &[&str]| {
            let args = line(arguments);
            let said = super::super::check(&args).map_err(Failure::from);
            said.and_then(|()| gather(&args, None)).err().map(|error| (error.what().to_owned(), error.exit()))
        };
        for (flag, arguments) in [
            ("--type", &[file, "--type", "example.com/x"][..]),
            ("--as", &[folder, "--as", "file"]),
            ("--key", &[folder, "--as", "file", "--key", "x"]),
            ("--type", &["-", "--type", "example.com/x"]),
            ("--as", &["-", "--as", "env"]),
            ("--type", &["--from-secret", "app", "--type", "example.com/x"]),
            ("--as", &["--from-secret", "app", "--as", "env"]),
            ("--key", &["--from-secret", "app", "--as", "file", "--key", "x"]),
        ] {
            let (what, exit) = refused(arguments).unwrap();
            assert!(what.starts_with(&format!("{flag} is for plain files")), "{arguments:?}: {what}");
            assert_eq!(exit, Exit::Usage);
        }
        for taken in [&[file][..], &[file, "--as", "secret"], &[folder, "--as", "secret"]] {
            assert_eq!(refused(taken), None, "{taken:?}");
        }
    }
}
