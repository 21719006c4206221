//! Which system calls there are: a seccomp filter, through the crate that Firecracker uses.
//!
//! Two kinds of list. What reads a stranger's files needs few calls, and gets those few. What runs a stranger's program
//! needs hundreds, which differ from one version of Python to the next, and is refused those that no computation needs.

use std::collections::BTreeMap;

use libc::{SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Compare, SeccompCondition as Condition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::{Calls, Network};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Filters the calling thread. `Ok` says what holds, `Err` why it does not.
pub(super) fn filter(calls: Calls, network: &Network) -> Result<String, String> {
    let arch: TargetArch = std::env::consts::ARCH.try_into().map_err(|_| "not for this processor".to_string())?;
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let (rules, otherwise, matched, words) = match calls {
        Calls::Reading => {
            // Sockets are not on the list.
            let mut rules = listed(READING);
            // Limits of this process only: the first argument names another.
            let own = Condition::new(0, Width::Dword, Compare::Eq, 0).and_then(|own| SeccompRule::new(vec![own]));
            rules.insert(libc::SYS_prlimit64, vec![own.map_err(|error| error.to_string())?]);
            (rules, refuse, SeccompAction::Allow, "calls that read only")
        }
        Calls::Computing | Calls::Unchanged => {
            let mut refused = if calls == Calls::Computing { listed(BEYOND_COMPUTING) } else { Rules::new() };
            refused.extend(sockets(network).map_err(|error| error.to_string())?);
            (refused, SeccompAction::Allow, refuse, "no calls that no computation needs")
        }
    };
    let filter = SeccompFilter::new(rules, otherwise, matched, arch).map_err(|error| error.to_string())?;
    let program: BpfProgram = filter.try_into().map_err(|error: seccompiler::BackendError| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())?;
    Ok(words.into())
}

fn listed(calls: &[i64]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

/// What of `socket(2)` is refused.
fn sockets(network: &Network) -> Result<Rules, seccompiler::BackendError> {
    let equal = |argument, value: i32| Condition::new(argument, Width::Dword, Compare::Eq, value as u64);
    let other = |argument, value: i32| Condition::new(argument, Width::Dword, Compare::Ne, value as u64);
    // The upper bits of a socket's type are flags.
    let kind = |value: i32| Condition::new(1, Width::Dword, Compare::MaskedEq(0xf), value as u64);
    let mut rules = Rules::new();
    match network {
        Network::Unchanged => {}
        Network::Nothing => {
            rules.extend(listed(&[libc::SYS_socket, libc::SYS_connect, libc::SYS_bind, libc::SYS_listen]));
        }
        Network::Tcp(_) => {
            let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
            let families = families.into_iter().map(|family| other(0, family)).collect::<Result<Vec<_>, _>>()?;
            let mut refused = vec![SeccompRule::new(families)?];
            // `getifaddrs` asks the kernel for its interfaces that way, and gloo and NCCL do not start without. Without
            // capabilities nothing can be changed by it.
            refused.push(SeccompRule::new(vec![equal(0, libc::AF_NETLINK)?, other(2, libc::NETLINK_ROUTE)?])?);
            for family in [libc::AF_INET, libc::AF_INET6] {
                for not_tcp in [SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET] {
                    refused.push(SeccompRule::new(vec![equal(0, family)?, kind(not_tcp)?])?);
                }
                // Streams that are not TCP: SCTP, MPTCP, SMC.
                let protocols = [equal(0, family)?, other(2, 0)?, other(2, libc::IPPROTO_TCP)?];
                refused.push(SeccompRule::new(protocols.to_vec())?);
            }
            rules.insert(libc::SYS_socket, refused);
        }
    }
    Ok(rules)
}

/// Enough for one thread that reads files, takes memory, writes to what is open and ends.
const READING: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    // `abort` sends a signal to the thread itself; others are out of reach behind their own limits.
    libc::SYS_tgkill,
    libc::SYS_write,
    libc::SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
];

/// What no computation needs: other processes' memory, the kernel's code, file systems, keys, namespaces, clocks.
const BEYOND_COMPUTING: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];
