//! The first pass: which documents there are, and what is to become of each. Nothing is written, and the keyring is opened
//! only if somebody's recipients are not known.

use std::rc::Rc;

use touchseal_sops::{Document, KeyGroup, Opener, OtherKey};

use super::RekeyArgs;
use super::plan::{self, Keys, Plan};
use super::report::{Action, Row};
use super::wanted::{self, Found, Rules};
use crate::documents::{Candidate, DocumentFile, DocumentsError, Progress, Reading};
use crate::error::Failure;
use crate::local_keys::Identities;
use crate::{files, terminal};

/// A file of which something is to be written.
pub struct FileJob {
    pub file: DocumentFile,
    pub jobs: Vec<Job>,
    /// What is told of the documents that stay as they are, and of those nothing can be done about.
    pub rows: Vec<Row>,
}

/// A document that is to change.
pub struct Job {
    pub index: usize,
    pub document: Document,
    pub plan: Plan,
    /// The namespace whose key opens it, and that namespace's own recipient.
    pub namespace: Option<(String, String)>,
    /// It opens with identities of sops or a PGP key, or with theirs besides: that proves no namespace.
    pub stock: bool,
    /// The person's GnuPG opens it.
    pub by_gpg: bool,
    /// Those identities, if they suffice.
    pub held: Option<Rc<Opener>>,
    /// It gets a new data key: whoever goes has the old one.
    pub rotate: bool,
    /// A data key, or shares of one, are wrapped for everybody anew: whom the document merely lists will have them.
    pub anew: bool,
    pub row: Row,
}

/// What was found.
pub struct Surveyed {
    pub files: Vec<FileJob>,
    pub rows: Vec<Row>,
}

/// The pass.
pub struct Survey<'a> {
    args: &'a RekeyArgs,
    namespace: Option<&'a str>,
    rules: Rules<'a>,
    found: Surveyed,
}

impl FileJob {
    pub fn path(&self) -> &std::path::Path {
        self.file.path()
    }
}

impl<'a> Survey<'a> {
    pub fn new(args: &'a RekeyArgs, namespace: Option<&'a str>) -> Self {
        let found = Surveyed { files: Vec::new(), rows: Vec::new() };
        Self { args, namespace, rules: Rules::new(args.config.as_deref()), found }
    }

    pub fn end(self) -> Surveyed {
        self.found
    }

    /// One file. A file that is wrong is a row of the result; only a keyring that does not open ends it all.
    pub fn look(
        &mut self,
        candidate: &Candidate,
        keys: &mut Identities,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let file = match candidate.read(self.args.input_type) {
            Ok(Reading::Documents(file)) => file,
            Ok(Reading::Other) => return Ok(()),
            Ok(Reading::Doubtful) => {
                progress.clear();
                terminal::say(&format!(
                    "warning: {} is passed over: it is no sops document",
                    candidate.path.display()
                ));
                return Ok(());
            }
            Err(problem) => {
                self.found.rows.push(Row::new(&candidate.path, "", None).failed(&problem.beside_its_file()));
                return Ok(());
            }
        };
        let (mut rows, mut jobs) = (Vec::new(), Vec::new());
        for index in 0..file.documents().len() {
            match self.document(&file, index, keys) {
                Ok(Ok(job)) => jobs.push(job),
                Ok(Err(row)) => rows.push(row),
                Err(failure) => {
                    // No other document will fare better.
                    if keys.failure().is_some() || keys.has_no_keyring() && self.needs_keyring(&file, index) {
                        return Err(failure);
                    }
                    let name = &file.documents()[index].name;
                    rows.push(Row::new(file.path(), name, None).failed(&failure));
                }
            }
        }
        if let Err(problem) = files::check_writable(file.path()) {
            let failure = DocumentsError::File(problem).beside_its_file();
            rows.extend(jobs.drain(..).map(|job| job.row.failed(&failure)));
        }
        if jobs.is_empty() {
            self.found.rows.extend(rows);
        } else {
            self.found.files.push(FileJob { file, jobs, rows });
        }
        Ok(())
    }

    fn needs_keyring(&self, file: &DocumentFile, index: usize) -> bool {
        file.namespace(index, self.namespace).is_ok_and(|namespace| namespace.is_some())
    }

    /// What to do about a document; a row alone where nothing is.
    fn document(
        &mut self,
        file: &DocumentFile,
        index: usize,
        keys: &mut Identities,
    ) -> Result<Result<Job, Row>, Failure> {
        let document = file.document(index)?;
        let before = keys_of(&document);
        let namespace = file.namespace(index, self.namespace).map_err(|problem| problem.beside_its_file())?;
        let found = match namespace {
            Some(namespace) => Found::of_namespace(namespace, &before, keys)?,
            None => self.rules.of_file(file.path(), &document, &before, keys)?,
        };
        let mut plan =
            plan::plan(&before, &found.wanted, self.args.drop_others).map_err(super::wanted::unplanned)?;
        wanted::check_pgp(&found.wanted, &document, self.args.drop_others)?;
        let others = document.metadata().groups().iter().flat_map(others_of);
        if self.args.drop_others {
            plan.removed.extend(others);
        } else {
            plan.kept.extend(others);
        }
        let mut row = Row::new(file.path(), &file.documents()[index].name, found.namespace.as_deref());
        row.describe(&before, &plan, found.wanted.own.as_ref());
        if plan.is_empty() && !self.args.rotate_data_key {
            return Ok(Err(row.done(Action::UpToDate)));
        }
        let held = keys.without_keyring(&document);
        let own = found.wanted.own.as_ref();
        // One operation of the keyring's YubiKey is for all documents, one of a PGP key for one: so the keyring comes first.
        let listed = before.groups.iter().flatten().any(|one| own.is_some_and(|own| plan::is_own(own, one)));
        let by_gpg = held.is_none() && !listed && keys.opens_by_gpg(&document);
        if held.is_none() && !by_gpg && document.age_recipients().next().is_none() {
            return Err(keys.no_key(&document).into());
        }
        let stock = document.metadata().threshold() > 1 || held.is_some() || by_gpg;
        let goes = plan.removed.iter().any(|one| !own.is_some_and(|own| plan::is_own(own, one)));
        let rotate = self.args.rotate_data_key || goes && !self.args.keep_data_key;
        let anew = rotate || before.groups.len() > 1 || plan.after.groups.len() > 1;
        let namespace = found.namespace.zip(found.wanted.own.map(|own| own.recipient));
        Ok(Ok(Job { index, document, plan, namespace, stock, by_gpg, held, rotate, anew, row }))
    }
}

/// The entries of other kinds than age, for messages.
fn others_of(group: &KeyGroup) -> impl Iterator<Item = String> {
    let pgp = group.pgp().iter().map(|key| format!("pgp {}", key.fingerprint()));
    let others = group.others().iter().filter(|kind| **kind != OtherKey::Pgp);
    pgp.chain(others.map(|kind| kind.field().to_owned()))
}

fn keys_of(document: &Document) -> Keys {
    let metadata = document.metadata();
    let groups = metadata.groups().iter();
    let groups: Vec<Vec<String>> =
        groups.map(|group| group.age().iter().map(|key| key.recipient().to_owned()).collect()).collect();
    Keys { threshold: (groups.len() > 1).then(|| metadata.threshold()), groups }
}
