//! Every committed input passes, those that once did not among them.

use std::path::Path;

#[test]
fn every_committed_input_passes() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in fuzz_tests::TARGETS {
        let mut count = 0;
        for entry in std::fs::read_dir(corpora.join(name)).expect("each target has a corpus") {
            let path = entry.expect("an entry").path();
            // Shown only if the target panics: which input it was.
            println!("{}", path.display());
            target(&std::fs::read(&path).expect("readable"));
            count += 1;
        }
        assert!(count > 0, "{name}: no inputs");
    }
}
