//! Scripts that mean no good, and one that does: the same for every sandbox that has a file system of its own.

use golf_harness::rerun::record::Ended;

use crate::support::Workshop;

mod files;

pub use files::*;

/// Makes a submission of one script, with a sandbox around it.
pub type Made = fn(&str) -> Workshop;

/// Runs each of the scripts below, as a test of its own, in what `$made` puts around it.
macro_rules! each_in {
    ($made:path, $needs:literal) => {
        crate::hostile::each_in! { $made, $needs:
            an_honest_script_is_run_and_read,
            nothing_leads_out,
            what_a_script_leaves_behind_is_ended_and_counted,
            what_has_no_end_is_given_one,
            a_file_that_is_too_large_is_an_error_to_the_script,
            caps_end_what_overruns_whatever_its_log_says,
            what_data_is_opened_when_is_recorded,
            results_that_are_none_are_none,
            the_artifact_is_what_lies_there_not_what_the_log_says,
            odd_files_are_named_and_removed,
            holes_are_not_read,
            names_that_look_alike_hide_nothing,
            what_is_no_file_is_not_opened,
            deep_folders_are_left_alone_and_removed,
            who_stays_with_deep_folders_is_ended,
            more_files_than_any_submission_has_end_it,
            many_models_make_a_short_record,
            times_are_the_supervisor_s,
            a_fork_bomb_ends,
        }
    };
    ($made:path, $needs:literal: $($name:ident),* $(,)?) => {
        $(
            #[test]
            #[ignore = $needs]
            fn $name() {
                crate::hostile::$name($made);
            }
        )*
    };
}
pub(crate) use each_in;

pub fn an_honest_script_is_run_and_read(made: Made) {
    let workshop = made(
        "import os, zlib, time\n\
         print('seed:' + os.environ['SEED'])\n\
         print('step:1/2 train_loss:3.0 train_time:0ms')\n\
         time.sleep(0.3)\n\
         print('step:2/2 train_loss:2.0 train_time:300ms')\n\
         open('model.ptz', 'wb').write(zlib.compress(bytes(1000)))\n\
         print('Serialized model int8+zlib: %d bytes' % os.path.getsize('model.ptz'))\n\
         print(open('data/tokens.bin').read(), os.getcwd(), sorted(os.environ))\n\
         print('final val_loss:2.5 val_bpb:1.25')\n",
    );
    let record = workshop.run();
    eprintln!("{record:#?}\n{}", workshop.output());
    assert_eq!(record.ended, Ended::Code(0));
    assert_eq!(record.result().unwrap().val_bpb, 1.25);
    assert!(record.artifact.is_some());
}

/// A script that prints a result at its end, whatever it does before.
pub fn with_result(body: &str) -> String {
    format!("{body}\nprint('final val_loss:2.5 val_bpb:1.25', flush=True)\n")
}

/// What the script's attempts came to: one line each that it prints itself.
fn refused(made: Made, body: &str) -> (golf_harness::rerun::record::SeedRecord, String) {
    let attempt = "\
import os, socket, subprocess, sys, time
def attempt(name, what):
    try:
        what()
        print(name, 'SUCCEEDED')
    except Exception as error:
        print(name, 'refused', type(error).__name__)
";
    let workshop = made(&with_result(&format!("{attempt}{body}")));
    let record = workshop.run();
    (record, workshop.output())
}

