//! What nginx would make of files: by a parser that is not ours, and by nginx.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;
use tempfile::TempDir;

pub(super) type Files = BTreeMap<String, String>;

/// A directive: how deep it stands, its name, and how many arguments it has.
pub(super) type Line = (usize, String, usize);

/// Configurations that wait to be looked at, all at once.
pub(super) struct Judge {
    folder: TempDir,
    folders: Vec<PathBuf>,
    /// Which number a configuration has, ids aside: most texts are rendered nowhere.
    known: HashMap<String, usize>,
}

#[derive(Deserialize)]
struct Structure {
    errors: Vec<String>,
    directives: Vec<Line>,
}

impl Judge {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), folders: Vec::new(), known: HashMap::new() }
    }

    /// Takes a configuration, and answers its number.
    pub(super) fn add(&mut self, files: &Files) -> usize {
        let content = without_ids(files);
        if let Some(number) = self.known.get(&content) {
            return *number;
        }
        self.known.insert(content, self.folders.len());
        let folder = self.folder.path().join(self.folders.len().to_string());
        for (path, text) in files {
            let file = folder.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        self.folders.push(folder);
        self.folders.len() - 1
    }

    /// The directives of each as crossplane reads them, or why it does not.
    pub(super) fn structures(&self) -> Vec<Result<Vec<Line>, String>> {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/venv");
        let mut python = Command::new(tools.join("bin/python"))
            .args(["-c", include_str!("structure.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("crossplane is missing: ./scripts/install crossplane");
        let names: String = self
            .folders
            .iter()
            .map(|it| format!("{}\n", it.join("nginx.conf").display()))
            .collect();
        let mut input = python.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(names.as_bytes()));
        let ran = python.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(
            !said.contains("No module named 'crossplane'"),
            "crossplane is missing: ./scripts/install crossplane"
        );
        assert!(ran.status.success(), "{said}");
        writer.join().unwrap().unwrap();
        let found: Vec<_> = String::from_utf8(ran.stdout)
            .unwrap()
            .lines()
            .map(|line| match serde_json::from_str::<Structure>(line).unwrap() {
                Structure { errors, directives } if errors.is_empty() => Ok(directives),
                Structure { errors, .. } => Err(errors.join("; ")),
            })
            .collect();
        assert_eq!(found.len(), self.folders.len());
        found
    }

    /// What nginx says that can only come of a text that became more than that, if anything.
    pub(super) fn nginx_sees_another_structure(&self, number: usize) -> Option<String> {
        // What agents that never connected should run is rendered for a current nginx.
        let nginx = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/nginx-current");
        assert!(nginx.is_file(), "nginx is missing: ./scripts/install nginx-current");
        let folder = &self.folders[number];
        // It is built without what an agent that never connected is taken to have.
        let main = folder.join("nginx.conf");
        let text = fs::read_to_string(&main).unwrap();
        fs::write(&main, text.replace("stub_status;", "return 204;")).unwrap();
        for name in ["tmp", "run", "logs"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        let ran = Command::new(nginx)
            .args(["-t", "-e", "stderr", "-p"])
            .arg(folder)
            .args(["-c", "nginx.conf"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        let structural = [
            "unknown directive",
            "unexpected",
            "is not terminated",
            "has no opening",
            "is not allowed here",
            "too long parameter",
            "unknown log format",
            "open() ",
        ];
        structural.iter().any(|it| said.contains(it)).then_some(said)
    }
}

/// The texts of the files without ids, and without the version that nginx answers.
fn without_ids(files: &Files) -> String {
    let is_hex = |c: char| c.is_ascii_hexdigit() || c == '-';
    let word = |it: &str| {
        let is_id =
            it.len() >= 36 && it.matches(is_hex).count() >= 36 && it.matches('-').count() >= 4;
        if is_id { "ID".to_owned() } else { it.to_owned() }
    };
    let lines =
        files.iter().flat_map(|(path, text)| [path.as_str()].into_iter().chain(text.lines()));
    let lines = lines.filter(|it| !it.trim_start().starts_with("return 200 "));
    lines
        .map(|it| it.split(['/', ' ', ';']).map(word).collect::<Vec<_>>().join(" ") + "\n")
        .collect()
}

/// Whether the first has nothing that the second lacks, in the same order.
pub(super) fn is_within(some: &[Line], all: &[Line]) -> bool {
    let mut rest = all.iter();
    some.iter().all(|line| rest.any(|it| (it.0, kind(&it.1)) == (line.0, kind(&line.1))))
}

/// A header is set on the request or on the answer, by its name.
fn kind(directive: &str) -> &str {
    if directive == "proxy_set_header" { "add_header" } else { directive }
}

/// Whether the directives are the same, whatever their arguments.
pub(super) fn is_same(some: &[Line], other: &[Line]) -> bool {
    some.len() == other.len() && is_within(some, other)
}

#[test]
fn the_judges_see_what_breaks_out() {
    let config = |value: &str| {
        let server = format!("server {{ listen 80; location / {{ add_header X {value}; }} }}");
        Files::from([
            ("nginx.conf".to_owned(), "events {}\nhttp { include hosts/*.conf; }\n".to_owned()),
            ("hosts/a.conf".to_owned(), server),
        ])
    };
    let mut judge = Judge::new();
    for value in [
        "\"a; b {\"",
        "a; proxy_pass http://b",
        "a; } } server { location /x { return 200",
        "a; b {",
    ] {
        judge.add(&config(value));
    }
    let found = judge.structures();
    let plain = found[0].as_ref().unwrap();
    let names: Vec<_> = plain.iter().map(|it| it.1.as_str()).collect();
    assert_eq!(names, ["events", "http", "server", "listen", "location", "add_header"]);
    assert_eq!(plain[5].2, 2);
    for more in &found[1..3] {
        let more = more.as_ref().unwrap();
        assert!(!is_same(more, plain) && !is_within(more, plain) && is_within(plain, more));
    }
    assert!(found[3].is_err());
    assert_eq!(judge.nginx_sees_another_structure(0), None);
    assert!(judge.nginx_sees_another_structure(3).is_some());
}
