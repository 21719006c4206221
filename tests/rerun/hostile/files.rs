//! Scripts that leave files which cost their reader more than their maker.

use golf_harness::rerun::record::Ended;
use golf_harness::units::Bytes;

use super::{Made, with_result};

/// A model of a known size among everything else.
const MODEL: &str = "import os, zlib\nopen('model.ptz', 'wb').write(zlib.compress(bytes(1000)))\n";

pub fn holes_are_not_read(made: Made) {
    let names = ["bin", "txt", "py", "dat", "json"];
    let mut workshop = made(&with_result(&format!(
        "{MODEL}\
         for i in range(200):\n    \
             with open('hole%03d.%s' % (i, {names:?}[i % 5]), 'wb') as file: file.truncate(40 << 30)\n\
         for name in ('README.md', 'submission.json'):\n    \
             with open(name, 'wb') as file: file.truncate(1 << 27)\n\
         with open('three.bin', 'wb') as file: file.truncate(1 << 26)\n",
    )));
    // A file may be as large as all of them together.
    workshop.launch.limits.disk = Bytes(64 << 30);
    let record = workshop.run();
    assert_eq!(record.ended, Ended::Code(0));
    assert_eq!(record.artifact.unwrap().file.path, "model.ptz");
    let odd = &record.oddities;
    assert!(odd.iter().any(|odd| odd == "hole000.bin: too much: 42949672960 bytes, of which 0 lie on disk; not read"));
    // Two files of 128 MiB may be read, a third may not.
    let more = odd.last().unwrap();
    assert_eq!(more, "171 more like these", "{odd:?}");
    assert!(record.files.iter().all(|file| !file.path.starts_with("hole")), "{:?}", record.files);
    assert!(record.other_models.is_empty(), "{:?}", record.other_models);
    assert!(record.peak.disk.0 < 1 << 20);
}

pub fn names_that_look_alike_hide_nothing(made: Made) {
    let record = made(&with_result(
        "import os, zlib\n\
         pickle = b'\\x80\\x02cposix\\nsystem\\nX\\x04\\0\\0\\0true\\x85R.'\n\
         open(b'model\\xfd.pt', 'wb').write(b'harmless')\n\
         open(b'model\\xfe.pt', 'wb').write(pickle)\n\
         open(b'model\\xff.pt', 'wb').write(b'harmless, too')\n",
    ))
    .run();
    let models: Vec<_> = record.artifact.iter().chain(&record.other_models).collect();
    assert_eq!(models.len(), 3, "{models:#?}");
    assert!(models.iter().any(|model| model.danger.as_deref().is_some_and(|words| words.contains("system"))));
    assert_eq!(
        record.oddities.iter().filter(|odd| odd.contains("not plain UTF-8")).count(),
        3,
        "{:?}",
        record.oddities
    );
}

pub fn what_is_no_file_is_not_opened(made: Made) {
    let record = made(&with_result(&format!(
        "{MODEL}\
         import socket, stat\n\
         def attempt(name, what):\n    \
             try: what()\n    \
             except Exception as error: print(name, 'refused', type(error).__name__)\n\
         attempt('device', lambda: os.mknod('null', stat.S_IFCHR | 0o666, os.makedev(1, 3)))\n\
         attempt('disk', lambda: os.mknod('disk', stat.S_IFBLK | 0o666, os.makedev(8, 0)))\n\
         attempt('data', lambda: os.link('data/tokens.bin', 'linked.bin'))\n\
         os.mkfifo('final_model.ptz')\n\
         os.symlink('/dev/zero', 'endless.ptz')\n\
         os.symlink('/proc/self/environ', 'README.md')\n\
         os.symlink('.', 'circle')\n\
         os.symlink('submission.json', 'submission.json')\n\
         socket.socket(socket.AF_UNIX).bind('socket.bin')\n",
    )))
    .run();
    assert_eq!(record.ended, Ended::Code(0));
    assert_eq!(record.artifact.unwrap().file.path, "model.ptz");
    assert!(record.other_models.is_empty() && record.files.is_empty(), "{:?}", record.files);
    for words in [
        "final_model.ptz: special",
        "socket.bin: special",
        "endless.ptz: a link to /dev/zero",
        "README.md: a link to /proc/self/environ",
        "circle: a link to .",
        "submission.json: a link to submission.json",
    ] {
        assert!(record.oddities.iter().any(|odd| odd.contains(words)), "{words}: {:?}", record.oddities);
    }
    assert_eq!(record.oddities.len(), 6, "{:?}", record.oddities);
}

/// Folders in folders, with names so long that no path leads to the last one.
const DEEP: &str = "\
import os
here = os.open('.', os.O_RDONLY)
for i in range(1000):
    os.mkdir('d' * 200)
    os.chdir('d' * 200)