pub fn nothing_leads_out(made: Made) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let home = std::env::home_dir().unwrap();
    let secret = home.join(format!(".golf-harness-test-{}", std::process::id()));
    std::fs::write(&secret, "secret").unwrap();
    let (record, output) = refused(
        made,
        &format!(
            "attempt('connect', lambda: socket.create_connection(('127.0.0.1', {port}), 2))\n\
         attempt('far', lambda: socket.create_connection(('192.0.2.1', 80), 2))\n\
         attempt('names', lambda: socket.getaddrinfo('example.com', 80))\n\
         attempt('secret', lambda: open({secret:?}).read())\n\
         attempt('ssh', lambda: os.listdir(os.path.join({home:?}, '.ssh')))\n\
         attempt('data', lambda: open('data/tokens.bin', 'r+b'))\n\
         attempt('new data', lambda: open('data/more.bin', 'wb'))\n\
         attempt('remove data', lambda: os.remove('data/tokens.bin'))\n\
         attempt('source', lambda: open(__file__, 'a').write('pass'))\n\
         attempt('remove source', lambda: os.remove(__file__))\n\
         attempt('root', lambda: open('/file', 'w'))\n\
         attempt('system', lambda: open('/usr/lib/file', 'w'))\n\
         attempt('shadow', lambda: open('/etc/shadow').read())\n\
         attempt('ptrace', lambda: open('/proc/1/mem', 'rb').read(1))\n\
         attempt('core', lambda: os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY))\n\
         attempt('sysrq', lambda: os.open('/proc/sysrq-trigger', os.O_WRONLY))\n\
         attempt('mount', lambda: subprocess.run(['mount', '-t', 'tmpfs', 'x', '/tmp'], check=True, capture_output=True))\n\
         attempt('own namespace', lambda: subprocess.run(['unshare', '-U', 'true'], check=True, capture_output=True))\n"
        ),
    );
    std::fs::remove_file(&secret).unwrap();
    assert!(!output.contains("SUCCEEDED"), "{output}");
    assert_eq!(output.matches("refused").count(), 18, "{output}");
    assert_eq!(record.ended, Ended::Code(0));
    assert!(record.changed.is_empty() && record.surroundings.tried.iter().all(|(_, held, _)| *held));
}

pub fn what_a_script_leaves_behind_is_ended_and_counted(made: Made) {
    let workshop = made(&with_result(
        "import os, signal, time\n\
         if os.fork() == 0:\n    \
             os.setsid()\n    \
             if os.fork() == 0:\n        \
                 signal.signal(signal.SIGTERM, signal.SIG_IGN)\n        \
                 signal.signal(signal.SIGHUP, signal.SIG_IGN)\n        \
                 open('pid', 'w').write('daemon')\n        \
                 time.sleep(1000)\n    \
             os._exit(0)\n\
         while not os.path.exists('pid'): time.sleep(0.01)\n",
    ));
    let record = workshop.run();
    assert_eq!((record.ended, record.left_processes), (Ended::Code(0), 1));
}

fn bound(made: Made, script: &str) -> String {
    let mut workshop = made(&with_result(script));
    workshop.launch.limits.memory = golf_harness::units::Bytes(200 << 20);
    let record = workshop.run();
    assert_eq!(record.result(), None);
    match record.ended {
        Ended::Bound(words) => words,
        other => panic!("{other:?}"),
    }
}

pub fn what_has_no_end_is_given_one(made: Made) {
    for (script, words) in [
        ("x = []\nwhile True: x.append(bytearray(1 << 20))", "bytes of memory"),
        ("while True: print('x' * 1000)", "printed more than 8,388,608 bytes"),
        ("while True: print('x' * 1000, end='')", "printed more than 8,388,608 bytes"),
        (
            "import signal\nfor s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)\n\
             i = 0\nwhile True:\n    i += 1\n    open('file%d' % i, 'wb').write(bytes(1 << 20))",
            "bytes to disk; 67,108,864 are allowed",
        ),
        ("import subprocess\nwhile True: subprocess.Popen(['sleep', '1000'])", "processes; 64 are allowed"),
    ] {
        let found = bound(made, script);
        assert!(found.contains(words), "{script}: {found}");
    }
}

pub fn a_file_that_is_too_large_is_an_error_to_the_script(made: Made) {
    let workshop = made(&with_result("with open('big', 'wb') as file:\n    while True: file.write(bytes(1 << 20))"));
    let record = workshop.run();
    assert!(matches!(record.ended, Ended::Code(1) | Ended::Signal(_) | Ended::Bound(_)), "{:?}", record.ended);
    assert!(record.peak.disk.0 <= 80 << 20);
}

