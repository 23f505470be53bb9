//! The dependency page names every direct dependency, so that none comes in without its reason.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    const CRATES: [&str; 7] = [
        "shared",
        "dataplane",
        "controlplane",
        "benches",
        "tests",
        "tests/network",
        "tests/simulation",
    ];

    /// The names in the dependency tables of a manifest.
    fn dependencies(manifest: &str) -> Vec<&str> {
        let mut inside = false;
        let mut names = Vec::new();
        for line in manifest.lines() {
            if line.starts_with('[') {
                inside = line.contains("dependencies");
            } else if let (true, Some(end)) = (inside, line.find(['.', ' ', '='])) {
                names.push(&line[..end]);
            }
        }
        names.retain(|name| !name.is_empty() && !name.starts_with(['#', '}', ']']));
        names
    }

    #[test]
    fn every_direct_dependency_has_its_reason() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let page = fs::read_to_string(root.join("DEPENDENCIES.md")).expect("the page");
        let mut missing = Vec::new();
        for name in CRATES {
            let manifest = fs::read_to_string(root.join(name).join("Cargo.toml")).expect("a manifest");
            let found = dependencies(&manifest);
            assert!(!found.is_empty(), "{name} has dependencies");
            missing.extend(
                found
                    .into_iter()
                    .filter(|name| !name.starts_with("kall-") && !page.contains(&format!("`{name}`")))
                    .map(|dependency| format!("{name}: {dependency}")),
            );
        }
        assert!(missing.is_empty(), "not in DEPENDENCIES.md: {missing:?}");
    }
}
