//! The dependency arrows of the workspace, read from cargo's own metadata.
//!
//! `docs/architecture.md` draws them. Normal and build dependencies count; development
//! dependencies reach no user. Features count as they stand by default.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// Crates that may be published, and the workspace crates each may depend on.
const ARROWS: [(&str, &[&str]); 6] = [
    ("cox-survival", &[]),
    ("latent-attribute", &[]),
    ("stylegan2-burn", &[]),
    ("latent-inversion", &["stylegan2-burn"]),
    (
        "survlatent",
        &[
            "cox-survival",
            "latent-attribute",
            "latent-inversion",
            "stylegan2-burn",
        ],
    ),
    (
        "survlatent-cli",
        &["survlatent", "stylegan2-burn", "latent-inversion"],
    ),
];

/// Members that nothing may depend on.
const LEAVES: [&str; 3] = [
    "survlatent-tests",
    "survlatent-examples",
    "survlatent-benches",
];

/// Statistics without networks.
const WITHOUT_BURN: [&str; 2] = ["cox-survival", "latent-attribute"];

/// Prefixes of crates for pictures, and of crates about survival.
const IMAGES: [&str; 6] = ["image", "png", "jpeg", "zune-jpeg", "gif", "resvg"];
const SURVIVAL: [&str; 3] = ["cox-survival", "survlatent", "survival"];
const LATENTS: [&str; 2] = ["latent-attribute", "latent-inversion"];

/// Dependencies that a user gets without asking for a feature.
struct Workspace {
    metadata: Metadata,
    /// What each resolved package needs, development aside.
    needs: BTreeMap<PackageId, Vec<PackageId>>,
}

impl Workspace {
    fn read() -> Self {
        let metadata = MetadataCommand::new()
            .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
            // What compiled this test is what it may look at: no network, this platform.
            .other_options(vec![
                "--offline".to_owned(),
                "--filter-platform".to_owned(),
                host(),
            ])
            .exec()
            .expect("cargo metadata");
        let resolve = metadata.resolve.as_ref().expect("a resolved graph");
        let needs = resolve
            .nodes
            .iter()
            .map(|node| {
                let needs = node
                    .deps
                    .iter()
                    .filter(|dep| {
                        dep.dep_kinds
                            .iter()
                            .any(|kind| kind.kind != DependencyKind::Development)
                    })
                    .map(|dep| dep.pkg.clone())
                    .collect();
                (node.id.clone(), needs)
            })
            .collect();
        Self { metadata, needs }
    }

    fn members(&self) -> Vec<&Package> {
        self.metadata.workspace_packages()
    }

    fn member(&self, name: &str) -> Option<&Package> {
        self.members().into_iter().find(|p| p.name == name)
    }

    /// Workspace crates that `package` depends on, whatever the features.
    fn workspace_needs(&self, package: &Package) -> BTreeSet<String> {
        package
            .dependencies
            .iter()
            .filter(|dep| dep.kind != DependencyKind::Development)
            .map(|dep| dep.name.clone())
            .filter(|name| self.member(name).is_some())
            .collect()
    }

    /// Everything that comes along with `package` by default, as names.
    ///
    /// The graph of the workspace unites the features that its members ask of one another, so the
    /// first step goes by the package's own default features.
    fn closure(&self, package: &Package) -> BTreeSet<String> {
        let direct = default_needs(package);
        let mut open: Vec<&PackageId> = self.needs[&package.id]
            .iter()
            .filter(|id| direct.contains(self.metadata[id].name.as_str()))
            .collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(&self.needs[id]);
            }
        }
        seen.into_iter()
            .map(|id| self.metadata[id].name.to_string())
            .collect()
    }
}

/// The platform this test was compiled for.
fn host() -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo).arg("-vV").output().expect("cargo -vV");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("a host line")
        .to_owned()
}

/// Names of the direct dependencies that default features leave switched on.
fn default_needs(package: &Package) -> BTreeSet<String> {
    let mut features = BTreeSet::new();
    let mut switched = BTreeSet::new();
    let mut open = vec!["default".to_owned()];
    while let Some(feature) = open.pop() {
        if !features.insert(feature.clone()) {
            continue;
        }
        for entry in package.features.get(&feature).into_iter().flatten() {
            if let Some(name) = entry.strip_prefix("dep:") {
                switched.insert(name.to_owned());
            } else if let Some((name, _)) = entry.split_once('/') {
                // `name?/feature` switches nothing on.
                if !name.ends_with('?') {
                    switched.insert(name.to_owned());
                }
            } else {
                open.push(entry.clone());
            }
        }
    }
    package
        .dependencies
        .iter()
        .filter(|dep| dep.kind != DependencyKind::Development)
        .filter(|dep| !dep.optional || switched.contains(dep.rename.as_ref().unwrap_or(&dep.name)))
        .map(|dep| dep.name.clone())
        .collect()
}

