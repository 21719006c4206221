//! The manifests of the leaderboard's records: they load, and describe networks of the size that logs state.

use std::path::{Path, PathBuf};

use golf_harness::manifest::{self, Manifest, Track};
use golf_harness::model::layout;

/// Parameters that logs state (`model_params:`), by pull request: of the record itself or, where its own log is not
/// at hand, of others' runs of its script. That of 1477 is a count of its script's state dict.
const PARAMETERS: [(u64, u64); 15] = [
    (2, 17_059_912),
    (162, 22_368_841),
    (180, 25_517_137),
    (287, 26_829_913),
    (315, 26_829_913),
    (414, 26_993_756),
    (549, 26_928_220),
    (1019, 27_067_484),
    (1218, 34_401_371),
    (1334, 34_401_372),
    (1394, 35_943_512),
    (1412, 35_943_512),
    (1413, 35_943_512),
    (1477, 35_943_513),
    (1493, 35_944_536),
];

/// Every file of the folder, by name, as a manifest that has passed the loader's checks.
pub fn records() -> Vec<(PathBuf, Manifest)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/records");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), manifest::load(&path).unwrap())).collect()
}

#[test]
fn records_have_the_parameters_that_logs_state() {
    let records = records();
    assert_eq!(records.len(), PARAMETERS.len());
    for (pr, expected) in PARAMETERS {
        let name = format!("pr-{pr}");
        let (path, record) = records.iter().find(|(_, record)| record.name == name).expect(&name);
        assert_eq!(path.file_name().and_then(|file| file.to_str()), Some(format!("{name}.yaml").as_str()));
        assert_eq!((record.claim.pr(), record.claim.track), (Some(pr), Track::TenMinutes), "{name}");
        let sizes = layout(&record.model).into_iter().map(|spec| spec.shape.iter().product::<usize>() as u64);
        assert_eq!(sizes.sum::<u64>(), expected, "{name}");
        let claimed = record.claim.metrics.parameters.as_ref().map(|number| number.text().to_string());
        assert_eq!(claimed, Some(expected.to_string()), "{name}");
    }
}

/// Rows of the skip weights are as many as the export of each script holds.
#[test]
fn skips_have_the_rows_of_the_scripts() {
    let rows =
        [(2, 4), (414, 5), (549, 5), (1019, 5), (1218, 5), (1334, 5), (1394, 7), (1412, 7), (1477, 7), (1493, 8)];
    let records = records();
    for (pr, expected) in rows {
        let name = format!("pr-{pr}");
        let (_, record) = records.iter().find(|(_, record)| record.name == name).expect(&name);
        assert_eq!(record.model.num_skips(), expected, "{name}");
    }
}
