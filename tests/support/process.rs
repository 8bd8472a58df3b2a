//! A server process: who it runs as, how it is stopped, how it is killed with all its children.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// Limit of an orderly stop before a test fails.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Whether we are root, and servers that refuse to be have to run as nobody.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command that runs as the servers' user.
pub fn server_command(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command
}

/// Gives a folder and all below it to the servers' user.
pub fn give_to_server_user(folder: &Path) {
    if is_root() {
        run(Command::new("chown").args(["-R", "65534:65534"]).arg(folder));
    }
}

/// Runs to the end; panics with what it wrote when it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A running server. Killed with its children when dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it with both outputs appended to a file, in a process group of its own.
    pub fn spawn(command: &mut Command, log: &Path) -> Process {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Process { child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        // The process may have ended by itself a moment ago: then there is nobody to tell.
        let _ = rustix::process::kill_process(to_pid(self.pid()), signal);
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours")
    }

    /// Sends the signal and waits for the end. Panics, after killing it, when that takes a minute.
    pub fn stop(&mut self, signal: Signal) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        self.signal(signal);
        loop {
            if let Some(status) = self.ended() {
                return (status, begin.elapsed());
            }
            if begin.elapsed() > STOP_LIMIT {
                self.kill();
                panic!("process {} did not stop within {STOP_LIMIT:?} of {signal:?}", self.pid());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// `kill -9` for it and all that it started, and returns when none of them is left.
    pub fn kill(&mut self) {
        let family = family(self.pid());
        for member in &family {
            let _ = rustix::process::kill_process(to_pid(*member), Signal::KILL);
        }
        let _ = self.child.wait();
        for member in family {
            while is_alive(member) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    /// As a machine that hangs: it keeps its connections and does nothing.
    pub fn freeze(&self) {
        for member in family(self.pid()) {
            let _ = rustix::process::kill_process(to_pid(member), Signal::STOP);
        }
    }

    pub fn thaw(&self) {
        for member in family(self.pid()) {
            let _ = rustix::process::kill_process(to_pid(member), Signal::CONT);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill();
        }
    }
}

fn to_pid(pid: u32) -> Pid {
    Pid::from_raw(pid as i32).expect("a process id is positive")
}

/// The process and all its descendants, parents first.
fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let all: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, state_and_parent(pid)?.1)))
        .collect();
    let mut next = 0;
    while next < family.len() {
        let parent_of_these = family[next];
        family.extend(all.iter().filter(|(_, parent)| *parent == parent_of_these).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

fn is_alive(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != 'Z')
}

/// From /proc/PID/stat; the name in parentheses may hold anything, so reading begins behind it.
fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}
