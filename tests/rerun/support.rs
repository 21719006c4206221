//! Small submissions made on the spot, and the sessions that run them.

use std::path::{Path, PathBuf};

use golf_harness::interrupt::Interrupt;
use golf_harness::rerun::interpreter::interpreter;
use golf_harness::rerun::launch::{Caps, Launch, Limits, Mount, Python, Start};
use golf_harness::rerun::plan::packages::Unconfined;
use golf_harness::rerun::record::SeedRecord;
use golf_harness::rerun::sandbox::{self, Isolation, Wanted, container};
use golf_harness::rerun::session::{Finished, Session, SessionError};
use golf_harness::rerun::supervise::Silent;
use golf_harness::units::Bytes;

/// This package's `rerun`.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rerun"))
}

/// The image with a Python that `ci/rerun/container.sh` makes.
pub fn image() -> String {
    std::env::var("GOLF_RERUN_IMAGE").expect("GOLF_RERUN_IMAGE, which ci/rerun/container.sh sets")
}

/// A submission of one script, with data beside it.
pub struct Workshop {
    pub root: tempfile::TempDir,
    pub launch: Launch,
    pub isolation: Isolation,
}

impl Workshop {
    /// A script that is run by the isolation that this machine has.
    pub fn new(script: &str) -> Self {
        let python = interpreter(&Unconfined, Path::new("python3")).unwrap();
        Self::with(script, sandbox::choose(Wanted::Best).unwrap(), python)
    }

    /// A script that is run in a container of the image for tests.
    pub fn in_container(script: &str) -> Self {
        let container = container::find(&image(), None).unwrap();
        let python = container.interpreter(Path::new("python3")).unwrap();
        Self::with(script, Isolation::Container(Box::new(container)), python)
    }

    fn with(script: &str, isolation: Isolation, python: Python) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("submission");
        let data = root.path().join("data");
        std::fs::create_dir(&folder).unwrap();
        std::fs::create_dir(&data).unwrap();
        std::fs::write(folder.join("train_gpt.py"), script).unwrap();
        std::fs::write(data.join("tokens.bin"), b"tokens").unwrap();
        let launch = Launch {
            name: "workshop".into(),
            files: vec!["train_gpt.py".into()],
            counted: vec!["train_gpt.py".into()],
            start: Start::Python,
            script: "train_gpt.py".into(),
            arguments: Vec::new(),
            variables: [("SEED", "{seed}"), ("DATA_PATH", "./data")].map(|(k, v)| (k.into(), v.into())).into(),
            stated: Default::default(),
            data: vec![Mount { source: data, at: PathBuf::from("data") }],
            python,
            limits: Limits { memory: Bytes(1 << 30), disk: Bytes(64 << 20), output: Bytes(8 << 20), processes: 64 },
            caps: Caps::default(),
            folder,
        };
        Workshop { root, launch, isolation }
    }

    /// The run folder.
    pub fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    /// Runs these seeds.
    pub fn session(&self, seeds: &[u64], interrupt: &Interrupt) -> Result<Finished, SessionError> {
        let out = self.out();
        let session =
            Session { launch: &self.launch, isolation: &self.isolation, seeds, out: &out, program: program() };
        session.run(interrupt, &mut |_| Box::new(Silent))
    }

    /// Runs seed 1.
    pub fn run(&self) -> SeedRecord {
        self.session(&[1], &Interrupt::none()).unwrap().records.remove(0)
    }

    /// What seed 1 printed.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.out().join("seed-1/output.log")).unwrap()).into_owned()
    }
}