open('last', 'w').write('x' * 1000)
os.fchdir(here)
";

pub fn deep_folders_are_left_alone_and_removed(made: Made) {
    let workshop = made(&with_result(&format!("{MODEL}{DEEP}")));
    let record = workshop.run();
    match &record.ended {
        // Too quick to be seen while it ran.
        Ended::Code(0) => {
            assert_eq!(record.artifact.unwrap().file.path, "model.ptz");
            assert!(
                record.oddities.iter().any(|odd| odd.contains("too much: its path is too long")),
                "{:?}",
                record.oddities
            );
        }
        Ended::Bound(words) => assert!(words.contains("deeper than 64"), "{words}"),
        other => panic!("{other:?}"),
    }
    // The next run begins by removing them.
    std::fs::remove_file(workshop.out().join("seed-1/record.json")).unwrap();
    std::fs::write(workshop.launch.folder.join("train_gpt.py"), with_result(MODEL)).unwrap();
    let next = workshop.run();
    assert_eq!((next.ended, next.oddities), (Ended::Code(0), Vec::new()));
}

pub fn who_stays_with_deep_folders_is_ended(made: Made) {
    let record = made(&with_result(&format!("{DEEP}import time\ntime.sleep(1000)"))).run();
    let Ended::Bound(words) = &record.ended else { panic!("{:?}", record.ended) };
    assert!(words.contains("folders deeper than 64"), "{words}");
}

pub fn more_files_than_any_submission_has_end_it(made: Made) {
    let workshop = made(&with_result(
        "import os\n\
         for i in range(200):\n    \
             os.mkdir('d%d' % i)\n    \
             for j in range(1000): os.close(os.open('d%d/%d' % (i, j), os.O_CREAT | os.O_WRONLY))\n\
         import time\n\
         time.sleep(1000)\n",
    ));
    let record = workshop.run();
    let Ended::Bound(words) = &record.ended else { panic!("{:?}", record.ended) };
    assert!(words.contains("made more than 100000 files"), "{words}");
    assert!(record.files.len() <= 200 && record.oddities.iter().any(|odd| odd.contains("more than 20000 files")));
    let bytes = std::fs::metadata(workshop.out().join("seed-1/record.json")).unwrap().len();
    assert!(bytes < 1 << 20, "{bytes}");
}

pub fn many_models_make_a_short_record(made: Made) {
    let workshop = made(&with_result(
        "for i in range(3000): open('m%d.bin' % i, 'wb').write(b'\\x93NUMPY' + bytes(i % 7))\n\
         open('last.pt', 'wb').write(b'\\x80\\x02cposix\\nsystem\\nX\\x04\\0\\0\\0true\\x85R.')\n",
    ));
    let record = workshop.run();
    assert_eq!((record.ended, record.other_models.len()), (Ended::Code(0), 200));
    assert!(record.oddities.iter().any(|odd| odd == "2800 more files that may be models"), "{:?}", record.oddities);
    let dangers = record.artifact.iter().chain(&record.other_models).filter(|model| model.danger.is_some());
    assert_eq!(dangers.count(), 1);
}

pub fn times_are_the_supervisor_s(made: Made) {
    let workshop = made(&with_result(&format!(
        "{MODEL}\
         import time\n\
         print('step:1/2 train_loss:3.0 train_time:0ms', flush=True)\n\
         time.sleep(0.5)\n\
         print('1999-12-31 23:59:59 step:2/2 train_loss:2.0 train_time:1ms', flush=True)\n\
         for when in (0, -1, 1 << 40):\n    \
             os.utime('model.ptz', (when, when))\n",
    )));
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let record = workshop.run();
    assert_eq!(record.artifact.unwrap().file.path, "model.ptz");
    assert!((before..before + 3600).contains(&record.started));
    let times = std::fs::read_to_string(workshop.out().join("seed-1/output.times")).unwrap();
    let times: Vec<f64> = times.lines().map(|line| line.parse().unwrap()).collect();
    assert!(times.len() == 3 && times.is_sorted() && times[1] - times[0] > 0.4, "{times:?}");
}

pub fn a_fork_bomb_ends(made: Made) {
    let mut workshop = made(&with_result("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n"));
    // Between two looks there are soon so many that their memory would be the first bound.
    workshop.launch.limits.memory = Bytes(1 << 40);
    let record = workshop.run();
    let Ended::Bound(words) = &record.ended else { panic!("{:?}", record.ended) };
    assert!(words.contains("processes; 64 are allowed"), "{words}");
    assert!(crate::processes::is_empty_soon(workshop.root.path()));
}