pub fn caps_end_what_overruns_whatever_its_log_says(made: Made) {
    let mut workshop = made(
        "import time\n\
         print('step:1/9 train_loss:3.0 train_time:1ms')\n\
         for i in range(2, 1000):\n    time.sleep(0.1)\n    print('step:%d/9 train_loss:3.0 train_time:%dms' % (i, i))\n",
    );
    workshop.launch.caps.train = Some(std::time::Duration::from_secs(1));
    let record = workshop.run();
    let Ended::Cap { phase, seconds } = &record.ended else { panic!("{record:?}") };
    assert_eq!((phase.word(), *seconds), ("training", 1.0));
    let (measured, claimed) = (record.times.training.unwrap(), record.times.claimed_training.unwrap());
    assert!(measured > 0.8 && claimed < 0.1, "{measured} {claimed}");
}

pub fn what_data_is_opened_when_is_recorded(made: Made) {
    let workshop = made(
        "import time\n\
         time.sleep(0.3)\n\
         print('step:1/2 train_loss:3.0 train_time:1ms')\n\
         time.sleep(0.3)\n\
         open('data/fineweb_val_000000.bin').read()\n\
         time.sleep(0.3)\n\
         print('final val_loss:2.5 val_bpb:1.25')\n\
         time.sleep(0.3)\n\
         open('data/tokens.bin').read()\n\
         time.sleep(0.3)\n",
    );
    std::fs::write(workshop.launch.data[0].source.join("fineweb_val_000000.bin"), "x").unwrap();
    let record = workshop.run();
    let opened: Vec<_> = record.opened.iter().map(|opened| (opened.path.as_str(), opened.phase.word())).collect();
    assert_eq!(opened, [("data/fineweb_val_000000.bin", "training"), ("data/tokens.bin", "evaluation")]);
}

pub fn results_that_are_none_are_none(made: Made) {
    let run = |script: &str| made(script).run();
    let none = run("print('hello')");
    assert_eq!((none.ended.clone(), none.result()), (Ended::Code(0), None));
    let failed = run("print('final val_loss:2.5 val_bpb:1.25')\nraise SystemExit(3)");
    assert_eq!((failed.ended.clone(), failed.result()), (Ended::Code(3), None));
    let two = run(
        "print('final val_loss:1.0 val_bpb:0.5')\nprint('\\x1b[2K\\x1b[1Afinal val_loss:2.5 val_bpb:1.25\\x1b[8m')",
    );
    assert_eq!(two.log.finals.len(), 2);
    assert_eq!(two.result().unwrap().val_bpb, 1.25);
}

pub fn the_artifact_is_what_lies_there_not_what_the_log_says(made: Made) {
    let mut workshop = made(&with_result(
        "import os\nopen('final_model.int8.ptz', 'wb').write(os.urandom(17_000_000))\n\
         print('Serialized model int8+zlib: 15000000 bytes')",
    ));
    workshop.launch.limits.disk = golf_harness::units::Bytes(256 << 20);
    let record = workshop.run();
    assert_eq!(record.artifact.as_ref().unwrap().file.digest.bytes.0, 17_000_000);
    assert_eq!(record.log.model_bytes, Some(15_000_000));
    let pickle = made(&with_result(
        "open('final_model.pt', 'wb').write(b'\\x80\\x02cposix\\nsystem\\nX\\x04\\0\\0\\0true\\x85R.')",
    ))
    .run();
    assert!(pickle.artifact.unwrap().danger.unwrap().contains("system"));
}

pub fn odd_files_are_named_and_removed(made: Made) {
    let workshop = made(&with_result(
        "import os\n\
         open(b'model\\xff\\xfe.bin', 'wb').write(b'x')\n\
         os.symlink('/etc/passwd', 'link')\n\
         os.mkfifo('pipe')\n\
         os.makedirs('closed/inside'); os.chmod('closed', 0)\n",
    ));
    let record = workshop.run();
    for words in ["link: a link to /etc/passwd", "pipe: special", "an odd name"] {
        assert!(record.oddities.iter().any(|odd| odd.contains(words)), "{words}: {:?}", record.oddities);
    }
    // The next run begins by removing it.
    std::fs::remove_file(workshop.out().join("seed-1/record.json")).unwrap();
    assert_eq!(workshop.run().ended, Ended::Code(0));
}