fn starts_with_any(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

/// Those of `names` that are one of `prefixes`, or begin with it and a dash.
fn among(names: &BTreeSet<String>, prefixes: &[&str]) -> Vec<String> {
    names
        .iter()
        .filter(|name| starts_with_any(name, prefixes))
        .cloned()
        .collect()
}

#[test]
fn arrows_point_downwards_only() {
    let workspace = Workspace::read();
    for package in workspace.members() {
        let name = package.name.as_str();
        let needs = workspace.workspace_needs(package);
        for leaf in LEAVES {
            assert!(!needs.contains(leaf), "{name} depends on {leaf}");
        }
        if LEAVES.contains(&name) {
            continue;
        }
        let allowed = ARROWS
            .iter()
            .find(|(from, _)| *from == name)
            .unwrap_or_else(|| panic!("{name} is not in the table of arrows"))
            .1;
        for need in &needs {
            assert!(
                allowed.contains(&need.as_str()),
                "{name} depends on {need}, which it must not know"
            );
        }
    }
}

#[test]
fn the_libraries_are_there_and_the_command_line_stands_on_the_umbrella() {
    let workspace = Workspace::read();
    for name in ["cox-survival", "latent-attribute"] {
        let umbrella = workspace.member("survlatent").expect("survlatent");
        assert!(workspace.member(name).is_some(), "{name} is a member");
        assert!(
            workspace.workspace_needs(umbrella).contains(name),
            "survlatent depends on {name}"
        );
    }
    let cli = workspace.member("survlatent-cli").expect("survlatent-cli");
    assert_eq!(
        workspace.workspace_needs(cli),
        ["latent-inversion", "stylegan2-burn", "survlatent"]
            .map(str::to_owned)
            .into()
    );
}

/// The umbrella, and the examples without their pictures, built with `-p`. Other commands build what
/// the command line asks for, too, and wait for Burn.
#[test]
fn the_umbrella_and_the_examples_alone_come_without_burn() {
    for (name, without) in [
        ("survlatent", &[][..]),
        ("survlatent-examples", &["--no-default-features"]),
    ] {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let tree = std::process::Command::new(cargo)
            .args([
                "tree",
                "--offline",
                "--prefix",
                "none",
                "-e",
                "normal,build",
                "-p",
                name,
            ])
            .args(without)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .expect("cargo tree");
        let text = String::from_utf8_lossy(&tree.stdout).into_owned();
        let names: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .collect();
        assert!(names.contains("faer"), "{name}: the tree is read");
        assert_eq!(
            among(&names, &["burn", "cubecl", "stylegan2-burn"]),
            Vec::<String>::new(),
            "{name}"
        );
    }
}

#[test]
fn statistics_come_without_burn() {
    let workspace = Workspace::read();
    for name in WITHOUT_BURN {
        let package = workspace.member(name).expect(name);
        let closure = workspace.closure(package);
        assert!(
            closure.contains("faer"),
            "{name}: the graph is read, since it holds faer"
        );
        assert_eq!(
            among(&closure, &["burn", "cubecl"]),
            Vec::<String>::new(),
            "{name}"
        );
        let ours: Vec<&String> = closure
            .iter()
            .filter(|need| workspace.member(need).is_some())
            .collect();
        assert!(ours.is_empty(), "{name} brings {ours:?}");
    }
}

#[test]
fn directions_know_neither_images_nor_survival_and_networks_neither_survival_nor_directions() {
    let workspace = Workspace::read();
    let attribute = workspace.member("latent-attribute").expect("a member");
    let closure = workspace.closure(attribute);
    assert_eq!(among(&closure, &IMAGES), Vec::<String>::new());
    assert_eq!(among(&closure, &SURVIVAL), Vec::<String>::new());
    if let Some(networks) = workspace.member("stylegan2-burn") {
        let closure = workspace.closure(networks);
        assert_eq!(among(&closure, &SURVIVAL), Vec::<String>::new());
        assert_eq!(among(&closure, &LATENTS), Vec::<String>::new());
    }
}

#[test]
fn members_carry_licence_and_toolchain_and_pin_burn() {
    let workspace = Workspace::read();
    assert!(!workspace.members().is_empty());
    for package in workspace.members() {
        let name = package.name.as_str();
        assert_eq!(package.license.as_deref(), Some("MIT"), "{name}");
        let rust = package.rust_version.as_ref().map(ToString::to_string);
        assert!(
            rust.is_some_and(|version| version.starts_with("1.95")),
            "{name}: rust-version"
        );
        let published = package.publish.as_ref().is_none_or(|to| !to.is_empty());
        assert_eq!(
            published,
            !LEAVES.contains(&name),
            "{name}: to be published or not"
        );
        for dep in &package.dependencies {
            if starts_with_any(&dep.name, &["burn"]) {
                assert_eq!(dep.req.to_string(), "=0.22.1", "{name} needs {}", dep.name);
            }
        }
    }
}
