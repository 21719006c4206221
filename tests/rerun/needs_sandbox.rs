//! Scripts in bubblewrap, and under Landlock.

mod commands;
#[cfg(feature = "engine")]
mod scored;
mod shipped;
mod slurm;

use golf_harness::rerun::record::Ended;
use golf_harness::rerun::sandbox::Isolation;

use crate::hostile::{each_in, with_result};
use crate::support::Workshop;

each_in!(Workshop::new, "needs bubblewrap and python3");

#[test]
#[ignore = "needs bubblewrap and python3"]
fn bubblewrap_is_taken_where_it_works() {
    assert_eq!(Workshop::new("").isolation, Isolation::Bubblewrap);
}

/// The first process of a container cannot be ended from inside; here it can, and then there is no result.
#[test]
#[ignore = "needs bubblewrap and python3"]
fn a_script_that_ends_what_watches_it_has_no_result() {
    let record = Workshop::new(
        "import os, signal\nprint('final val_bpb:1.25')\nos.kill(os.getppid(), signal.SIGKILL)\nimport time\ntime.sleep(9)",
    )
    .run();
    assert_ne!(record.ended, Ended::Code(0));
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
        workshop.isolation = isolation.clone();
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
