//! Scripts that mean no good, and one that does.

mod commands;
mod shipped;
mod slurm;

use golf_harness::rerun::record::Ended;
use golf_harness::rerun::sandbox::Isolation;

use crate::support::Workshop;

#[test]
#[ignore = "needs bubblewrap and python3"]
fn an_honest_script_is_run_and_read() {
    let workshop = Workshop::new(
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
    assert_eq!(workshop.isolation, Isolation::Bubblewrap);
    assert_eq!(record.result().unwrap().val_bpb, 1.25);
    assert!(record.artifact.is_some());
}

/// A script that prints a result at its end, whatever it does before.
fn with_result(body: &str) -> String {
    format!("{body}\nprint('final val_loss:2.5 val_bpb:1.25', flush=True)\n")
}

/// What the script's attempts came to: one line each that it prints itself.
fn refused(body: &str) -> (golf_harness::rerun::record::SeedRecord, String) {
    let attempt = "\
import os, socket, subprocess, sys, time
def attempt(name, what):
    try:
        what()
        print(name, 'SUCCEEDED')
    except Exception as error:
        print(name, 'refused', type(error).__name__)
";
    let workshop = Workshop::new(&with_result(&format!("{attempt}{body}")));
    let record = workshop.run();
    (record, workshop.output())
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn nothing_leads_out() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let home = std::env::home_dir().unwrap();
    let secret = home.join(format!(".golf-harness-test-{}", std::process::id()));
    std::fs::write(&secret, "secret").unwrap();
    let (record, output) = refused(&format!(
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
         attempt('mount', lambda: subprocess.run(['mount', '-t', 'tmpfs', 'x', '/tmp'], check=True, capture_output=True))\n\
         attempt('own namespace', lambda: subprocess.run(['unshare', '-U', 'true'], check=True, capture_output=True))\n"
    ));
    std::fs::remove_file(&secret).unwrap();
    assert!(!output.contains("SUCCEEDED"), "{output}");
    assert_eq!(output.matches("refused").count(), 16, "{output}");
    assert_eq!(record.ended, Ended::Code(0));
    assert!(record.changed.is_empty() && record.surroundings.tried.iter().all(|(_, held, _)| *held));
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn what_a_script_leaves_behind_is_ended_and_counted() {
    let workshop = Workshop::new(&with_result(
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

fn bound(script: &str) -> String {
    let mut workshop = Workshop::new(&with_result(script));
    workshop.launch.limits.memory = golf_harness::units::Bytes(200 << 20);
    let record = workshop.run();
    assert_eq!(record.result(), None);
    match record.ended {
        Ended::Bound(words) => words,
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn what_has_no_end_is_given_one() {
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
        let found = bound(script);
        assert!(found.contains(words), "{script}: {found}");
    }
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn a_file_that_is_too_large_is_an_error_to_the_script() {
    let workshop =
        Workshop::new(&with_result("with open('big', 'wb') as file:\n    while True: file.write(bytes(1 << 20))"));
    let record = workshop.run();
    assert!(matches!(record.ended, Ended::Code(1) | Ended::Signal(_) | Ended::Bound(_)), "{:?}", record.ended);
    assert!(record.peak.disk.0 <= 80 << 20);
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn caps_end_what_overruns_whatever_its_log_says() {
    let mut workshop = Workshop::new(
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

#[test]
#[ignore = "needs bubblewrap and python3"]
fn what_data_is_opened_when_is_recorded() {
    let workshop = Workshop::new(
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

#[test]
#[ignore = "needs bubblewrap and python3"]
fn results_that_are_none_are_none() {
    let run = |script: &str| Workshop::new(script).run();
    let none = run("print('hello')");
    assert_eq!((none.ended.clone(), none.result()), (Ended::Code(0), None));
    let failed = run("print('final val_loss:2.5 val_bpb:1.25')\nraise SystemExit(3)");
    assert_eq!((failed.ended.clone(), failed.result()), (Ended::Code(3), None));
    let killed = run(
        "import os, signal\nprint('final val_bpb:1.25')\nos.kill(os.getppid(), signal.SIGKILL)\nimport time\ntime.sleep(9)",
    );
    assert_ne!(killed.ended, Ended::Code(0));
    let two = run(
        "print('final val_loss:1.0 val_bpb:0.5')\nprint('\\x1b[2K\\x1b[1Afinal val_loss:2.5 val_bpb:1.25\\x1b[8m')",
    );
    assert_eq!(two.log.finals.len(), 2);
    assert_eq!(two.result().unwrap().val_bpb, 1.25);
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn the_artifact_is_what_lies_there_not_what_the_log_says() {
    let mut workshop = Workshop::new(&with_result(
        "import os\nopen('final_model.int8.ptz', 'wb').write(os.urandom(17_000_000))\n\
         print('Serialized model int8+zlib: 15000000 bytes')",
    ));
    workshop.launch.limits.disk = golf_harness::units::Bytes(256 << 20);
    let record = workshop.run();
    assert_eq!(record.artifact.as_ref().unwrap().file.digest.bytes.0, 17_000_000);
    assert_eq!(record.log.model_bytes, Some(15_000_000));
    let pickle = Workshop::new(&with_result(
        "open('final_model.pt', 'wb').write(b'\\x80\\x02cposix\\nsystem\\nX\\x04\\0\\0\\0true\\x85R.')",
    ))
    .run();
    assert!(pickle.artifact.unwrap().danger.unwrap().contains("system"));
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn odd_files_are_named_and_removed() {
    let workshop = Workshop::new(&with_result(
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

/// What `torchrun` is, without PyTorch: starts the script's processes and waits for them.
const TORCHRUN: &str = "\
import os, subprocess, sys
count = int(next(a for a in sys.argv if a.startswith('--nproc_per_node=')).split('=')[1])
script = next(i for i, a in enumerate(sys.argv) if a.endswith('train_gpt.py'))
processes = [subprocess.Popen([sys.executable] + sys.argv[script:], env={**os.environ, 'RANK': str(rank), 'WORLD_SIZE': str(count)})
             for rank in range(count)]
sys.exit(max(process.wait() for process in processes))
";

/// Two processes that meet at a port the system chooses.
const MEETING: &str = "\
import os, socket, time
if os.environ['RANK'] == '0':
    listener = socket.create_server(('127.0.0.1', 0))
    open('port.new', 'w').write(str(listener.getsockname()[1]))
    os.rename('port.new', 'port')
    connection, _ = listener.accept()
    print('world_size:' + os.environ['WORLD_SIZE'])
    import getpass
    print(getpass.getuser(), socket.getaddrinfo(socket.gethostname(), 80)[0][4], socket.getaddrinfo('localhost', 80)[0][4])
    print('heard ' + connection.recv(5).decode())
    print('final val_loss:2.5 val_bpb:1.25', flush=True)
else:
    while not os.path.exists('port'): time.sleep(0.01)
    socket.create_connection(('127.0.0.1', int(open('port').read()))).sendall(b'hello')
";

#[test]
#[ignore = "needs bubblewrap and python3"]
fn processes_of_one_run_meet_in_both_sandboxes() {
    for isolation in [Isolation::Bubblewrap, Isolation::Landlock] {
        let mut workshop = Workshop::new(MEETING);
        workshop.isolation = isolation;
        workshop.launch.start = golf_harness::rerun::launch::Start::Torchrun(2);
        let modules = workshop.launch.folder.join("torch/distributed");
        std::fs::create_dir_all(&modules).unwrap();
        for (name, text) in
            [("torch/__init__.py", ""), ("torch/distributed/__init__.py", ""), ("torch/distributed/run.py", TORCHRUN)]
        {
            std::fs::write(workshop.launch.folder.join(name), text).unwrap();
            workshop.launch.files.push(name.into());
        }
        let record = workshop.run();
        let output = workshop.output();
        assert_eq!(record.ended, Ended::Code(0), "{isolation:?} {output} {record:?}");
        assert!(output.contains("heard hello") && record.log.world_size == Some(2), "{output}");
    }
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn landlock_refuses_what_bubblewrap_does_and_sees_changed_code() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let home = std::env::home_dir().unwrap();
    let secret = home.join(format!(".golf-harness-test-landlock-{}", std::process::id()));
    std::fs::write(&secret, "secret").unwrap();
    let mut workshop = Workshop::new(&with_result(&format!(
        "import os, socket, subprocess\n\
         def attempt(name, what):\n    \
             try:\n        \
                 what()\n        \
                 print(name, 'SUCCEEDED')\n    \
             except Exception as error:\n        \
                 print(name, 'refused', type(error).__name__)\n\
         attempt('connect', lambda: socket.create_connection(('127.0.0.1', {port}), 2))\n\
         attempt('datagram', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))\n\
         attempt('local', lambda: socket.socket(socket.AF_UNIX))\n\
         attempt('secret', lambda: open({secret:?}).read())\n\
         attempt('data', lambda: open('data/tokens.bin', 'r+b'))\n\
         attempt('new data', lambda: open('data/more.bin', 'wb'))\n\
         attempt('tmp', lambda: open('/tmp/file', 'w'))\n\
         attempt('shadow', lambda: open('/etc/shadow').read())\n\
         attempt('supervisor', lambda: open('/proc/{pid}/environ').read())\n\
         attempt('memory', lambda: open('/proc/{pid}/mem', 'rb').read(1))\n\
         attempt('own namespace', lambda: subprocess.run(['unshare', '-U', 'true'], check=True, capture_output=True))\n\
         open(__file__, 'a') if os.access(__file__, os.W_OK) else os.chmod(__file__, 0o644)\n\
         open(__file__, 'a').write('# changed')\n",
        pid = std::process::id(),
    )));
    workshop.isolation = Isolation::Landlock;
    let record = workshop.run();
    std::fs::remove_file(&secret).unwrap();
    let output = workshop.output();
    assert!(!output.contains("SUCCEEDED"), "{output}");
    assert_eq!(output.matches("refused").count(), 11, "{output}");
    assert_eq!(record.changed, ["train_gpt.py"]);
    // The original is what it was.
    assert!(!std::fs::read_to_string(workshop.launch.folder.join("train_gpt.py")).unwrap().contains("# changed'\n#"));
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn a_copy_replaced_by_something_endless_is_changed() {
    for replacement in ["os.symlink('/dev/zero', 'train_gpt.py')", "os.mkfifo('train_gpt.py')"] {
        let mut workshop = Workshop::new(&with_result(&format!("import os\nos.remove('train_gpt.py')\n{replacement}")));
        workshop.isolation = Isolation::Landlock;
        let record = workshop.run();
        assert_eq!((record.ended, record.changed), (Ended::Code(0), vec!["train_gpt.py".to_string()]));
    }
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn what_landlock_leaves_behind_is_ended_too() {
    let mut workshop = Workshop::new(&with_result(
        "import os, time\n\
         for _ in range(3):\n    \
             if os.fork() == 0:\n        \
                 os.setsid()\n        \
                 if os.fork() == 0: time.sleep(1000)\n        \
                 os._exit(0)\n\
         time.sleep(0.2)\n",
    ));
    workshop.isolation = Isolation::Landlock;
    let record = workshop.run();
    assert_eq!((record.ended, record.left_processes), (Ended::Code(0), 3));
    let name = workshop.root.path().to_str().unwrap().to_string();
    let left = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&name))
    });
    assert_eq!(left.count(), 0);
}
